package backfill

import (
	"context"
	"errors"
	"iter"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// past writes ten days of an account with one region, in which nobody can sign in for the last two days.
func past(t *testing.T, signIn error) (*sqlite.Store, time.Time, error) {
	t.Helper()
	s := &awsfake.Simulation{AWS: awsfake.New(awsfake.Options{})}
	s.AWS.AddAccount("111111111111", "aws").AddInstances("us-east-1", 5)
	s.Incidents = []awsfake.Incident{{Account: "a", Began: 48 * time.Hour, Begin: func() {}}}
	var clock Clock
	d, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "collector.db"), Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	to := time.Date(2026, 11, 20, 10, 30, 0, 0, time.UTC)
	account := &Account{
		Name: "a", Identity: record.Identity{AccountID: "111111111111", Partition: "aws"}, Regions: []string{"us-east-1"},
		Kinds: []runner.Kind{{Name: "ec2_instance", Op: "DescribeInstances"}, {Name: "ec2_host", Op: "DescribeHosts"}},
		Pages: func(
			_ context.Context, k runner.Kind, _ record.Target, _, _ string,
		) iter.Seq2[*record.Page, error] {
			if k.Name != "ec2_instance" {
				t.Errorf("%s is listed although there is none", k.Name)
			}
			return func(func(*record.Page, error) bool) {}
		},
		SignIn: func(context.Context) error { return signIn },
	}
	return d, to, Write(t.Context(), Options{
		Simulation: s, Accounts: []*Account{account}, Store: inventory.New(d, inventory.Options{}), Batch: d.Batch,
		Clock: &clock, From: to.AddDate(0, 0, -10), To: to,
	})
}

// There are runs all the time, and more on the last day. Those since the incident have failed, and so have the targets.
func TestRunsAndIncident(t *testing.T) {
	d, to, err := past(t, &record.Fault{Reason: record.BadKey, Err: errors.New("the key is unknown")})
	if err != nil {
		t.Fatal(err)
	}
	days := map[int]int{}
	for r, err := range d.Runs(t.Context(), inventory.RunQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		before := to.Sub(r.Tick)
		days[int(before/(24*time.Hour))]++
		want := record.Success
		if before <= 48*time.Hour {
			want = record.RunFailed
		}
		if r.Status != want || r.Targets[record.OK]+r.Targets[record.AuthFailed] != 2 || r.Started.Before(r.Tick) {
			t.Errorf("%s before the end: %+v", before, r)
		}
	}
	for day := range 9 {
		if least := map[bool]int{true: 23, false: 5}[day == 0]; days[day] < least {
			t.Errorf("%d runs on day %d before the last", days[day], day)
		}
	}
	for c, err := range d.Targets(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		since := to.Sub(c.StateSince)
		if c.State != record.AuthFailed || c.Reason != record.BadKey || since > 48*time.Hour || since < 47*time.Hour {
			t.Errorf("%v: %s, %s, since %s", c.Target, c.State, c.Reason, since)
		}
		if complete := to.Sub(c.LastSeen); complete < 48*time.Hour || complete > 50*time.Hour {
			t.Errorf("%v was complete %s ago", c.Target, complete)
		}
	}
}

// An incident that prevents nothing is a mistake of the simulation.
func TestIncidentMustPreventTheSignIn(t *testing.T) {
	if _, _, err := past(t, nil); err == nil || !strings.Contains(err.Error(), `account "a" can sign in`) {
		t.Error(err)
	}
}
