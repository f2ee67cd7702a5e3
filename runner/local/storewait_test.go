package local

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// A slowStore takes one end at a time, as a busy database does.
type slowStore struct {
	*runner.MemoryStore
	each time.Duration

	mu    sync.Mutex
	turn  chan struct{}
	took  int
	waits []time.Duration // of ends that were cancelled
}

type slowWriter struct {
	inventory.ScopeWriter
	l *slowStore
}

func (l *slowStore) Begin(
	ctx context.Context,
	t record.Target,
	id record.Identity,
	run string,
) (inventory.ScopeWriter, error) {
	v, err := l.MemoryStore.Begin(ctx, t, id, run)
	return slowWriter{v, l}, err
}

func (v slowWriter) End(ctx context.Context, o record.Outcome) error {
	began := time.Now()
	lost := func() error {
		v.l.mu.Lock()
		defer v.l.mu.Unlock()
		v.l.waits = append(v.l.waits, time.Since(began))
		return context.Cause(ctx)
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
	return v.ScopeWriter.End(ctx, o)
}

// A slow store is waited for: a call that works is not cancelled, however long it takes. An error of the store is not
// an error of the target.
func TestSlowStoreIsWaitedFor(t *testing.T) {
	for _, each := range []time.Duration{4 * time.Second, 20 * time.Second, 20 * time.Minute} {
		t.Run(each.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &slowStore{MemoryStore: runner.NewMemoryStore(), each: each, turn: make(chan struct{}, 1)}
				g := newHarness(t, runner.Options{Store: l}, Options{})
				short := func(a *runner.Account) { a.Timeout = time.Minute } // it limits the listing, not the store
				g.runner.Swap(
					buildConfiguration(
						t,
						account("a", &fakeAccount{}, short),
						account("b", &fakeAccount{}, short),
						account("c", &fakeAccount{}, short),
					),
				)
				g.once()
				if l.took != 6 || len(l.waits) != 0 {
					t.Errorf("%d ends were taken, %d were not after %s", l.took, len(l.waits), l.waits)
				}
				for target, o := range g.recorder.all() {
					if o.State != record.OK {
						t.Errorf("%s is %s", target, o.State)
					}
				}
				if n := g.runner.Abandoned(); n > 0 {
					t.Errorf("%d ends were abandoned", n)
				}
			})
		})
	}
}

// An output that does not answer takes EndTimeout, and does not shorten the time of the store.
func TestHangingOutputIsNotWaitedFor(t *testing.T) {
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
				l := &slowStore{MemoryStore: runner.NewMemoryStore(), each: time.Second, turn: make(chan struct{}, 1)}
				g := newHarness(t, runner.Options{Store: l}, Options{})
				forever := make(chan struct{})
				conf := buildConfiguration(t, account("a", &fakeAccount{}))
				conf.Output = &fakeOutput{end: func(ctx context.Context, _ record.Outcome) error {
					if !c.heeds {
						<-forever
					}
					<-ctx.Done()
					return context.Cause(ctx)
				}}
				g.runner.Swap(conf)
				began := time.Now()
				g.once()
				close(forever)
				synctest.Wait()
				targets := len(l.waits) + l.took
				if l.took == 0 || len(l.waits) > 0 {
					t.Errorf("the store took %d of %d ends", l.took, targets)
				}
				if took := time.Since(began); took < c.took || g.runner.Abandoned() > 0 {
					t.Errorf("it took %s, %d are abandoned at the end", took, g.runner.Abandoned())
				}
			})
		})
	}
}

// A drain ends with its timeout, whether the store heeds its context or not, and whether it was called before the drain
// or during it.
func TestDrainEndsTheWaitForTheStore(t *testing.T) {
	for _, c := range []struct {
		name    string
		heeds   bool
		listing time.Duration // how long the listing lasts before the store is called
		stop    time.Duration // when the program is stopped
		most    time.Duration // the drain's longest duration
	}{
		{"it heeds its context", true, 0, time.Minute, 26 * time.Second},
		{"it does not", false, 0, time.Minute, 27 * time.Second},
		{"it is called in the drain", true, 20 * time.Second, 10 * time.Second, 26 * time.Second},
		{"a listing that the drain broke off", true, time.Hour, 10 * time.Second, 32 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				forever := make(chan struct{})
				l := &hangingStore{MemoryStore: runner.NewMemoryStore(), end: func(ctx context.Context) error {
					if !c.heeds {
						<-forever
					}
					<-ctx.Done()
					return context.Cause(ctx)
				}}
				g := newHarness(t, runner.Options{Store: l}, Options{})
				g.runner.Swap(
					buildConfiguration(
						t,
						account(
							"a",
							&fakeAccount{
								list: func(ctx context.Context, _ *runner.Gate, _ record.Target, _ string, emit emitFunc) error {
									if err := sleep(ctx, c.listing); err != nil {
										return err
									}
									return emit(ctx, page("i-1"))
								},
							},
						),
					),
				)
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				time.AfterFunc(c.stop, stop)
				began := time.Now()
				if _, err := g.local.Once(ctx); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began) - c.stop; took > c.most {
					t.Errorf("the drain took %s", took)
				}
				close(forever)
				g.checkInvariants()
			})
		})
	}
}

// A call of the store that is in progress when the program stops may use the whole drain.
func TestCommitDuringDrainIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &slowStore{MemoryStore: runner.NewMemoryStore(), each: 10 * time.Second, turn: make(chan struct{}, 2)}
		g := newHarness(t, runner.Options{Store: l}, Options{})
		g.runner.Swap(buildConfiguration(t, account("a", &fakeAccount{})))
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		time.AfterFunc(time.Second, stop)
		if _, err := g.local.Once(ctx); err != nil {
			t.Fatal(err)
		}
		if l.took != 2 || len(l.waits) > 0 {
			t.Errorf("%d of 2 were stored; %s", l.took, l.waits)
		}
		g.checkInvariants()
	})
}

// A hangingStore never ends a target by itself.
type hangingStore struct {
	*runner.MemoryStore
	end func(context.Context) error
}

func (l *hangingStore) Begin(
	ctx context.Context, t record.Target, id record.Identity, run string,
) (inventory.ScopeWriter, error) {
	v, err := l.MemoryStore.Begin(ctx, t, id, run)
	return hangingWriter{v, l}, err
}

type hangingWriter struct {
	inventory.ScopeWriter
	l *hangingStore
}

func (v hangingWriter) End(ctx context.Context, _ record.Outcome) error { return v.l.end(ctx) }
