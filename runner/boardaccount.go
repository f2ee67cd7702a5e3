package runner

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
)

// A boardAccount is what the Board keeps of an account. There may be ten thousand, each with thousands of targets: so it
// is small, and what most accounts have none of, or none now, takes nothing.
type boardAccount struct {
	name string

	mu            sync.Mutex
	kinds         []string // that the configuration lists there; shared
	identity      record.Identity
	plan          *boardPlan // the last; nil: none
	expires, next instant
	last          *boardRun      // nil until a run has ended
	ended         []endedTarget  // in no order
	activity      *boardActivity // nil at rest
	trouble       *boardTrouble  // nil until there was some
}

// A boardPlan is where an account is listed. Accounts with equal plans share it.
type boardPlan struct {
	regions, disabled []string
	warning           error
}

// boardActivity is what an account is about.
type boardActivity struct {
	runs     []*boardRun // oldest first
	listings []*Listing  // in no order; few
}

// boardTrouble counts what went wrong besides targets, by its name.
type boardTrouble struct{ missed, undelivered map[string]int }

// A boardRun is a [RunInfo] as it is kept.
type boardRun struct {
	id                                         string
	tick, started                              instant
	took                                       time.Duration
	status                                     record.Status
	targets, failed, records, calls, throttles int32
}

func (r *boardRun) count(o record.Outcome) {
	r.targets++
	r.records += int32(o.Records)
	r.calls += int32(o.Calls)
	r.throttles += int32(o.Throttles)
	if o.Failed() {
		r.failed++
	}
}

// markUnusable is for a run that failed because none of its regions could be listed: then each of them is a failure.
func (a *boardAccount) markUnusable(r *boardRun) {
	for i := range a.ended {
		if t := &a.ended[i]; *t.run == r.id && t.detail != nil && t.detail.state == record.RegionDisabled {
			t.detail.unusable = true
			r.failed++
		}
	}
}

func (r *boardRun) info() RunInfo {
	i := RunInfo{Run: r.id, Tick: r.tick.time(), Started: r.started.time(), Took: r.took, Status: r.status, Targets: int(r.targets),
		Failed: int(r.failed), Records: int(r.records), Calls: int(r.calls), Throttles: int(r.throttles)}
	if r.status == "" {
		i.Took = time.Since(i.Started)
	}
	return i
}

// An endedTarget is a [TargetInfo] as it is kept.
type endedTarget struct {
	regionKind     *regionKind
	run            *string // its run's id, which its targets share
	started, ended instant
	records, calls int32
	detail         *outcomeDetail // nil: it was ok, and no more is to be said
}

// An oddity is what the outcome of a target says that most have nothing of.
type outcomeDetail struct {
	state                 record.State
	reason                record.Reason
	text, hint            string
	duplicates, throttles int32
	expected, unusable    bool
	success               instant // the end of the last ok listing, where this one was not; 0: there was none
	resources             int32   // its records
}

func (t *endedTarget) set(o record.Outcome, run *string) {
	at, n := t.success()
	t.run, t.started, t.ended, t.records, t.calls = run, instantOf(o.Started), instantOf(o.Ended), int32(o.Records), int32(o.Calls)
	odd := outcomeDetail{o.State, o.Reason, o.Error, o.Hint, int32(o.Duplicates), int32(o.Throttles), o.Expected, o.AccountUnusable, at, n}
	if o.State.Complete() {
		odd.success, odd.resources = 0, 0
	}
	if t.detail = nil; odd != (outcomeDetail{state: record.OK}) {
		t.detail = &odd
	}
}

// success is when the last ok listing ended, and what it found. 0: there was none.
func (t *endedTarget) success() (at instant, records int32) {
	if t.detail != nil && !t.detail.state.Complete() {
		return t.detail.success, t.detail.resources
	}
	return t.ended, t.records
}

func (t *endedTarget) info(account string) TargetInfo {
	o := record.Outcome{Target: record.Target{Account: account, Region: t.regionKind.region, Kind: t.regionKind.kind}, Run: *t.run, State: record.OK,
		Records: int(t.records), Calls: int(t.calls), Started: t.started.time(), Ended: t.ended.time()}
	if odd := t.detail; odd != nil {
		o.State, o.Reason, o.Error, o.Hint = odd.state, odd.reason, odd.text, odd.hint
		o.Expected, o.AccountUnusable = odd.expected, odd.unusable
		o.Duplicates, o.Throttles = int(odd.duplicates), int(odd.throttles)
	}
	at, n := t.success()
	return TargetInfo{Outcome: o, LastSuccess: at.time(), Resources: int(n)}
}

// sharedPlan is a plan to keep. Runs of accounts with equal plans end beside each other, and the runner has them share their lists: so
// most plans are the one before.
func (b *Board) sharedPlan(regions, disabled []string, warning error) *boardPlan {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.plan; p == nil || warning != nil || p.warning != nil || !slices.Equal(p.regions, regions) || !slices.Equal(p.disabled, disabled) {
		b.plan = &boardPlan{regions, disabled, warning}
	}
	return b.plan
}

// ensureActivity is what the account is about, to be written to. a.mu is held, here and below.
func (a *boardAccount) ensureActivity() *boardActivity {
	if a.activity == nil {
		a.activity = new(boardActivity)
	}
	return a.activity
}

// releaseActivity lets go of the memory of work that is over.
func (a *boardAccount) releaseActivity() {
	if a.activity != nil && len(a.activity.runs)+len(a.activity.listings) == 0 {
		a.activity = nil
	}
}

func (a *boardAccount) ensureTrouble() *boardTrouble {
	if a.trouble == nil {
		a.trouble = new(boardTrouble)
	}
	return a.trouble
}

// activeRun finds a run under way, or nil.
func (a *boardAccount) activeRun(id string) *boardRun {
	if a.activity != nil {
		for _, r := range a.activity.runs {
			if r.id == id {
				return r
			}
		}
	}
	return nil
}

// listingIndex is where a target stands among those at work, or -1.
func (a *boardAccount) listingIndex(t record.Target) int {
	if a.activity == nil {
		return -1
	}
	return slices.IndexFunc(a.activity.listings, func(l *Listing) bool { return l.Target == t })
}

// endedTarget finds the target of a place, or makes room for it.
func (a *boardAccount) endedTarget(p *regionKind) *endedTarget {
	for i := range a.ended {
		if a.ended[i].regionKind == p {
			return &a.ended[i]
		}
	}
	a.ended = append(a.ended, endedTarget{regionKind: p})
	return &a.ended[len(a.ended)-1]
}

func (a *boardAccount) snapshot() AccountInfo {
	a.mu.Lock()
	defer a.mu.Unlock()
	info := AccountInfo{Name: a.name, Kinds: a.kinds, Identity: a.identity, Expires: a.expires.time(), Next: a.next.time()}
	if p := a.plan; p != nil {
		info.Regions, info.Disabled, info.Warning = p.regions, p.disabled, p.warning
	}
	if t := a.trouble; t != nil {
		info.Missed, info.Undelivered = maps.Clone(t.missed), maps.Clone(t.undelivered)
	}
	if a.last != nil {
		info.Last = a.last.info()
	}
	if a.activity != nil {
		for _, r := range a.activity.runs {
			info.Running = append(info.Running, r.info())
		}
	}
	return info
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

func increment(m *map[string]int, key string) {
	if *m == nil {
		*m = map[string]int{}
	}
	(*m)[key]++
}
