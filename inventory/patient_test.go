package inventory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/aws-collector/collector/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A frozen driver answers nothing while it is frozen. Where it is deaf it does not heed its context either, until it thaws.
type frozen struct {
	Driver
	deaf  bool
	pulse func() error // nil: as frozen as the rest

	mu   sync.Mutex
	thaw chan struct{} // nil: it works
	last atomic.Int64  // calls that came through
}

func (f *frozen) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.thaw = make(chan struct{})
}

func (f *frozen) melt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.thaw)
	f.thaw = nil
}

func (f *frozen) wait(ctx context.Context) error { return f.waitFor(ctx, f.deaf) }

func (f *frozen) waitFor(ctx context.Context, deaf bool) error {
	f.mu.Lock()
	thaw := f.thaw
	f.mu.Unlock()
	if thaw != nil {
		done := ctx.Done()
		if deaf {
			done = nil
		}
		select {
		case <-thaw:
		case <-done:
			return context.Cause(ctx)
		}
	}
	f.last.Add(1)
	return nil
}

func (f *frozen) Begin(ctx context.Context, _ record.Target, _ Scope, _ string) (Turn, error) {
	return frozenTurn{f: f}, f.wait(ctx)
}
func (f *frozen) Known(ctx context.Context, _ string) ([]record.Target, error) {
	return []record.Target{{Account: "late"}}, f.wait(ctx)
}
func (f *frozen) Accounts(ctx context.Context) ([]Account, error) { return nil, f.wait(ctx) }
func (f *frozen) Retire(ctx context.Context, _ record.Target, _ record.Identity, _ string) error {
	return f.wait(ctx)
}
func (f *frozen) RetireAccount(ctx context.Context, _ Account, _ string) error { return f.wait(ctx) }
func (f *frozen) Probe(ctx context.Context) error                              { return f.wait(ctx) }
func (f *frozen) Targets(ctx context.Context) iter.Seq2[Coverage, error] {
	return answer[Coverage](ctx, f)
}
func (f *frozen) Find(ctx context.Context, _ Query) iter.Seq2[*Resource, error] {
	return answer[*Resource](ctx, f)
}
func (f *frozen) History(ctx context.Context, _ Query) iter.Seq2[*Resource, error] {
	return answer[*Resource](ctx, f)
}
func (f *frozen) Diff(ctx context.Context, _ Query, _, _ time.Time) iter.Seq2[Change, error] {
	return answer[Change](ctx, f)
}
func (f *frozen) Changes(ctx context.Context, _ Query, _ time.Time) iter.Seq2[Change, error] {
	return answer[Change](ctx, f)
}
func (f *frozen) Close() error { return f.wait(context.Background()) }
func (f *frozen) Pulse(ctx context.Context) error {
	if f.pulse != nil {
		return f.pulse()
	}
	return f.wait(ctx)
}

// answer is a row, and then the end.
func answer[T any](ctx context.Context, f *frozen) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var row T
		if yield(row, f.waitFor(ctx, false)) { // who reads heeds its context: rows come in the caller's goroutine
			if err := f.waitFor(ctx, false); err != nil {
				yield(row, err)
			}
		}
	}
}

type frozenTurn struct {
	packing
	f *frozen
}

func (frozenTurn) Known() bool { return true }
func (t frozenTurn) Live(ctx context.Context, _ func([]byte, record.Sum, int) error) error {
	return t.f.wait(ctx)
}
func (t frozenTurn) Commit(ctx context.Context, _ Commit) error { return t.f.wait(ctx) }
func (t frozenTurn) Stage(ctx context.Context, _ []Pack) error  { return t.f.wait(ctx) }

// calls is every way to the database.
func calls(d Driver, turn Turn) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"begin": func(ctx context.Context) error {
			turn, err := d.Begin(ctx, record.Target{}, Scope{}, "")
			if err != nil && turn != nil {
				return errors.New("a turn came with the error")
			}
			return err
		},
		"live":   func(ctx context.Context) error { return turn.Live(ctx, nil) },
		"stage":  func(ctx context.Context) error { return turn.Stage(ctx, nil) },
		"commit": func(ctx context.Context) error { return turn.Commit(ctx, Commit{}) },
		"known": func(ctx context.Context) error {
			ts, err := d.Known(ctx, "")
			if err != nil && len(ts) > 0 {
				return errors.New("an answer came with the error")
			}
			return err
		},
		"accounts":       func(ctx context.Context) error { _, err := d.Accounts(ctx); return err },
		"retire":         func(ctx context.Context) error { return d.Retire(ctx, record.Target{}, record.Identity{}, "") },
		"retire account": func(ctx context.Context) error { return d.RetireAccount(ctx, Account{}, "") },
		"targets":        func(ctx context.Context) error { return drained(d.Targets(ctx)) },
		"find":           func(ctx context.Context) error { return drained(d.Find(ctx, Query{})) },
		"history":        func(ctx context.Context) error { return drained(d.History(ctx, Query{})) },
		"diff":           func(ctx context.Context) error { return drained(d.Diff(ctx, Query{}, time.Time{}, time.Time{})) },
		"changes":        func(ctx context.Context) error { return drained(d.Changes(ctx, Query{}, time.Time{})) },
	}
}

func drained[T any](rows iter.Seq2[T, error]) error {
	for _, err := range rows {
		if err != nil {
			return err
		}
	}
	return nil
}

// A store that answers nothing is waited for as long as the patience, whichever call meets it first, and by all who wait at once. Then
// nobody waits; and when it answers again, that is noticed without anybody's call.
func TestAStoreThatDoesNotAnswer(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		for name := range calls(nil, nil) {
			t.Run(fmt.Sprintf("%s, deaf %t", name, deaf), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { doesNotAnswer(t, name, deaf) })
			})
		}
	}
}

func doesNotAnswer(t *testing.T, name string, deaf bool) {
	var log bytes.Buffer
	f := &frozen{deaf: deaf}
	inv := New(f, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	turn, err := inv.Driver().Begin(t.Context(), record.Target{}, Scope{}, "")
	if err != nil {
		t.Fatal(err)
	}
	all := calls(inv.Driver(), turn)
	f.freeze()
	start := time.Now()
	var wg sync.WaitGroup
	for n := range 30 { // the last ones come a little later, and wait less
		wg.Go(func() {
			time.Sleep(time.Duration(n) * 100 * time.Millisecond)
			if err := all[name](t.Context()); record.HintOf(err) == "" {
				t.Errorf("it says %v", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took < Patience-time.Second || took > Patience+time.Second {
		t.Errorf("it was waited for %s", took)
	}
	start = time.Now()
	for name, call := range all {
		if err := call(t.Context()); err == nil || time.Since(start) > 0 {
			t.Errorf("%s afterwards: %v, after %s", name, err, time.Since(start))
		}
	}
	if tr := inv.Trouble(); tr.Err == nil || tr.Since.IsZero() {
		t.Errorf("its trouble is %v", tr)
	}
	time.Sleep(10 * time.Minute)
	came := f.last.Load()
	f.melt()
	time.Sleep(2 * lookEvery)
	synctest.Wait()
	if tr := inv.Trouble(); tr.Err != nil {
		t.Errorf("after it: %v", tr)
	}
	if n := f.last.Load() - came; n > 40 {
		t.Errorf("%d calls waited all the while", n)
	}
	for name, call := range all {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s after it: %v", name, err)
		}
	}
	said := log.String()
	if strings.Count(said, "store writes fail") != 1 || strings.Count(said, "store writes recovered") != 1 || !strings.Contains(said, "duration=10m") {
		t.Error(said)
	}
	if err := inv.Driver().Close(); err != nil {
		t.Error(err)
	}
}

// What the database executes lasts as long as it lasts.
func TestALargeCommitIsNotCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &frozen{pulse: func() error { return nil }}
		inv := New(f, Options{})
		turn, err := inv.Driver().Begin(t.Context(), record.Target{}, Scope{}, "")
		if err != nil {
			t.Fatal(err)
		}
		f.freeze()
		start := time.Now()
		time.AfterFunc(40*time.Minute, f.melt)
		if err := turn.Commit(t.Context(), Commit{}); err != nil || time.Since(start) != 40*time.Minute || inv.Err() != nil {
			t.Errorf("%v, after %s; %v", err, time.Since(start), inv.Err())
		}
		// One that has not come to an end after an hour is lost.
		f.freeze()
		start = time.Now()
		if err := turn.Commit(t.Context(), Commit{}); err == nil || time.Since(start) != callLimit {
			t.Errorf("%v, after %s", err, time.Since(start))
		}
		f.melt()
		synctest.Wait()
	})
}

// While a commit is executed, the server freezes.
func TestAServerThatFreezesInACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stopped atomic.Bool
		f := &frozen{deaf: true, pulse: func() error {
			if stopped.Load() {
				time.Sleep(time.Hour)
			}
			return nil
		}}
		inv := New(f, Options{})
		turn, err := inv.Driver().Begin(t.Context(), record.Target{}, Scope{}, "")
		if err != nil {
			t.Fatal(err)
		}
		f.freeze()
		time.AfterFunc(10*time.Minute, func() { stopped.Store(true) })
		start := time.Now()
		if err := turn.Commit(t.Context(), Commit{}); err == nil || time.Since(start) > 10*time.Minute+Patience+2*time.Second {
			t.Errorf("%v, after %s", err, time.Since(start))
		}
		f.melt()
		time.Sleep(2 * lookEvery)
		stopped.Store(false)
		if inv.Err() != nil {
			t.Error(inv.Err())
		}
		// A pulse of then, which nobody answers for an hour, is not waited for.
		f.freeze()
		time.AfterFunc(time.Minute, f.melt)
		if err := turn.Commit(t.Context(), Commit{}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if err := inv.Driver().Close(); err != nil {
			t.Error(err)
		}
	})
}

// A lock of another process stops writes, and reads go on.
func TestALockStopsWritesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f := &locked{}
		inv := New(f, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		f.held.Store(true)
		if _, err := inv.Begin(t.Context(), record.Target{}, record.Identity{}, ""); err == nil || inv.Lost() != 1 {
			t.Errorf("%v, %d lost", err, inv.Lost())
		}
		time.Sleep(time.Minute)
		if n := f.asked.Load(); n != 1 {
			t.Errorf("%d waited for the lock", n)
		}
		if err := drained(inv.Driver().Targets(t.Context())); err != nil {
			t.Error(err)
		}
		if _, err := inv.Driver().Accounts(t.Context()); err != nil {
			t.Error(err)
		}
		f.held.Store(false)
		time.Sleep(2 * lookEvery)
		if _, err := inv.Begin(t.Context(), record.Target{}, record.Identity{}, ""); err != nil {
			t.Error(err)
		}
		if said := log.String(); strings.Count(said, "\n") != 2 || !strings.Contains(said, `hint="End the transaction."`) {
			t.Error(said)
		}
		if err := inv.Driver().Close(); err != nil {
			t.Error(err)
		}
	})
}

type locked struct {
	frozen
	held  atomic.Bool
	asked atomic.Int64
}

func (l *locked) Begin(ctx context.Context, t record.Target, s Scope, run string) (Turn, error) {
	l.asked.Add(1)
	if err := l.Probe(ctx); err != nil {
		return nil, err
	}
	return l.frozen.Begin(ctx, t, s, run)
}

func (l *locked) Probe(context.Context) error {
	if l.held.Load() {
		return &Stall{Reads: true, Err: &record.Fault{Reason: record.Other, Hint: "End the transaction.", Err: errors.New("locked")}}
	}
	return nil
}

// A caller whose context ends stops waiting, whatever the driver does; that is no trouble of the store's.
func TestACallerThatGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &frozen{deaf: true, pulse: func() error { return nil }}
		inv := New(f, Options{})
		f.freeze()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := inv.Driver().Begin(ctx, record.Target{}, Scope{}, ""); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Errorf("%v, after %s", err, time.Since(start))
		}
		if inv.Err() != nil {
			t.Error(inv.Err())
		}
		f.melt()
		synctest.Wait()
	})
}

// The program ends although the database does not.
func TestCloseDoesNotWaitForAStoreThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f := &frozen{deaf: true}
		inv := New(f, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		f.freeze()
		start := time.Now()
		if err := inv.Driver().Close(); err != nil || time.Since(start) != Patience || !strings.Contains(log.String(), "store did not close in time") {
			t.Errorf("%v, after %s; %s", err, time.Since(start), log.String())
		}
		f.melt()
		synctest.Wait()
	})
}

// A panic in a driver comes to who called, with where it came from.
func TestAPanicComesToWhoCalled(t *testing.T) {
	inv := New(panicky{}, Options{})
	defer func() {
		v := recover()
		s, ok := v.(interface{ Stack() []byte })
		if !ok || fmt.Sprint(v) != "a bug" || !strings.Contains(string(s.Stack()), "panicky") {
			t.Errorf("%v", v)
		}
	}()
	_, _ = inv.Begin(t.Context(), record.Target{}, record.Identity{}, "")
}

type panicky struct{ Driver }

func (panicky) Begin(context.Context, record.Target, Scope, string) (Turn, error) { panic("a bug") }
