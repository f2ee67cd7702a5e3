package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs"
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
	})
	if len(got) != 2 || !strings.Contains(got[0], "reason="+runner.MissedOverlap) ||
		!strings.Contains(got[1], "reason="+runner.MissedDrain) {
		t.Errorf("want a line for the overlap and one for the drain, got %q", got)
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
		if got := undelivered([]outputs.State{{Name: "file", Lost: 55, Error: c.failing}}); got == nil ||
			got.Error() != c.want {
			t.Errorf("got %v, want %s", got, c.want)
		}
	}
}
