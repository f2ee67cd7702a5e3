// Package runnertest is the conformance test suite for engines: the same cases for an engine in one process and for one
// that many processes share. A case counts time in units: an engine in a bubble of fake time is held to exact instants,
// one with a real database to instants within its slack. Begin at [Run].
package runnertest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/aws-collector/collector/runner"
)

// A Subject is the engine under test.
type Subject struct {
	// Case calls f with a world of its own: in a bubble of fake time, or in real time on a database that no other case
	// uses. f may call Fatal.
	Case func(t *testing.T, f func(*testing.T, World))
}

// A World is what the processes of one case share. Its functions are called by many goroutines.
type World struct {
	// Unit is the time that cases count in. A schedule has a period of a few units; a case takes at most 25.
	Unit time.Duration
	// Slack is how much later than due an engine may begin, end or report something: less than a quarter of a unit. Zero
	// in fake time.
	Slack time.Duration
	// Processes is how many run at once: one, unless the engine shares its work.
	Processes int
	// Takeover is how long after the death of a process another one may take to finish its targets, beside the time that
	// a listing takes. Zero: they are listed at the account's next tick.
	Takeover time.Duration
	// Now is the clock that schedules follow, which is a database's where there is one.
	Now func() time.Time
	// Suspend moves that clock forward, as if every machine had slept. An engine that runs notices it within a unit.
	Suspend func(time.Duration)
	// Store is the store of one process. What one process commits, all see.
	Store func() runner.Store
	// New makes the engine of one more process. It is called again for a process that is started again.
	New func(r *runner.Runner, o Options) Process
	// Settle waits until goroutines that have nothing left to do have ended; nil: nothing is waited for.
	Settle func()
}

// Options are those of an engine that a case chooses.
type Options struct {
	Slots        int // how many targets a process lists at once; one account may use an eighth of them
	DrainTimeout time.Duration
	Log          *slog.Logger
}

// A Process is an engine in a process.
type Process struct {
	Engine runner.Engine
	// Cut takes from the engine everything that outlives it, its connections and its files, as a kill would: what it still
	// tries must fail or have no effect. The suite cuts it off from AWS, the store and the observer.
	Cut func()
}

// cases are what every engine must do.
var cases = []struct {
	name string
	run  func(*fixture)
}{
	{"a tick becomes each target once", (*fixture).eachTargetOnce},
	{"no target overlaps itself", (*fixture).noTargetOverlaps},
	{"kinds with their own schedules", (*fixture).ownSchedules},
	{"overlap: skip", func(f *fixture) { f.overlap(overlapSkip) }},
	{"overlap: queue", func(f *fixture) { f.overlap(overlapQueue) }},
	{"overlap: queue, beyond the next tick", func(f *fixture) { f.overlap(overlapQueueLong) }},
	{"overlap: cancel", func(f *fixture) { f.overlap(overlapCancel) }},
	{"a run times out", func(f *fixture) { f.timeOut(false) }},
	{"a run times out and a call ignores it", func(f *fixture) { f.timeOut(true) }},
	{"a drain waits for what ends in time", func(f *fixture) { f.drain(drainEnds) }},
	{"a drain ends with its timeout", func(f *fixture) { f.drain(drainHangs) }},
	{"a drain abandons what ignores it", func(f *fixture) { f.drain(drainIgnores) }},
	{"run now, overlap: skip", func(f *fixture) { f.runNow(runNowSkip) }},
	{"run now, overlap: queue", func(f *fixture) { f.runNow(runNowQueue) }},
	{"run now, overlap: cancel", func(f *fixture) { f.runNow(runNowCancel) }},
	{"run once", (*fixture).once},
	{"a person cancels", (*fixture).cancelled},
	{"a person pauses", (*fixture).paused},
	{"all were down", (*fixture).allDown},
	{"machines slept", (*fixture).slept},
	{"reload during a run", (*fixture).reloadDuringARun},
	{"reload keeps timers", (*fixture).reloadKeepsTimers},
	{"reload drops waiting runs", (*fixture).reloadDropsWaiting},
	{"a member joins", (*fixture).memberJoins},
	{"a task runs by its schedule", (*fixture).taskSchedule},
	{"a person cancels a task", (*fixture).taskCancelled},
	{"a worker dies", (*fixture).workerDies},
}

// Run runs the suite.
func Run(t *testing.T, s Subject) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s.Case(t, func(t *testing.T, w World) {
				f := newFixture(t, w)
				defer f.killAll() // after a Fatal: nothing of the case runs on
				c.run(f)
				f.check()
			})
		})
	}
}

// sleep is the time that something takes, unless its context ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
