package runner

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A droppingStore counts the ends and drops of its writers.
type droppingStore struct {
	*MemoryStore
	page func(t record.Target) // called by ScopeWriter.Page; ignores its context

	mu    sync.Mutex
	ends  map[string]int // by region
	drops map[string]int
}

type droppingWriter struct {
	inventory.ScopeWriter
	l *droppingStore
	t record.Target
}

func (l *droppingStore) Begin(
	ctx context.Context, t record.Target, id record.Identity, run string,
) (inventory.ScopeWriter, error) {
	v, err := l.MemoryStore.Begin(ctx, t, id, run)
	return droppingWriter{v, l, t}, err
}

func (v droppingWriter) Page(context.Context, *record.Page) error { v.l.page(v.t); return nil }

func (v droppingWriter) End(context.Context, record.Outcome) error {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	v.l.ends[v.t.Region]++
	return nil
}

func (v droppingWriter) Drop() {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	v.l.drops[v.t.Region]++
}

// A recordingStore records the ends of targets, and panics when boom says so.
type recordingStore struct {
	*MemoryStore
	boom func(what string, nth int) bool

	mu    sync.Mutex
	calls map[string]int
	ended []record.Outcome
}

func (l *recordingStore) at(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls[what]++
	if l.boom(what, l.calls[what]) {
		panic("store")
	}
}

func (l *recordingStore) Begin(
	ctx context.Context, t record.Target, id record.Identity, run string,
) (inventory.ScopeWriter, error) {
	l.at("begin")
	v, err := l.MemoryStore.Begin(ctx, t, id, run)
	return recordingWriter{v, l}, err
}

type recordingWriter struct {
	inventory.ScopeWriter
	l *recordingStore
}

func (v recordingWriter) Page(context.Context, *record.Page) error { v.l.at("page"); return nil }

func (v recordingWriter) End(ctx context.Context, o record.Outcome) error {
	v.l.at("end")
	if err := v.ScopeWriter.End(ctx, o); err != nil {
		return err
	}
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	v.l.ended = append(v.l.ended, o)
	return nil
}

// Wherever the store panics, the target ends in it as failed, and never as complete.
func TestPanicEndsTheTargetInTheStore(t *testing.T) {
	for _, what := range []string{"begin", "page", "end"} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &recordingStore{
					MemoryStore: NewMemoryStore(),
					calls:       map[string]int{},
					boom:        func(at string, nth int) bool { return at == what && nth == 1 },
				}
				f := &fakeAccount{
					regions: func(context.Context, *Gate) (Plan, error) { return Plan{Regions: []string{"r"}}, nil },
					list: func(ctx context.Context, _ *Gate, _ record.Target, _ string, emit emitFunc) error {
						return emit(ctx, page("i-1"))
					},
				}
				g := newHarness(t, Options{Store: l}, LocalOptions{})
				g.runner.Swap(buildConfiguration(t, account("a", f)))
				g.once()
				g.want(map[string]string{"r ec2_instance": "partial panic"})
				if len(l.ended) != 1 || l.ended[0].Reason != record.Panicked || l.ended[0].State.Complete() {
					t.Errorf("the store was ended %+v", l.ended)
				}
			})
		})
	}
}

// A writer without an end is dropped: an abandoned one when its page returns,
// and one that panicked.
func TestWriterWithoutEnd(t *testing.T) {
	for name, c := range map[string]struct {
		page          func(release chan struct{})
		before, after int // drops, before the page returns and after
		ends          int
	}{
		"hung": {func(release chan struct{}) { <-release }, 0, 1, 0},
		// of the writer that panicked, and of the one that ends the target
		"panicked": {func(chan struct{}) { panic("store") }, 2, 2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				l := &droppingStore{MemoryStore: NewMemoryStore(), ends: map[string]int{}, drops: map[string]int{}}
				l.page = func(t record.Target) {
					if t.Region == "us-east-1" {
						c.page(release)
					}
				}
				f := &fakeAccount{
					list: func(ctx context.Context, _ *Gate, _ record.Target, _ string, emit emitFunc) error {
						return emit(ctx, page("i-1"))
					},
				}
				g := newHarness(t, Options{Store: l}, LocalOptions{})
				g.runner.Swap(buildConfiguration(t, account("a", f, func(a *Account) { a.Timeout = time.Minute })))
				if _, err := g.local.Once(t.Context()); err != nil {
					t.Fatal(err)
				}
				want := func(drops int) {
					t.Helper()
					l.mu.Lock()
					defer l.mu.Unlock()
					if l.drops["us-east-1"] != drops || l.ends["us-east-1"] != c.ends || l.ends["eu-west-1"] != 1 ||
						l.drops["eu-west-1"] != 0 {
						t.Errorf("%v ends, %v drops, want %d", l.ends, l.drops, drops)
					}
				}
				want(c.before)
				close(release)
				synctest.Wait()
				want(c.after)
				g.checkInvariants()
			})
		})
	}
}
