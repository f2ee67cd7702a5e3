package runner

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
)

// jobWidth is how many targets of one job are listed at once, and how many parents a kind with a Parent asks for at
// once, when there are places. EC2's budgets are kept for each API, so kinds side by side do not slow each other down.
const jobWidth = 4

// places hands out the right to list one target. A job's first worker brings its own.
type places interface {
	try(account string) bool
	leave(account string)
	wanted() bool // by someone who waits
}

// A job is a Job at work: a list of steps, taken by a few workers. The workers are the only goroutines, and each holds a
// place, so goroutines follow what is listed at once and not what is to be listed.
type job struct {
	Job
	r      *Runner
	f      *Fleet
	a      *Account // nil: it is not in the fleet any more
	ctx    context.Context
	cancel context.CancelCauseFunc
	places places
	halt   func() error // why nothing new may begin, nil while it may; nil: never
	over   func(jobResult)

	timeout error // the cause when the run's deadline ended this
	opened  Opened
	who     record.Identity

	mu      sync.Mutex
	ready   []step
	workers int
	calls   []*supervised // works under way
	tally   Tally
	follow  []Job
}

// jobResult is what an engine hears: once, from whichever goroutine was the last.
type jobResult struct {
	follow []Job
	err    error
	ended  bool // the run is over
	status record.Status
	took   time.Duration
}

// A step is one thing that a worker does. work and end may both be given up on, after which what they still do must not
// count; after is called exactly once, when end has returned or was given up on, and is quick.
type step interface {
	work(ctx context.Context) error
	end(ctx context.Context, err error, late func()) // ctx is the outputs'; late is for when the ledger's time is over
	after()
	target() record.Target
	storing() bool // the end has come as far as the ledger
	// unreached says why work is left out; nil: it is not. It is asked before work, with what keeps the job from going on.
	unreached(stopped error) error
}

// start does a job. It returns when this goroutine has nothing more to do for it; over is told when all have.
func (r *Runner) start(ctx context.Context, f *Fleet, spec Job, p places, halt func() error, over func(jobResult)) {
	j := &job{Job: spec, r: r, f: f, a: f.Account(spec.Account), places: p, halt: halt, workers: 1}
	if j.Deadline.IsZero() && j.a != nil && j.a.Timeout > 0 {
		j.Deadline = time.Now().Add(j.a.Timeout)
	}
	ctx, j.cancel = context.WithCancelCause(ctx)
	j.ctx = ctx
	stop := func() {}
	if !j.Deadline.IsZero() {
		j.timeout = &record.Fault{Reason: record.TimedOut, Hint: "raise the account's timeout, or list fewer kinds or regions",
			Err: fmt.Errorf("the run's time-out is over, at %s", j.Deadline.UTC().Format(time.RFC3339))}
		j.ctx, stop = context.WithDeadlineCause(ctx, j.Deadline, j.timeout)
	}
	watched := context.AfterFunc(j.ctx, func() { time.AfterFunc(r.o.Grace, j.giveUp) })
	j.over = func(res jobResult) {
		watched()
		stop()
		j.cancel(nil)
		r.claims.remove(j)
		over(res)
	}
	r.claims.add(j)
	if j.Region == "" {
		j.tally.Started = time.Now()
		r.watch.RunStarted(j.Account, j.Run, j.Tick)
	}
	switch {
	case j.a == nil:
		j.gone()
	default:
		j.add(&entering{j: j})
	}
	j.workOn()
}

// gone ends the targets of an account that left the configuration while the job was on its way.
func (j *job) gone() {
	for _, k := range j.Kinds {
		j.add(j.listing(Kind{Name: k}, j.Region, errGone))
	}
}

var errGone = errors.New("the account or the kind is no longer in the configuration")

func (j *job) add(ss ...step) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ready = append(j.ready, ss...)
}

// workOn takes steps until none is ready. It holds a place, and leaves it.
func (j *job) workOn() {
	for {
		s := j.next()
		if s == nil {
			break
		}
		if !j.step(s) {
			return // whoever gave up on this goroutine has its place
		}
	}
}

// next is the next step, or nil when this worker should go: then its place is free, and if it was the last the job is over.
func (j *job) next() step {
	j.mu.Lock()
	for n := min(len(j.ready)-1, jobWidth-j.workers); n > 0 && j.places.try(j.Account); n-- {
		j.workers++
		go j.workOn()
	}
	if len(j.ready) > 0 && (j.workers == 1 || !j.places.wanted()) {
		s := j.ready[0]
		j.ready[0] = nil
		j.ready = j.ready[1:]
		j.mu.Unlock()
		return s
	}
	j.workers--
	last := j.workers == 0
	j.mu.Unlock()
	j.places.leave(j.Account)
	if last {
		j.finish()
	}
	return nil
}

// stopped says why nothing more should begin.
func (j *job) stopped() error {
	if j.ctx.Err() != nil {
		return context.Cause(j.ctx)
	}
	return j.halting()
}

// halting says why the program ends; nil: it does not.
func (j *job) halting() error {
	if j.halt != nil {
		return j.halt()
	}
	return nil
}

// step does one step, and reports whether this goroutine may go on.
func (j *job) step(s step) bool {
	call := &supervised{r: j.r, instead: func() {
		if j.end(s, j.stuck(s)) {
			j.workOn()
		}
	}}
	j.mu.Lock()
	j.calls = append(j.calls, call)
	j.mu.Unlock()
	var err error
	if !call.do(func() {
		if err = s.unreached(j.stopped()); err == nil {
			err = guard(func() error { return s.work(j.ctx) })
		}
	}) {
		return false
	}
	j.mu.Lock()
	j.calls = slices.DeleteFunc(j.calls, func(c *supervised) bool { return c == call })
	j.mu.Unlock()
	return j.end(s, j.because(err))
}

// giveUp is for when the job was ended, and the grace is over too.
func (j *job) giveUp() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, call := range j.calls {
		go call.giveUp()
	}
}

func (j *job) end(s step, err error) bool {
	call := &supervised{r: j.r, instead: func() {
		t := s.target()
		j.r.log.Error("the end of a target was given up on: an output or the store does not answer",
			"account", j.Account, "region", t.Region, "kind", t.Kind, "run", j.Run)
		s.after()
		j.workOn()
	}}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(j.ctx))
	defer cancel(context.Canceled)
	var t *time.Timer
	late := false
	t = time.AfterFunc(math.MaxInt64, func() { // it begins below, when t is set
		switch {
		case s.storing(): // the ledger has a time of its own
		case late:
			call.giveUp()
		default:
			late = true
			cancel(j.r.tooLate())
			t.Reset(time.Second)
		}
	})
	t.Reset(j.r.o.EndTimeout)
	defer t.Stop()
	var p *panicked
	if errors.As(err, &p) {
		j.logPanic(s.target(), p)
	}
	if !call.do(func() { s.end(ctx, err, call.giveUp) }) {
		return false
	}
	s.after()
	return true
}

func (j *job) logPanic(t record.Target, p *panicked) {
	j.r.log.Error("panic", "account", j.Account, "region", t.Region, "kind", t.Kind, "run", j.Run, "panic", fmt.Sprint(p.value), "stack", string(p.stack))
}

// stuck is the end of a work that did not heed its context.
func (j *job) stuck(s step) error {
	t := s.target()
	j.r.log.Error("a work was given up on: it ignored its end", "account", j.Account, "region", t.Region, "kind", t.Kind, "run", j.Run,
		"cause", context.Cause(j.ctx).Error(), "abandoned", j.r.Abandoned())
	return &record.Fault{Reason: record.Stuck, Hint: "this is a bug of the collector or of an output: please report it; a restart frees what the work holds",
		Err: fmt.Errorf("given up on, %s after: %w", j.r.o.Grace, context.Cause(j.ctx))}
}

// because puts the reason why the job was ended before an error that only says that it was.
func (j *job) because(err error) error {
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

// runTimedOut reports whether it is the run's time-out that ended err's work.
func (j *job) runTimedOut() bool {
	return j.timeout != nil && j.ctx.Err() != nil && context.Cause(j.ctx) == j.timeout
}

// finish tells the run's count that this job is over, and the engine.
func (j *job) finish() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(j.ctx), j.r.o.EndTimeout)
	defer cancel()
	var res jobResult
	sum := j.tally
	err := guard(func() (err error) {
		if j.Region == "" {
			res.follow, res.ended = j.follow, len(j.follow) == 0
			return j.r.o.Runs.Fan(ctx, j.Run, len(j.follow), j.tally)
		}
		sum, res.ended, err = j.r.o.Runs.Done(ctx, j.Run, j.Key(), j.tally)
		return err
	})
	if err != nil {
		res.err = fmt.Errorf("account %q: count the jobs of run %s: %w", j.Account, j.Run, err)
	}
	if res.ended {
		res.status, res.took = sum.Status(), sum.took()
		if j.a == nil {
			res.status = record.RunSkipped
		}
		j.r.watch.RunEnded(j.Account, j.Run, res.status, res.took)
		if j.a != nil && j.a.Leave != nil {
			j.a.Leave(context.WithoutCancel(j.ctx))
		}
	}
	j.over(res)
}

// rows are the kinds that the job names, in the account's order, in which parents come first. unknown are names that
// the account does not have, or no longer.
func (j *job) rows() (kinds []Kind, unknown []string) {
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

// steps are the listings of a region. A kind whose parent the job does not list gets a listing of the parent for its ids
// alone; a kind with a parent is ready when that has ended.
func (j *job) steps() {
	kinds, unknown := j.rows()
	made := map[string]*listing{}
	var roots []step
	var need func(name string, hidden bool) *listing
	need = func(name string, hidden bool) *listing {
		if l := made[name]; l != nil {
			l.hidden = l.hidden && hidden
			return l
		}
		k, _ := j.a.kind(name)
		l := j.listing(k, j.Region, nil)
		l.hidden = hidden
		made[name] = l
		if k.Parent == "" {
			roots = append(roots, l)
			return l
		}
		l.parent = need(k.Parent, true)
		l.parent.kids = append(l.parent.kids, l)
		return l
	}
	for _, k := range kinds {
		need(k.Name, false)
	}
	for _, name := range unknown {
		roots = append(roots, j.listing(Kind{Name: name}, j.Region, errGone))
	}
	j.add(roots...)
}

// entering is the first step of each job: sign-in, and in a job without a region the plan.
type entering struct {
	j *job

	mu   sync.Mutex
	shut bool // given up on: what comes late is not taken
	err  error
	open Opened
	who  record.Identity
	plan Plan

	fallen []record.Target // what fails with err
}

func (e *entering) target() record.Target {
	return record.Target{Account: e.j.Account, Region: e.j.Region}
}
func (e *entering) unreached(stopped error) error { return stopped }
func (e *entering) storing() bool                 { return true } // no output has a part in its end

func (e *entering) work(ctx context.Context) error {
	j := e.j
	o, err := j.a.Open(ctx)
	if err != nil {
		return e.denied(ctx, err)
	}
	who := o.Identity()
	e.mu.Lock()
	if e.shut {
		e.mu.Unlock()
		return errLate
	}
	e.open, e.who = o, who
	e.mu.Unlock()
	if err := j.r.claims.enter(j.f, j.Account, who); err != nil {
		return err
	}
	if j.Region != "" {
		return nil
	}
	j.r.watch.Entered(j.Account, who)
	g := j.r.o.Limits.Gate(j.Account, "", Kind{})
	defer g.close()
	plan, err := o.Regions(ctx, g)
	if err != nil {
		return &planError{err}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.shut {
		e.plan = plan
	}
	return nil
}

// denied is an account that cannot be entered, whatever kept it out: but when the run was ended meanwhile, that is why.
func (e *entering) denied(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return &signInError{err}
}

// signInError marks an error of the sign-in: the state is auth_failed, the reason is the error's own.
type signInError struct{ error }

func (e *signInError) Unwrap() error { return e.error }

// planError marks an error of the account's regions: no state that is harmless for a region is so for all of them.
type planError struct{ err error }

func (e *planError) Error() string { return "find the regions: " + e.err.Error() }
func (e *planError) Unwrap() error { return e.err }

func (e *entering) end(ctx context.Context, err error, late func()) {
	e.mu.Lock()
	e.shut, e.err = true, err
	plan, who := e.plan, e.who
	e.mu.Unlock()
	j := e.j
	ctx, cancel := j.ledgerTime(ctx, late)
	defer cancel()
	switch {
	case j.Region != "":
	case err != nil:
		kinds, unknown := j.rows()
		fallen := j.r.targets(ctx, j.a, kinds)
		for _, k := range unknown {
			fallen = append(fallen, record.Target{Account: j.Account, Kind: k})
		}
		e.mu.Lock()
		e.fallen = fallen
		e.mu.Unlock()
	case len(plan.Regions) > 0:
		err := guard(func() error { return j.retire(ctx, who, plan) })
		if !errors.Is(err, context.Canceled) { // that is the program's end, and not the store's
			j.r.retiring.met(j.r.log, j.Account, err, func(name string) bool { return j.f.Account(name) != nil }, "account", j.Account)
		}
	}
}

// retire tells the ledger of regions that AWS, in a complete answer, no longer names, and of kinds that the configuration
// does not.
func (j *job) retire(ctx context.Context, id record.Identity, plan Plan) error {
	known, err := j.r.o.Ledger.Known(ctx, j.Account)
	if err != nil {
		return err
	}
	var regions, kinds []record.Target
	for _, t := range known {
		switch {
		case plan.Complete && plan.Warning == nil && !slices.Contains(plan.Regions, t.Region) && !slices.Contains(plan.Disabled, t.Region):
			regions = append(regions, t)
		case !j.a.Narrowed && !slices.ContainsFunc(j.a.Kinds, func(k Kind) bool { return k.Name == t.Kind }):
			kinds = append(kinds, t)
		}
	}
	if len(regions) > 0 {
		err = j.r.o.Ledger.Retire(ctx, id, regions, RegionRemoved)
	}
	if len(kinds) > 0 {
		err = errors.Join(err, j.r.o.Ledger.Retire(ctx, id, kinds, KindRemoved))
	}
	return err
}

// after turns the plan into follow-ups, or the failure into the end of every target that it keeps from being listed.
func (e *entering) after() {
	e.mu.Lock()
	defer e.mu.Unlock()
	j := e.j
	j.opened, j.who = e.open, e.who
	switch {
	case j.Region != "" && e.err == nil:
		j.steps()
	case j.Region != "":
		kinds, unknown := j.rows()
		for _, k := range kinds {
			j.add(j.listing(k, j.Region, e.err))
		}
		for _, name := range unknown {
			j.add(j.listing(Kind{Name: name}, j.Region, errGone))
		}
	case e.err != nil:
		if e.fallen == nil { // end was given up on before it knew better
			kinds, _ := j.rows()
			e.fallen = across(j.Account, []string{""}, kinds)
		}
		for _, t := range e.fallen {
			k, ok := j.a.kind(t.Kind)
			err := e.err
			if !ok {
				k, err = Kind{Name: t.Kind}, errGone
			}
			j.add(j.listing(k, t.Region, err))
		}
	default:
		j.fan(e.plan)
	}
}

// NotEnabled is the error of a region that the configuration names and the account has not enabled.
func NotEnabled(region string) error {
	return &record.Fault{Reason: record.DisabledRegion, Hint: "enable the region for the account, or leave it out of regions",
		Err: fmt.Errorf("region %s is not enabled for the account", region)}
}

// fan makes the follow-ups of a plan.
func (j *job) fan(plan Plan) {
	kinds, unknown := j.rows()
	j.tally.Whole = len(kinds) == len(j.a.Kinds)
	plan = j.r.plans.set(j.Account, plan)
	j.r.watch.Planned(j.Account, plan.Regions, plan.Disabled, plan.Warning)
	if plan.Done {
		return
	}
	var all, regional []string
	for _, k := range kinds {
		all = append(all, k.Name)
		if !k.Global {
			regional = append(regional, k.Name)
		}
	}
	for i, region := range plan.Regions {
		next := j.Job
		next.Region, next.Kinds = region, regional // one slice for all of them: thousands may wait
		if i == 0 {
			next.Kinds = all
		}
		if len(next.Kinds) > 0 {
			j.follow = append(j.follow, next)
		}
	}
	for i, region := range plan.Disabled {
		for _, k := range kinds {
			if k.Global && (i > 0 || len(plan.Regions) > 0) {
				continue
			}
			j.add(j.listing(k, region, NotEnabled(region)))
		}
	}
	for _, name := range unknown {
		j.add(j.listing(Kind{Name: name}, "", errGone))
	}
	if len(plan.Regions)+len(plan.Disabled) == 0 {
		for _, k := range kinds {
			j.add(j.listing(k, "", &record.Fault{Reason: record.Other, Hint: "regions takes names and globs of regions that are enabled for the account",
				Err: errors.New("no region of the account is selected")}))
		}
	}
}
