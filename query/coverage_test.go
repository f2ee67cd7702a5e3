package query

import (
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// A region is in its state since the first of its targets failed so, or the last became ok.
func TestStateSince(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 1, 0, minute, 0, 0, time.UTC) }
	target := func(state record.State, since time.Time) inventory.Coverage {
		return inventory.Coverage{Outcome: record.Outcome{State: state}, StateSince: since}
	}
	for name, c := range map[string]struct {
		targets []inventory.Coverage
		state   record.State
		want    time.Time
	}{
		"ok": {[]inventory.Coverage{target(record.OK, at(1)), target(record.OK, at(3)), target(record.OK, at(2))},
			record.OK, at(3)},
		"denied": {[]inventory.Coverage{target(record.OK, at(9)), target(record.Denied, at(3)), target(record.Denied, at(2))},
			record.Denied, at(2)},
		"the worst": {[]inventory.Coverage{target(record.Denied, at(1)), target(record.AuthFailed, at(3)),
			target(record.Partial, at(0))}, record.AuthFailed, at(3)},
		"who must act": {[]inventory.Coverage{target(record.Denied, at(1)), target(record.Throttled, at(2)),
			target(record.Timeout, at(3))}, record.Denied, at(1)},
		"not known": {[]inventory.Coverage{target(record.OK, at(1)), target(record.OK, time.Time{})},
			record.OK, time.Time{}},
	} {
		r := (&Coverage{calendar: runner.NewCalendar(nil)}).line(c.targets)
		if r.State != c.state || c.want.IsZero() != (r.Since == nil) || r.Since != nil && !r.Since.Equal(c.want) {
			t.Errorf("%s: %s since %v, want %s since %s", name, r.State, r.Since, c.state, c.want)
		}
	}
}
