package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// A run is one account at one tick, from its due time to the end of its last job. Engine.mu guards its fields.
type run struct {
	id            string
	a             *runner.Account
	spec          string // "" if requested by a person
	kinds         []string
	tick          time.Time
	due           time.Time
	expires       time.Time             // it does not begin after this; zero: it waits without a limit
	configuration *runner.Configuration // acquired from its start to its end
	ctx           context.Context
	cancel        context.CancelCauseFunc
	begun         bool      // its opening job has a slot
	cancelled     bool      // before it began, by a person
	started       time.Time // when it was begun
	progress      progress
	jobsLeft      int           // jobs that have not returned
	status        record.Status // set when the run has ended
	took          time.Duration
	done          func(runner.RunResult)
}

// row is the run as the store keeps it, without what its jobs counted.
func (n *run) row() inventory.Run {
	return inventory.Run{ID: n.id, Account: n.a.Name, Tick: n.tick, Started: n.started, Ticks: 1}
}

// scheduled reports whether a schedule started the run. A run that a person requested waits for a slot without a limit.
func (n *run) scheduled() bool { return n.spec != "" }

// expiry is the time after which a run that was due does not begin any more: it would have timed out.
func (n *run) expiry(due time.Time) time.Time {
	if n.a.Timeout == 0 {
		return time.Time{}
	}
	return due.Add(n.a.Timeout)
}

func (n *run) expired() bool { return !n.expires.IsZero() && !time.Now().Before(n.expires) }

// accountRuns are the runs of an account.
type accountRuns struct{ active, waiting []*run }

// admit starts, queues or skips a run that is due, by the overlap rule. e.mu is held.
func (e *Engine) admit(n *run) error {
	e.wg.Add(1)
	runs := e.accountRuns(n.a.Name)
	d := e.overlapInput(runs, n.a.Overlap).Due(n.ref())
	runs.waiting = append(runs.waiting, n) // until it is decided
	e.applyDecision(n.a.Name, d)
	if len(d.Skip) > 0 {
		return fmt.Errorf("account %q: %w", n.a.Name, runner.ErrBusy)
	}
	return nil
}

// ref is the run as the overlap rules see it.
func (n *run) ref() runner.RunRef {
	return runner.RunRef{ID: n.id, Schedule: n.spec, Kinds: n.kinds, Begun: n.begun, Deadline: n.expires}
}

// overlapInput is what the overlap rules look at. e.mu is held.
func (e *Engine) overlapInput(runs *accountRuns, rule runner.Overlap) runner.AccountRuns {
	refs := func(rs []*run) (list []runner.RunRef) {
		for _, o := range rs {
			list = append(list, o.ref())
		}
		return list
	}
	return runner.AccountRuns{
		Rule: rule, Active: refs(runs.active), Waiting: refs(runs.waiting), Draining: e.draining.Load(), Now: time.Now(),
	}
}

// applyDecision applies a decision of the overlap rules. A run that ends may let others start: a run that is
// not there any more is left alone. e.mu is held.
func (e *Engine) applyDecision(account string, d runner.Decision) {
	find := func(id string) *run {
		runs := e.accounts[account]
		if runs == nil {
			return nil
		}
		for _, n := range slices.Concat(runs.active, runs.waiting) {
			if n.id == id {
				return n
			}
		}
		return nil
	}
	for _, end := range []struct {
		ids    []string
		status record.Status
	}{{d.Expire, record.RunExpired}, {d.Skip, record.RunSkipped}} {
		for _, id := range end.ids {
			if n := find(id); n != nil {
				e.drop(n, end.status)
			}
		}
	}
	for _, id := range d.Cancel {
		if n := find(id); n != nil {
			n.cancel(errSuperseded)
		}
	}
	for _, id := range d.Start {
		runs := e.accounts[account]
		if runs == nil {
			return
		}
		i := slices.IndexFunc(runs.waiting, func(n *run) bool { return n.id == id })
		if i < 0 {
			continue
		}
		n := runs.waiting[i]
		runs.waiting = slices.Delete(runs.waiting, i, i+1)
		e.activate(runs, n)
	}
}

func (e *Engine) accountRuns(account string) *accountRuns {
	runs := e.accounts[account]
	if runs == nil {
		runs = &accountRuns{}
		e.accounts[account] = runs
	}
	return runs
}

var errSuperseded = &record.Fault{
	Reason: record.Interrupted,
	Hint:   "Set a slower schedule, or another overlap rule: cancel ends a run when the next one is due.",
	Err:    errors.New("cancelled by a newer run of the account"),
}

// activate makes a run active: its opening job waits for a slot. e.mu is held.
func (e *Engine) activate(runs *accountRuns, n *run) {
	if n.configuration = e.r.Acquire(); n.configuration == nil {
		e.drop(n, record.RunSkipped)
		return
	}
	if n.scheduled() { // it waits only for a slot now
		n.expires = n.expiry(n.due)
	}
	n.ctx, n.cancel = context.WithCancelCause(context.Background()) // drain ends it
	n.jobsLeft = 1
	runs.active = append(runs.active, n)
	e.queue.Push(n.a.Name, openingClass, queued{n, runner.Job{Run: n.id, Tick: n.tick, Account: n.a.Name, Kinds: n.kinds}})
	e.dispatch()
}

// drop ends a run that never began. e.mu is held.
func (e *Engine) drop(n *run, s record.Status) {
	reason := runner.MissedOverlap
	switch {
	case n.cancelled:
		reason = runner.MissedCancelled
	case e.draining.Load():
		reason = runner.MissedDrain
	}
	e.r.Observe(runner.RunMissed{Account: n.a.Name, Reason: reason})
	e.r.Observe(runner.RunEnded{Account: n.a.Name, Run: n.id, Status: s})
	row := n.row()
	row.Status, row.Missed = s, reason
	e.r.StoreMissed(row)
	e.queue.Remove(n.a.Name, func(q queued) bool { return q.run == n })
	e.finish(n, runner.RunResult{Account: n.a.Name, Run: n.id, Status: s})
}

// finish removes a run from its account, and activates the runs that waited for it. e.mu is held.
func (e *Engine) finish(n *run, res runner.RunResult) {
	isThis := func(o *run) bool { return o == n }
	runs := e.accounts[n.a.Name]
	runs.active, runs.waiting = slices.DeleteFunc(runs.active, isThis), slices.DeleteFunc(runs.waiting, isThis)
	if n.begun {
		e.begunRuns--
	}
	if n.configuration != nil {
		n.cancel(nil)
		if closeIt := e.r.Release(n.configuration); closeIt != nil {
			e.wg.Go(closeIt) // its outputs may take long
		}
	}
	if n.done != nil {
		n.done(res)
	}
	e.applyDecision(n.a.Name, e.overlapInput(runs, "").Finished())
	if len(runs.active)+len(runs.waiting) == 0 {
		delete(e.accounts, n.a.Name)
	}
	e.wg.Done()
}
