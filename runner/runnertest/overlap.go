package runnertest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// An overlapCase is a rule, and what it makes of ticks each 3 units whose runs take longer.
type overlapCase struct {
	rule     runner.Overlap
	took     float64
	starts   []float64 // in the first 12 units
	statuses []record.Status
	missed   int // by overlap
}

var (
	overlapSkip = overlapCase{
		rule: runner.Skip, took: 4, starts: []float64{3, 9}, missed: 2,
		statuses: []record.Status{record.RunSkipped, record.Success, record.RunSkipped, record.Success},
	}
	// The second waits for the first, the third for the second; the fourth waits when the case ends.
	overlapQueue = overlapCase{
		rule: runner.Queue, took: 4, starts: []float64{3, 7, 11},
		statuses: []record.Status{record.Success, record.Success},
	}
	// The second waits beyond its own next tick, which replaces it.
	overlapQueueLong = overlapCase{
		rule: runner.Queue, took: 8, starts: []float64{3, 11}, missed: 1,
		statuses: []record.Status{record.RunExpired, record.Success},
	}
	overlapCancel = overlapCase{
		rule: runner.Cancel, took: 4, starts: []float64{3, 6, 9, 12},
		statuses: []record.Status{record.RunPartial, record.RunPartial, record.RunPartial},
	}
)

// What is due while an earlier run is in progress starts, waits or is skipped by the account's rule.
func (f *fixture) overlap(c overlapCase) {
	b := block{
		name: "a", regions: []string{"r1"}, kinds: []string{"k"}, took: c.took, overlap: c.rule,
		ticks: []runner.Tick{f.every(3)},
	}
	f.configure(b)
	f.start(Options{DrainTimeout: f.units(10)})
	f.waitUntil(12.5)
	f.starts("a", c.starts...)
	if c.rule != runner.Skip {
		f.statuses("a", c.statuses...)
	}
	if c.rule != runner.Queue || c.missed > 0 {
		f.missed("a", runner.MissedOverlap, c.missed)
	}
	f.drainAll()
	if c.rule == runner.Skip {
		f.statuses("a", c.statuses...)
	}
	if c.rule != runner.Cancel {
		return
	}
	first := f.events.of(f.events.runs("a")[0].Run)
	for _, o := range first {
		if o.State != record.Partial || o.Reason != record.Interrupted ||
			!strings.HasPrefix(o.Error, "cancelled by a newer run") {
			f.Error(o.State, o.Reason, o.Error)
		}
	}
	if len(first) != 1 {
		f.Errorf("%d targets ended", len(first))
	}
}

// A runNowCase is a rule, and what it makes of a request at 4 units, while the run of the tick of 3 units is in
// progress until 7 units.
type runNowCase struct {
	rule   runner.Overlap
	err    error
	starts []float64
}

var (
	runNowSkip   = runNowCase{runner.Skip, runner.ErrBusy, []float64{3}}
	runNowQueue  = runNowCase{runner.Queue, nil, []float64{3, 7}}
	runNowCancel = runNowCase{runner.Cancel, nil, []float64{3, 4}}
)

// A run that a person starts follows the overlap rule of ticks, and its id is that of the run.
func (f *fixture) runNow(c runNowCase) {
	ctx := context.Background()
	f.configure(block{
		name: "a", regions: []string{"r1"}, kinds: []string{"k"}, took: 4, overlap: c.rule,
		ticks: []runner.Tick{{Spec: "the tick of 3 units", Schedule: onlyOnce{period{f.from, f.units(3)}}}},
	})
	if _, err := f.newProcess(Options{}).Engine.Start(ctx, "a"); !errors.Is(err, runner.ErrNotRunning) {
		f.Error("before the engine runs:", err)
	}
	p := f.start(Options{})
	f.waitUntil(4)
	id, err := p.Engine.Start(ctx, "a")
	if !errors.Is(err, c.err) {
		f.Error("start:", err)
	}
	if _, err := p.Engine.Start(ctx, "b"); !errors.Is(err, runner.ErrUnknownAccount) {
		f.Error("start of an unknown account:", err)
	}
	f.waitUntil(12)
	f.drainAll()
	f.starts("a", c.starts...)
	runs := f.events.runs("a")
	if last := runs[len(runs)-1].Run; c.err == nil && last != id {
		f.Errorf("run %s, and Start returned %s", last, id)
	}
	if _, err := p.Engine.Start(ctx, "a"); !errors.Is(err, runner.ErrNotRunning) {
		f.Error("after the end:", err)
	}
}

// onlyOnce is due once.
type onlyOnce struct{ period }

func (n onlyOnce) Next(t time.Time) time.Time {
	if first := n.from.Add(n.every); t.Before(first) {
		return first
	}
	return time.Time{}
}
