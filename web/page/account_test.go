package page

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// An account shows what fails, where, and since when, and how many resources each kind and region has.
func TestAccount(t *testing.T) {
	f := newFixture(t)
	f.account("prod", "222222222222", "us-east-1", "eu-west-1")
	f.tags["prod"] = map[string]string{"team": "payments"}
	f.ended("prod", "us-east-1", "ec2_instance", nil)
	f.ended("prod", "eu-west-1", "ec2_volume", denied)
	f.ended("prod", "us-east-1", "ec2_volume", throttled)
	p := f.page()
	text := view(t, p, "/accounts/prod")
	requireAll(t, text, "<h1>prod</h1>", "222222222222", "team=payments", "2 of 3 listings fail.",
		"14 of 21 resources are not confirmed", "<code>ec2:DescribeVolumes</code>", "2 causes",
		`title="eu-west-1: Access denied"`, "UnauthorizedOperation")
	if text = view(t, p, "/accounts/prod?region=us-east-1"); strings.Contains(text, "UnauthorizedOperation") {
		t.Error("the causes are not of this region only")
	}
	requireAll(t, text, "1 cause in us-east-1", "all regions")
	requireAll(t, view(t, p, "/accounts/prod?region=mars"), "No listing fails in mars")
	if w := get(t, p, "/accounts/nobody"); w.Code != http.StatusNotFound {
		t.Errorf("an account that is not there: %d", w.Code)
	}
}

func TestSignInSteps(t *testing.T) {
	got := signInSteps(inventory.SignIn{
		Path: "ak AKIA…MPLE → mfa arn:aws:iam::1:mfa/bob → role arn:r → instance role", ARN: "arn:i",
	})
	want := []signInStep{{"Key", "AKIA…MPLE"}, {"MFA session", "arn:aws:iam::1:mfa/bob"}, {"Role", "arn:r"},
		{"Source", "instance role"}, {"Identity", "arn:i"}}
	if len(got) != len(want) {
		t.Fatalf("%v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("step %d is %v, want %v", i, got[i], want[i])
		}
	}
	if steps := signInSteps(inventory.SignIn{}); steps != nil {
		t.Errorf("a sign-in that never succeeded has %v", steps)
	}
}

// A run that did not begin says why, also for many ticks at once; one that failed names its first cause.
func TestRunView(t *testing.T) {
	f := newFixture(t)
	missed := viewOfRun(
		inventory.Run{Account: "a", Tick: f.now, Status: record.RunSkipped, Missed: "downtime", Ticks: 3}, f.now,
	)
	if missed.Began != f.now || missed.letter != "d" || missed.Why != "3 ticks: the collector was not running" {
		t.Errorf("%+v", missed)
	}
	failed := viewOfRun(inventory.Run{
		Account: "a", Started: f.now, Ended: f.now, Status: record.RunFailed, Targets: map[record.State]int{record.Denied: 4},
		Causes: []inventory.Cause{{State: record.Denied, Region: "us-east-1", Kind: "ec2_volume"}, {State: record.Error}},
	}, f.now)
	if failed.Listings != 4 || failed.Why != "Access denied, us-east-1 volume, and 1 other cause" {
		t.Errorf("%+v", failed)
	}
}
