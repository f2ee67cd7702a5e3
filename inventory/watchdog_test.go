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

// A frozenDriver answers nothing while it is frozen. If ignoresContext is set, a call returns only after it is
// unfrozen.
type frozenDriver struct {
	Driver
	ignoresContext bool
	ping           func() error // nil: as frozen as the other calls

	mu        sync.Mutex
	thawed    chan struct{} // nil: not frozen
	completed atomic.Int64  // number of completed calls
}

func (d *frozenDriver) freeze() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.thawed = make(chan struct{})
}

func (d *frozenDriver) unfreeze() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.thawed)
	d.thawed = nil
}

func (d *frozenDriver) wait(ctx context.Context) error { return d.waitFor(ctx, d.ignoresContext) }

func (d *frozenDriver) waitFor(ctx context.Context, ignoresContext bool) error {
	d.mu.Lock()
	thawed := d.thawed
	d.mu.Unlock()
	if thawed != nil {
		done := ctx.Done()
		if ignoresContext {
			done = nil
		}
		select {
		case <-thawed:
		case <-done:
			return context.Cause(ctx)
		}
	}
	d.completed.Add(1)
	return nil
}

func (d *frozenDriver) Begin(ctx context.Context, _ record.Target, _ Scope, _ string) (ScopeUpdate, error) {
	return frozenUpdate{d: d}, d.wait(ctx)
}
func (d *frozenDriver) ActiveTargets(ctx context.Context, _ string) ([]record.Target, error) {
	return []record.Target{{Account: "late"}}, d.wait(ctx)
}
func (d *frozenDriver) Accounts(ctx context.Context) ([]Account, error) { return nil, d.wait(ctx) }
func (d *frozenDriver) Retire(ctx context.Context, _ record.Target, _ record.Identity, _ string) error {
	return d.wait(ctx)
}
func (d *frozenDriver) RetireAccount(ctx context.Context, _ Account, _ string) error {
	return d.wait(ctx)
}
func (d *frozenDriver) ProbeWrite(ctx context.Context) error { return d.wait(ctx) }
func (d *frozenDriver) Targets(ctx context.Context) iter.Seq2[Coverage, error] {
	return oneRow[Coverage](ctx, d)
}
func (d *frozenDriver) Find(ctx context.Context, _ Query) iter.Seq2[*Resource, error] {
	return oneRow[*Resource](ctx, d)
}
func (d *frozenDriver) History(ctx context.Context, _ Query) iter.Seq2[*Resource, error] {
	return oneRow[*Resource](ctx, d)
}
func (d *frozenDriver) Diff(ctx context.Context, _ Query, _, _ time.Time) iter.Seq2[Change, error] {
	return oneRow[Change](ctx, d)
}
func (d *frozenDriver) Changes(ctx context.Context, _ Query, _ time.Time) iter.Seq2[Change, error] {
	return oneRow[Change](ctx, d)
}
func (d *frozenDriver) Close() error { return d.wait(context.Background()) }
func (d *frozenDriver) Ping(ctx context.Context) error {
	if d.ping != nil {
		return d.ping()
	}
	return d.wait(ctx)
}

// oneRow yields one row.
func oneRow[T any](ctx context.Context, d *frozenDriver) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var row T
		if yield(row, d.waitFor(ctx, false)) { // reads end with their context: rows come in the caller's goroutine
			if err := d.waitFor(ctx, false); err != nil {
				yield(row, err)
			}
		}
	}
}

type frozenUpdate struct {
	ScopeUpdate
	d *frozenDriver
}

func (frozenUpdate) HasScope() bool { return true }
func (u frozenUpdate) Live(ctx context.Context, _ func(LiveResource) error) error {
	return u.d.wait(ctx)
}
func (u frozenUpdate) Commit(ctx context.Context, _ Commit) error { return u.d.wait(ctx) }
func (u frozenUpdate) Stage(ctx context.Context) error            { return u.d.wait(ctx) }

// allCalls returns every way to call the database.
func allCalls(d Driver, update ScopeUpdate) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"begin": func(ctx context.Context) error {
			update, err := d.Begin(ctx, record.Target{}, Scope{}, "")
			if err != nil && update != nil {
				return errors.New("a scope update came with the error")
			}
			return err
		},
		"live":   func(ctx context.Context) error { return update.Live(ctx, nil) },
		"stage":  func(ctx context.Context) error { return update.Stage(ctx) },
		"commit": func(ctx context.Context) error { return update.Commit(ctx, Commit{}) },
		"known": func(ctx context.Context) error {
			ts, err := d.ActiveTargets(ctx, "")
			if err != nil && len(ts) > 0 {
				return errors.New("an answer came with the error")
			}
			return err
		},
		"accounts": func(ctx context.Context) error {
			_, err := d.Accounts(ctx)
			return err
		},
		"retire":         func(ctx context.Context) error { return d.Retire(ctx, record.Target{}, record.Identity{}, "") },
		"retire account": func(ctx context.Context) error { return d.RetireAccount(ctx, Account{}, "") },
		"targets":        func(ctx context.Context) error { return drain(d.Targets(ctx)) },
		"find":           func(ctx context.Context) error { return drain(d.Find(ctx, Query{})) },
		"history":        func(ctx context.Context) error { return drain(d.History(ctx, Query{})) },
		"diff":           func(ctx context.Context) error { return drain(d.Diff(ctx, Query{}, time.Time{}, time.Time{})) },
		"changes":        func(ctx context.Context) error { return drain(d.Changes(ctx, Query{}, time.Time{})) },
	}
}

func drain[T any](rows iter.Seq2[T, error]) error {
	for _, err := range rows {
		if err != nil {
			return err
		}
	}
	return nil
}

// Callers wait for a store that does not answer until the timeout, whichever call meets it first, and all stop at once.
// Then no call waits. When the store answers again, it recovers without a call.
func TestNoAnswer(t *testing.T) {
	for _, ignoresContext := range []bool{false, true} {
		for name := range allCalls(nil, nil) {
			t.Run(fmt.Sprintf("%s, ignores context %t", name, ignoresContext), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testNoAnswer(t, name, ignoresContext) })
			})
		}
	}
}

func testNoAnswer(t *testing.T, name string, ignoresContext bool) {
	var log bytes.Buffer
	d := &frozenDriver{ignoresContext: ignoresContext}
	inv := New(d, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	update, err := inv.Driver().Begin(t.Context(), record.Target{}, Scope{}, "")
	if err != nil {
		t.Fatal(err)
	}
	calls := allCalls(inv.Driver(), update)
	d.freeze()
	start := time.Now()
	var wg sync.WaitGroup
	for n := range 30 { // the last ones come a little later, and wait less
		wg.Go(func() {
			time.Sleep(time.Duration(n) * 100 * time.Millisecond)
			if err := calls[name](t.Context()); record.HintOf(err) == "" {
				t.Errorf("error without a hint: %v", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took < StallTimeout-time.Second || took > StallTimeout+time.Second {
		t.Errorf("callers waited for %s", took)
	}
	start = time.Now()
	for name, call := range calls {
		if err := call(t.Context()); err == nil || time.Since(start) > 0 {
			t.Errorf("%s afterwards: %v, after %s", name, err, time.Since(start))
		}
	}
	if tr := inv.Health(); tr.Err == nil || tr.Since.IsZero() {
		t.Errorf("health: %v", tr)
	}
	time.Sleep(10 * time.Minute)
	completed := d.completed.Load()
	d.unfreeze()
	time.Sleep(2 * checkInterval)
	synctest.Wait()
	if tr := inv.Health(); tr.Err != nil {
		t.Errorf("after it: %v", tr)
	}
	if n := d.completed.Load() - completed; n > 40 {
		t.Errorf("%d calls still waited", n)
	}
	for name, call := range calls {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s after it: %v", name, err)
		}
	}
	logged := log.String()
	if strings.Count(logged, "store writes fail") != 1 || strings.Count(logged, "store writes recovered") != 1 ||
		!strings.Contains(logged, "duration=10m") {
		t.Error(logged)
	}
	if err := inv.Driver().Close(); err != nil {
		t.Error(err)
	}
}

// A call that the database executes is not cut off.
func TestLargeCommitIsNotCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &frozenDriver{ping: func() error { return nil }}
		inv := New(d, Options{})
		update, err := inv.Driver().Begin(t.Context(), record.Target{}, Scope{}, "")
		if err != nil {
			t.Fatal(err)
		}
		d.freeze()
		start := time.Now()
		time.AfterFunc(40*time.Minute, d.unfreeze)
		if err := update.Commit(t.Context(), Commit{}); err != nil || time.Since(start) != 40*time.Minute ||
			inv.Err() != nil {
			t.Errorf("%v, after %s; %v", err, time.Since(start), inv.Err())
		}
		// A call that has not ended after an hour is abandoned.
		d.freeze()
		start = time.Now()
		if err := update.Commit(t.Context(), Commit{}); err == nil || time.Since(start) != maxCallDuration {
			t.Errorf("%v, after %s", err, time.Since(start))
		}
		d.unfreeze()
		synctest.Wait()
	})
}

// The server freezes while it executes a commit.
func TestServerFreezesDuringCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stopped atomic.Bool
		d := &frozenDriver{ignoresContext: true, ping: func() error {
			if stopped.Load() {
				time.Sleep(time.Hour)
			}
			return nil
		}}
		inv := New(d, Options{})
		update, err := inv.Driver().Begin(t.Context(), record.Target{}, Scope{}, "")
		if err != nil {
			t.Fatal(err)
		}
		d.freeze()
		time.AfterFunc(10*time.Minute, func() { stopped.Store(true) })
		start := time.Now()
		if err := update.Commit(t.Context(), Commit{}); err == nil ||
			time.Since(start) > 10*time.Minute+StallTimeout+2*time.Second {
			t.Errorf("%v, after %s", err, time.Since(start))
		}
		d.unfreeze()
		time.Sleep(2 * checkInterval)
		stopped.Store(false)
		if inv.Err() != nil {
			t.Error(inv.Err())
		}
		// The old ping, which stays unanswered for an hour, does not matter.
		d.freeze()
		time.AfterFunc(time.Minute, d.unfreeze)
		if err := update.Commit(t.Context(), Commit{}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if err := inv.Driver().Close(); err != nil {
			t.Error(err)
		}
	})
}

// A lock of another process stops writes; reads continue.
func TestLockStopsOnlyWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d := &lockedDriver{}
		inv := New(d, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		d.isLocked.Store(true)
		if _, err := inv.Begin(t.Context(), record.Target{}, record.Identity{}, ""); err == nil || inv.NotStored() != 1 {
			t.Errorf("%v, %d lost", err, inv.NotStored())
		}
		time.Sleep(time.Minute)
		if n := d.begins.Load(); n != 1 {
			t.Errorf("%d calls waited for the lock", n)
		}
		if err := drain(inv.Driver().Targets(t.Context())); err != nil {
			t.Error(err)
		}
		if _, err := inv.Driver().Accounts(t.Context()); err != nil {
			t.Error(err)
		}
		d.isLocked.Store(false)
		time.Sleep(2 * checkInterval)
		if _, err := inv.Begin(t.Context(), record.Target{}, record.Identity{}, ""); err != nil {
			t.Error(err)
		}
		if logged := log.String(); strings.Count(logged, "\n") != 2 ||
			!strings.Contains(logged, `hint="End the transaction."`) {
			t.Error(logged)
		}
		if err := inv.Driver().Close(); err != nil {
			t.Error(err)
		}
	})
}

type lockedDriver struct {
	frozenDriver
	isLocked atomic.Bool
	begins   atomic.Int64
}

func (d *lockedDriver) Begin(ctx context.Context, t record.Target, s Scope, run string) (ScopeUpdate, error) {
	d.begins.Add(1)
	if err := d.ProbeWrite(ctx); err != nil {
		return nil, err
	}
	return d.frozenDriver.Begin(ctx, t, s, run)
}

func (d *lockedDriver) ProbeWrite(context.Context) error {
	if d.isLocked.Load() {
		fault := &record.Fault{Reason: record.Other, Hint: "End the transaction.", Err: errors.New("locked")}
		return &Stall{ReadsWork: true, Err: fault}
	}
	return nil
}

// A caller whose context ends stops waiting, whatever the driver does; that is not an error of the store.
func TestCallerIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &frozenDriver{ignoresContext: true, ping: func() error { return nil }}
		inv := New(d, Options{})
		d.freeze()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := inv.Driver().Begin(ctx, record.Target{}, Scope{}, ""); !errors.Is(err, context.DeadlineExceeded) ||
			time.Since(start) != 2*time.Second {
			t.Errorf("%v, after %s", err, time.Since(start))
		}
		if inv.Err() != nil {
			t.Error(inv.Err())
		}
		d.unfreeze()
		synctest.Wait()
	})
}

// The program ends although the database does not answer.
func TestCloseWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d := &frozenDriver{ignoresContext: true}
		inv := New(d, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		d.freeze()
		start := time.Now()
		if err := inv.Driver().Close(); err != nil || time.Since(start) != StallTimeout ||
			!strings.Contains(log.String(), "store did not close in time") {
			t.Errorf("%v, after %s; %s", err, time.Since(start), log.String())
		}
		d.unfreeze()
		synctest.Wait()
	})
}

// A panic in a driver reaches the caller, with its stack.
func TestPanicReachesCaller(t *testing.T) {
	inv := New(panickingDriver{}, Options{})
	defer func() {
		v := recover()
		s, ok := v.(interface{ Stack() []byte })
		if !ok || fmt.Sprint(v) != "a bug" || !strings.Contains(string(s.Stack()), "panickingDriver") {
			t.Errorf("%v", v)
		}
	}()
	_, _ = inv.Begin(t.Context(), record.Target{}, record.Identity{}, "")
}

type panickingDriver struct{ Driver }

func (panickingDriver) Begin(context.Context, record.Target, Scope, string) (ScopeUpdate, error) {
	panic("a bug")
}
