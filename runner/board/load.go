package board

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"unique"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A StateReader is the store as [Board.Load] reads it.
type StateReader interface {
	Targets(ctx context.Context) iter.Seq2[inventory.Coverage, error]
	inventory.RunReader
}

// Load sets what the store knows of the configured accounts: how each target ended last and when it was last complete,
// the last run, the last sign-in. So the status is right after a restart, before the first run. Events that came before
// are newer, and stay. expected returns the targets of an account or a task that never signed in, which the store does
// not have.
func (b *Board) Load(ctx context.Context, r StateReader, expected func(name string) []record.Target) error {
	names := b.names()
	if err := b.loadTargets(ctx, r); err != nil {
		return fmt.Errorf("read the state of targets: %w", err)
	}
	for run, err := range r.LastRuns(ctx, names) {
		if err != nil {
			return fmt.Errorf("read the last runs: %w", err)
		}
		b.update(run.Account, func(a *account) {
			if a.loadRun(run); len(a.ended) == 0 && run.EndedAlike() {
				a.loadUnopened(run, expected(a.name))
			}
		})
	}
	for s, err := range r.SignIns(ctx) {
		if err != nil {
			return fmt.Errorf("read the last sign-ins: %w", err)
		}
		if !slices.Contains(names, s.Account) {
			continue
		}
		b.update(s.Account, func(a *account) {
			if a.identity == (record.Identity{}) {
				a.identity = record.Identity{AccountID: s.AccountID, Partition: s.Partition, ARN: s.ARN}
				a.expires = instantOf(s.Expires)
			}
		})
	}
	return nil
}

func (b *Board) names() []string {
	var names []string
	for _, a := range b.sortedAccounts() {
		names = append(names, a.name)
	}
	return names
}

func (b *Board) loadTargets(ctx context.Context, r StateReader) error {
	runs := map[string]*string{} // the targets of a run share its id
	for c, err := range r.Targets(ctx) {
		if err != nil {
			return err
		}
		if c.State == "" || !c.Retired.IsZero() {
			continue
		}
		b.mu.RLock()
		a := b.accounts[c.Account]
		b.mu.RUnlock()
		if a == nil {
			continue
		}
		run := runs[c.Run]
		if run == nil {
			run = &c.Run
			runs[c.Run] = run
		}
		rk := regionKindOf(c.Target)
		a.mu.Lock()
		if slices.Contains(a.kinds, c.Kind) {
			a.loadTarget(rk, c, run)
		}
		a.mu.Unlock()
	}
	b.notify()
	return nil
}

// loadUnopened sets the targets of an account that never signed in: the store has none of them, because it does not
// know the account's id. All ended as the last run says. a.mu is held, here and below.
func (a *account) loadUnopened(r inventory.Run, targets []record.Target) {
	c := r.Causes[0]
	for _, t := range targets {
		a.endedTarget(regionKindOf(t)).set(record.Outcome{
			Target: t, Run: r.ID, State: c.State, Reason: c.Reason, Error: c.Error, Hint: c.Hint,
			Started: r.Started, Ended: r.Ended,
		}, &r.ID)
	}
}

// loadTarget sets a target to what the store has, unless a later outcome is known.
func (a *account) loadTarget(rk unique.Handle[regionKind], c inventory.Coverage, run *string) {
	t := a.endedTarget(rk)
	if t.ended > instantOf(c.Ended) {
		if at, _ := t.success(); at == 0 {
			t.detail.success, t.detail.resources = instantOf(c.LastSeen), int32(c.Resources)
		}
		return
	}
	t.set(c.Outcome, run)
	if !c.State.Complete() {
		t.detail.success, t.detail.resources = instantOf(c.LastSeen), int32(c.Resources)
	}
}

// loadRun sets the last run, unless one is known.
func (a *account) loadRun(r inventory.Run) {
	if a.last != nil {
		return
	}
	n := 0
	for _, k := range r.Targets {
		n += k
	}
	a.last = &runState{
		id: r.ID, tick: instantOf(r.Tick), started: instantOf(r.Started), took: r.Took(), status: r.Status,
		targets: int32(n), failed: int32(r.Failed), records: int32(r.Records),
		calls: int32(r.Calls), throttles: int32(r.Throttles),
	}
	unusable := r.Failed > 0 && !slices.ContainsFunc(r.Causes, func(c inventory.Cause) bool {
		return !c.State.Absent() && c.State != record.Skipped
	})
	if unusable {
		known := a.last.failed
		a.markUnusable(a.last)
		a.last.failed = known // it counts them already
	}
}
