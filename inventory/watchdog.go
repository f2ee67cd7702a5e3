package inventory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
)

// StallTimeout is how long callers wait for a store that makes no progress.
const StallTimeout = 5 * time.Second

const (
	checkInterval = time.Second
	// A call that the database still executes may last this long; then its goroutine and its connection are worth more.
	maxCallDuration = time.Hour
)

// A watchdog is a driver whose callers do not wait for a database that makes no progress. Every call to the database
// goes through it, for writing and for reading.
//
// The duration of a call says nothing: a commit may be large. So a driver reports a lock of another process by itself
// (a [Stall]), and the watchdog pings the driver while calls are in flight. If neither a call nor a ping was answered
// within the timeout, all callers stop waiting at once, and no call waits again until a probe, one at a time, succeeds.
// A call that ignores its context keeps its goroutine. Its late answer is ignored, and its late write is fenced by the
// epoch.
type watchdog struct {
	Driver
	health  *healthTracker
	timeout time.Duration

	mu         sync.Mutex
	inFlight   int
	lastAnswer time.Time   // the last answer, or the beginning of the first call in flight
	timer      *time.Timer // runs check while calls are in flight
	pingSeq    int         // number of the current ping; answers to older pings are ignored
	pinging    bool
	pingErr    error // result of the last ping
	closing    bool
	quit       chan struct{} // closed by Close
	wg         sync.WaitGroup
}

func newWatchdog(d Driver, h *healthTracker, timeout time.Duration) *watchdog {
	w := &watchdog{Driver: d, health: h, timeout: timeout, quit: make(chan struct{})}
	// A driver may find an error before the first call.
	if notifier, ok := d.(interface{ OnStall(func(*Stall)) }); ok {
		notifier.OnStall(w.beginStall)
	}
	return w
}

// beginCall counts a call that waits for the database. endCall ends the wait.
func (w *watchdog) beginCall() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inFlight++
	if w.inFlight > 1 || w.closing {
		return
	}
	w.lastAnswer = time.Now()
	if w.timer == nil {
		w.timer = time.AfterFunc(checkInterval, w.check)
	} else {
		w.timer.Reset(checkInterval)
	}
}

func (w *watchdog) endCall(answered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inFlight--
	if answered {
		w.lastAnswer = time.Now()
	}
	if w.inFlight == 0 && w.timer != nil {
		w.timer.Stop()
	}
}

// check pings the driver while calls are in flight, and detects that nothing answers.
func (w *watchdog) check() {
	w.mu.Lock()
	if w.inFlight == 0 || w.closing {
		w.mu.Unlock()
		return
	}
	w.timer.Reset(checkInterval)
	left := w.timeout - time.Since(w.lastAnswer)
	if left > 0 && !w.pinging {
		w.pinging = true
		w.pingSeq++
		n := w.pingSeq
		w.wg.Add(1)
		go w.ping(n, left)
	}
	err := w.pingErr
	w.mu.Unlock()
	if left <= -checkInterval { // the ping, which would report this itself, did not return either
		w.reportNoAnswer(err)
	}
}

func (w *watchdog) ping(n int, left time.Duration) {
	defer w.wg.Done()
	ctx, cancel := context.WithTimeoutCause(context.Background(), left, w.noAnswerError())
	defer cancel()
	err := catchPanic(func() error { return w.Driver.Ping(ctx) })
	w.mu.Lock()
	if w.pingSeq != n {
		w.mu.Unlock()
		return
	}
	if w.pinging, w.pingErr = false, err; err == nil {
		w.lastAnswer = time.Now()
	}
	stalled := w.inFlight > 0 && time.Since(w.lastAnswer) >= w.timeout
	w.mu.Unlock()
	if stalled {
		w.reportNoAnswer(err)
	}
}

func (w *watchdog) noAnswerError() error {
	return &record.Fault{
		Reason: record.Network,
		Hint:   "Check the database and its disk. Writes resume when it answers.",
		Err:    fmt.Errorf("store: no answer within %s", w.timeout),
	}
}

func (w *watchdog) reportNoAnswer(err error) {
	if err == nil {
		err = w.noAnswerError()
	}
	w.beginStall(&Stall{Err: err})
}

// beginStall makes all callers stop waiting, and starts the probe.
func (w *watchdog) beginStall(s *Stall) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closing || !w.health.beginStall(s) {
		return
	}
	w.wg.Add(1)
	go w.probeUntilWritable()
}

// probeUntilWritable probes, one call at a time, until the database accepts writes.
func (w *watchdog) probeUntilWritable() {
	defer w.wg.Done()
	for {
		select {
		case <-w.quit:
			return
		case <-time.After(checkInterval):
		}
		result := make(chan error, 1)
		go func() { // a goroutine, because the driver may ignore the context
			ctx, cancel := context.WithTimeoutCause(context.Background(), w.timeout, w.noAnswerError())
			defer cancel()
			result <- catchPanic(func() error { return w.Driver.ProbeWrite(ctx) })
		}()
		select {
		case <-w.quit:
			return
		case err := <-result:
			if err != nil {
				w.health.updateStall(err)
				continue
			}
			w.mu.Lock()
			w.pingSeq++ // do not wait for a ping that is still out
			w.pinging, w.pingErr, w.lastAnswer = false, nil, time.Now()
			w.health.endStall()
			w.mu.Unlock()
			return
		}
	}
}

// call runs f. f may outlive the call: then its result is ignored, and the caller must not use what f uses.
func (w *watchdog) call(ctx context.Context, write bool, f func(ctx context.Context) error) error {
	stalled := w.health.stallSignal(write)
	select {
	case <-stalled:
		return w.stallError()
	default:
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tooLong := &record.Fault{
		Reason: record.Other,
		Hint:   "Report this with the database's list of running statements.",
		Err:    fmt.Errorf("store: a call lasted longer than %s", maxCallDuration),
	}
	limited, stop := context.WithTimeoutCause(ctx, maxCallDuration, tooLong)
	defer stop()
	w.beginCall()
	done := make(chan error, 1)
	go func() { done <- catchPanic(func() error { return f(limited) }) }()
	select {
	case err := <-done:
		w.endCall(true)
		return w.checkResult(err)
	case <-stalled:
		w.endCall(false)
		err := w.stallError()
		cancel(err)
		return err
	case <-limited.Done():
		select {
		case err := <-done: // it finished in time
			w.endCall(true)
			return w.checkResult(err)
		default:
		}
		w.endCall(false)
		return context.Cause(limited)
	}
}

// checkResult begins a stall if err is one, and passes a panic on to the caller.
func (w *watchdog) checkResult(err error) error {
	switch e := err.(type) {
	case *panicError:
		panic(e)
	case nil:
		return nil
	}
	var s *Stall
	if errors.As(err, &s) {
		w.beginStall(s)
	}
	return err
}

// stallError returns the error of a call that does not wait.
func (w *watchdog) stallError() error {
	if err := w.health.snapshot().Err; err != nil {
		return knownOutage{err}
	}
	return knownOutage{w.noAnswerError()} // the stall ended just now
}

// A knownOutage is the error of a call that was not tried, because of an outage that is known. It says nothing new: if
// its caller reports it after the outage, no outage begins.
type knownOutage struct{ error }

func (k knownOutage) Unwrap() error { return k.error }

func (w *watchdog) Begin(ctx context.Context, t record.Target, s Scope, run string) (ScopeUpdate, error) {
	var update ScopeUpdate
	if err := w.call(ctx, true, func(ctx context.Context) (err error) {
		update, err = w.Driver.Begin(ctx, t, s, run)
		return err
	}); err != nil {
		return nil, err
	}
	return &watchedUpdate{ScopeUpdate: update, w: w}, nil
}

func (w *watchdog) ActiveTargets(ctx context.Context, account string) ([]record.Target, error) {
	return callRead(
		ctx, w, func(ctx context.Context) ([]record.Target, error) { return w.Driver.ActiveTargets(ctx, account) },
	)
}

func (w *watchdog) Accounts(ctx context.Context) ([]Account, error) {
	return callRead(ctx, w, w.Driver.Accounts)
}

func callRead[T any](ctx context.Context, w *watchdog, f func(context.Context) (T, error)) (T, error) {
	var answer, zero T
	if err := w.call(ctx, false, func(ctx context.Context) (err error) {
		answer, err = f(ctx)
		return err
	}); err != nil {
		return zero, err
	}
	return answer, nil
}

// Rename implements [Renamer].
func (w *watchdog) Rename(ctx context.Context, a Account) error {
	d, ok := w.Driver.(Renamer)
	if !ok {
		return nil
	}
	return w.call(ctx, true, func(ctx context.Context) error { return d.Rename(ctx, a) })
}

func (w *watchdog) Retire(ctx context.Context, t record.Target, identity record.Identity, reason string) error {
	return w.call(ctx, true, func(ctx context.Context) error { return w.Driver.Retire(ctx, t, identity, reason) })
}

func (w *watchdog) RetireAccount(ctx context.Context, a Account, reason string) error {
	return w.call(ctx, true, func(ctx context.Context) error { return w.Driver.RetireAccount(ctx, a, reason) })
}

// Close waits for the driver no longer than for any call: the program ends, and what is committed is safe. It hardly
// waits for a database that is known to be stalled, which was logged when the stall began.
func (w *watchdog) Close() error {
	stalled := isClosed(w.health.stallSignal(true))
	w.mu.Lock()
	if !w.closing {
		w.closing = true
		close(w.quit)
	}
	if w.timer != nil {
		w.timer.Stop()
	}
	w.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		err := catchPanic(w.Driver.Close)
		w.wg.Wait()
		done <- err
	}()
	timeout := w.timeout
	if stalled {
		timeout = min(timeout, checkInterval)
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
	}
	if !stalled {
		w.health.log.Warn("store did not close in time", "duration", timeout)
	}
	return nil
}

// A watchedUpdate is a scope update whose calls go through a watchdog.
type watchedUpdate struct {
	ScopeUpdate
	w *watchdog
}

func (u *watchedUpdate) Live(ctx context.Context, f func(LiveResource) error) error {
	return u.w.call(ctx, true, func(ctx context.Context) error { return u.ScopeUpdate.Live(ctx, f) })
}

func (u *watchedUpdate) Stage(ctx context.Context) error {
	return u.w.call(ctx, true, u.ScopeUpdate.Stage)
}

func (u *watchedUpdate) Commit(ctx context.Context, c Commit) error {
	return u.w.call(ctx, true, func(ctx context.Context) error { return u.ScopeUpdate.Commit(ctx, c) })
}

func (w *watchdog) Find(ctx context.Context, q Query) iter.Seq2[*Resource, error] {
	return readRows(ctx, w, func(ctx context.Context) iter.Seq2[*Resource, error] { return w.Driver.Find(ctx, q) })
}

func (w *watchdog) History(ctx context.Context, q Query) iter.Seq2[*Resource, error] {
	return readRows(ctx, w, func(ctx context.Context) iter.Seq2[*Resource, error] { return w.Driver.History(ctx, q) })
}

func (w *watchdog) Diff(ctx context.Context, q Query, from, to time.Time) iter.Seq2[Change, error] {
	return readRows(ctx, w, func(ctx context.Context) iter.Seq2[Change, error] { return w.Driver.Diff(ctx, q, from, to) })
}

func (w *watchdog) Changes(ctx context.Context, q Query, after time.Time) iter.Seq2[Change, error] {
	return readRows(ctx, w, func(ctx context.Context) iter.Seq2[Change, error] { return w.Driver.Changes(ctx, q, after) })
}

func (w *watchdog) Targets(ctx context.Context) iter.Seq2[Coverage, error] {
	return readRows(ctx, w, w.Driver.Targets)
}

func (w *watchdog) NotIndexed(ctx context.Context) (int, error) {
	return callRead(ctx, w, w.Driver.NotIndexed)
}

// readRows yields rows in the caller's goroutine, as reads end with their context. Only the time between two rows
// counts as time of the database.
func readRows[T any](
	ctx context.Context, w *watchdog, f func(context.Context) iter.Seq2[T, error],
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		stalled := w.health.stallSignal(false)
		select {
		case <-stalled:
			var zero T
			yield(zero, w.stallError())
			return
		default:
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		finished := make(chan struct{})
		defer close(finished)
		go func() {
			select {
			case <-stalled:
				cancel(w.stallError())
			case <-finished:
			}
		}()
		w.beginCall()
		waiting := true
		defer func() {
			if waiting { // also after a panic
				w.endCall(ctx.Err() == nil)
			}
		}()
		for row, err := range f(ctx) {
			w.endCall(err == nil)
			waiting = false
			if !yield(row, err) {
				return
			}
			w.beginCall()
			waiting = true
		}
	}
}

// A panicError carries a panic from a goroutine of the driver to the caller.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprint(p.value) }

// Stack returns the stack of the panic.
func (p *panicError) Stack() []byte { return p.stack }

func catchPanic(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return f()
}
