package runner

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/record"
)

// A slowLedger takes an end at a time, each as long, as a busy database does; those of one account never.
type slowLedger struct {
	*Memory
	each time.Duration
	dead string // the account

	mu    sync.Mutex
	turn  chan struct{}
	took  int
	waits []time.Duration // of ends that it did not take
}

type slowVisit struct {
	Visit
	l    *slowLedger
	dead bool
}

func (l *slowLedger) Begin(ctx context.Context, t record.Target, id record.Identity, run string) (Visit, error) {
	v, err := l.Memory.Begin(ctx, t, id, run)
	return slowVisit{v, l, t.Account == l.dead}, err
}

func (v slowVisit) End(ctx context.Context, o record.Outcome) error {
	began := time.Now()
	lost := func() error {
		v.l.mu.Lock()
		defer v.l.mu.Unlock()
		v.l.waits = append(v.l.waits, time.Since(began))
		return context.Cause(ctx)
	}
	if v.dead {
		<-ctx.Done()
		return lost()
	}
	select {
	case v.l.turn <- struct{}{}:
	case <-ctx.Done():
		return lost()
	}
	defer func() { <-v.l.turn }()
	if sleep(ctx, v.l.each) != nil {
		return lost()
	}
	v.l.mu.Lock()
	v.l.took++
	v.l.mu.Unlock()
	return v.Visit.End(ctx, o)
}

// Many targets wait for a slow store: none is given up while the store takes others, or works on the one. One that does not answer is.
func TestASlowStoreIsWaitedFor(t *testing.T) {
	for _, c := range []struct {
		name       string
		each       time.Duration
		dead       string
		took, lost int
	}{
		{"each end takes a little less than the end time-out", 4 * time.Second, "", 6, 0},
		{"an end takes longer than the end time-out", 20 * time.Second, "", 6, 0}, // the last one waits for two minutes
		{"an end takes too long", time.Minute, "", 0, 6},
		{"one is never taken, others are", time.Second, "c", 4, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &slowLedger{Memory: NewMemory(), each: c.each, dead: c.dead, turn: make(chan struct{}, 1)}
				g := newRig(t, Options{Ledger: l}, LocalOptions{})
				g.r.Swap(fleet(t, account("a", &fakeAccount{}), account("b", &fakeAccount{}), account("c", &fakeAccount{})))
				g.once()
				if l.took != c.took || len(l.waits) != c.lost {
					t.Errorf("%d ends were taken, %d were not after %s; want %d and %d", l.took, len(l.waits), l.waits, c.took, c.lost)
				}
				for _, w := range l.waits {
					if w < storeIdle*5*time.Second || w > storeMost*5*time.Second {
						t.Errorf("given up after %s", w)
					}
				}
				if n := g.r.Abandoned(); n > 0 {
					t.Errorf("%d ends were abandoned", n)
				}
			})
		})
	}
}

// The ledger's patience is not the outputs': one that does not answer costs the end time-out, and the ledger nothing.
func TestADeadOutputIsNotWaitedFor(t *testing.T) {
	for _, c := range []struct {
		name  string
		heeds bool
		took  time.Duration
	}{
		{"it heeds its context", true, 5 * time.Second},
		{"it does not", false, 6 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &slowLedger{Memory: NewMemory(), each: time.Second, turn: make(chan struct{}, 1)}
				g := newRig(t, Options{Ledger: l}, LocalOptions{})
				forever := make(chan struct{})
				fl := fleet(t, account("a", &fakeAccount{}))
				fl.Sinks = []Sink{&memorySink{name: "file", end: func(ctx context.Context, _ record.Outcome) error {
					if !c.heeds {
						<-forever
					}
					<-ctx.Done()
					return context.Cause(ctx)
				}}}
				g.r.Swap(fl)
				began := time.Now()
				g.once()
				close(forever)
				synctest.Wait()
				targets := len(l.waits) + l.took
				if c.heeds && (l.took == 0 || len(l.waits) > 0) || !c.heeds && l.took > 0 {
					t.Errorf("the ledger took %d of %d ends", l.took, targets)
				}
				if took := time.Since(began); took < c.took || g.r.Abandoned() > 0 {
					t.Errorf("it took %s, %d are abandoned at the end", took, g.r.Abandoned())
				}
			})
		})
	}
}

// A program that ends waits for a store that takes nothing no longer than for an output.
func TestNobodyWaitsAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Options{Limits: NewLimits(1, nil)})
		began := time.Now()
		ctx, cancel := r.patience(t.Context(), func() error { return errStopping }, func() {})
		defer cancel()
		<-ctx.Done()
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("after %s: %v", took, context.Cause(ctx))
		}
	})
}
