package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

func logLinesOf(do func(*runLogger)) []string {
	var b bytes.Buffer
	do(newRunLogger(slog.New(slog.NewTextHandler(&b, nil))))
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// After a month of downtime, the daemon does not log each missed run. A skipped run is logged as missed, not also as
// ended.
func TestMissedRunsAreLoggedOnce(t *testing.T) {
	got := logLinesOf(func(l *runLogger) {
		for range 2880 {
			l.observe(runner.RunMissed{Account: "prod", Reason: runner.MissedDowntime})
			l.observe(runner.RunMissed{Account: "prod", Reason: runner.MissedSuspended})
		}
		l.observe(runner.RunMissed{Account: "prod", Reason: runner.MissedOverlap})
		l.observe(runner.RunEnded{Account: "prod", Run: "r1", Status: record.RunSkipped, Took: 0})
		l.observe(runner.RunMissed{Account: "prod", Reason: runner.MissedDrain})
		l.observe(runner.RunEnded{Account: "prod", Run: "r2", Status: record.RunExpired, Took: 0})
		l.stopped()
	})
	if len(got) != 2 || !strings.Contains(got[0], "reason="+runner.MissedOverlap) ||
		!strings.HasSuffix(got[1], `msg="program stopped before all runs ended" interrupted=0 missed=1`) {
		t.Errorf("want a line for the overlap and one for the drain, got %q", got)
	}
}

// A stop of the program interrupts and misses runs: that is one line for all. What was cancelled, or failed for another
// cause, is logged.
func TestStopIsOneLine(t *testing.T) {
	for _, stopping := range []bool{false, true} {
		var b bytes.Buffer
		l := newRunLogger(slog.New(slog.NewTextHandler(&b, nil)))
		l.stopping = func() bool { return stopping }
		l.observe(runner.TargetEnded{Outcome: record.Outcome{
			Target: record.Target{Account: "account-2", Region: "eu-west-1", Kind: "ec2_vpc"}, Run: "earlier", Calls: 1,
			State: record.Denied, Reason: record.AccessDenied,
		}})
		l.observe(runner.RunEnded{Account: "account-2", Run: "earlier", Status: record.RunFailed, Took: 0})
		b.Reset()
		for i := range 14 {
			account, run := fmt.Sprint("account-", i), fmt.Sprint("run-", i)
			for range 3 {
				l.observe(runner.TargetEnded{Outcome: record.Outcome{
					Target: record.Target{Account: account, Region: "us-east-1", Kind: "ec2_volume"}, Run: run,
					State: record.Error, Reason: record.Interrupted, Error: "the program is stopping",
				}})
			}
			other := record.Outcome{
				Target: record.Target{Account: account, Region: "us-east-1", Kind: "ec2_vpc"}, Run: run, State: record.Denied,
			}
			switch i {
			case 0:
				other.Reason, other.Calls = record.AccessDenied, 1
				l.observe(runner.TargetEnded{Outcome: other})
			case 1:
				other.Reason, other.Calls = record.Interrupted, 1 // the drain timeout
				l.observe(runner.TargetEnded{Outcome: other})
			case 2:
				other.State = record.OK // in this region; the one that is denied was not reached
				l.observe(runner.TargetEnded{Outcome: other})
			}
			l.observe(runner.RunEnded{Account: account, Run: run, Status: record.RunPartial, Took: 0})
			l.observe(runner.RunMissed{Account: account, Reason: runner.MissedDrain})
		}
		l.stopped()
		log := b.String()
		want := map[string]int{`msg="targets failed"`: 16, "level=WARN": 30, "failed=3": 12, "interrupted=0 missed=14": 1}
		if stopping {
			want = map[string]int{
				`msg="targets failed"`: 2, "level=WARN": 4, "failed=3": 12, "failed=4": 2, "interrupted=14 missed=14": 1,
				"recovered": 0,
			}
		}
		for text, n := range want {
			if got := strings.Count(log, text); got != n {
				t.Errorf("stopping %v: %q stands %d times, want %d:\n%s", stopping, text, got, n, log)
			}
		}
	}
}

func TestUncertainRegionsNameUsedRegions(t *testing.T) {
	got := logLinesOf(func(l *runLogger) {
		l.observe(
			runner.RegionsPlanned{
				Account: "prod",
				Regions: []string{"us-east-1"},
				Warning: &record.Fault{Reason: record.AccessDenied, Hint: "allow it", Err: errors.New("denied")},
			},
		)
	})
	if len(got) != 1 || !strings.Contains(got[0], "using built-in list") ||
		!strings.Contains(got[0], `hint="allow it"`) {
		t.Errorf("got %q", got)
	}
}

// Inactive members do not cause a warning about regions. The member directory logs them, once.
func TestInactiveMembersDoNotWarnAboutRegions(t *testing.T) {
	r := &accounts.List{Inactive: []config.Member{{ID: "444444444444", Name: "closed", State: "SUSPENDED"}}}
	got := logLinesOf(func(l *runLogger) {
		l.observe(runner.RegionsPlanned{Account: "organization:1", Warning: r.Warning()})
	})
	if len(
		got,
	) != 1 ||
		got[0] != "" {
		t.Errorf("got %q", got)
	}
}

// An output that works again has no error in the message.
func TestUndeliveredOmitsPastError(t *testing.T) {
	for _, c := range []struct{ failing, want string }{
		{"", "output file lost 55 records"},
		{"disk full", "output file lost 55 records: disk full"},
	} {
		if got := undelivered([]deliver.State{{Name: "file", Lost: 55, Error: c.failing}}); got == nil ||
			got.Error() != c.want {
			t.Errorf("got %v, want %s", got, c.want)
		}
	}
}
