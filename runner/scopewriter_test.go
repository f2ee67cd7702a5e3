package runner

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/record"
)

// droppingStore counts what becomes of its visits.
type droppingStore struct {
	*MemoryStore
	page func(t record.Target) // of a visit, whatever its context says

	mu    sync.Mutex
	ends  map[string]int // by region
	drops map[string]int
}

type droppingWriter struct {
	ScopeWriter
	l *droppingStore
	t record.Target
}

func (l *droppingStore) Begin(ctx context.Context, t record.Target, id record.Identity, run string) (ScopeWriter, error) {
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

// recordingStore keeps what it was told at the ends of targets, and panics at times.
type recordingStore struct {
	*MemoryStore
	boom func(what string, nth int) bool

	mu    sync.Mutex
	calls map[string]int
	told  []record.Outcome
}

func (l *recordingStore) at(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls[what]++
	if l.boom(what, l.calls[what]) {
		panic("ledger")
	}
}

func (l *recordingStore) Begin(ctx context.Context, t record.Target, id record.Identity, run string) (ScopeWriter, error) {
	l.at("begin")
	v, err := l.MemoryStore.Begin(ctx, t, id, run)
	return recordingWriter{v, l}, err
}

type recordingWriter struct {
	ScopeWriter
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
	v.l.told = append(v.l.told, o)
	return nil
}

// Wherever the ledger panics, it is told that the target failed, and by no outcome that it is complete.
func TestPanicEndsTheTargetInTheLedger(t *testing.T) {
	for _, what := range []string{"begin", "page", "end"} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &recordingStore{MemoryStore: NewMemoryStore(), calls: map[string]int{}, boom: func(at string, nth int) bool { return at == what && nth == 1 }}
				f := &fakeAccount{
					regions: func(context.Context, *Gate) (Plan, error) { return Plan{Regions: []string{"r"}}, nil },
					list: func(ctx context.Context, _ *Gate, _ record.Target, _ string, emit func(context.Context, *record.Page) error) error {
						return emit(ctx, page("i-1"))
					},
				}
				g := newHarness(t, Options{Store: l}, LocalOptions{})
				g.runner.Swap(buildConfiguration(t, account("a", f)))
				g.once()
				g.want(map[string]string{"r ec2_instance": "partial panic"})
				if len(l.told) != 1 || l.told[0].Reason != record.Panicked || l.told[0].State.Complete() {
					t.Errorf("the ledger was told %+v", l.told)
				}
			})
		})
	}
}

// A visit that has no end lets go of what it keeps: one that was given up on in the middle of a page, when the page comes back,
// and one that panicked.
func TestVisitWithoutEnd(t *testing.T) {
	for name, c := range map[string]struct {
		page          func(release chan struct{})
		before, after int // drops, before the page comes back and then
		ends          int
	}{
		"hung":     {func(release chan struct{}) { <-release }, 0, 1, 0},
		"panicked": {func(chan struct{}) { panic("ledger") }, 2, 2, 1}, // of the visit, and of the one that tells of it
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
				f := &fakeAccount{list: func(ctx context.Context, _ *Gate, _ record.Target, _ string, emit func(context.Context, *record.Page) error) error {
					return emit(ctx, page("i-1"))
				}}
				g := newHarness(t, Options{Store: l}, LocalOptions{})
				g.runner.Swap(buildConfiguration(t, account("a", f, func(a *Account) { a.Timeout = time.Minute })))
				if _, err := g.local.Once(t.Context()); err != nil {
					t.Fatal(err)
				}
				want := func(drops int) {
					t.Helper()
					l.mu.Lock()
					defer l.mu.Unlock()
					if l.drops["us-east-1"] != drops || l.ends["us-east-1"] != c.ends || l.ends["eu-west-1"] != 1 || l.drops["eu-west-1"] != 0 {
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
