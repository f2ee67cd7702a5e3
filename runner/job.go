package runner

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// jobWidth is how many targets of one job are listed at once, and for how many parents a kind with a Parent is listed
// at once, if there are slots. Each API has its own budget, so concurrent kinds do not slow each other down.
const jobWidth = 4

// slots gives out the right to list one target. A job's first worker has a slot from the start.
type slots interface {
	tryAcquire(account string) bool
	release(account string)
	hasWaiting() bool // a waiting job could have a slot
}

// A job is a Job in progress: a list of steps, run by a few workers. The workers are the only goroutines, and each has
// a slot, so the number of goroutines depends on the listings in progress and not on those that wait.
type job struct {
	Job
	r      *Runner
	conf   *Configuration
	a      *Account // nil: it is no longer configured
	ctx    context.Context
	cancel context.CancelCauseFunc
	jobEngine

	timeoutErr error // the cause when the run's deadline ended this
	opened     OpenedAccount
	identity   record.Identity

	mu        sync.Mutex
	ready     []step
	workers   int
	calls     []*supervised // in progress
	tally     Tally
	followUps []Job
}

// A jobEngine is what a job needs from its engine.
type jobEngine struct {
	slots         slots
	shutdownCause func() error // returns why nothing new may begin, or nil; the func may be nil
	commit        Commit
	done          func(error) // called once, from the job's last goroutine, with the error of the commit
}

// A step is a unit of a job's work. Both work and end may be abandoned, and must then have no further effect. after is
// called exactly once, when end has returned or was abandoned, and is quick.
type step interface {
	work(ctx context.Context) error
	end(ctx context.Context, err error, late func()) // ctx is for outputs; late is called when the store's time is over
	after()
	target() record.Target
	storing() bool // end has reached the store
	// skipReason returns why work must not be called, or nil. stopped is why the job cannot continue, or nil.
	skipReason(stopped error) error
}

// startJob runs a job in this goroutine and others. It returns when this goroutine has nothing more to do; done is
// called when none has.
func (r *Runner) startJob(ctx context.Context, conf *Configuration, spec Job, engine jobEngine) {
	j := &job{Job: spec, r: r, conf: conf, a: conf.Account(spec.Account), jobEngine: engine, workers: 1}
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
	stopWatching := context.AfterFunc(j.ctx, func() { time.AfterFunc(r.o.Grace, j.abandonCalls) })
	j.done = func(err error) {
		stopWatching()
		stop()
		j.cancel(nil)
		r.active.remove(j)
		engine.done(err)
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

// runSteps runs steps until none is ready. It has a slot, and releases it.
func (j *job) runSteps() {
	for {
		s := j.nextStep()
		if s == nil {
			break
		}
		if !j.runStep(s) {
			return // the step was abandoned, and another goroutine has the slot
		}
	}
}

// nextStep returns the next step, or nil when this worker must end: then its slot is released, and the last worker
// finishes the job.
func (j *job) nextStep() step {
	j.mu.Lock()
	for n := min(len(j.ready)-1, jobWidth-j.workers); n > 0 && j.slots.tryAcquire(j.Account); n-- {
		j.workers++
		go j.runSteps()
	}
	if len(j.ready) > 0 && (j.workers == 1 || !j.slots.hasWaiting()) {
		s := j.ready[0]
		j.ready[0] = nil
		j.ready = j.ready[1:]
		j.mu.Unlock()
		return s
	}
	j.workers--
	last := j.workers == 0
	j.mu.Unlock()
	j.slots.release(j.Account)
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
	return j.shutdownErr()
}

// shutdownErr returns why the program is stopping, or nil.
func (j *job) shutdownErr() error {
	if j.shutdownCause != nil {
		return j.shutdownCause()
	}
	return nil
}

// runStep runs one step and reports whether this goroutine may continue.
func (j *job) runStep(s step) bool {
	call := &supervised{r: j.r, takeOver: func() {
		if j.endStep(s, j.abandonedErr(s)) {
			j.runSteps()
		}
	}}
	j.mu.Lock()
	j.calls = append(j.calls, call)
	j.mu.Unlock()
	var err error
	inTime := call.run(func() {
		if err = s.skipReason(j.stopErr()); err == nil {
			err = catchPanic(func() error { return s.work(j.ctx) })
		}
	})
	if !inTime {
		return false
	}
	j.mu.Lock()
	j.calls = slices.DeleteFunc(j.calls, func(c *supervised) bool { return c == call })
	j.mu.Unlock()
	return j.endStep(s, j.withCause(err))
}

// abandonCalls is called when the job was cancelled and the grace period is over.
func (j *job) abandonCalls() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, call := range j.calls {
		go call.abandon()
	}
}

func (j *job) endStep(s step, err error) bool {
	call := &supervised{r: j.r, takeOver: func() {
		t := s.target()
		j.r.log.Error("timed out finishing the target",
			"account", j.Account, "region", t.Region, "kind", t.Kind, "run", j.Run,
			"hint", "Look for an output or a store that does not answer.")
		s.after()
		j.runSteps()
	}}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(j.ctx))
	defer cancel(context.Canceled)
	var t *time.Timer
	late := false
	t = time.AfterFunc(math.MaxInt64, func() { // started below, when t is set
		switch {
		case s.storing(): // see storeContext
		case late:
			call.abandon()
		default:
			late = true
			cancel(j.r.endTimeoutErr())
			t.Reset(time.Second)
		}
	})
	t.Reset(j.r.o.EndTimeout)
	defer t.Stop()
	var p *panicError
	if errors.As(err, &p) {
		j.logPanic(s.target(), p)
	}
	if !call.run(func() { s.end(ctx, err, call.abandon) }) {
		return false
	}
	s.after()
	return true
}

func (j *job) logPanic(t record.Target, p *panicError) {
	j.r.log.Error("panic",
		"account", j.Account, "region", t.Region, "kind", t.Kind, "run", j.Run,
		"panic", fmt.Sprint(p.value), "stack", string(p.stack))
}

// abandonedErr logs and returns the error of a step that ignored its context.
func (j *job) abandonedErr(s step) error {
	t := s.target()
	cause := context.Cause(j.ctx)
	j.r.log.Error("call abandoned: did not stop after its deadline",
		"account", j.Account, "region", t.Region, "kind", t.Kind, "run", j.Run,
		"cause", cause.Error(), "abandoned", j.r.Abandoned())
	return &record.Fault{
		Reason: record.Stuck,
		Hint:   "Report this bug of the collector or of an output. Restart the collector to free what the call holds.",
		Err:    fmt.Errorf("abandoned: did not stop within %s after: %w", j.r.o.Grace, cause),
	}
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
	err := catchPanic(func() (err error) {
		progress, err = j.commit(ctx, Completion{Job: j.Job, FollowUps: j.followUps, Tally: j.tally})
		return err
	})
	if err != nil {
		err = fmt.Errorf("account %q: commit a job of run %s: %w", j.Account, j.Run, err)
	}
	if progress.Ended {
		j.r.observe(RunEnded{j.Account, j.Run, progress.Tally.Status(), progress.Tally.duration()})
		if j.a != nil && j.a.AfterRun != nil {
			j.a.AfterRun(context.WithoutCancel(j.ctx))
		}
	}
	j.done(err)
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

// An openStep is the first step of each job: the sign-in and, in a job without a region, the plan.
type openStep struct {
	j *job

	mu       sync.Mutex
	ended    bool // late results of work are discarded
	err      error
	opened   OpenedAccount
	identity record.Identity
	plan     Plan

	failedTargets []record.Target // that fail with err
}

func (e *openStep) target() record.Target {
	return record.Target{Account: e.j.Account, Region: e.j.Region}
}
func (e *openStep) skipReason(stopped error) error { return stopped }
func (e *openStep) storing() bool                  { return true } // its end calls no output

func (e *openStep) work(ctx context.Context) error {
	j := e.j
	o, err := j.a.Open(ctx)
	if err != nil {
		if err = e.signInErr(ctx, err); errors.As(err, new(*signInError)) {
			e.storeSignIn(inventory.SignIn{Error: err.Error(), Hint: record.HintOf(err)})
		}
		return err
	}
	identity := o.Identity()
	e.mu.Lock()
	if e.ended {
		e.mu.Unlock()
		return errTargetOver
	}
	e.opened, e.identity = o, identity
	e.mu.Unlock()
	signIn := o.SignIn()
	signIn.AccountID, signIn.Partition, signIn.ARN = identity.AccountID, identity.Partition, identity.ARN
	if err := j.r.o.Claim(j.Account, identity); err != nil {
		signIn.Error, signIn.Hint = err.Error(), record.HintOf(err)
		e.storeSignIn(signIn)
		return err
	}
	if j.Region != "" {
		return nil
	}
	j.r.observe(SignedIn{j.Account, identity})
	e.storeSignIn(signIn)
	g := j.r.o.Limits.Gate(j.Account, "", Kind{})
	defer g.close()
	plan, err := o.Regions(ctx, g)
	if err != nil {
		return &planError{err}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended {
		e.plan = plan
	}
	return nil
}

// storeSignIn stores how the account signed in at the begin of the run.
func (e *openStep) storeSignIn(s inventory.SignIn) {
	if e.j.Region != "" {
		return
	}
	s.Account, s.Checked = e.j.Account, time.Now()
	e.j.r.runWriter.add(func(ctx context.Context) error { return e.j.r.o.Store.PutSignIn(ctx, s) })
}

// signInErr marks an error as a failed sign-in, unless the run was cancelled meanwhile.
func (e *openStep) signInErr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return &signInError{err}
}

// A signInError marks an error of the sign-in: the state is auth_failed, the reason is the error's own.
type signInError struct{ error }

func (e *signInError) Unwrap() error { return e.error }

// A planError marks an error of finding the account's regions: a state that is harmless for one region is a failure for
// all of them.
type planError struct{ err error }

func (e *planError) Error() string { return "find the regions: " + e.err.Error() }
func (e *planError) Unwrap() error { return e.err }

func (e *openStep) end(ctx context.Context, err error, late func()) {
	e.mu.Lock()
	e.ended, e.err = true, err
	plan, identity := e.plan, e.identity
	e.mu.Unlock()
	j := e.j
	ctx, cancel := j.storeContext(ctx, late)
	defer cancel()
	switch {
	case j.Region != "":
	case err != nil:
		kinds, unknown := j.selectedKinds()
		failed := j.r.expectedTargets(ctx, j.a, kinds)
		for _, k := range unknown {
			failed = append(failed, record.Target{Account: j.Account, Kind: k})
		}
		e.mu.Lock()
		e.failedTargets = failed
		e.mu.Unlock()
	case len(plan.Regions) > 0:
		err := catchPanic(func() error { return j.retire(ctx, identity, plan) })
		if !errors.Is(err, context.Canceled) { // the program is stopping, and the store did not fail
			configured := func(name string) bool { return j.conf.Account(name) != nil }
			j.r.retireOutage.report(j.r.log, j.Account, err, configured, "account", j.Account)
		}
	}
}

// retire retires targets in regions that a complete answer of AWS no longer names, and targets of kinds that are no
// longer configured.
func (j *job) retire(ctx context.Context, id record.Identity, plan Plan) error {
	known, err := j.r.o.Store.ActiveTargets(ctx, j.Account)
	if err != nil {
		return err
	}
	allRegions := plan.Complete && plan.Warning == nil
	var regions, kinds []record.Target
	for _, t := range known {
		planned := slices.Contains(plan.Regions, t.Region) || slices.Contains(plan.Disabled, t.Region)
		switch {
		case allRegions && !planned:
			regions = append(regions, t)
		case !j.a.Narrowed && !slices.ContainsFunc(j.a.Kinds, func(k Kind) bool { return k.Name == t.Kind }):
			kinds = append(kinds, t)
		}
	}
	if len(regions) > 0 {
		err = j.r.o.Store.Retire(ctx, id, regions, inventory.RegionRemoved)
	}
	if len(kinds) > 0 {
		err = errors.Join(err, j.r.o.Store.Retire(ctx, id, kinds, inventory.KindRemoved))
	}
	return err
}

// after adds the listings of a region, makes the follow-ups of a plan, or ends every target that a failure prevents.
func (e *openStep) after() {
	e.mu.Lock()
	defer e.mu.Unlock()
	j := e.j
	j.opened, j.identity = e.opened, e.identity
	switch {
	case j.Region != "" && e.err == nil:
		j.addListings()
	case j.Region != "":
		kinds, unknown := j.selectedKinds()
		for _, k := range kinds {
			j.addSteps(j.newListing(k, j.Region, e.err))
		}
		for _, name := range unknown {
			j.addSteps(j.newListing(Kind{Name: name}, j.Region, errRemoved))
		}
	case e.err != nil:
		if e.failedTargets == nil { // end was abandoned before it had them
			kinds, _ := j.selectedKinds()
			e.failedTargets = targetsIn(j.Account, []string{""}, kinds)
		}
		for _, t := range e.failedTargets {
			k, ok := j.a.kind(t.Kind)
			err := e.err
			if !ok {
				k, err = Kind{Name: t.Kind}, errRemoved
			}
			j.addSteps(j.newListing(k, t.Region, err))
		}
	default:
		j.applyPlan(e.plan)
	}
}

// NotEnabledError is the error of a configured region that the account has not enabled.
func NotEnabledError(region string) error {
	return &record.Fault{
		Reason: record.DisabledRegion,
		Hint:   "Enable the region for the account, or remove it from regions.",
		Err:    fmt.Errorf("region %s is not enabled for the account", region),
	}
}

// applyPlan makes the follow-up jobs of a plan.
func (j *job) applyPlan(plan Plan) {
	kinds, unknown := j.selectedKinds()
	j.tally.AllKinds = len(kinds) == len(j.a.Kinds)
	plan = j.r.plans.set(j.Account, plan)
	j.r.observe(RegionsPlanned{j.Account, plan.Regions, plan.Disabled, plan.Warning})
	var all, regional []string
	for _, k := range kinds {
		all = append(all, k.Name)
		if !k.Global {
			regional = append(regional, k.Name)
		}
	}
	for i, region := range plan.Regions {
		next := j.Job
		next.Region, next.Kinds = region, regional // jobs share the slice: thousands may wait
		if i == 0 {
			next.Kinds = all
		}
		if len(next.Kinds) > 0 {
			j.followUps = append(j.followUps, next)
		}
	}
	for i, region := range plan.Disabled {
		for _, k := range kinds {
			if k.Global && (i > 0 || len(plan.Regions) > 0) {
				continue
			}
			j.addSteps(j.newListing(k, region, NotEnabledError(region)))
		}
	}
	for _, name := range unknown {
		j.addSteps(j.newListing(Kind{Name: name}, "", errRemoved))
	}
	if len(plan.Regions)+len(plan.Disabled) == 0 {
		for _, k := range kinds {
			j.addSteps(j.newListing(k, "", &record.Fault{
				Reason: record.Other,
				Hint:   "Set regions to names or globs of regions that are enabled for the account.",
				Err:    errors.New("regions matches no enabled region of the account"),
			}))
		}
	}
}
