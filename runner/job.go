package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
)

// jobWidth is how many targets of one job are listed at once, and for how many parents a kind with a Parent is listed
// at once, if there are slots. Each API has its own budget, so concurrent kinds do not slow each other down.
const jobWidth = 4

// A job is a Job in progress: a list of steps, run by a few workers. The workers are the only goroutines, and each has
// a slot, so the number of goroutines depends on the listings in progress and not on those that wait.
type job struct {
	Job
	r      *Runner
	conf   *Configuration
	a      *Account // nil: it is no longer configured
	ctx    context.Context
	late   context.Context // ends when the time is over for calls that ignore the end of ctx
	cancel context.CancelCauseFunc
	JobEngine

	timeoutErr error // the cause when the run's deadline ended this
	opened     OpenedAccount
	identity   record.Identity

	mu        sync.Mutex
	ready     []step
	workers   int
	tally     Tally
	followUps []Job
}

// A step is a unit of a job's work. run ends the step, and reports whether this goroutine may go on with the next one:
// see supervise.
type step interface{ run() bool }

// StartJob runs a job in this goroutine and others. It returns when this goroutine has nothing more to do; Done is
// called when none has. The engine keeps the configuration open, and has acquired the job's first slot. [Runner.Do] is
// the simpler call for an engine without slots.
func (r *Runner) StartJob(ctx context.Context, conf *Configuration, spec Job, engine JobEngine) {
	j := &job{Job: spec, r: r, conf: conf, a: conf.Account(spec.Account), JobEngine: engine, workers: 1}
	if j.Deadline.IsZero() && j.a != nil && j.a.Timeout > 0 {
		j.Deadline = time.Now().Add(j.a.Timeout)
	}
	ctx, j.cancel = context.WithCancelCause(ctx)
	j.ctx = ctx
	stop := func() {}
	if !j.Deadline.IsZero() {
		j.timeoutErr = &record.Fault{
			Reason: record.TimedOut,
			Hint:   "Raise the account's timeout, or list fewer kinds or regions.",
			Err:    fmt.Errorf("the run timed out at %s", j.Deadline.UTC().Format(time.RFC3339)),
		}
		j.ctx, stop = context.WithDeadlineCause(ctx, j.Deadline, j.timeoutErr)
	}
	late, endLate := context.WithCancel(context.Background())
	j.late = late
	stopWatching := context.AfterFunc(j.ctx, func() { time.AfterFunc(r.o.Grace, endLate) })
	j.Done = func(err error) {
		stopWatching()
		stop()
		j.cancel(nil)
		r.active.remove(j)
		engine.Done(err)
	}
	r.active.add(j)
	if j.Region == "" {
		j.tally.Started = time.Now()
		r.observe(RunStarted{j.Account, j.Run, j.Tick})
	}
	switch {
	case j.a == nil:
		j.endRemoved()
	default:
		j.addSteps(&openStep{j: j})
	}
	j.runSteps()
}

// endRemoved ends the targets of an account that was removed from the configuration while the job was queued.
func (j *job) endRemoved() {
	for _, k := range j.Kinds {
		j.addSteps(j.newListing(Kind{Name: k}, j.Region, errRemoved))
	}
}

var errRemoved = errors.New("the account or the kind was removed from the configuration")

func (j *job) addSteps(ss ...step) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ready = append(j.ready, ss...)
}

// runSteps runs steps until none is ready. It has a slot, and releases it. If a step was abandoned, another goroutine
// has the slot.
func (j *job) runSteps() {
	for s := j.nextStep(); s != nil && s.run(); {
		s = j.nextStep()
	}
}

// nextStep returns the next step, or nil when this worker must end: then its slot is released, and the last worker
// finishes the job.
func (j *job) nextStep() step {
	j.mu.Lock()
	for n := min(len(j.ready)-1, jobWidth-j.workers); n > 0 && j.Slots.TryAcquire(j.Account); n-- {
		j.workers++
		go j.runSteps()
	}
	if len(j.ready) > 0 && (j.workers == 1 || !j.Slots.HasWaiting()) {
		s := j.ready[0]
		j.ready[0] = nil
		j.ready = j.ready[1:]
		j.mu.Unlock()
		return s
	}
	j.workers--
	last := j.workers == 0
	j.mu.Unlock()
	j.Slots.Release(j.Account)
	if last {
		j.finish()
	}
	return nil
}

// stopErr returns why nothing more may begin, or nil.
func (j *job) stopErr() error {
	if j.ctx.Err() != nil {
		return context.Cause(j.ctx)
	}
	return nil
}

func (j *job) logPanic(t record.Target, p *panicError) {
	j.r.log.Error("panic",
		"account", j.Account, "region", t.Region, "kind", t.Kind, "run", j.Run,
		"panic", fmt.Sprint(p.value), "stack", string(p.stack))
}

// listingErr returns the error that a call of a step ended with. It adds the reason why the job was cancelled, and logs
// a panic, or that the call was abandoned.
func (j *job) listingErr(t record.Target, err error) error {
	var p *panicError
	switch {
	case errors.Is(err, errAbandoned):
		cause := context.Cause(j.ctx)
		j.r.log.Error("call abandoned: did not stop after its deadline",
			"account", j.Account, "region", t.Region, "kind", t.Kind, "run", j.Run,
			"cause", cause.Error(), "abandoned", j.r.Abandoned())
		return &record.Fault{
			Reason: record.Stuck,
			Hint:   "Report this bug of the collector or of an output. Restart the collector to free what the call holds.",
			Err:    fmt.Errorf("abandoned: did not stop within %s after: %w", j.r.o.Grace, cause),
		}
	case errors.As(err, &p):
		j.logPanic(t, p)
	}
	return j.withCause(err)
}

// logEndAbandoned logs that the end of a target took too long.
func (j *job) logEndAbandoned(t record.Target) {
	j.r.log.Error("timed out finishing the target",
		"account", j.Account, "region", t.Region, "kind", t.Kind, "run", j.Run,
		"hint", "Look for an output or a store that does not answer.")
}

// withCause adds the reason why the job was cancelled to an error that only says that it was.
func (j *job) withCause(err error) error {
	if err == nil || j.ctx.Err() == nil {
		return err
	}
	cause := context.Cause(j.ctx)
	if errors.Is(err, cause) {
		return err
	}
	switch record.ReasonOf(err) {
	case record.TimedOut, record.Interrupted, record.Network, record.Other:
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// runTimedOut reports whether the run's timeout ended the job.
func (j *job) runTimedOut() bool {
	return j.timeoutErr != nil && j.ctx.Err() != nil && context.Cause(j.ctx) == j.timeoutErr
}

// finish commits the job. The one whose commit ends the run reports that.
func (j *job) finish() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(j.ctx), j.r.o.EndTimeout)
	defer cancel()
	var progress Progress
	err := CatchPanic(func() (err error) {
		progress, err = j.Commit(ctx, Completion{Job: j.Job, FollowUps: j.followUps, Tally: j.tally})
		return err
	})
	if err != nil {
		err = fmt.Errorf("account %q: commit a job of run %s: %w", j.Account, j.Run, err)
	}
	if progress.Ended {
		j.r.observe(RunEnded{j.Account, j.Run, progress.Tally.Status(), progress.Tally.Duration()})
		if j.a != nil && j.a.AfterRun != nil {
			j.a.AfterRun(context.WithoutCancel(j.ctx))
		}
	}
	j.Done(err)
}

// selectedKinds returns the kinds that the job names, in the account's order, in which parents come first. unknown are
// names of kinds that the account does not list.
func (j *job) selectedKinds() (kinds []Kind, unknown []string) {
	if len(j.Kinds) == 0 {
		return j.a.Kinds, nil
	}
	for _, k := range j.a.Kinds {
		if slices.Contains(j.Kinds, k.Name) {
			kinds = append(kinds, k)
		}
	}
	for _, name := range j.Kinds {
		if !slices.ContainsFunc(kinds, func(k Kind) bool { return k.Name == name }) {
			unknown = append(unknown, name)
		}
	}
	return kinds, unknown
}

// addListings adds the listings of a region. A kind with a parent is ready when the parent's listing has ended; a
// parent that the job does not name is listed only for its ids.
func (j *job) addListings() {
	kinds, unknown := j.selectedKinds()
	made := map[string]*listing{}
	var roots []step
	var need func(name string, hidden bool) *listing
	need = func(name string, hidden bool) *listing {
		if l := made[name]; l != nil {
			l.hidden = l.hidden && hidden
			return l
		}
		k, _ := j.a.kind(name)
		l := j.newListing(k, j.Region, nil)
		l.hidden = hidden
		made[name] = l
		if k.Parent == "" {
			roots = append(roots, l)
			return l
		}
		l.parent = need(k.Parent, true)
		l.parent.children = append(l.parent.children, l)
		return l
	}
	for _, k := range kinds {
		need(k.Name, false)
	}
	for _, name := range unknown {
		roots = append(roots, j.newListing(Kind{Name: name}, j.Region, errRemoved))
	}
	j.addSteps(roots...)
}
