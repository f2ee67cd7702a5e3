package inventory

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A hall is many who want to list, one after the other.
type hall struct {
	*testing.T
	r  *room
	in chan int
}

// come is n more who want to get in, in this order.
func (h *hall) come(n int) {
	for i := range n {
		go func() {
			h.r.enter(h.Context())
			h.in <- i
		}()
		synctest.Wait()
	}
}

// entered is how many have got in since it was asked last.
func (h *hall) entered(want int) {
	h.Helper()
	synctest.Wait()
	if n := len(h.in); n != want {
		h.Errorf("%d were let in, want %d", n, want)
	}
	for range len(h.in) {
		<-h.in
	}
}

func (h *hall) leave(n int) {
	for range n {
		h.r.leave()
	}
}

func inHall(t *testing.T, crowded func() bool, f func(h *hall)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(&hall{t, newRoom(func() bool { return true }, crowded), make(chan int, 10_000)})
	})
}

func TestRoomWidensWhileTheStoreKeepsUp(t *testing.T) {
	inHall(t, nil, func(h *hall) {
		h.come(300)
		h.entered(roomLeast)
		n, all := roomLeast, roomLeast
		for ; n < 64; n *= 2 { // a round of all who are in lets twice as many in
			h.leave(n)
			h.entered(2 * n)
			all += 2 * n
		}
		h.r.trouble(true) // for the end of the test
		h.entered(300 - all)
	})
}

func TestRoomNarrowsWhenTheStoreDoesNotKeepUp(t *testing.T) {
	inHall(t, nil, func(h *hall) {
		h.come(300)
		for _, n := range []int{roomLeast, 2 * roomLeast, 4 * roomLeast} {
			h.entered(n)
			h.leave(n)
		}
		h.entered(8 * roomLeast)
		for range roomLine {
			h.r.queue()
		}
		h.leave(8*roomLeast - roomLeast + 1)
		time.Sleep(time.Second)
		h.entered(1) // there are as many as at first
		h.leave(1)
		h.entered(1)
		h.r.done()
		h.leave(1)
		h.entered(2)
		h.r.trouble(true)
		h.entered(300 - 15*roomLeast - 4)
	})
}

func TestRoomIsNotWidenedForThoseWhoWaitForEachOther(t *testing.T) {
	crowded := true
	inHall(t, func() bool { return crowded }, func(h *hall) {
		h.come(100)
		h.entered(roomLeast)
		time.Sleep(time.Second)
		h.leave(roomLeast)
		h.entered(roomLeast)
		crowded = false
		h.leave(roomLeast)
		h.entered(2 * roomLeast)
		h.r.trouble(true)
		h.entered(100 - 4*roomLeast)
	})
}

// Small targets are held up neither by a store that is busy nor by each other.
func TestRoomWidensWhileLittleIsHeld(t *testing.T) {
	light := true
	inHall(t, func() bool { return true }, func(h *hall) {
		h.r.heavy = func() bool { return !light }
		for range roomLine {
			h.r.queue()
		}
		h.come(100)
		h.entered(roomLeast)
		h.leave(roomLeast)
		h.entered(2 * roomLeast)
		light = false
		h.leave(roomLeast)
		h.entered(0)
		h.r.trouble(true)
		h.entered(100 - 3*roomLeast)
	})
}

// Listings that AWS does not answer hold up nobody.
func TestRoomForOthersWhereAWSIsWaitedFor(t *testing.T) {
	inHall(t, nil, func(h *hall) {
		h.come(256)
		time.Sleep((256-roomLeast)/roomStep*roomTick + time.Millisecond)
		h.entered(256)
	})
}

// A store that takes nothing, and says nothing, is not waited for.
func TestRoomWithoutAStoreThatTakesAnything(t *testing.T) {
	inHall(t, nil, func(h *hall) {
		for range roomLine {
			h.r.queue()
		}
		h.come(100)
		time.Sleep(roomIdle - time.Second)
		h.entered(roomLeast)
		h.leave(1)
		time.Sleep(roomIdle - time.Second)
		h.entered(1)
		time.Sleep(2 * time.Second)
		h.entered(100 - roomLeast - 1)
	})
}

func TestRoomIsInTheOrderOfComing(t *testing.T) {
	inHall(t, func() bool { return true }, func(h *hall) {
		h.come(5 * roomLeast)
		for range 5 * roomLeast {
			synctest.Wait()
			select {
			case <-h.in:
				h.leave(1)
			default:
				h.Fatal("there was room, and nobody came")
			}
		}
		for i := range 3 * roomLeast { // all have left: it begins anew
			h.come(1)
			if i < roomLeast {
				h.entered(1)
			} else {
				h.entered(0)
			}
		}
		h.r.trouble(true)
	})
}

func TestRoomIsNotWaitedForAfterTheEnd(t *testing.T) {
	inHall(t, func() bool { return true }, func(h *hall) {
		ctx, cancel := context.WithCancel(h.Context())
		h.come(roomLeast)
		var leave func()
		go func() {
			leave = h.r.enter(ctx)
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if leave == nil {
			h.Fatal("who is cancelled still waits")
		}
		leave()
		h.leave(roomLeast)
		if h.r.open != 0 || len(h.r.waiting) != 0 {
			h.Errorf("%d are in and %d wait, and all have left", h.r.open, len(h.r.waiting))
		}
	})
}

// The store's trouble lets everybody in, until a write has worked again.
func TestNobodyWaitsForAStoreInTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inv := New(nil, Options{Crowded: func() bool { return true }})
		inv.held.Store(inv.hold)
		h := &hall{t, inv.room, make(chan int, 100)}
		h.come(50)
		h.entered(roomLeast)
		_ = inv.note(t.Context(), errors.New("the disk is full"), true)
		h.entered(50 - roomLeast)
		h.come(10)
		h.entered(10)
		_ = inv.note(t.Context(), nil, true)
		h.come(10)
		h.entered(0)
		h.leave(60)
		h.entered(roomLeast)
		h.r.trouble(true)
		h.entered(10 - roomLeast)
	})
}
