package runnertest

import (
	"context"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// The run's timeout ends what is in progress, at the deadline; a call that ignores that is abandoned a grace later. The
// next tick is not concerned.
func (f *fixture) timeOut(ignores bool) {
	f.configure(block{
		name: "a", regions: []string{"r1", "r2"}, kinds: []string{"k"}, timeout: 2, ticks: []runner.Tick{f.every(5)},
		list: func(ctx context.Context, t record.Target) error {
			switch {
			case t.Region == "r1":
				return nil
			case ignores:
				f.ignore(4)
				return nil
			}
			return sleep(ctx, f.units(100))
		},
	})
	f.start(Options{})
	f.waitUntil(13.5)
	runs := f.events.runs("a")
	if len(runs) != 2 {
		f.Fatalf("%d runs", len(runs))
	}
	took, want := 2.0, map[string]record.Reason{"r1": "", "r2": record.TimedOut}
	if ignores {
		took, want["r2"] = 2.125, record.Stuck
	}
	for i, s := range runs {
		end, ok := f.events.end(s.Run)
		if !ok || end.Status != record.RunTimeout || f.late(f.since(end.at), float64(5*(i+1))+took) {
			f.Errorf("run %d: ended %t as %q after %g units", i, ok, end.Status, f.since(end.at))
		}
		outcomes := f.events.of(s.Run)
		for _, o := range outcomes {
			if o.Reason != want[o.Region] {
				f.Errorf("%v: %s %s: %s", o.Target, o.State, o.Reason, o.Error)
			}
		}
		if len(outcomes) != 2 {
			f.Errorf("run %d: %d targets ended", i, len(outcomes))
		}
	}
	f.starts("a", 5, 10)
}

// A drainCase is how long a listing takes that is in progress when a process stops, and how long the stop takes.
type drainCase struct {
	took    float64
	ignores bool
	after   float64 // units until Run has returned
	done    bool    // what was in progress is complete when Run returns
}

var (
	drainEnds    = drainCase{took: 3, after: 2, done: true}
	drainHangs   = drainCase{took: 100, after: 5}
	drainIgnores = drainCase{took: 9, ignores: true, after: 5.125}
)

// A process stops: no run begins, what is in progress may use the drain timeout, and Run returns soon after that, if a
// call ignores it, too. After the next start the account is listed completely, and every tick is a run or missed.
func (f *fixture) drain(c drainCase) {
	b := block{
		name: "a", regions: []string{"r1"}, kinds: []string{"k"}, ticks: []runner.Tick{f.every(4)},
		list: func(ctx context.Context, _ record.Target) error {
			if f.Now().After(f.at(8)) { // after the restart
				return nil
			}
			if c.ignores {
				f.ignore(c.took)
				return nil
			}
			return sleep(ctx, f.units(c.took))
		},
	}
	f.configure(b)
	p := f.startOne(Options{DrainTimeout: f.units(5)})
	f.waitUntil(5)
	p.drain()
	if took := f.since(f.Now()) - 5; f.late(took, c.after) {
		f.Errorf("the drain took %g units, want %g", took, c.after)
	}
	run := f.events.runs("a")[0].Run
	outcomes := f.events.of(run)
	if done := len(outcomes) == 1 && outcomes[0].State == record.OK; done != c.done {
		f.Errorf("complete: %t, want %t: %v", done, c.done, outcomes)
	}
	f.waitUntil(14.5)
	f.start(Options{})
	f.waitUntil(17)
	last := f.events.runs("a")
	if s := last[len(last)-1]; !s.Tick.Equal(f.at(16)) || f.aws.count(func(l *listing) bool {
		return l.run == s.Run && l.ok
	}) != 1 {
		f.Errorf("after the restart, the last run is of the tick after %g units", f.since(s.Tick))
	}
	// A tick within the drain may be reported as missed by it, and be made up or counted again after the start.
	all := len(last) + f.events.allMissed("a")
	if drained := f.events.missedCount("a", runner.MissedDrain); all != 4 && all-drained != 4 {
		f.Errorf("%d runs and %d missed, %d of them by the drain, of the ticks of 4, 8, 12 and 16",
			len(last), all-len(last), drained)
	}
	if _, ok := f.events.end(run); !ok {
		f.Error("the run that was in progress never ended")
	}
}

// A process is killed in the middle of a listing, and another one is started in its place. The account is not blocked:
// its targets are listed again by the next tick, or within Takeover. Nothing of the dead process is stored or counted.
func (f *fixture) workerDies() {
	f.configure(block{
		name: "a", regions: []string{"r1", "r2"}, kinds: []string{"k"}, ticks: []runner.Tick{f.every(4)},
		list: func(ctx context.Context, t record.Target) error {
			if t.Region == "r1" {
				return sleep(ctx, f.units(0.2))
			}
			return sleep(ctx, f.units(1.5))
		},
	})
	f.start(Options{})
	f.waitUntil(5)
	victims := f.working("r2")
	if len(victims) != 1 {
		f.Fatalf("%d processes list the target", len(victims))
	}
	victims[0].kill()
	f.startOne(Options{})
	f.waitUntil(5.1)
	killed := f.Now()
	deadline := f.at(4 + 4 + 1.5)
	if at := killed.Add(f.Takeover + f.units(1.5)); at.After(deadline) {
		deadline = at
	}
	listed := func() bool {
		return f.aws.count(func(l *listing) bool { return l.Region == "r2" && l.ok }) > 0
	}
	for !listed() && !f.Now().After(deadline.Add(f.Slack)) {
		time.Sleep(f.units(0.01))
	}
	if !listed() {
		f.Errorf("the dead worker's target was not listed %s after its death", f.Now().Sub(killed))
	}
	next := 4 * (float64(int(f.since(f.Now())/4)) + 1)
	f.waitUntil(next + 2.5) // the account is not blocked
	runs := f.events.runs("a")
	last := runs[len(runs)-1]
	end, ended := f.events.end(last.Run)
	if !last.Tick.Equal(f.at(next)) || !ended || end.Status != record.Success || len(f.events.of(last.Run)) != 2 {
		f.Errorf("the run of the tick after %g units: %s, %d targets", f.since(last.Tick), end.Status,
			len(f.events.of(last.Run)))
	}
}

// working are the processes that list a region now.
func (f *fixture) working(region string) (all []*process) {
	f.aws.count(func(l *listing) bool {
		if l.Region == region && l.ended.IsZero() {
			all = append(all, l.process)
		}
		return false
	})
	return all
}
