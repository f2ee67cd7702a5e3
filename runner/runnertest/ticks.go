package runnertest

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// late reports whether something that was due happened at another time than the engine may do it.
func (f *fixture) late(got, due float64) bool {
	const rounding = 1e-6
	return got < due-rounding || got > due+float64(f.Slack)/float64(f.Unit)+rounding
}

// starts checks when the runs of an account started, in units.
func (f *fixture) starts(account string, want ...float64) {
	f.Helper()
	var got []float64
	for _, s := range f.events.runs(account) {
		got = append(got, math.Round(1000*f.since(s.at))/1000)
	}
	if !slices.EqualFunc(got, want, func(g, w float64) bool { return !f.late(g, w) }) {
		f.Errorf("account %s: runs started after %v units, want %v", account, got, want)
	}
}

// statuses checks how the runs of an account ended.
func (f *fixture) statuses(account string, want ...record.Status) {
	f.Helper()
	if got := f.events.statusesOf(account); !slices.Equal(got, want) {
		f.Errorf("account %s: runs ended as %v, want %v", account, got, want)
	}
}

// missed checks how many ticks of an account were missed for a reason.
func (f *fixture) missed(account, reason string, want int) {
	f.Helper()
	if got := f.events.missedCount(account, reason); got != want {
		f.Errorf("account %s: %d ticks missed by %s, want %d", account, got, reason, want)
	}
}

// Each tick is one run, and its run lists and stores each target once, whoever did its jobs.
func (f *fixture) eachTargetOnce() {
	regions, kinds := []string{"r1", "r2"}, []string{"k1", "k2"}
	f.configure(
		block{name: "a", regions: regions, kinds: kinds, took: 0.5, ticks: []runner.Tick{f.every(3)}},
		block{name: "b", regions: regions, kinds: kinds, took: 0.5, ticks: []runner.Tick{f.every(3)}},
	)
	f.start(Options{})
	f.waitUntil(1)
	if next := f.events.nextStart("a"); !next.Equal(f.at(3)) {
		f.Errorf("the next start is after %g units, want 3", f.since(next))
	}
	f.waitUntil(11)
	f.drainAll()
	const success = record.Success
	for _, account := range []string{"a", "b"} {
		f.starts(account, 3, 6, 9)
		f.statuses(account, success, success, success)
		for i, s := range f.events.runs(account) {
			if !s.Tick.Equal(f.at(float64(3 * (i + 1)))) {
				f.Errorf("account %s: run %d has the tick %s", account, i, s.Tick)
			}
			outcomes := f.events.of(s.Run)
			for _, o := range outcomes {
				n := f.aws.count(func(l *listing) bool { return l.Target == o.Target && l.run == s.Run })
				if n != 1 || o.State != record.OK || o.Records != 1 {
					f.Errorf("%v: listed %d times, %d records, %s: %s", o.Target, n, o.Records, o.State, o.Error)
				}
			}
			if len(outcomes) != len(regions)*len(kinds) {
				f.Errorf("account %s: %d targets ended in a run", account, len(outcomes))
			}
		}
	}
	if n := len(f.commits); n != 2*3*4 {
		f.Errorf("%d ends were stored, want %d", n, 2*3*4)
	}
}

// Schedules with common kinds, long listings and impatient people: no target is listed twice at once, whatever the
// rule, and every tick is either a run or missed.
func (f *fixture) noTargetOverlaps() {
	rules := map[string]runner.Overlap{"a": runner.Skip, "b": runner.Queue, "c": runner.Cancel}
	var blocks []block
	for _, name := range []string{"a", "b", "c"} {
		blocks = append(blocks, block{
			name: name, regions: []string{"r1", "r2"}, kinds: []string{"k1", "k2", "k3"}, took: 2.7, overlap: rules[name],
			ticks: []runner.Tick{f.every(2, "k1", "k2"), f.every(3, "k2", "k3")},
		})
	}
	f.configure(blocks...)
	p := f.start(Options{})
	requested := map[string]int{}
	for _, at := range []float64{2.5, 5.5, 8.5, 8.75, 11.5} {
		f.waitUntil(at)
		for _, b := range blocks {
			_, _ = p.Engine.Start(context.Background(), b.name) // a run that is skipped is missed, too
			requested[b.name]++
		}
	}
	f.waitUntil(15.5)
	for i := range blocks {
		blocks[i].ticks = nil
	}
	f.configure(blocks...)
	f.waitUntil(25) // what waits has ended
	for _, b := range blocks {
		const ticks = 7 + 5 // until 15.5
		runs, missed := len(f.events.runs(b.name)), f.events.allMissed(b.name)
		if want := ticks + requested[b.name]; runs+missed != want || runs < 3 {
			f.Errorf("account %s: %d runs and %d missed, of %d ticks and requests", b.name, runs, missed, want)
		}
	}
}

// Kinds with separate schedules do not make each other miss a tick. A run of all kinds overlaps both.
func (f *fixture) ownSchedules() {
	f.configure(block{
		name: "a", regions: []string{"r1"}, kinds: []string{"k1", "k2"}, took: 1,
		ticks: []runner.Tick{f.every(3, "k1"), f.every(6, "k2")},
	})
	p := f.start(Options{})
	f.waitUntil(6.25)
	if _, err := p.Engine.Start(context.Background(), "a"); !errors.Is(err, runner.ErrBusy) {
		f.Error("a run of all kinds during others:", err)
	}
	f.waitUntil(13)
	f.starts("a", 3, 6, 6, 9, 12, 12)
	for _, s := range f.events.runs("a") {
		if n := len(f.events.of(s.Run)); n != 1 && f.since(s.Tick) < 12 {
			f.Errorf("the run of the tick after %g units has %d targets", f.since(s.Tick), n)
		}
	}
	f.missed("a", runner.MissedOverlap, 1) // the request
	if n := f.events.allMissed("a"); n != 1 {
		f.Errorf("%d ticks were missed", n)
	}
	f.waitUntil(14.5)
	id, err := p.Engine.Start(context.Background(), "a")
	if err != nil {
		f.Error("a run of all kinds after the others:", err)
	}
	f.waitUntil(14.9)
	f.drainAll()
	if n := len(f.events.of(id)); n != 2 {
		f.Errorf("the run of all kinds has %d targets", n)
	}
}

// All processes are down for a long time: the ticks that were missed are one run, soon after the start, and are counted
// with their reason. A restart at once does not run again.
func (f *fixture) allDown() {
	f.jitter = 0.1
	f.configure(
		block{name: "a", regions: []string{"r1"}, kinds: []string{"k"}, ticks: []runner.Tick{f.every(3)}},
		block{name: "b", regions: []string{"r1"}, kinds: []string{"k"}, ticks: []runner.Tick{f.every(1000)}},
	)
	f.start(Options{})
	f.waitUntil(3.5)
	f.drainAll()
	if n := len(f.events.runs("a")); n != 1 {
		f.Fatalf("%d runs before the stop", n)
	}
	f.Suspend(f.units(60))
	f.start(Options{})
	f.waitUntil(65) // the ticks of 6 … 63 were missed; the next one is that of 66
	f.drainAll()
	runs := f.events.runs("a")
	latest := 63.5 + f.jitter + float64(f.Slack)/float64(f.Unit)
	if last := runs[len(runs)-1]; len(runs) != 2 || !last.Tick.Equal(f.at(63)) || f.since(last.at) > latest {
		f.Errorf("%d runs, the last at %g units of the tick at %g", len(runs), f.since(last.at), f.since(last.Tick))
	}
	f.missed("a", runner.MissedDowntime, 19)
	f.start(Options{})
	f.waitUntil(65.5)
	f.drainAll()
	if n := len(f.events.runs("a")); n != 2 {
		f.Errorf("a restart at once ran again: %d runs", n)
	}
	f.missed("a", runner.MissedDowntime, 19)
	if n := len(f.events.runs("b")); n != 0 {
		f.Errorf("account b was not due, and ran %d times", n)
	}
}

// The machines sleep over many ticks: the last one runs, the others are missed by that reason.
func (f *fixture) slept() {
	f.configure(block{name: "a", regions: []string{"r1"}, kinds: []string{"k"}, ticks: []runner.Tick{f.every(3)}})
	f.start(Options{})
	f.waitUntil(3.5)
	f.Suspend(f.units(72)) // 75.5: the ticks of 6 … 75
	time.Sleep(f.units(1)) // an engine notices within some time
	f.waitUntil(77)
	runs := f.events.runs("a")
	if len(runs) != 2 || !runs[len(runs)-1].Tick.Equal(f.at(75)) {
		f.Errorf("%d runs, the last of the tick after %g units", len(runs), f.since(runs[len(runs)-1].Tick))
	}
	f.missed("a", runner.MissedSuspended, 23)
	f.waitUntil(79)
	if n := len(f.events.runs("a")); n != 3 {
		f.Errorf("%d runs, want that of the tick of 78, too", n)
	}
}
