// Package backfill writes the past of a simulated AWS into a store, as if a collector had listed it for days: the past
// of the demo. It moves the clock of the simulated resources and that of the store from tick to tick, lists what has
// changed, and stores listings and runs by the inventory's own rules. So the collector that starts afterwards continues
// the history. Begin at [Write].
package backfill

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// A Clock is the clock of the store while the past is written.
type Clock struct{ now atomic.Int64 } // in µs since 1970

// Now is the time of the tick that is written; 1970 before the first one.
func (c *Clock) Now() time.Time { return time.UnixMicro(c.now.Load()) }

// An Account is an account of the configuration.
type Account struct {
	Name     string
	Identity record.Identity
	Kinds    []runner.Kind // parents first
	Regions  []string
	Member   bool // of an organization
	// Pages lists a target with credentials that work also while an incident prevents the sign-in.
	Pages func(
		ctx context.Context, k runner.Kind, t record.Target, run, parent string,
	) iter.Seq2[*record.Page, error]
	// SignIn signs in as the collector does. It is called when an incident prevents it.
	SignIn func(ctx context.Context) error

	signInErr error
	incidents []string // globs of regions
	outcomes  map[record.Target]record.Outcome
	ids       map[record.Target][]string // of resources that are parents
	tally     runner.Tally               // of outcomes
}

// Options say what to write.
type Options struct {
	Simulation *awsfake.Simulation
	Accounts   []*Account
	Store      *inventory.Inventory                            // its instants are those of Clock
	Batch      func(ctx context.Context, f func() error) error // commits what f writes to Store at once
	Clock      *Clock
	Process    inventory.Process // that the runs name
	From, To   time.Time
}

// What the past looks like.
const (
	period = time.Hour // between ticks
	atOnce = 8         // accounts that are listed at once
)

// Write writes the past from o.From to o.To. At its end the incidents that last have begun.
func Write(ctx context.Context, o Options) error {
	w := &writer{Options: o, listed: map[awsfake.ListKey]int{}, stages: make([]stage, len(o.Simulation.Incidents))}
	for _, a := range o.Accounts {
		a.outcomes, a.ids = map[record.Target]record.Outcome{}, map[record.Target][]string{}
	}
	defer o.Simulation.AWS.SetResourceTime(time.Time{})
	for n, tick := 0, o.From.Truncate(period); !tick.After(o.To); n, tick = n+1, tick.Add(period) {
		if err := w.Batch(ctx, func() error { return w.step(ctx, n, tick) }); err != nil {
			return fmt.Errorf("write the past of %s: %w", tick.UTC().Format(time.RFC3339), err)
		}
	}
	return nil
}

type writer struct {
	Options
	listed map[awsfake.ListKey]int // revisions
	stages []stage                 // of the incidents
}

// step simulates the time until a tick, and what the collector does then.
func (w *writer) step(ctx context.Context, n int, tick time.Time) error {
	w.Clock.now.Store(tick.UnixMicro())
	aws := w.Simulation.AWS
	aws.SetResourceTime(tick)
	if n > 0 {
		aws.Evolve(changes(tick, w.To))
		aws.Evolve(0) // instances do not take an hour to start
	}
	due := w.dueTargets(n == 0)
	if err := w.applyIncidents(ctx, tick, due); err != nil {
		return err
	}
	errs := make([]error, len(w.Accounts))
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, a := range w.Accounts {
		targets := due[a]
		if len(targets) == 0 && !w.runsAt(a, n, tick) {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = w.run(ctx, a, targets, tick)
		})
	}
	wg.Wait()
	return firstError(errs)
}

// runsAt reports whether an account has a run at the nth tick also if nothing changed. An account of an organization
// has fewer runs, because there are many, and each costs a transaction.
func (w *writer) runsAt(a *Account, n int, tick time.Time) bool {
	every := 4
	if a.Member {
		every *= 6
	}
	if w.To.Sub(tick) < 24*time.Hour {
		every /= 4
	}
	return n%every == 0
}

func firstError(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// changes is the number of changes before a tick: most in working hours, and one large deployment.
func changes(tick, to time.Time) int {
	tick = tick.UTC()
	switch weekend := tick.Weekday() == time.Saturday || tick.Weekday() == time.Sunday; {
	case to.Sub(tick).Truncate(period) == 75*period:
		return 40
	case tick.Hour() < 7 || tick.Hour() > 18 || weekend:
		return tick.Hour() % 4 / 3
	}
	return 1 + tick.Hour()%3
}

// dueTargets returns what has changed since it was listed last, or everything.
func (w *writer) dueTargets(all bool) map[*Account][]record.Target {
	changed := map[awsfake.ListKey]bool{}
	for key, revision := range w.Simulation.AWS.Revisions() {
		if w.listed[key] != revision {
			w.listed[key], changed[key] = revision, true
		}
	}
	due := map[*Account][]record.Target{}
	if len(changed) == 0 && !all {
		return due
	}
	for _, a := range w.Accounts {
		for t, k := range a.targets() {
			if all || changed[a.list(t, k)] {
				due[a] = append(due[a], t)
			}
		}
	}
	return due
}

// targets yields the targets of an account.
func (a *Account) targets() iter.Seq2[record.Target, runner.Kind] {
	return func(yield func(record.Target, runner.Kind) bool) {
		for i, region := range append(slices.Clone(a.Regions), record.GlobalRegion) {
			for _, k := range a.Kinds {
				if k.GlobalService != (region == record.GlobalRegion) || k.Global && i > 0 {
					continue
				}
				if !yield(record.Target{Account: a.Name, Region: region, Kind: k.Name}, k) {
					return
				}
			}
		}
	}
}

// list is the list of a target in the simulation.
func (a *Account) list(t record.Target, k runner.Kind) awsfake.ListKey {
	return awsfake.ListKey{AccountID: a.Identity.AccountID, Region: t.Region, Action: k.Op}
}

// applyIncidents begins and ends incidents, and adds the targets whose states they change.
func (w *writer) applyIncidents(ctx context.Context, tick time.Time, due map[*Account][]record.Target) error {
	for i, x := range w.Simulation.Incidents {
		at := slices.IndexFunc(w.Accounts, func(a *Account) bool { return a.Name == x.Account })
		if at < 0 {
			return fmt.Errorf("incident of the unknown account %q", x.Account)
		}
		a, before, began := w.Accounts[at], w.stages[i], w.To.Add(-x.Began)
		if before < near && !tick.Add(period).Before(began) { // so that the last complete listing is that of the run before
			w.stages[i] = near
		}
		if before < begun && !tick.Before(began) {
			w.stages[i] = begun
			x.Begin()
			a.incidents = append(a.incidents, cmp.Or(x.Region, "*"))
			if x.Region == "" {
				if a.signInErr = a.SignIn(ctx); a.signInErr == nil {
					return fmt.Errorf("account %q can sign in although its incident has begun", a.Name)
				}
			}
		}
		if w.stages[i] == begun && x.Ended > 0 && !tick.Before(w.To.Add(-x.Ended)) {
			w.stages[i] = over
			x.End()
		}
		if w.stages[i] != before {
			due[a] = a.addTargets(due[a], cmp.Or(x.Region, "*"))
		}
	}
	return nil
}

// A stage is how far an incident is.
type stage int

const (
	near stage = iota + 1 // it begins before the next tick
	begun
	over
)

// addTargets adds the targets in regions that a glob matches.
func (a *Account) addTargets(due []record.Target, glob string) []record.Target {
	for t := range a.targets() {
		if matches(glob, t.Region) && !slices.Contains(due, t) {
			due = append(due, t)
		}
	}
	return due
}

// hadIncident reports whether an incident concerns a region.
func (a *Account) hadIncident(region string) bool {
	return slices.ContainsFunc(a.incidents, func(glob string) bool { return matches(glob, region) })
}

func matches(glob, region string) bool {
	ok, err := path.Match(glob, region)
	return err == nil && ok
}

// run stores a run of an account that lists these targets. The others have not changed.
func (w *writer) run(ctx context.Context, a *Account, due []record.Target, tick time.Time) error {
	started := tick.Add(time.Duration(len(a.Name)*7%40) * time.Second)
	id, err := ulid.New(ulid.Timestamp(started), ulid.DefaultEntropy())
	if err != nil {
		return err
	}
	for _, t := range due {
		if err := w.list(ctx, a, t, id.String()); err != nil {
			return err
		}
	}
	if len(due) > 0 {
		a.tally = runner.Tally{AllKinds: true}
		for _, o := range a.outcomes {
			part := runner.Tally{States: map[record.State]int{o.State: 1}, Records: o.Records, Calls: o.Calls}
			if o.Failed() {
				part.Failed = 1
			}
			if o.State != record.OK {
				part.Causes = []inventory.Cause{inventory.CauseOf(o)}
			}
			a.tally.Add(part)
		}
	}
	took := 2*time.Second + time.Duration(a.tally.Calls)*40*time.Millisecond
	return w.Store.EndRun(ctx, inventory.Run{
		ID: id.String(), Account: a.Name, Tick: tick, Started: started, Ended: started.Add(took), Ticks: 1,
		Status: a.tally.Status(), Targets: a.tally.States, Failed: a.tally.Failed, Records: a.tally.Records,
		Calls: a.tally.Calls, Causes: inventory.LimitCauses(slices.Clone(a.tally.Causes)), Process: w.Process,
	})
}

// list lists a target and stores it.
func (w *writer) list(ctx context.Context, a *Account, t record.Target, run string) error {
	identity := a.Identity
	if a.signInErr != nil {
		identity = record.Identity{} // not known in such a run
	}
	writer, err := w.Store.Begin(ctx, t, identity, run)
	if err != nil {
		return err
	}
	o := record.Outcome{Target: t, Run: run, Started: w.Clock.Now()}
	switch err := w.pages(ctx, a, t, &o, writer.Page); {
	case a.signInErr != nil:
		o.State, o.Reason = record.AuthFailed, record.ReasonOf(err)
		o.Error, o.Hint = err.Error(), record.HintOf(err)
	case err != nil:
		o.State, o.Reason = record.StateOf(err, o.Records), record.ReasonOf(err)
		o.Error, o.Hint = err.Error(), record.HintOf(err)
	default:
		o.State = record.OK
	}
	if !o.State.Complete() && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	o.Ended = w.Clock.Now()
	a.outcomes[t] = o
	return writer.End(ctx, o)
}

// pages passes the pages of a target to the store. A region without a list of this kind has no such resources, so
// nothing is asked there.
func (w *writer) pages(
	ctx context.Context, a *Account, t record.Target, o *record.Outcome, store func(context.Context, *record.Page) error,
) error {
	if a.signInErr != nil {
		return a.signInErr
	}
	kind := a.Kinds[slices.IndexFunc(a.Kinds, func(k runner.Kind) bool { return k.Name == t.Kind })]
	o.Calls++
	if _, exists := w.listed[a.list(t, kind)]; !exists && !kind.Global && !kind.GlobalService && !a.hadIncident(t.Region) {
		return nil
	}
	parents := []string{""}
	if kind.Parent != "" {
		parents = a.ids[record.Target{Account: t.Account, Region: t.Region, Kind: kind.Parent}]
	}
	isParent := slices.ContainsFunc(a.Kinds, func(k runner.Kind) bool { return k.Parent == t.Kind })
	var ids []string
	for _, parent := range parents {
		for page, err := range a.Pages(ctx, kind, t, o.Run, parent) {
			if err == nil {
				err = store(ctx, page)
			}
			if err != nil {
				return err
			}
			o.Records += page.Len()
			if isParent {
				for v := range page.Views() {
					ids = append(ids, string(v.ID()[1:len(v.ID())-1])) // AWS's ids need no escape in JSON
				}
			}
		}
	}
	a.ids[t] = ids
	return nil
}
