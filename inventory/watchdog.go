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

func newWatchdog(d Driver, h *healthTracker, patience time.Duration) *watchdog {
	p := &watchdog{Driver: d, health: h, timeout: patience, quit: make(chan struct{})}
	// A driver may find an error before the first call.
	if w, ok := d.(interface{ OnTrouble(func(*Stall)) }); ok {
		w.OnTrouble(p.beginStall)
	}
	return p
}

// beginCall counts a call that waits for the database. endCall ends the wait.
func (p *watchdog) beginCall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight++
	if p.inFlight > 1 || p.closing {
		return
	}
	p.lastAnswer = time.Now()
	if p.timer == nil {
		p.timer = time.AfterFunc(checkInterval, p.check)
	} else {
		p.timer.Reset(checkInterval)
	}
}

func (p *watchdog) endCall(answered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight--
	if answered {
		p.lastAnswer = time.Now()
	}
	if p.inFlight == 0 && p.timer != nil {
		p.timer.Stop()
	}
}

// check pings the driver while calls are in flight, and detects that nothing answers.
func (p *watchdog) check() {
	p.mu.Lock()
	if p.inFlight == 0 || p.closing {
		p.mu.Unlock()
		return
	}
	p.timer.Reset(checkInterval)
	left := p.timeout - time.Since(p.lastAnswer)
	if left > 0 && !p.pinging {
		p.pinging = true
		p.pingSeq++
		n := p.pingSeq
		p.wg.Add(1)
		go p.ping(n, left)
	}
	err := p.pingErr
	p.mu.Unlock()
	if left <= -checkInterval { // the ping, which would report this itself, did not return either
		p.reportNoAnswer(err)
	}
}

func (p *watchdog) ping(n int, left time.Duration) {
	defer p.wg.Done()
	ctx, cancel := context.WithTimeoutCause(context.Background(), left, p.noAnswerError())
	defer cancel()
	err := catchPanic(func() error { return p.Driver.Ping(ctx) })
	p.mu.Lock()
	if p.pingSeq != n {
		p.mu.Unlock()
		return
	}
	if p.pinging, p.pingErr = false, err; err == nil {
		p.lastAnswer = time.Now()
	}
	over := p.inFlight > 0 && time.Since(p.lastAnswer) >= p.timeout
	p.mu.Unlock()
	if over {
		p.reportNoAnswer(err)
	}
}

func (p *watchdog) noAnswerError() error {
	return &record.Fault{Reason: record.Network, Hint: "Check the database and the disk that it is on; writes resume when it answers.",
		Err: fmt.Errorf("store: no answer within %s", p.timeout)}
}

func (p *watchdog) reportNoAnswer(err error) {
	if err == nil {
		err = p.noAnswerError()
	}
	p.beginStall(&Stall{Err: err})
}

// beginStall makes all callers stop waiting, and starts the probe.
func (p *watchdog) beginStall(s *Stall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing || !p.health.beginStall(s) {
		return
	}
	p.wg.Add(1)
	go p.probeUntilWritable()
}

// probeUntilWritable probes, one call at a time, until the database accepts writes.
func (p *watchdog) probeUntilWritable() {
	defer p.wg.Done()
	answer := make(chan error, 1)
	asked := false
	for {
		select {
		case <-p.quit:
			return
		case <-time.After(checkInterval):
		}
		if !asked {
			asked = true
			go func() { // a goroutine, because the driver may ignore the context
				ctx, cancel := context.WithTimeoutCause(context.Background(), p.timeout, p.noAnswerError())
				defer cancel()
				answer <- catchPanic(func() error { return p.Driver.ProbeWrite(ctx) })
			}()
		}
		select {
		case <-p.quit:
			return
		case err := <-answer:
			if asked = false; err != nil {
				p.health.updateStall(err)
				continue
			}
			p.mu.Lock()
			p.pingSeq++ // do not wait for a ping that is still out
			p.pinging, p.pingErr, p.lastAnswer = false, nil, time.Now()
			p.health.endStall()
			p.mu.Unlock()
			return
		case <-time.After(p.timeout):
		}
	}
}

// call runs f. f may outlive the call: then its result is ignored, and the caller must not use what f uses.
func (p *watchdog) call(ctx context.Context, write bool, f func(ctx context.Context) error) error {
	gate := p.health.stallSignal(write)
	select {
	case <-gate:
		return p.stallError()
	default:
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limited, stop := context.WithTimeoutCause(ctx, maxCallDuration, &record.Fault{Reason: record.Other, Hint: "Report it, with the database's list of statements.",
		Err: fmt.Errorf("store: a call lasted longer than %s", maxCallDuration)})
	defer stop()
	p.beginCall()
	done := make(chan error, 1)
	go func() { done <- catchPanic(func() error { return f(limited) }) }()
	select {
	case err := <-done:
		p.endCall(true)
		return p.checkResult(err)
	case <-gate:
		p.endCall(false)
		err := p.stallError()
		cancel(err)
		return err
	case <-limited.Done():
		select {
		case err := <-done: // it finished in time
			p.endCall(true)
			return p.checkResult(err)
		default:
		}
		p.endCall(false)
		return context.Cause(limited)
	}
}

// checkResult begins a stall if err is one, and passes a panic on to the caller.
func (p *watchdog) checkResult(err error) error {
	switch e := err.(type) {
	case *panicError:
		panic(e)
	case nil:
		return nil
	}
	var s *Stall
	if errors.As(err, &s) {
		p.beginStall(s)
	}
	return err
}

// stallError returns the error of a call that does not wait.
func (p *watchdog) stallError() error {
	if err := p.health.snapshot().Err; err != nil {
		return err
	}
	return p.noAnswerError() // the stall ended just now
}

func (p *watchdog) Begin(ctx context.Context, t record.Target, s Scope, run string) (ScopeUpdate, error) {
	var turn ScopeUpdate
	if err := p.call(ctx, true, func(ctx context.Context) (err error) {
		turn, err = p.Driver.Begin(ctx, t, s, run)
		return err
	}); err != nil {
		return nil, err
	}
	return &watchedUpdate{ScopeUpdate: turn, w: p}, nil
}

func (p *watchdog) ActiveTargets(ctx context.Context, account string) ([]record.Target, error) {
	return callRead(ctx, p, func(ctx context.Context) ([]record.Target, error) { return p.Driver.ActiveTargets(ctx, account) })
}

func (p *watchdog) Accounts(ctx context.Context) ([]Account, error) {
	return callRead(ctx, p, p.Driver.Accounts)
}

func callRead[T any](ctx context.Context, p *watchdog, f func(context.Context) (T, error)) (T, error) {
	var answer, none T
	if err := p.call(ctx, false, func(ctx context.Context) (err error) {
		answer, err = f(ctx)
		return err
	}); err != nil {
		return none, err
	}
	return answer, nil
}

// Rename implements [Renamer].
func (p *watchdog) Rename(ctx context.Context, a Account) error {
	d, ok := p.Driver.(Renamer)
	if !ok {
		return nil
	}
	return p.call(ctx, true, func(ctx context.Context) error { return d.Rename(ctx, a) })
}

func (p *watchdog) Retire(ctx context.Context, t record.Target, who record.Identity, why string) error {
	return p.call(ctx, true, func(ctx context.Context) error { return p.Driver.Retire(ctx, t, who, why) })
}

func (p *watchdog) RetireAccount(ctx context.Context, a Account, why string) error {
	return p.call(ctx, true, func(ctx context.Context) error { return p.Driver.RetireAccount(ctx, a, why) })
}

// Close waits for the driver no longer than for any call: the program ends, and what is committed is safe. It hardly
// waits for a database that is known to be stalled, which was logged when the stall began.
func (p *watchdog) Close() error {
	stalled := isClosed(p.health.stallSignal(true))
	p.mu.Lock()
	if !p.closing {
		p.closing = true
		close(p.quit)
	}
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		err := catchPanic(p.Driver.Close)
		p.wg.Wait()
		done <- err
	}()
	wait := p.timeout
	if stalled {
		wait = min(wait, checkInterval)
	}
	late := time.NewTimer(wait)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
	}
	if !stalled {
		p.health.log.Warn("store did not close in time", "waited", wait)
	}
	return nil
}

// A watchedUpdate is a scope update whose calls go through a watchdog.
type watchedUpdate struct {
	ScopeUpdate
	w *watchdog
}

func (t *watchedUpdate) Live(ctx context.Context, f func(id []byte, sum record.Digest, version int) error) error {
	return t.w.call(ctx, true, func(ctx context.Context) error { return t.ScopeUpdate.Live(ctx, f) })
}

func (t *watchedUpdate) Stage(ctx context.Context, packs []Pack) error {
	return t.w.call(ctx, true, func(ctx context.Context) error { return t.ScopeUpdate.Stage(ctx, packs) })
}

func (t *watchedUpdate) Commit(ctx context.Context, c Commit) error {
	return t.w.call(ctx, true, func(ctx context.Context) error { return t.ScopeUpdate.Commit(ctx, c) })
}

func (p *watchdog) Find(ctx context.Context, q Query) iter.Seq2[*Resource, error] {
	return readRows(ctx, p, func(ctx context.Context) iter.Seq2[*Resource, error] { return p.Driver.Find(ctx, q) })
}

func (p *watchdog) History(ctx context.Context, q Query) iter.Seq2[*Resource, error] {
	return readRows(ctx, p, func(ctx context.Context) iter.Seq2[*Resource, error] { return p.Driver.History(ctx, q) })
}

func (p *watchdog) Diff(ctx context.Context, q Query, from, to time.Time) iter.Seq2[Change, error] {
	return readRows(ctx, p, func(ctx context.Context) iter.Seq2[Change, error] { return p.Driver.Diff(ctx, q, from, to) })
}

func (p *watchdog) Changes(ctx context.Context, q Query, after time.Time) iter.Seq2[Change, error] {
	return readRows(ctx, p, func(ctx context.Context) iter.Seq2[Change, error] { return p.Driver.Changes(ctx, q, after) })
}

func (p *watchdog) Targets(ctx context.Context) iter.Seq2[Coverage, error] {
	return readRows(ctx, p, p.Driver.Targets)
}

// readRows yields rows in the caller's goroutine, as reads end with their context. Only the time between two rows
// counts as time of the database.
func readRows[T any](ctx context.Context, p *watchdog, f func(context.Context) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		gate := p.health.stallSignal(false)
		select {
		case <-gate:
			var none T
			yield(none, p.stallError())
			return
		default:
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		over := make(chan struct{})
		defer close(over)
		go func() {
			select {
			case <-gate:
				cancel(p.stallError())
			case <-over:
			}
		}()
		p.beginCall()
		waiting := true
		defer func() {
			if waiting { // also after a panic
				p.endCall(ctx.Err() == nil)
			}
		}()
		for row, err := range f(ctx) {
			p.endCall(err == nil)
			waiting = false
			if !yield(row, err) {
				return
			}
			p.beginCall()
			waiting = true
		}
	}
}

// A panicError carries a panic from a goroutine of the driver to the caller.
type panicError struct {
	value any
	stack []byte
}

func (t *panicError) Error() string { return fmt.Sprint(t.value) }

// Stack returns the stack of the panic.
func (t *panicError) Stack() []byte { return t.stack }

func catchPanic(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return f()
}
