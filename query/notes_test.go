package query

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// fakeSource has targets and sign-ins.
type fakeSource struct {
	inventory.RunReader
	targets []inventory.Coverage
	signIns []inventory.SignIn
}

func (f *fakeSource) Targets(context.Context) iter.Seq2[inventory.Coverage, error] {
	return withoutErrors(f.targets)
}

func (f *fakeSource) SignIns(context.Context) iter.Seq2[inventory.SignIn, error] {
	return withoutErrors(f.signIns)
}

func withoutErrors[T any](all []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, x := range all {
			if !yield(x, nil) {
				return
			}
		}
	}
}

// An answer that is empty says why, and one that may lack resources says where.
func TestNotes(t *testing.T) {
	first := time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)
	target := func(account, region, kind string, state record.State, reason record.Reason) inventory.Coverage {
		c := inventory.Coverage{AccountID: "111122223333", Outcome: record.Outcome{
			Target: record.Target{Account: account, Region: region, Kind: kind}, State: state, Reason: reason,
		}}
		if state == record.OK {
			c.FirstComplete = first
		}
		return c
	}
	source := &fakeSource{
		targets: []inventory.Coverage{
			target("prod", "eu-west-1", "ec2_instance", record.OK, ""),
			target("prod", "eu-west-1", "ec2_vpc", record.OK, ""),
			target("prod", "us-east-1", "ec2_instance", record.Denied, "denied"),
			target("prod", "us-east-1", "ec2_vpc", record.Denied, "denied"),
			target("prod", "ap-south-1", "ec2_instance", record.RegionDisabled, ""),
			target("stage", "eu-west-1", "ec2_vpc", record.Unconfirmed, record.MaxGone),
		},
		signIns: []inventory.SignIn{{Account: "prod"}, {Account: "lab", Error: "the access key does not exist"}},
	}
	east := "account prod, region us-east-1: the last listing of "
	unconfirmed := "account stage, region eu-west-1: the last listing of ec2_vpc is unconfirmed: " +
		"some of its resources may be gone"
	lab := "account lab was never listed: its sign-in fails: the access key does not exist"
	for _, c := range []struct {
		name   string
		q      Question
		source *fakeSource
		full   bool
		want   []string
	}{
		{"nothing was listed", Question{}, &fakeSource{}, false, []string{"nothing was listed yet"}},
		{"an unknown account", Question{Query: inventory.Query{Accounts: []string{"prdo"}}}, source, false,
			[]string{`no account that was listed matches "prdo"; did you mean prod?`}},
		{"an unknown region", Question{Query: inventory.Query{Accounts: []string{"prod"}, Regions: []string{"eu-wst-1"}}},
			source, false, []string{`no region that was listed matches "eu-wst-1"; did you mean eu-west-1?`}},
		{"a kind that is not collected",
			Question{Query: inventory.Query{Accounts: []string{"prod"}, Kinds: []string{"ec2_volume"}}}, source, false,
			[]string{"nothing was listed yet of these kinds, accounts and regions"}},
		{"one of two kinds is not collected", Question{Query: inventory.Query{
			Accounts: []string{"prod"}, Regions: []string{"eu-*"}, Kinds: []string{"ec2_volume", "ec2_vpc"}}}, source, false,
			[]string{"kind ec2_volume was not listed yet in these accounts and regions"}},
		{"before the first listing", Question{Query: inventory.Query{At: first.Add(-time.Hour), Accounts: []string{"prod"}}},
			source, false, []string{
				"2026-11-01T07:00:00Z is before the first complete listing, which ended at 2026-11-01T08:00:00Z"}},
		{"a comparison from before the first listing", Question{
			From: first.Add(-time.Hour), Query: inventory.Query{Regions: []string{"eu-*"}, Accounts: []string{"prod"}}},
			source, true, []string{"account prod, region eu-west-1: 2 kinds had not been listed completely"}},
		{"an account that never signed in", Question{Query: inventory.Query{Accounts: []string{"lab"}}}, source, false,
			[]string{lab}},
		{"a denied region", Question{Query: inventory.Query{Regions: []string{"us-east-1"}, Accounts: []string{"prod"}}},
			source, false, []string{east + "2 kinds is not complete: denied"}},
		{"resources, and a denied region",
			Question{Query: inventory.Query{Kinds: []string{"ec2_vpc"}}}, source, true,
			[]string{lab, east + "ec2_vpc is not complete: denied", unconfirmed}},
		{"resources that may be gone", Question{Query: inventory.Query{Accounts: []string{"stage"}}}, source, true,
			[]string{unconfirmed}},
		{"a region without resources",
			Question{Query: inventory.Query{Regions: []string{"eu-west-1"}, Accounts: []string{"prod"}}}, source, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.q.Notes(t.Context(), c.source, !c.full)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s\n%v", strings.Join(got, "\n"), strings.Join(c.want, "\n"), err)
			}
		})
	}
	var many fakeSource
	for i := range 500 {
		many.targets = append(many.targets, target(fmt.Sprintf("a%03d", i), "eu-west-1", "ec2_vpc", record.Denied, "denied"))
	}
	got, err := (&Question{}).Notes(t.Context(), &many, true)
	if err != nil || len(got) != maxGaps+1 || got[maxGaps] != "490 more accounts and regions are not known completely" {
		t.Errorf("%d notes: %v", len(got), err)
	}
}

// A time that lies ahead, or is none, is an error.
func TestTimesThatCannotBe(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	parameters := []Parameter{At, From, ChangesSince, Where}
	for text, want := range map[string]string{
		"at=2030-01-01":                       "lies ahead: it is 2026-11-30T12:00:00Z now",
		"from=2030-01-01":                     "lies ahead",
		"since=2026-12-01T00:00Z":             "lies ahead",
		"at=2026-11-31":                       "is not a time",
		"where=first_seen>yesterday":          `"yesterday" is not a time`,
		"where=state_since<2026-11-31":        `"2026-11-31" is not a time`,
		"where=data.LaunchTime>2026-11-31":    `"2026-11-31" is not a time`,
		"where=data.LaunchTime>2026-11-30":    "",
		"where=last_seen>3d":                  "",
		"where=first_seen~2026-11-*":          "",
		"where=data.EndDate<2030-01-01":       "",
		"where=tags.release>2026-11-30-7":     "",
		"where=first_seen=2026-11-01T08:00Z":  "",
		"where=first_seen!=tomorrow":          `"tomorrow" is not a time`,
		"where=valid_to and first_seen>=2026": `"2026" is not a time`,
	} {
		name, value, _ := strings.Cut(text, "=")
		_, err := Parse(map[string][]string{name: {value}}, parameters, Options{Now: now})
		if got := fmt.Sprint(err); want == "" && err != nil || want != "" && !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %q", text, got, want)
		}
	}
}

func TestUncoveredTargets(t *testing.T) {
	at := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	target := func(account, region, kind string, state record.State, reason record.Reason) inventory.Coverage {
		return inventory.Coverage{StateSince: at, Outcome: record.Outcome{
			Target: record.Target{Account: account, Region: region, Kind: kind}, State: state, Reason: reason,
			Hint: "Allow ec2:" + kind + ".",
		}}
	}
	earlier := target("a", "us-east-1", "ec2_volume", record.Denied, record.AccessDenied)
	earlier.Hint, earlier.StateSince = "Allow ec2:ec2_instance.", at.Add(-time.Hour)
	retired := target("a", "us-east-1", "ec2_vpc", record.Denied, record.AccessDenied)
	retired.Retired = at
	f := &fakeSource{targets: []inventory.Coverage{
		target("a", "eu-west-1", "ec2_instance", record.Denied, record.AccessDenied), earlier,
		target("a", "us-east-1", "ec2_instance", record.OK, ""), retired,
		target("b", "us-east-1", "ec2_instance", record.Denied, record.AccessDenied),
		target("a", "me-south-1", "ec2_instance", record.RegionDisabled, ""),
	}}
	got, err := UncoveredTargets(t.Context(), f, "a")
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	first := got[0]
	if first.Targets != 2 || !slices.Equal(first.Regions, []string{"eu-west-1", "us-east-1"}) ||
		!slices.Equal(first.Kinds, []string{"ec2_instance", "ec2_volume"}) || !first.Since.Equal(at.Add(-time.Hour)) {
		t.Errorf("%+v", first)
	}
	if got[1].State != record.RegionDisabled || got[1].Targets != 1 {
		t.Errorf("%+v", got[1])
	}
}
