package board

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
	"unique"

	"github.com/aws-collector/collector/record"
)

// An account is the Board's data of an account. There may be ten thousand, each with thousands of targets: so it is
// small, and rare parts are pointers that are usually nil.
type account struct {
	name string

	mu            sync.Mutex
	kinds         []string // configured for it; shared
	identity      record.Identity
	plan          *plan // the last; nil: none
	expires, next instant
	last          *runState      // nil until a run has ended
	ended         []endedTarget  // by region and kind
	activity      *activity      // nil while nothing is in progress
	failureCounts *failureCounts // nil before the first
}

// A plan is the regions of an account. Accounts with equal plans share it.
type plan struct {
	regions, disabled []string
	warning           error
}

// An activity is the runs and listings of an account that are in progress.
type activity struct {
	runs     []*runState // oldest first
	listings []*Listing  // in no order; few
}

// A failureCounts counts missed runs by reason, and failures of outputs and the store by name.
type failureCounts struct{ missed, undelivered map[string]int }

// A runState is the stored form of a [RunInfo].
type runState struct {
	id                                         string
	tick, started                              instant
	took                                       time.Duration
	status                                     record.Status
	targets, failed, records, calls, throttles int32
}

func (r *runState) count(o record.Outcome) {
	r.targets++
	r.records += int32(o.Records)
	r.calls += int32(o.Calls)
	r.throttles += int32(o.Throttles)
	if o.Failed() {
		r.failed++
	}
}

// markUnusable counts the targets in disabled regions as failures, for a run that could not list any region.
func (a *account) markUnusable(r *runState) {
	for i := range a.ended {
		if t := &a.ended[i]; *t.run == r.id && t.detail != nil && t.detail.state == record.RegionDisabled {
			t.detail.unusable = true
			r.failed++
		}
	}
}

func (r *runState) info() RunInfo {
	i := RunInfo{
		Run: r.id, Tick: r.tick.time(), Started: r.started.time(), Took: r.took, Status: r.status,
		Targets: int(r.targets), Failed: int(r.failed), Records: int(r.records),
		Calls: int(r.calls), Throttles: int(r.throttles),
	}
	if r.status == "" {
		i.Took = time.Since(i.Started)
	}
	return i
}

// A regionKind is a target without its account. There are few of them and many targets, so targets share them: 10,000
// accounts × 17 regions × 20 kinds are 3.4 million targets, for which the board keeps 156 MiB. With the two strings and
// time.Time in place of [instant] it would be 337 MiB.
type regionKind struct{ region, kind string }

func regionKindOf(t record.Target) unique.Handle[regionKind] {
	return unique.Make(regionKind{t.Region, t.Kind})
}

// An instant is a time in nanoseconds since 1970, a third of the size of time.Time; 0 is the zero time.
type instant int64

func instantOf(t time.Time) instant {
	if t.IsZero() {
		return 0
	}
	return instant(t.UnixNano())
}

func (i instant) time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(i))
}

// An endedTarget is the stored form of a [TargetInfo].
type endedTarget struct {
	regionKind     unique.Handle[regionKind]
	run            *string // the id of its run, shared by the run's targets
	started, ended instant
	records, calls int32
	detail         *outcomeDetail // nil: it was ok and has no details
}

// An outcomeDetail has the fields of an outcome that most targets do not use.
type outcomeDetail struct {
	state                 record.State
	reason                record.Reason
	text, hint            string
	duplicates, throttles int32
	expected, unusable    bool
	success               instant // the end of the last ok listing, if this one was not ok; 0: there was none
	resources             int32   // its records
}

func (t *endedTarget) region() string { return t.regionKind.Value().region }
func (t *endedTarget) kind() string   { return t.regionKind.Value().kind }

func (t *endedTarget) set(o record.Outcome, run *string) {
	at, n := t.success()
	t.run, t.started, t.ended = run, instantOf(o.Started), instantOf(o.Ended)
	t.records, t.calls = int32(o.Records), int32(o.Calls)
	detail := outcomeDetail{
		state: o.State, reason: o.Reason, text: o.Error, hint: o.Hint,
		duplicates: int32(o.Duplicates), throttles: int32(o.Throttles),
		expected: o.Expected, unusable: o.AccountUnusable,
		success: at, resources: n,
	}
	if o.State.Complete() {
		detail.success, detail.resources = 0, 0
	}
	if t.detail = nil; detail != (outcomeDetail{state: record.OK}) {
		t.detail = &detail
	}
}

// success returns when the last ok listing ended and how many records it had. 0: there was none.
func (t *endedTarget) success() (at instant, records int32) {
	if t.detail != nil && !t.detail.state.Complete() {
		return t.detail.success, t.detail.resources
	}
	return t.ended, t.records
}

func (t *endedTarget) info(account string) TargetInfo {
	o := record.Outcome{
		Target: record.Target{Account: account, Region: t.region(), Kind: t.kind()},
		Run:    *t.run, State: record.OK, Records: int(t.records), Calls: int(t.calls),
		Started: t.started.time(), Ended: t.ended.time(),
	}
	if detail := t.detail; detail != nil {
		o.State, o.Reason, o.Error, o.Hint = detail.state, detail.reason, detail.text, detail.hint
		o.Expected, o.AccountUnusable = detail.expected, detail.unusable
		o.Duplicates, o.Throttles = int(detail.duplicates), int(detail.throttles)
	}
	at, n := t.success()
	return TargetInfo{Outcome: o, LastSuccess: at.time(), Resources: int(n)}
}

// sharedPlan returns a plan, the former one if it is equal. Most accounts have equal plans and start at the same
// time, so most plans equal the one before.
func (b *Board) sharedPlan(regions, disabled []string, warning error) *plan {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.plan
	shared := p != nil && warning == nil && p.warning == nil &&
		slices.Equal(p.regions, regions) && slices.Equal(p.disabled, disabled)
	if !shared {
		b.plan = &plan{regions, disabled, warning}
	}
	return b.plan
}

// ensureActivity returns the account's activity, for changes. a.mu is held, here and below.
func (a *account) ensureActivity() *activity {
	if a.activity == nil {
		a.activity = new(activity)
	}
	return a.activity
}

// releaseActivity frees the memory of an account that has nothing in progress.
func (a *account) releaseActivity() {
	if a.activity != nil && len(a.activity.runs)+len(a.activity.listings) == 0 {
		a.activity = nil
	}
}

func (a *account) ensureFailureCounts() *failureCounts {
	if a.failureCounts == nil {
		a.failureCounts = new(failureCounts)
	}
	return a.failureCounts
}

// activeRun returns a run in progress, or nil.
func (a *account) activeRun(id string) *runState {
	if a.activity != nil {
		for _, r := range a.activity.runs {
			if r.id == id {
				return r
			}
		}
	}
	return nil
}

// listingIndex returns the index of a target's listing in progress, or -1.
func (a *account) listingIndex(t record.Target) int {
	if a.activity == nil {
		return -1
	}
	return slices.IndexFunc(a.activity.listings, func(l *Listing) bool { return l.Target == t })
}

// endedTarget returns the target of a region and kind, and adds it if it is new.
func (a *account) endedTarget(p unique.Handle[regionKind]) *endedTarget {
	place := p.Value()
	i, found := slices.BinarySearchFunc(a.ended, place, func(t endedTarget, p regionKind) int {
		at := t.regionKind.Value()
		return cmp.Or(cmp.Compare(at.region, p.region), cmp.Compare(at.kind, p.kind))
	})
	if !found {
		a.ended = slices.Insert(a.ended, i, endedTarget{regionKind: p})
	}
	return &a.ended[i]
}

func (a *account) snapshot() AccountInfo {
	a.mu.Lock()
	defer a.mu.Unlock()
	info := AccountInfo{Name: a.name, Kinds: a.kinds, Identity: a.identity, Expires: a.expires.time(), Next: a.next.time()}
	if p := a.plan; p != nil {
		info.Regions, info.Disabled, info.Warning = p.regions, p.disabled, p.warning
	}
	if t := a.failureCounts; t != nil {
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

// appendTargets appends the account's targets, by region and kind, to ts.
func (a *account) appendTargets(ts []TargetInfo) []TargetInfo {
	a.mu.Lock()
	defer a.mu.Unlock()
	ts = slices.Grow(ts, len(a.ended))
	for i := range a.ended {
		ts = append(ts, a.ended[i].info(a.name))
	}
	return ts
}

func increment(m *map[string]int, key string) {
	if *m == nil {
		*m = map[string]int{}
	}
	(*m)[key]++
}
