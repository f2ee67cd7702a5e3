package inventory

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A room says how many listings may be under way, where the store is what they wait for. What one of them has brought stays in
// memory until the store takes it, or is staged, which costs the store twice as much; so a few at a time are done sooner than
// hundreds. Where the store keeps up, AWS is what they wait for, and then there is room for everybody.
//
// It begins narrow. Each one that leaves lets two in while the store keeps up, and none while it does not: so the number
// under way follows what the store takes in the time that a listing lasts. Small targets, of which hundreds fit in memory, are
// held up by none of this. Who waits holds nothing, and who was let in never waits here again.
type admission struct {
	memoryInUse func() bool // what listings have brought, or what they compare it with, takes memory worth the name
	saturated   func() bool // those under way wait for each other: one more would, too

	mu           sync.Mutex
	storeCalls   int             // how many the store works for, or who wait for it
	admitted     int             // how many were let in and have not left
	limit        int             // how many may be let in
	waiting      []chan struct{} // in the order in which they came
	lastProgress time.Time       // when one left last, or when the first one began to wait
	bypass       bool            // the store does not work: nobody waits for it
	timer        *time.Timer     // ticks while somebody waits
}

const (
	maxStoreCalls  = 3                      // as many in line at the store: it does not keep up
	minAdmitted    = 6                      // more than the pages that are decoded at once, so that none of them is idle
	adjustInterval = 100 * time.Millisecond // how often those whom AWS lets wait make room for others
	adjustStep     = 2                      // for so many: on a machine that is busy, AWS seems to let everybody wait
	stuckAfter     = 30 * time.Second       // as long as that nobody has left: the store is not waited for
)

func newAdmission(heavy, crowded func() bool) *admission {
	if crowded == nil {
		crowded = func() bool { return false }
	}
	return &admission{memoryInUse: heavy, saturated: crowded, limit: minAdmitted}
}

// admit waits for room, or for ctx to end. leave must be called, once.
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
			r.admitted++ // it leaves, as everybody does
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
	r.limit = min(r.limit, r.admitted+len(r.waiting)+minAdmitted) // no wider than is wanted: the next run may find another store
	r.admitWaiting()
}

// adjust makes room where those under way wait for something else than the store, as an AWS that does not answer.
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

// admitWaiting lets in whom there is room for. r.mu is held.
func (r *admission) admitWaiting() {
	n := 0
	for ; n < len(r.waiting) && (r.bypass || r.admitted < r.limit); n++ {
		close(r.waiting[n])
		r.admitted++
	}
	r.waiting = slices.Delete(r.waiting, 0, n)
}

// setBypass says whether the store does not work.
func (r *admission) setBypass(free bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bypass = free
	r.admitWaiting()
}

// beginStoreCall is one more who is in line at the store, until done.
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
