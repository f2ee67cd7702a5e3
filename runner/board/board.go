// Package board is the status board: the current state of accounts, runs and targets. It folds the runner's events, and
// begins with what the store has from before. Page, API, metrics and the live view read it. Begin at [Board.Observe].
package board

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// A Board turns events into the current state that /metrics, the API, the live view, the table at the end and exit code
// 3 show. It belongs to one process; what must survive a restart is in the store. Reading it does not delay collection:
// every answer is a copy, taken one account at a time. account.go has its data.
type Board struct {
	mu            sync.RWMutex
	accounts      map[string]*account
	configured    bool                  // accounts has the accounts of the configuration only; before, it may have any
	configuration *runner.Configuration // nil before Configured
	plan          *plan
	subs          map[chan struct{}]bool
}

// New returns an empty board.
func New() *Board {
	return &Board{accounts: map[string]*account{}, subs: map[chan struct{}]bool{}}
}

// An AccountInfo is the current state of an account.
type AccountInfo struct {
	Name     string
	Task     bool            // it is a task: it has a warning, runs and at most one target, which failed
	Kinds    []string        // configured for it; shared, read only
	Identity record.Identity // zero until the first sign-in
	Regions  []string        // of the last plan
	Disabled []string
	Warning  error             // of the last plan
	Expires  time.Time         // of its session, if only a person can renew it; zero: no person is needed
	Next     time.Time         // its next start; zero: none
	Paused   *runner.Directive // nil: it is not paused
	Running  []RunInfo         // oldest first
	Last     RunInfo           // the last run that was not skipped or expired; Run is "" before the first
	Missed   map[string]int
	// Undelivered is how often each output, by name, or the store failed for a target.
	Undelivered map[string]int
}

// A RunInfo is a run, in progress or ended.
type RunInfo struct {
	Run       string
	Tick      time.Time
	Started   time.Time
	Took      time.Duration // so far, while Status is ""
	Status    record.Status // "" while it is in progress
	Targets   int           // ended
	Failed    int           // ended, failed and not expected to
	Records   int           // of ended targets
	Calls     int           // of ended targets
	Throttles int           // of ended targets
}

// Ended is when the run ended.
func (r RunInfo) Ended() time.Time { return r.Started.Add(r.Took) }

// A TargetInfo is the current state of a target.
type TargetInfo struct {
	record.Outcome           // the last
	LastSuccess    time.Time // the end of its last ok listing; zero: never
	Due            time.Time // when its schedule lists it again after LastSuccess; zero: never
	Resources      int       // the records of its last ok listing

	Acknowledged *runner.Acknowledgement // nil: it does not fail, or nobody acknowledged that
}

// A Listing is a target that is being listed.
type Listing struct {
	record.Target
	Run     string
	Started time.Time
	Records int // delivered so far
}

// update calls f with an account, unless it is no longer configured, and notifies the subscribers.
func (b *Board) update(name string, f func(*account)) {
	b.mu.RLock()
	a := b.accounts[name]
	b.mu.RUnlock()
	if a == nil {
		b.mu.Lock()
		if a = b.accounts[name]; a == nil && b.configured {
			b.mu.Unlock()
			return
		}
		if a == nil {
			a = &account{name: name}
			b.accounts[name] = a
		}
		b.mu.Unlock()
	}
	a.mu.Lock()
	f(a)
	a.mu.Unlock()
	b.notify()
}

func (b *Board) notify() {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for c := range b.subs {
		select {
		case c <- struct{}{}: // not the event itself: a slow subscriber reads the current state later
		default:
		}
	}
}

// Observe takes an event into the status. Calls and waits for budgets are for counters: a target's own numbers are in
// its outcome.
func (b *Board) Observe(e runner.Event) {
	switch e := e.(type) {
	case runner.Configured:
		b.configure(e)
	case runner.RunStarted:
		b.runStarted(e)
	case runner.RunEnded:
		b.runEnded(e)
	case runner.RunMissed:
		b.update(e.Account, func(a *account) { increment(&a.ensureFailureCounts().missed, e.Reason) })
	case runner.TargetStarted:
		b.targetStarted(e)
	case runner.TargetProgress:
		b.update(e.Account, func(a *account) {
			if i := a.listingIndex(e.Target); i >= 0 && a.activity.listings[i].Run == e.Run {
				a.activity.listings[i].Records = e.Records
			}
		})
	case runner.TargetEnded:
		b.targetEnded(e.Outcome)
	case runner.TaskEnded:
		b.taskEnded(e)
	case runner.SessionExpires:
		b.update(e.Account, func(a *account) { a.expires = instantOf(e.At) })
	case runner.SignedIn:
		b.update(e.Account, func(a *account) { a.identity = e.Identity })
	case runner.RegionsPlanned:
		b.regionsPlanned(e)
	case runner.DirectivesChanged:
		b.update(e.Account, func(*account) {}) // it is read from the Directives
	case runner.NextStart:
		b.update(e.Account, func(a *account) { a.next = instantOf(e.At) })
	case runner.Undelivered:
		b.update(e.Account, func(a *account) { increment(&a.ensureFailureCounts().undelivered, e.Output) })
	}
}

func (b *Board) runStarted(e runner.RunStarted) {
	b.update(e.Account, func(a *account) {
		activity := a.ensureActivity()
		activity.runs = append(activity.runs, &runState{
			id: e.Run, tick: instantOf(e.Tick), started: instantOf(time.Now()),
		})
	})
}

func (b *Board) runEnded(e runner.RunEnded) {
	b.update(e.Account, func(a *account) {
		if r := a.activeRun(e.Run); r != nil {
			r.status, r.took = e.Status, e.Took
			if (e.Status == record.RunFailed || e.Status == record.RunPartial) && r.failed == 0 {
				a.markUnusable(r)
			}
			a.last = r
			a.activity.runs = slices.DeleteFunc(a.activity.runs, func(o *runState) bool { return o == r })
			a.releaseActivity()
		}
	})
}

func (b *Board) targetStarted(e runner.TargetStarted) {
	b.update(e.Account, func(a *account) {
		now := &Listing{Target: e.Target, Run: e.Run, Started: time.Now()}
		activity := a.ensureActivity()
		if i := a.listingIndex(e.Target); i >= 0 {
			activity.listings[i] = now
		} else {
			activity.listings = append(activity.listings, now)
		}
	})
}

func (b *Board) targetEnded(o record.Outcome) {
	rk := regionKindOf(o.Target)
	b.update(o.Account, func(a *account) {
		if i := a.listingIndex(o.Target); i >= 0 && a.activity.listings[i].Run == o.Run {
			a.activity.listings = slices.Delete(a.activity.listings, i, i+1)
		}
		r := a.activeRun(o.Run)
		if r == nil { // the run has ended already
			r = &runState{id: o.Run}
		}
		r.count(o)
		a.endedTarget(rk).set(o, &r.id)
		a.releaseActivity()
	})
}

// taskEnded keeps a failure until the next success.
func (b *Board) taskEnded(e runner.TaskEnded) {
	if e.State != record.OK {
		b.targetEnded(e.Outcome)
		return
	}
	plan := b.sharedPlan(nil, nil, e.Warning)
	b.update(e.Account, func(a *account) { a.plan, a.ended = plan, nil })
}

// regionsPlanned also removes targets in regions that the account no longer has.
func (b *Board) regionsPlanned(e runner.RegionsPlanned) {
	plan := b.sharedPlan(e.Regions, e.Disabled, e.Warning)
	b.update(e.Account, func(a *account) {
		a.plan = plan
		a.ended = slices.DeleteFunc(a.ended, func(t endedTarget) bool {
			planned := t.region() == record.GlobalRegion ||
				slices.Contains(e.Regions, t.region()) || slices.Contains(e.Disabled, t.region())
			return !planned
		})
	})
}

// configure removes accounts and kinds that are no longer in the configuration, and adds the new ones.
func (b *Board) configure(e runner.Configured) {
	kinds := e.Kinds
	b.mu.Lock()
	b.configuration = e.Configuration
	if len(b.accounts) == 0 {
		b.accounts = make(map[string]*account, len(kinds))
	}
	b.configured = true
	maps.DeleteFunc(b.accounts, func(name string, _ *account) bool { _, ok := kinds[name]; return !ok })
	for name, names := range kinds {
		a := b.accounts[name]
		if a == nil {
			a = &account{name: name}
			b.accounts[name] = a
		}
		a.mu.Lock()
		a.kinds = names
		a.ended = slices.DeleteFunc(a.ended, func(t endedTarget) bool {
			return !slices.Contains(names, t.kind())
		})
		a.mu.Unlock()
	}
	b.mu.Unlock()
	b.notify()
}

func (b *Board) sortedAccounts() []*account {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.SortedFunc(maps.Values(b.accounts), func(x, y *account) int { return cmp.Compare(x.name, y.name) })
}

// Accounts returns every account, sorted by name.
func (b *Board) Accounts() iter.Seq[AccountInfo] {
	return func(yield func(AccountInfo) bool) {
		for _, a := range b.sortedAccounts() {
			if !yield(b.info(a)) {
				return
			}
		}
	}
}

// Account returns one account; ok is false if it is unknown.
func (b *Board) Account(name string) (info AccountInfo, ok bool) {
	b.mu.RLock()
	a := b.accounts[name]
	b.mu.RUnlock()
	if a == nil {
		return AccountInfo{}, false
	}
	return b.info(a), true
}

// info adds what the configuration says about an account.
func (b *Board) info(a *account) AccountInfo {
	info := a.snapshot()
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.configuration != nil {
		info.Task = b.configuration.Task(a.name) != nil
		if info.Paused = b.configuration.Directives.Paused(a.name); info.Paused != nil {
			info.Next = time.Time{} // its ticks start nothing
		}
	}
	return info
}

// Targets returns every target that has ended at least once, sorted by account, region and kind.
func (b *Board) Targets() iter.Seq[TargetInfo] { return b.targets(b.sortedAccounts) }

// TargetsOf returns the targets of one account, as Targets does.
func (b *Board) TargetsOf(name string) iter.Seq[TargetInfo] {
	return b.targets(func() []*account {
		b.mu.RLock()
		defer b.mu.RUnlock()
		if a := b.accounts[name]; a != nil {
			return []*account{a}
		}
		return nil
	})
}

func (b *Board) targets(accounts func() []*account) iter.Seq[TargetInfo] {
	return func(yield func(TargetInfo) bool) {
		b.mu.RLock()
		calendar := runner.NewCalendar(b.configuration)
		var directives *runner.Directives
		if b.configuration != nil {
			directives = b.configuration.Directives
		}
		b.mu.RUnlock()
		var ts []TargetInfo // of one account after the other
		for _, a := range accounts() {
			ts = a.appendTargets(ts[:0])
			for _, t := range ts {
				t.Due = calendar.Due(t.Account, t.Kind, t.LastSuccess)
				t.Acknowledged = directives.Acknowledged(&t.Outcome, t.LastSuccess)
				if !yield(t) {
					return
				}
			}
		}
	}
}

// Listings returns every listing in progress, oldest first.
func (b *Board) Listings() []Listing {
	var ls []Listing
	for _, a := range b.sortedAccounts() {
		a.mu.Lock()
		if a.activity != nil {
			for _, l := range a.activity.listings {
				ls = append(ls, *l)
			}
		}
		a.mu.Unlock()
	}
	slices.SortFunc(ls, func(x, y Listing) int {
		return cmp.Or(
			x.Started.Compare(y.Started),
			cmp.Compare(x.Account, y.Account),
			cmp.Compare(x.Region, y.Region),
			cmp.Compare(x.Kind, y.Kind),
		)
	})
	return ls
}

// Resources returns how many records the last ok listings of each account and kind had, over all regions.
func (b *Board) Resources() iter.Seq2[record.Target, int] {
	return func(yield func(record.Target, int) bool) {
		for _, a := range b.sortedAccounts() {
			sum := map[string]int{}
			a.mu.Lock()
			for i := range a.ended {
				if at, n := a.ended[i].success(); at != 0 {
					sum[a.ended[i].kind()] += int(n)
				}
			}
			a.mu.Unlock()
			for _, kind := range slices.Sorted(maps.Keys(sum)) {
				if !yield(record.Target{Account: a.name, Kind: kind}, sum[kind]) {
					return
				}
			}
		}
	}
}

// Subscribe returns a channel that receives when something has changed since the last receive.
func (b *Board) Subscribe() (changed <-chan struct{}, cancel func()) {
	c := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs[c] = true
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subs, c)
	}
}
