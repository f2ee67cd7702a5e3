package runlog

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// A failure that repeats is logged when it begins, when its cause changes, once a day, and when it ends. Every other
// line of it is at level debug. The run's own line has the counts.
func TestRepeatedFailuresAreLoggedOnChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		l := New(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})), nil)
		run := func(name string, outcomes ...record.Outcome) (lines []string) {
			t.Helper()
			b.Reset()
			for _, o := range outcomes {
				o.Account, o.Region, o.Run = "prod", "us-east-1", name
				l.Observe(runner.TargetEnded{Outcome: o})
			}
			l.Observe(runner.RunEnded{Account: "prod", Run: name, Status: record.RunPartial, Took: time.Second})
			for line := range strings.Lines(b.String()) {
				if !strings.Contains(line, `"run ended"`) {
					lines = append(lines, line)
				}
			}
			return lines
		}
		want := func(lines []string, each ...string) {
			t.Helper()
			if len(lines) != len(each) {
				t.Fatalf("%d lines, want %d: %q", len(lines), len(each), lines)
			}
			for i, texts := range each {
				for text := range strings.SplitSeq(texts, "|") {
					if !strings.Contains(lines[i], text) {
						t.Errorf("%q is not in %q", text, lines[i])
					}
				}
			}
		}
		volumes := record.Target{Kind: "ec2_volume"}
		denied := record.Outcome{Target: volumes, State: record.Denied, Reason: record.AccessDenied, Hint: "allow it"}
		timedOut := record.Outcome{Target: volumes, State: record.Timeout, Reason: record.TimedOut}
		ok := record.Outcome{Target: volumes, State: record.OK}
		other := record.Outcome{Target: record.Target{Kind: "ec2_vpc"}, State: record.OK}

		want(run("r1", denied), "level=WARN|targets failed|access_denied")
		for range 95 {
			time.Sleep(15 * time.Minute)
			want(run("r2", denied), "level=DEBUG|targets failed")
		}
		time.Sleep(15 * time.Minute)
		want(run("r3", denied), "level=WARN|targets failed|duration=24h0m0s")
		time.Sleep(time.Hour)
		want(run("r4", other)) // a run of other kinds says nothing about these
		want(run("r5", timedOut), "level=WARN|targets failed|previous_reason=access_denied|duration=25h0m0s")
		want(run("r6", timedOut), "level=DEBUG|targets failed")
		time.Sleep(time.Hour)
		want(run("r7", ok), "level=INFO|targets recovered|duration=26h0m0s")
		want(run("r8", ok))
		want(run("r9", denied), "level=WARN|targets failed|access_denied")

		l.Observe(runner.Configured{Kinds: map[string][]string{"test": nil}})
		want(run("r10", denied), "level=WARN|targets failed") // a block of that name is another account now

		b.Reset()
		warning := &record.Fault{Reason: record.AccessDenied, Err: errors.New("denied")}
		for range 3 {
			l.Observe(runner.RegionsPlanned{Account: "prod", Warning: warning})
		}
		l.Observe(runner.RegionsPlanned{Account: "prod"})
		got := b.String()
		if strings.Count(got, "level=WARN") != 1 || strings.Count(got, "account regions read from AWS again") != 1 {
			t.Errorf("%s", got)
		}
	})
}

// Different errors of one reason are each logged, with their counts.
func TestDifferentErrorsAreEachLogged(t *testing.T) {
	var b bytes.Buffer
	l := New(slog.New(slog.NewTextHandler(&b, nil)), nil)
	for kind, text := range map[string]string{
		"ec2_volume": "InvalidParameterValue: of vol-1", "ec2_subnet": "InvalidParameterValue: of subnet-1",
		"ec2_vpc": "MissingParameter: an owner",
	} {
		o := record.Outcome{Run: "r", State: record.Error, Reason: record.BadRequest, Hint: "Report it."}
		o.Target = record.Target{Account: "prod", Region: "us-east-1", Kind: kind}
		o.Error = "list " + kind + " in us-east-1: " + text
		l.Observe(runner.TargetEnded{Outcome: o})
	}
	l.Observe(runner.RunEnded{Account: "prod", Run: "r", Status: record.RunPartial, Took: time.Second})
	log := b.String()
	if strings.Count(log, "targets failed") != 2 || !strings.Contains(log, "targets=2") ||
		!strings.Contains(log, "InvalidParameterValue") || !strings.Contains(log, "MissingParameter") {
		t.Error(log)
	}
}
