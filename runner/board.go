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
// a collection wait: every answer is a copy, taken an account at a time.
type Board struct {
	mu       sync.RWMutex
	accounts map[string]*boardAccount
	only     map[string][]string // the configured accounts and kinds; nil: anything
	subs     map[chan struct{}]bool
	places   placeTable
}

// A boardAccount is what the Board keeps of an account. There may be ten thousand, each with thousands of targets: so it
// is small, and what most accounts have none of takes nothing.
type boardAccount struct {
	name string

	mu                  sync.Mutex
	identity            record.Identity
	regions, disabled   []string
	warning             error
	expires, next       instant
	running             []*RunInfo
	last                *RunInfo       // nil until a run has ended
	missed, undelivered map[string]int // nil until something was
	ended               []endedTarget  // in no order
	atWork              []*Listing     // in no order; few
}

// An endedTarget is a [TargetInfo] as it is kept.
type endedTarget struct {
	place                                           *place
	run                                             string
	state                                           record.State
	trouble                                         *trouble // nil: none
	started, ended, lastSuccess                     instant
	records, duplicates, calls, throttles, resource int32
	expected                                        bool
}

// trouble is what an outcome says besides its state when it is not well.
type trouble struct {
	reason     record.Reason
	text, hint string
}

func (t *endedTarget) set(o record.Outcome) {
	t.run, t.state, t.expected, t.started, t.ended = o.Run, o.State, o.Expected, instantOf(o.Started), instantOf(o.Ended)
	t.records, t.duplicates, t.calls, t.throttles = int32(o.Records), int32(o.Duplicates), int32(o.Calls), int32(o.Throttles)
	if t.trouble = nil; o.Reason != "" || o.Error != "" || o.Hint != "" {
		t.trouble = &trouble{o.Reason, o.Error, o.Hint}
	}
	if o.State.Complete() {
		t.lastSuccess, t.resource = t.ended, t.records
	}
}

func (t *endedTarget) info(account string) TargetInfo {
	o := record.Outcome{Target: record.Target{Account: account, Region: t.place.region, Kind: t.place.kind}, Run: t.run, State: t.state,
		Expected: t.expected, Records: int(t.records), Duplicates: int(t.duplicates), Calls: int(t.calls), Throttles: int(t.throttles),
		Started: t.started.time(), Ended: t.ended.time()}
	if t.trouble != nil {
		o.Reason, o.Error, o.Hint = t.trouble.reason, t.trouble.text, t.trouble.hint
	}
	return TargetInfo{Outcome: o, LastSuccess: t.lastSuccess.time(), Resources: int(t.resource)}
}

var (
	_ Observer = (*Board)(nil)
	_ Detail   = (*Board)(nil)
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
	Expires  time.Time // its credentials; zero: unknown, or never
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

// with does f to an account, unless it has left the configuration, and nudges who watches.
func (b *Board) with(account string, f func(*boardAccount)) {
	b.mu.RLock()
	a := b.accounts[account]
	b.mu.RUnlock()
	if a == nil {
		b.mu.Lock()
		if _, ok := b.only[account]; b.only != nil && !ok {
			b.mu.Unlock()
			return
		}
		if a = b.accounts[account]; a == nil {
			a = &boardAccount{name: account}
			b.accounts[account] = a
		}
		b.mu.Unlock()
	}
	a.mu.Lock()
	f(a)
	a.mu.Unlock()
	b.nudge()
}

func (b *Board) nudge() {
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
	b.with(account, func(a *boardAccount) {
		a.running = append(a.running, &RunInfo{Run: run, Tick: tick, Started: time.Now()})
	})
}

func (b *Board) RunEnded(account, run string, s record.Status, took time.Duration) {
	b.with(account, func(a *boardAccount) {
		i := slices.IndexFunc(a.running, func(r *RunInfo) bool { return r.Run == run })
		if i < 0 {
			return
		}
		r := a.running[i]
		r.Status, r.Took = s, took
		a.last = r
		a.running = without(a.running, i)
	})
}

func (b *Board) Missed(account, reason string) {
	b.with(account, func(a *boardAccount) { count(&a.missed, reason) })
}

func (b *Board) TargetStarted(t record.Target, run string) {
	b.with(t.Account, func(a *boardAccount) {
		now := &Listing{Target: t, Run: run, Started: time.Now()}
		if i := a.listing(t); i >= 0 {
			a.atWork[i] = now
		} else {
			a.atWork = append(a.atWork, now)
		}
	})
}

func (b *Board) TargetEnded(o record.Outcome) {
	at := b.places.of(o.Target)
	b.with(o.Account, func(a *boardAccount) {
		if i := a.listing(o.Target); i >= 0 && a.atWork[i].Run == o.Run {
			a.atWork = without(a.atWork, i)
		}
		a.at(at).set(o)
		for _, r := range a.running {
			if r.Run != o.Run {
				continue
			}
			r.Targets++
			r.Records += o.Records
			r.Calls += o.Calls
			r.Throttles += o.Throttles
			if o.State.Failed() && !o.Expected {
				r.Failed++
			}
		}
	})
}

// Call and BudgetWait are counters' business; a target's own are in its Outcome.
func (b *Board) Call(string, string, string, string, time.Duration) {}
func (b *Board) BudgetWait(string, string, time.Duration)           {}

func (b *Board) Expires(account string, at time.Time) {
	b.with(account, func(a *boardAccount) { a.expires = instantOf(at) })
}

func (b *Board) Entered(account string, id record.Identity) {
	b.with(account, func(a *boardAccount) { a.identity = id })
}

func (b *Board) Progress(t record.Target, run string, records int) {
	b.with(t.Account, func(a *boardAccount) {
		if i := a.listing(t); i >= 0 && a.atWork[i].Run == run {
			a.atWork[i].Records = records
		}
	})
}

// Planned also forgets targets of regions that are no longer the account's.
func (b *Board) Planned(account string, regions, disabled []string, warning error) {
	b.with(account, func(a *boardAccount) {
		a.regions, a.disabled, a.warning = regions, disabled, warning
		a.ended = slices.DeleteFunc(a.ended, func(t endedTarget) bool {
			return !slices.Contains(regions, t.place.region) && !slices.Contains(disabled, t.place.region)
		})
	})
}

func (b *Board) Next(account string, at time.Time) {
	b.with(account, func(a *boardAccount) { a.next = instantOf(at) })
}

func (b *Board) Undelivered(t record.Target, _, sink string, _ error) {
	b.with(t.Account, func(a *boardAccount) { count(&a.undelivered, sink) })
}

// Configured forgets accounts, and kinds of accounts, that are no longer in the configuration, and knows those that are
// from now on, though nothing has happened to them yet.
func (b *Board) Configured(kinds map[string][]string) {
	b.mu.Lock()
	b.only = maps.Clone(kinds)
	maps.DeleteFunc(b.accounts, func(name string, _ *boardAccount) bool { _, ok := kinds[name]; return !ok })
	for name := range kinds {
		if b.accounts[name] == nil {
			b.accounts[name] = &boardAccount{name: name}
		}
	}
	all := maps.Clone(b.accounts)
	b.mu.Unlock()
	for name, a := range all {
		a.mu.Lock()
		a.ended = slices.DeleteFunc(a.ended, func(t endedTarget) bool { return !slices.Contains(kinds[name], t.place.kind) })
		a.mu.Unlock()
	}
	b.nudge()
}

func (b *Board) all() []*boardAccount {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.SortedFunc(maps.Values(b.accounts), func(x, y *boardAccount) int { return cmp.Compare(x.name, y.name) })
}

// Accounts is every account, sorted by name.
func (b *Board) Accounts() []AccountInfo {
	var infos []AccountInfo
	b.mu.RLock()
	kinds := b.only
	b.mu.RUnlock()
	for _, a := range b.all() {
		info := a.snapshot()
		info.Kinds = kinds[info.Name]
		infos = append(infos, info)
	}
	return infos
}

// Account is one account; ok is false where it is not known.
func (b *Board) Account(name string) (info AccountInfo, ok bool) {
	b.mu.RLock()
	a, kinds := b.accounts[name], b.only[name]
	b.mu.RUnlock()
	if a == nil {
		return AccountInfo{}, false
	}
	info = a.snapshot()
	info.Kinds = kinds
	return info, true
}

func (a *boardAccount) snapshot() AccountInfo {
	a.mu.Lock()
	defer a.mu.Unlock()
	info := AccountInfo{Name: a.name, Identity: a.identity, Regions: a.regions, Disabled: a.disabled, Warning: a.warning,
		Expires: a.expires.time(), Next: a.next.time(), Missed: maps.Clone(a.missed), Undelivered: maps.Clone(a.undelivered)}
	if a.last != nil {
		info.Last = *a.last
	}
	for _, r := range a.running {
		now := *r
		now.Took = time.Since(r.Started)
		info.Running = append(info.Running, now)
	}
	return info
}

// listing is where a target stands among those at work, or -1.
func (a *boardAccount) listing(t record.Target) int {
	return slices.IndexFunc(a.atWork, func(l *Listing) bool { return l.Target == t })
}

// at finds the target of a place, or makes room for it.
func (a *boardAccount) at(p *place) *endedTarget {
	for i := range a.ended {
		if a.ended[i].place == p {
			return &a.ended[i]
		}
	}
	a.ended = append(a.ended, endedTarget{place: p})
	return &a.ended[len(a.ended)-1]
}

// without takes an element out, and lets go of the memory with the last one.
func without[T any](s []T, i int) []T {
	if len(s) == 1 {
		return nil
	}
	return slices.Delete(s, i, i+1)
}

func count(m *map[string]int, key string) {
	if *m == nil {
		*m = map[string]int{}
	}
	(*m)[key]++
}

// Targets is every target that has ended once, sorted by account, region and kind.
func (b *Board) Targets() iter.Seq[TargetInfo] {
	return func(yield func(TargetInfo) bool) {
		for _, a := range b.all() {
			for _, t := range a.targets() {
				if !yield(t) {
					return
				}
			}
		}
	}
}

func (a *boardAccount) targets() []TargetInfo {
	a.mu.Lock()
	ts := make([]TargetInfo, 0, len(a.ended))
	for i := range a.ended {
		ts = append(ts, a.ended[i].info(a.name))
	}
	a.mu.Unlock()
	slices.SortFunc(ts, func(x, y TargetInfo) int {
		return cmp.Or(cmp.Compare(x.Region, y.Region), cmp.Compare(x.Kind, y.Kind))
	})
	return ts
}

// Listings is every target at work, oldest first.
func (b *Board) Listings() []Listing {
	var ls []Listing
	for _, a := range b.all() {
		a.mu.Lock()
		for _, l := range a.atWork {
			ls = append(ls, *l)
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
		for _, a := range b.all() {
			sum := map[string]int{}
			a.mu.Lock()
			for i := range a.ended {
				if t := &a.ended[i]; t.lastSuccess != 0 {
					sum[t.place.kind] += int(t.resource)
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
