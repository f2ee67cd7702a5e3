package query

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func sampleKinds() Catalogue {
	return Catalogue{
		{Kind: "ec2_instance", Service: "ec2"}, {Kind: "ec2_volume", Service: "ec2"},
		{Kind: "ec2_key_pair", Service: "ec2", Global: true},
	}
}

// Each value that is wrong is an error of its parameter, and flags have the names of the command line.
func TestParseNamesWhatIsWrong(t *testing.T) {
	values := url.Values{
		"kind": {"instnace"}, "where": {"state=running andd"}, "at": {"yesterday"}, "fields": {"id,State"},
		"status": {"done"}, "limit": {"-1"}, "problems": {"maybe"}, "group_by": {"tag:"}, "account": {"a"},
		"region": {"x"},
	}
	values.Add("at", "3d")
	_, err := Parse(values, []Parameter{
		Kind, Account, Region, Where, At, Fields, Status, Limit, Problems, GroupBy,
	}, Options{Now: time.Now(), Kinds: sampleKinds()})
	want := []string{
		`kind: unknown kind "instnace"; did you mean ec2_instance? Run "collector kinds" to list all kinds`,
		`where: at character 15 of "state=running andd": expected and, or, or the end`,
		"at: is given more than once",
		"fields: unknown field State: did you mean data.State?",
		`status: "done" is not success, partial, failed, timeout, skipped, expired, running or interrupted`,
		`limit: "-1" is not a number from 0`,
		`problems: "maybe" is not true or false`,
		`group_by: "tag:" is not account, region or tag:KEY`,
	}
	if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := FlagErrors(err).Error(); !strings.Contains(got, "--columns: unknown field State") {
		t.Errorf("flags: %s", got)
	}
	now := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	_, err = Parse(url.Values{"from": {"1h"}, "to": {"2h"}}, []Parameter{From, To}, Options{Now: now})
	if err == nil || err.Error() != "from: 2026-11-01T23:00:00Z is not before 2026-11-01T22:00:00Z" {
		t.Errorf("%v", err)
	}
}

func TestKindsAreCompleted(t *testing.T) {
	for s, want := range map[string]string{
		"instance": "ec2_instance", "instances": "ec2_instance", "ec2_volume": "ec2_volume", "vol*": "ec2_vol*",
		"!key_pair": "!ec2_key_pair", "*": "*",
	} {
		if got, err := sampleKinds().Pattern(s); got != want || err != nil {
			t.Errorf("%s: %s %v", s, got, err)
		}
	}
	if _, err := sampleKinds().Pattern("zzz"); err == nil || strings.Contains(err.Error(), "did you mean") {
		t.Errorf("%v", err)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"account", "region", "where"}
	for text, want := range map[string]string{"acount": "account", "regions": "region", "wehre": "where", "limit": ""} {
		if got := Nearest(text, names); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
