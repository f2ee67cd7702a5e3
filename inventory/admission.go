package inventory

import (
	"context"
	"slices"
	"sync"
	"time"
)

// An admission limits how many listings are in progress while the store is slower than AWS. What a listing has found
// stays in memory until the store takes it, or is staged, which doubles the work of the store. So a few listings at a
// time finish sooner than hundreds. If the store keeps up, AWS is the bottleneck and every listing is admitted.
//
// The limit begins low. Each release admits two listings while the store keeps up, and none while it does not, so the
// number of listings follows what the store takes. Small targets, of which hundreds fit in memory, do not wait. A
// waiting listing holds nothing, and an admitted listing never waits here again.
type admission struct {
	memoryInUse func() bool // buffers and indexes of the listings take much memory
	saturated   func() bool // every page buffer is taken: a further listing would only wait for one

	mu           sync.Mutex
	storeCalls   int             // calls to the store in progress or waiting
	admitted     int             // listings that were admitted and not released
	limit        int             // maximum of admitted
	waiting      []chan struct{} // in the order of arrival
	lastProgress time.Time       // the last release, or the beginning of the wait
	bypass       bool            // the store does not work: admit everything
	timer        *time.Timer     // runs adjust while listings wait
}

const (
	maxStoreCalls  = 3                      // with so many calls, the store does not keep up
	minAdmitted    = 6                      // more than the pages that are decoded at once, so that the decoders stay busy
	adjustInterval = 100 * time.Millisecond // how often the limit grows while AWS is the bottleneck
	adjustStep     = 2                      // by how much: on a busy machine AWS always looks like the bottleneck
	stuckAfter     = 30 * time.Second       // without a release for so long, do not wait for the store
)

func newAdmission(heavy, crowded func() bool) *admission {
	if crowded == nil {
		crowded = func() bool { return false }
	}
	return &admission{memoryInUse: heavy, saturated: crowded, limit: minAdmitted}
}

// admit waits until the listing is admitted or ctx ends. The caller must call release exactly once.
func (r *admission) admit(ctx context.Context) (leave func()) {
	r.mu.Lock()
	if r.bypass || len(r.waiting) == 0 && r.admitted < r.limit {
		r.admitted++
		r.mu.Unlock()
		return r.release
	}
	let := make(chan struct{})
	if len(r.waiting) == 0 {
		r.lastProgress = time.Now()
		if r.timer == nil {
			r.timer = time.AfterFunc(adjustInterval, r.adjust)
		} else {
			r.timer.Reset(adjustInterval)
		}
	}
	r.waiting = append(r.waiting, let)
	r.mu.Unlock()
	select {
	case <-let:
	case <-ctx.Done():
		r.mu.Lock()
		if i := slices.Index(r.waiting, let); i >= 0 {
			r.waiting = slices.Delete(r.waiting, i, i+1)
			r.admitted++ // it is released like all others
		}
		r.mu.Unlock()
	}
	return r.release
}

func (r *admission) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.admitted--
	r.lastProgress = time.Now()
	switch {
	case !r.memoryInUse():
		r.limit++
	case r.storeCalls >= maxStoreCalls:
		r.limit = max(minAdmitted, min(r.limit, r.admitted))
	case !r.saturated():
		r.limit++
	}
	r.limit = min(r.limit, r.admitted+len(r.waiting)+minAdmitted) // no higher than needed: the store may be slower in the next run
	r.admitWaiting()
}

// adjust raises the limit while the listings wait for something else than the store, such as an AWS that does not
// answer.
func (r *admission) adjust() {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case time.Since(r.lastProgress) >= stuckAfter:
		r.limit = r.admitted + len(r.waiting)
	case !r.memoryInUse(), r.storeCalls < maxStoreCalls && !r.saturated():
		r.limit += adjustStep
	}
	r.admitWaiting()
	if len(r.waiting) > 0 {
		r.timer.Reset(adjustInterval)
	}
}

// admitWaiting admits listings up to the limit. The caller holds a.mu.
func (r *admission) admitWaiting() {
	n := 0
	for ; n < len(r.waiting) && (r.bypass || r.admitted < r.limit); n++ {
		close(r.waiting[n])
		r.admitted++
	}
	r.waiting = slices.Delete(r.waiting, 0, n)
}

// setBypass is called with true when the store stops working, and with false when it works again.
func (r *admission) setBypass(free bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bypass = free
	r.admitWaiting()
}

// beginStoreCall counts a call to the store, until endStoreCall.
func (r *admission) beginStoreCall() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.storeCalls++
}

func (r *admission) endStoreCall() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.storeCalls--
}
