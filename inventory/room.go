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
type room struct {
	heavy   func() bool // what listings have brought, or what they compare it with, takes memory worth the name
	crowded func() bool // those under way wait for each other: one more would, too

	mu      sync.Mutex
	line    int             // how many the store works for, or who wait for it
	open    int             // how many were let in and have not left
	width   int             // how many may be let in
	waiting []chan struct{} // in the order in which they came
	moved   time.Time       // when one left last, or when the first one began to wait
	free    bool            // the store does not work: nobody waits for it
	timer   *time.Timer     // ticks while somebody waits
}

const (
	roomLine  = 3                      // as many in line at the store: it does not keep up
	roomLeast = 6                      // more than the pages that are decoded at once, so that none of them is idle
	roomTick  = 100 * time.Millisecond // how often those whom AWS lets wait make room for others
	roomStep  = 2                      // for so many: on a machine that is busy, AWS seems to let everybody wait
	roomIdle  = 30 * time.Second       // as long as that nobody has left: the store is not waited for
)

func newRoom(heavy, crowded func() bool) *room {
	if crowded == nil {
		crowded = func() bool { return false }
	}
	return &room{heavy: heavy, crowded: crowded, width: roomLeast}
}

// enter waits for room, or for ctx to end. leave must be called, once.
func (r *room) enter(ctx context.Context) (leave func()) {
	r.mu.Lock()
	if r.free || len(r.waiting) == 0 && r.open < r.width {
		r.open++
		r.mu.Unlock()
		return r.leave
	}
	let := make(chan struct{})
	if len(r.waiting) == 0 {
		r.moved = time.Now()
		if r.timer == nil {
			r.timer = time.AfterFunc(roomTick, r.tick)
		} else {
			r.timer.Reset(roomTick)
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
			r.open++ // it leaves, as everybody does
		}
		r.mu.Unlock()
	}
	return r.leave
}

func (r *room) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
	r.moved = time.Now()
	switch {
	case !r.heavy():
		r.width++
	case r.line >= roomLine:
		r.width = max(roomLeast, min(r.width, r.open))
	case !r.crowded():
		r.width++
	}
	r.width = min(r.width, r.open+len(r.waiting)+roomLeast) // no wider than is wanted: the next run may find another store
	r.grant()
}

// tick makes room where those under way wait for something else than the store, as an AWS that does not answer.
func (r *room) tick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case time.Since(r.moved) >= roomIdle:
		r.width = r.open + len(r.waiting)
	case !r.heavy(), r.line < roomLine && !r.crowded():
		r.width += roomStep
	}
	r.grant()
	if len(r.waiting) > 0 {
		r.timer.Reset(roomTick)
	}
}

// grant lets in whom there is room for. r.mu is held.
func (r *room) grant() {
	n := 0
	for ; n < len(r.waiting) && (r.free || r.open < r.width); n++ {
		close(r.waiting[n])
		r.open++
	}
	r.waiting = slices.Delete(r.waiting, 0, n)
}

// trouble says whether the store does not work.
func (r *room) trouble(free bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free = free
	r.grant()
}

// queue is one more who is in line at the store, until done.
func (r *room) queue() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line++
}

func (r *room) done() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line--
}
