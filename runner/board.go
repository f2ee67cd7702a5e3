package runner

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
)

// A Board folds what an Observer hears into what people ask: the one state behind /metrics, the API, the live view, the
// table at the end and exit code 3. It is this process's; what must outlive it is in the Ledger. Reading it does not make
// a collection wait: every answer is a copy, taken an account at a time. How it is kept is in boardaccount.go.
type Board struct {
	mu          sync.RWMutex
	accounts    map[string]*boardAccount
	configured  bool // accounts are those of the configuration; before: anything
	plan        *boardPlan
	subs        map[chan struct{}]bool
	regionKinds regionKindTable
}

var (
	_ Observer       = (*Board)(nil)
	_ DetailObserver = (*Board)(nil)
)

// NewBoard has seen nothing yet.
func NewBoard() *Board {
	return &Board{accounts: map[string]*boardAccount{}, subs: map[chan struct{}]bool{}}
}

// An AccountInfo is what is known of an account, now.
type AccountInfo struct {
	Name     string
	Kinds    []string        // that the configuration lists there; shared, read only
	Identity record.Identity // zero until it was entered
	Regions  []string        // of the last plan
	Disabled []string
	Warning  error     // of the last plan
	Expires  time.Time // its session, which only a person can renew; zero: nobody has to
	Next     time.Time // its next start; zero: none
	Running  []RunInfo // oldest first
	Last     RunInfo   // the last that was not skipped or expired; Run is "" until one has ended
	Missed   map[string]int
	// Undelivered is how often an output, or the store, failed for a target, by its name.
	Undelivered map[string]int
}

// A RunInfo is a run, under way or over.
type RunInfo struct {
	Run       string
	Tick      time.Time
	Started   time.Time
	Took      time.Duration // so far, while Status is ""
	Status    record.Status // "" while it is under way
	Targets   int           // ended
	Failed    int           // ended, failed and not expected to
	Records   int           // of ended targets
	Calls     int           // of ended targets
	Throttles int           // of ended targets
}

// A TargetInfo is how a target stands.
type TargetInfo struct {
	record.Outcome           // the last
	LastSuccess    time.Time // the end of its last ok listing; zero: never
	Resources      int       // the records of its last ok listing
}

// A Listing is a target at work.
type Listing struct {
	record.Target
	Run     string
	Started time.Time
	Records int // delivered so far
}

// update does f to an account, unless it has left the configuration, and nudges who watches.
func (b *Board) update(account string, f func(*boardAccount)) {
	b.mu.RLock()
	a := b.accounts[account]
	b.mu.RUnlock()
	if a == nil {
		b.mu.Lock()
		if a = b.accounts[account]; a == nil && b.configured {
			b.mu.Unlock()
			return
		}
		if a == nil {
			a = &boardAccount{name: account}
			b.accounts[account] = a
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
		case c <- struct{}{}: // a nudge, not the event: a slow reader misses nothing that it could still read
		default:
		}
	}
}

// RunStarted, and all up to Configured, are what the runner tells.
func (b *Board) RunStarted(account, run string, tick time.Time) {
	b.update(account, func(a *boardAccount) {
		w := a.ensureActivity()
		w.runs = append(w.runs, &boardRun{id: run, tick: instantOf(tick), started: instantOf(time.Now())})
	})
}

func (b *Board) RunEnded(account, run string, s record.Status, took time.Duration) {
	b.update(account, func(a *boardAccount) {
		if r := a.activeRun(run); r != nil {
			r.status, r.took = s, took
			if (s == record.RunFailed || s == record.RunPartial) && r.failed == 0 {
				a.markUnusable(r)
			}
			a.last = r
			a.activity.runs = slices.DeleteFunc(a.activity.runs, func(o *boardRun) bool { return o == r })
			a.releaseActivity()
		}
	})
}

func (b *Board) Missed(account, reason string) {
	b.update(account, func(a *boardAccount) { increment(&a.ensureTrouble().missed, reason) })
}

func (b *Board) TargetStarted(t record.Target, run string) {
	b.update(t.Account, func(a *boardAccount) {
		now := &Listing{Target: t, Run: run, Started: time.Now()}
		w := a.ensureActivity()
		if i := a.listingIndex(t); i >= 0 {
			w.listings[i] = now
		} else {
			w.listings = append(w.listings, now)
		}
	})
}

func (b *Board) TargetEnded(o record.Outcome) {
	at := b.regionKinds.intern(o.Target)
	b.update(o.Account, func(a *boardAccount) {
		if i := a.listingIndex(o.Target); i >= 0 && a.activity.listings[i].Run == o.Run {
			a.activity.listings = slices.Delete(a.activity.listings, i, i+1)
		}
		r := a.activeRun(o.Run)
		if r == nil { // a straggler's
			r = &boardRun{id: o.Run}
		}
		r.count(o)
		a.endedTarget(at).set(o, &r.id)
		a.releaseActivity()
	})
}

// Call and BudgetWait are counters' business; a target's own are in its Outcome.
func (b *Board) Call(string, string, string, string, time.Duration) {}
func (b *Board) BudgetWait(string, string, time.Duration)           {}

func (b *Board) Expires(account string, at time.Time) {
	b.update(account, func(a *boardAccount) { a.expires = instantOf(at) })
}

func (b *Board) SignedIn(account string, id record.Identity) {
	b.update(account, func(a *boardAccount) { a.identity = id })
}

func (b *Board) Progress(t record.Target, run string, records int) {
	b.update(t.Account, func(a *boardAccount) {
		if i := a.listingIndex(t); i >= 0 && a.activity.listings[i].Run == run {
			a.activity.listings[i].Records = records
		}
	})
}

// Planned also forgets targets of regions that are no longer the account's.
func (b *Board) Planned(account string, regions, disabled []string, warning error) {
	plan := b.sharedPlan(regions, disabled, warning)
	b.update(account, func(a *boardAccount) {
		a.plan = plan
		a.ended = slices.DeleteFunc(a.ended, func(t endedTarget) bool {
			return !slices.Contains(regions, t.regionKind.region) && !slices.Contains(disabled, t.regionKind.region)
		})
	})
}

func (b *Board) NextStart(account string, at time.Time) {
	b.update(account, func(a *boardAccount) { a.next = instantOf(at) })
}

func (b *Board) Undelivered(t record.Target, _, sink string, _ error) {
	b.update(t.Account, func(a *boardAccount) { increment(&a.ensureTrouble().undelivered, sink) })
}

// Configured forgets accounts, and kinds of accounts, that are no longer in the configuration, and knows those that are
// from now on, though nothing has happened to them yet.
func (b *Board) Configured(kinds map[string][]string) {
	b.mu.Lock()
	if len(b.accounts) == 0 {
		b.accounts = make(map[string]*boardAccount, len(kinds))
	}
	b.configured = true
	maps.DeleteFunc(b.accounts, func(name string, _ *boardAccount) bool { _, ok := kinds[name]; return !ok })
	for name, its := range kinds {
		a := b.accounts[name]
		if a == nil {
			a = &boardAccount{name: name}
			b.accounts[name] = a
		}
		a.mu.Lock()
		a.kinds = its
		a.ended = slices.DeleteFunc(a.ended, func(t endedTarget) bool { return !slices.Contains(its, t.regionKind.kind) })
		a.mu.Unlock()
	}
	b.mu.Unlock()
	b.notify()
}

func (b *Board) sortedAccounts() []*boardAccount {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.SortedFunc(maps.Values(b.accounts), func(x, y *boardAccount) int { return cmp.Compare(x.name, y.name) })
}

// Accounts is every account, sorted by name.
func (b *Board) Accounts() iter.Seq[AccountInfo] {
	return func(yield func(AccountInfo) bool) {
		for _, a := range b.sortedAccounts() {
			if !yield(a.snapshot()) {
				return
			}
		}
	}
}

// Account is one account; ok is false where it is not known.
func (b *Board) Account(name string) (info AccountInfo, ok bool) {
	b.mu.RLock()
	a := b.accounts[name]
	b.mu.RUnlock()
	if a == nil {
		return AccountInfo{}, false
	}
	return a.snapshot(), true
}

// Targets is every target that has ended once, sorted by account, region and kind.
func (b *Board) Targets() iter.Seq[TargetInfo] {
	return func(yield func(TargetInfo) bool) {
		for _, a := range b.sortedAccounts() {
			for _, t := range a.targets() {
				if !yield(t) {
					return
				}
			}
		}
	}
}

// Listings is every target at work, oldest first.
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
		return cmp.Or(x.Started.Compare(y.Started), cmp.Compare(x.Account, y.Account), cmp.Compare(x.Region, y.Region), cmp.Compare(x.Kind, y.Kind))
	})
	return ls
}

// Resources is how many records the last ok listings of each account and kind had, over all regions.
func (b *Board) Resources() iter.Seq2[record.Target, int] {
	return func(yield func(record.Target, int) bool) {
		for _, a := range b.sortedAccounts() {
			sum := map[string]int{}
			a.mu.Lock()
			for i := range a.ended {
				if at, n := a.ended[i].success(); at != 0 {
					sum[a.ended[i].regionKind.kind] += int(n)
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

// Subscribe returns a channel that is nudged when something has changed since it was last read.
func (b *Board) Subscribe() (nudge <-chan struct{}, cancel func()) {
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
