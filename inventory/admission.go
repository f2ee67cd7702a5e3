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

func newAdmission(memoryInUse, saturated func() bool) *admission {
	if saturated == nil {
		saturated = func() bool { return false }
	}
	return &admission{memoryInUse: memoryInUse, saturated: saturated, limit: minAdmitted}
}

// admit waits until the listing is admitted or ctx ends. The caller must call release exactly once.
func (a *admission) admit(ctx context.Context) (release func()) {
	a.mu.Lock()
	if a.bypass || len(a.waiting) == 0 && a.admitted < a.limit {
		a.admitted++
		a.mu.Unlock()
		return a.release
	}
	admitted := make(chan struct{})
	if len(a.waiting) == 0 {
		a.lastProgress = time.Now()
		if a.timer == nil {
			a.timer = time.AfterFunc(adjustInterval, a.adjust)
		} else {
			a.timer.Reset(adjustInterval)
		}
	}
	a.waiting = append(a.waiting, admitted)
	a.mu.Unlock()
	select {
	case <-admitted:
	case <-ctx.Done():
		a.mu.Lock()
		if i := slices.Index(a.waiting, admitted); i >= 0 {
			a.waiting = slices.Delete(a.waiting, i, i+1)
			a.admitted++ // it is released like all others
		}
		a.mu.Unlock()
	}
	return a.release
}

func (a *admission) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.admitted--
	a.lastProgress = time.Now()
	switch {
	case !a.memoryInUse():
		a.limit++
	case a.storeCalls >= maxStoreCalls:
		a.limit = max(minAdmitted, min(a.limit, a.admitted))
	case !a.saturated():
		a.limit++
	}
	// no higher than needed: the store may be slower in the next run
	a.limit = min(a.limit, a.admitted+len(a.waiting)+minAdmitted)
	a.admitWaiting()
}

// adjust raises the limit while the listings wait for something else than the store, such as an AWS that does not
// answer.
func (a *admission) adjust() {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case time.Since(a.lastProgress) >= stuckAfter:
		a.limit = a.admitted + len(a.waiting)
	case !a.memoryInUse(), a.storeCalls < maxStoreCalls && !a.saturated():
		a.limit += adjustStep
	}
	a.admitWaiting()
	if len(a.waiting) > 0 {
		a.timer.Reset(adjustInterval)
	}
}

// admitWaiting admits listings up to the limit. The caller holds a.mu.
func (a *admission) admitWaiting() {
	n := 0
	for ; n < len(a.waiting) && (a.bypass || a.admitted < a.limit); n++ {
		close(a.waiting[n])
		a.admitted++
	}
	a.waiting = slices.Delete(a.waiting, 0, n)
}

// setBypass is called with true when the store stops working, and with false when it works again.
func (a *admission) setBypass(bypass bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bypass = bypass
	a.admitWaiting()
}

// beginStoreCall counts a call to the store, until endStoreCall.
func (a *admission) beginStoreCall() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.storeCalls++
}

func (a *admission) endStoreCall() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.storeCalls--
}
