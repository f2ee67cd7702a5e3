package runner

import (
	"context"
	"errors"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// This file has what an engine offers, and what it calls apart from [Runner.Do].

// An Engine starts the jobs of a runner: by the schedules of the current configuration, and when a person asks. When
// something is next due it tells the observer ([NextStart]). Package runnertest has what every engine must do.
type Engine interface {
	// Run starts jobs by their schedules until ctx ends. Then no run begins; those in progress may use the drain timeout,
	// then they are cancelled, then abandoned; and Run returns. It follows a new configuration at once.
	Run(ctx context.Context) error
	// Once runs all kinds of each named account now and once; without names, of every account, and every task. It returns
	// when all have ended, in the order of the names. When ctx ends it drains as Run does, and the results have the status
	// of each.
	Once(ctx context.Context, accounts ...string) ([]RunResult, error)
	// Start runs all kinds of an account now, by its overlap rule, or a task, and returns the id of the run. It does not
	// wait for the run. Its error is ErrUnknownAccount, ErrBusy or ErrNotRunning.
	Start(ctx context.Context, account string) (run string, err error)
	// Cancel ends the runs of an account or task: those in progress with a cause, those that wait at once. It returns
	// their ids and does not wait. Its error is ErrUnknownAccount or ErrNotRunning.
	Cancel(ctx context.Context, account string, cause error) (runs []string, err error)
}

// Errors of an engine.
var (
	ErrUnknownAccount = errors.New("unknown account")
	ErrBusy           = errors.New("an earlier run is still in progress")
	ErrNotRunning     = errors.New("the engine is not running")
)

// A RunResult is how a run of [Engine.Once] ended.
type RunResult struct {
	Account, Run string
	Task         bool
	Status       record.Status
	Took         time.Duration
}

// A JobEngine is what a job needs from the engine that starts it.
type JobEngine struct {
	Slots    Slots
	Draining func() bool // the program is stopping; may be nil
	Commit   Commit
	Done     func(error) // called once, from the job's last goroutine, with the error of the commit
}

// Slots give out the right to list one target. A job's first worker has a slot from the start.
type Slots interface {
	TryAcquire(account string) bool
	Release(account string)
	HasWaiting() bool // a waiting job could have a slot
}

// Current returns the configuration and a channel that closes when another one replaces it.
func (r *Runner) Current() (*Configuration, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.configuration, r.changed
}

// Acquire keeps the current configuration open until Release. It returns nil if there is none.
func (r *Runner) Acquire() *Configuration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.configuration != nil {
		r.configuration.refs++
	}
	return r.configuration
}

// Release ends the use of a configuration. If it was replaced and this was its last use, the result is not nil: the
// caller must call it to close the configuration, which may take long.
func (r *Runner) Release(conf *Configuration) (closeIt func()) {
	if conf == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if conf.refs--; conf.refs > 0 {
		return nil
	}
	return conf.Close
}

// releaseNow ends the use of a configuration, and closes it if this was its last use.
func (r *Runner) releaseNow(conf *Configuration) {
	if closeIt := r.Release(conf); closeIt != nil {
		closeIt()
	}
}

// Observe passes an event of the engine to the observer.
func (r *Runner) Observe(e Event) { r.observe(e) }

// StoreRunStart stores that a run began. Like the next two it does not wait for the store.
func (r *Runner) StoreRunStart(row inventory.Run) {
	row.Process = r.o.Process
	r.runWriter.add(func(ctx context.Context) error { return r.o.Store.StartRun(ctx, row) })
}

// StoreRunEnd stores how a run ended that had begun.
func (r *Runner) StoreRunEnd(row inventory.Run) {
	row.Process = r.o.Process
	r.runWriter.addEnd(func(ctx context.Context) error { return r.o.Store.EndRun(ctx, row) })
}

// StoreMissed stores ticks for which no run began.
func (r *Runner) StoreMissed(row inventory.Run) {
	if row.ID == "" {
		row.ID = NewRun()
	}
	if row.Status == "" {
		row.Status = record.RunSkipped
	}
	row.Ended, row.Process = time.Now(), r.o.Process
	r.runWriter.add(func(ctx context.Context) error { return r.o.Store.EndRun(ctx, row) })
}

// FlushRuns waits until the store has the runs, for at most the end timeout. An engine calls it when it has stopped.
func (r *Runner) FlushRuns() { r.runWriter.flush(r.o.EndTimeout) }
