package inventory

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// An admissionTest runs listings that ask for admission one after the other.
type admissionTest struct {
	*testing.T
	a        *admission
	admitted chan int
}

// arrive starts n listings, in this order.
func (at *admissionTest) arrive(n int) {
	for i := range n {
		go func() {
			at.a.admit(at.Context())
			at.admitted <- i
		}()
		synctest.Wait()
	}
}

// wantAdmitted checks the number of admissions since the last check.
func (at *admissionTest) wantAdmitted(want int) {
	at.Helper()
	synctest.Wait()
	if n := len(at.admitted); n != want {
		at.Errorf("%d were admitted, want %d", n, want)
	}
	for range len(at.admitted) {
		<-at.admitted
	}
}

func (at *admissionTest) release(n int) {
	for range n {
		at.a.release()
	}
}

func testAdmission(t *testing.T, saturated func() bool, test func(at *admissionTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(&admissionTest{t, newAdmission(func() bool { return true }, saturated), make(chan int, 10_000)})
	})
}

func TestLimitGrowsWhileStoreKeepsUp(t *testing.T) {
	testAdmission(t, nil, func(h *admissionTest) {
		h.arrive(300)
		h.wantAdmitted(minAdmitted)
		n, all := minAdmitted, minAdmitted
		for ; n < 64; n *= 2 { // releasing all admitted listings admits twice as many
			h.release(n)
			h.wantAdmitted(2 * n)
			all += 2 * n
		}
		h.a.setBypass(true) // admits the rest, so that the test ends
		h.wantAdmitted(300 - all)
	})
}

func TestLimitShrinksWhenStoreIsSlow(t *testing.T) {
	testAdmission(t, nil, func(h *admissionTest) {
		h.arrive(300)
		for _, n := range []int{minAdmitted, 2 * minAdmitted, 4 * minAdmitted} {
			h.wantAdmitted(n)
			h.release(n)
		}
		h.wantAdmitted(8 * minAdmitted)
		for range maxStoreCalls {
			h.a.beginStoreCall()
		}
		h.release(8*minAdmitted - minAdmitted + 1)
		time.Sleep(time.Second)
		h.wantAdmitted(1) // the limit is back at its minimum
		h.release(1)
		h.wantAdmitted(1)
		h.a.endStoreCall()
		h.release(1)
		h.wantAdmitted(2)
		h.a.setBypass(true)
		h.wantAdmitted(300 - 15*minAdmitted - 4)
	})
}

func TestLimitStaysWhileSaturated(t *testing.T) {
	crowded := true
	testAdmission(t, func() bool { return crowded }, func(h *admissionTest) {
		h.arrive(100)
		h.wantAdmitted(minAdmitted)
		time.Sleep(time.Second)
		h.release(minAdmitted)
		h.wantAdmitted(minAdmitted)
		crowded = false
		h.release(minAdmitted)
		h.wantAdmitted(2 * minAdmitted)
		h.a.setBypass(true)
		h.wantAdmitted(100 - 4*minAdmitted)
	})
}

// Small targets wait neither for a busy store nor for each other.
func TestLimitGrowsWhileMemoryIsFree(t *testing.T) {
	light := true
	testAdmission(t, func() bool { return true }, func(h *admissionTest) {
		h.a.memoryInUse = func() bool { return !light }
		for range maxStoreCalls {
			h.a.beginStoreCall()
		}
		h.arrive(100)
		h.wantAdmitted(minAdmitted)
		h.release(minAdmitted)
		h.wantAdmitted(2 * minAdmitted)
		light = false
		h.release(minAdmitted)
		h.wantAdmitted(0)
		h.a.setBypass(true)
		h.wantAdmitted(100 - 3*minAdmitted)
	})
}

// Listings that AWS does not answer do not delay others.
func TestLimitGrowsWhileAWSIsSlow(t *testing.T) {
	testAdmission(t, nil, func(h *admissionTest) {
		h.arrive(256)
		time.Sleep((256-minAdmitted)/adjustStep*adjustInterval + time.Millisecond)
		h.wantAdmitted(256)
	})
}

// A store that takes nothing and reports no error is not waited for.
func TestStuckStoreIsNotWaitedFor(t *testing.T) {
	testAdmission(t, nil, func(h *admissionTest) {
		for range maxStoreCalls {
			h.a.beginStoreCall()
		}
		h.arrive(100)
		time.Sleep(stuckAfter - time.Second)
		h.wantAdmitted(minAdmitted)
		h.release(1)
		time.Sleep(stuckAfter - time.Second)
		h.wantAdmitted(1)
		time.Sleep(2 * time.Second)
		h.wantAdmitted(100 - minAdmitted - 1)
	})
}

func TestAdmissionOrder(t *testing.T) {
	testAdmission(t, func() bool { return true }, func(h *admissionTest) {
		h.arrive(5 * minAdmitted)
		for range 5 * minAdmitted {
			synctest.Wait()
			select {
			case <-h.admitted:
				h.release(1)
			default:
				h.Fatal("no listing was admitted")
			}
		}
		for i := range 3 * minAdmitted { // all were released: the limit starts again
			h.arrive(1)
			if i < minAdmitted {
				h.wantAdmitted(1)
			} else {
				h.wantAdmitted(0)
			}
		}
		h.a.setBypass(true)
	})
}

func TestAdmitEndsWithContext(t *testing.T) {
	testAdmission(t, func() bool { return true }, func(h *admissionTest) {
		ctx, cancel := context.WithCancel(h.Context())
		h.arrive(minAdmitted)
		var leave func()
		go func() {
			leave = h.a.admit(ctx)
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if leave == nil {
			h.Fatal("a cancelled listing still waits")
		}
		leave()
		h.release(minAdmitted)
		if h.a.admitted != 0 || len(h.a.waiting) != 0 {
			h.Errorf("%d are admitted and %d wait after all were released", h.a.admitted, len(h.a.waiting))
		}
	})
}

// During an outage of the store every listing is admitted, until a write succeeds.
func TestOutageAdmitsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inv := New(nil, Options{Saturated: func() bool { return true }})
		inv.buffered.Store(inv.maxBuffered)
		h := &admissionTest{t, inv.admission, make(chan int, 100)}
		h.arrive(50)
		h.wantAdmitted(minAdmitted)
		_ = inv.observe(t.Context(), errors.New("the disk is full"), true)
		h.wantAdmitted(50 - minAdmitted)
		h.arrive(10)
		h.wantAdmitted(10)
		_ = inv.observe(t.Context(), nil, true)
		h.arrive(10)
		h.wantAdmitted(0)
		h.release(60)
		h.wantAdmitted(minAdmitted)
		h.a.setBypass(true)
		h.wantAdmitted(10 - minAdmitted)
	})
}
