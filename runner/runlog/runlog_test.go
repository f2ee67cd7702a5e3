package runlog

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

func logLinesOf(do func(*Logger)) []string {
	var b bytes.Buffer
	do(New(slog.New(slog.NewTextHandler(&b, nil)), nil))
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// After a month of downtime, the daemon does not log each missed run. A skipped run is logged as missed, not also as
// ended.
func TestMissedRunsAreLoggedOnce(t *testing.T) {
	got := logLinesOf(func(l *Logger) {
		for range 2880 {
			l.Observe(runner.RunMissed{Account: "prod", Reason: runner.MissedDowntime})
			l.Observe(runner.RunMissed{Account: "prod", Reason: runner.MissedSuspended})
		}
		l.Observe(runner.RunMissed{Account: "prod", Reason: runner.MissedOverlap})
		l.Observe(runner.RunEnded{Account: "prod", Run: "r1", Status: record.RunSkipped, Took: 0})
		l.Observe(runner.RunMissed{Account: "prod", Reason: runner.MissedDrain})
		l.Observe(runner.RunEnded{Account: "prod", Run: "r2", Status: record.RunExpired, Took: 0})
		l.Stopped()
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
		l := New(slog.New(slog.NewTextHandler(&b, nil)), func() bool { return stopping })
		l.Observe(runner.TargetEnded{Outcome: record.Outcome{
			Target: record.Target{Account: "account-2", Region: "eu-west-1", Kind: "ec2_vpc"}, Run: "earlier", Calls: 1,
			State: record.Denied, Reason: record.AccessDenied,
		}})
		l.Observe(runner.RunEnded{Account: "account-2", Run: "earlier", Status: record.RunFailed, Took: 0})
		b.Reset()
		for i := range 14 {
			account, run := fmt.Sprint("account-", i), fmt.Sprint("run-", i)
			for range 3 {
				l.Observe(runner.TargetEnded{Outcome: record.Outcome{
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
				l.Observe(runner.TargetEnded{Outcome: other})
			case 1:
				other.Reason, other.Calls = record.Interrupted, 1 // the drain timeout
				l.Observe(runner.TargetEnded{Outcome: other})
			case 2:
				other.State = record.OK // in this region; the one that is denied was not reached
				l.Observe(runner.TargetEnded{Outcome: other})
			}
			l.Observe(runner.RunEnded{Account: account, Run: run, Status: record.RunPartial, Took: 0})
			l.Observe(runner.RunMissed{Account: account, Reason: runner.MissedDrain})
		}
		l.Stopped()
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
	got := logLinesOf(func(l *Logger) {
		l.Observe(
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

// A warning of a task is not a warning about regions, and no line: it would repeat at each run. A failure of a task is
// logged when it begins and when it ends.
func TestTask(t *testing.T) {
	end := func(l *Logger, o record.Outcome, warning error, status record.Status) {
		o.Target = record.Target{Account: "organization:1", Kind: "organization_members"}
		l.Observe(runner.TaskEnded{Outcome: o, Warning: warning})
		l.Observe(runner.RunEnded{Account: o.Account, Run: o.Run, Status: status})
	}
	got := logLinesOf(func(l *Logger) {
		end(l, record.Outcome{Run: "1", State: record.OK}, errors.New("one is suspended"), record.Success)
		for _, run := range []string{"2", "3"} {
			end(l, record.Outcome{Run: run, State: record.AuthFailed, Reason: record.BadKey}, nil, record.RunFailed)
		}
		end(l, record.Outcome{Run: "4", State: record.OK}, nil, record.Success)
	})
	want := []string{
		"run ended", "targets failed|reason=bad_key", "run ended", "run ended",
		"targets recovered|reason=bad_key", "run ended",
	}
	if len(got) != len(want) {
		t.Fatalf("got %q", got)
	}
	for i, texts := range want {
		for text := range strings.SplitSeq(texts, "|") {
			if !strings.Contains(got[i], text) {
				t.Errorf("%q is not in %q", text, got[i])
			}
		}
	}
}
