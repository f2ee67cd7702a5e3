package query

import (
	"context"
	"iter"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
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

// What no store can compare is refused, and so are more values than a question needs.
func TestParseRefusesWhatNoStoreCanCompare(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"account", "a\x00b", `account: "a\x00b" is not text in UTF-8`},
		{"region", "\xff", `region: "\xff" is not text in UTF-8`},
		{"where", "name='\xff'", `is not text in UTF-8`},
		{"account", strings.Repeat("a,", maxValues+1), "account: has 301 values, more than 300"},
	} {
		_, err := Parse(url.Values{c.name: {c.value}}, []Parameter{Account, Region, Where}, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	q, err := Parse(url.Values{"account": {strings.Repeat("a,", maxValues)}}, []Parameter{Account}, Options{})
	if err != nil || len(q.Accounts) != maxValues {
		t.Errorf("%d accounts, %v", len(q.Accounts), err)
	}
}

// A signedIn has sign-ins of two accounts.
type signedIn struct{ inventory.RunReader }

func (signedIn) SignIns(context.Context) iter.Seq2[inventory.SignIn, error] {
	return func(yield func(inventory.SignIn, error) bool) {
		_ = yield(inventory.SignIn{Account: "prod", AccountID: "222222222222"}, nil) &&
			yield(inventory.SignIn{Account: "test", AccountID: "111111111111"}, nil)
	}
}

// Runs have no account ids, so patterns of ids become names. What excludes one account selects all others, also those
// that never signed in and so have no id.
func TestRunsByAccountID(t *testing.T) {
	for patterns, want := range map[string]string{
		"": "", "prod": "prod", "1111*": "1111* test", "!prod": "!prod", "!222222222222": "!222222222222 !prod",
		"2* !222222222222": "2* !222222222222 prod !prod",
	} {
		q := Question{}
		q.Accounts = strings.Fields(patterns)
		runs, err := q.Runs(t.Context(), signedIn{})
		if got := strings.Join(runs.Accounts, " "); got != want || err != nil {
			t.Errorf("%s: %s %v", patterns, got, err)
		}
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
	for s, want := range map[string]string{"volum": "ec2_volume", "instnace": "ec2_instance", "pair": "ec2_key_pair"} {
		kinds := append(Catalogue{{Kind: "ec2_replace_root_volume_task", Service: "ec2"}}, sampleKinds()...)
		if _, err := kinds.Pattern(s); err == nil || !strings.Contains(err.Error(), "did you mean "+want+"?") {
			t.Errorf("%s: %v, want %s", s, err, want)
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

// One resolver takes the names that people use.
func TestKindPatterns(t *testing.T) {
	kinds := append(Catalogue{{Kind: "autoscaling_group", Service: "autoscaling"},
		{Kind: "autoscaling_instance", Service: "autoscaling"}}, sampleKinds()...)
	kinds = append(kinds,
		KindLine{Kind: "ec2_address", Service: "ec2"}, KindLine{Kind: "ec2_vpc", Service: "ec2"})
	for text, want := range map[string]string{
		"instance": "ec2_instance", "instances": "ec2_instance", "ec2_instance": "ec2_instance",
		"ec2_instances": "ec2_instance", "address": "ec2_address", "addresses": "ec2_address", "vpcs": "ec2_vpc",
		"key_pairs": "ec2_key_pair", "vol*": "ec2_vol*", "ec2_*": "ec2_*", "groups": "autoscaling_group",
		"autoscaling_instances": "autoscaling_instance", "inst*": "ec2_inst*", "!volume": "!ec2_volume", "*": "*",
	} {
		if got, err := kinds.Pattern(text); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"volme", "s", "es", "", "ec2_"} {
		if got, err := kinds.Pattern(text); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}
