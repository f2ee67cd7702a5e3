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

// What hangs in the store is abandoned: the target is begun again and stored as it was reported. The writer that hung
// cannot commit, and gets no further page.
func TestHungWriterIsFenced(t *testing.T) {
	for _, hung := range []string{"begin", "page"} {
		t.Run(hung, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				l := &recordingStore{MemoryStore: NewMemoryStore(), calls: map[string]int{}}
				l.boom = func(at string, nth int) bool {
					if at == hung && nth == 1 {
						l.mu.Unlock()
						<-release
						l.mu.Lock()
					}
					return false
				}
				f := &fakeAccount{
					regions: func(context.Context, *Gate) (Plan, error) { return Plan{Regions: []string{"r"}}, nil },
					list: func(ctx context.Context, _ *Gate, _ record.Target, _ string, emit emitFunc) error {
						if err := emit(ctx, page("i-1")); err != nil {
							return err
						}
						return emit(ctx, page("i-2"))
					},
				}
				g := newHarness(t, Options{Store: l}, LocalOptions{})
				g.runner.Swap(buildConfiguration(t, account("a", f, func(a *Account) { a.Timeout = time.Minute })))
				g.once()
				g.want(map[string]string{"r ec2_instance": "timeout stuck"})
				stored := func() {
					t.Helper()
					l.mu.Lock()
					defer l.mu.Unlock()
					if len(l.ended) != 1 || l.ended[0].Reason != record.Stuck || l.calls["begin"] != 2 || l.calls["end"] != 1 {
						t.Errorf("the store was called %v and ended %+v", l.calls, l.ended)
					}
				}
				stored()
				close(release)
				synctest.Wait()
				stored()
				if n := l.calls["page"]; n > 1 {
					t.Errorf("%d pages are stored", n)
				}
				g.checkInvariants()
			})
		})
	}
}
