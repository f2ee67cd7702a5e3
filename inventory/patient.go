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

// StallTimeout is how long a store is waited for that makes no progress.
const StallTimeout = 5 * time.Second

// The pace of a patient driver.
const (
	checkInterval = time.Second
	// A call that the database says it executes may last so long; then its goroutine and its place are worth more.
	maxCallDuration = time.Hour
)

// A patient is a driver whose callers do not wait for a database that makes no progress. It is the one way to the database, for the
// runner's calls as for those who read.
//
// How long a call lasts says nothing: a commit may be large. So a driver says itself when it waits for a lock of another
// process (a [Stall]); and while calls are under way it is asked for its pulse, beside them. Where neither a call nor the
// pulse has been answered for the patience, all who wait stop at once, and nobody waits anew until the probe, one at a time, gets
// through. A call that does not heed its context keeps its goroutine, and what it answers late is not taken: its epoch fences what
// it writes late.
type watchdog struct {
	Driver
	health  *healthTracker
	timeout time.Duration

	mu         sync.Mutex
	inFlight   int         // under way
	lastAnswer time.Time   // the last answer, or when the first of the calls began
	timer      *time.Timer // looks while there are calls
	pingSeq    int         // the number of the pulse that is taken; an older one's answer is not
	pinging    bool
	pingErr    error // what the last pulse said, if not that all is well
	closing    bool
	quit       chan struct{} // closed by Close
	wg         sync.WaitGroup
}

func newWatchdog(d Driver, h *healthTracker, patience time.Duration) *watchdog {
	p := &watchdog{Driver: d, health: h, timeout: patience, quit: make(chan struct{})}
	// A driver may know of its trouble before anybody calls it.
	if w, ok := d.(interface{ OnTrouble(func(*Stall)) }); ok {
		w.OnTrouble(p.beginStall)
	}
	return p
}

// beginCall counts a call that waits for the database, and leave one that does no longer.
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

// check asks for the pulse while calls are under way, and finds out that nothing answers.
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
	if left <= -checkInterval { // the pulse, which would say so itself, has not come back either
		p.reportNoAnswer(err)
	}
}

// ping takes the driver's pulse.
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

// beginStall has everybody stop waiting, and probes until the database works again.
func (p *watchdog) beginStall(s *Stall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing || !p.health.beginStall(s) {
		return
	}
	p.wg.Add(1)
	go p.probeUntilWritable()
}

// probeUntilWritable asks, one question at a time, until the database works again.
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
			go func() { // it may not heed its context
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
			p.pingSeq++ // one that is still out is not waited for
			p.pinging, p.pingErr, p.lastAnswer = false, nil, time.Now()
			p.health.endStall()
			p.mu.Unlock()
			return
		case <-time.After(p.timeout):
		}
	}
}

// call is one call. f may outlive it: nothing that f uses is used by the caller again, and nothing that f says late is heard.
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
		case err := <-done: // it was in time
			p.endCall(true)
			return p.checkResult(err)
		default:
		}
		p.endCall(false)
		return context.Cause(limited)
	}
}

// checkResult sees whether an answer is that nobody should wait, and hands a panic on to who called.
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

// stallError is what those are told who do not wait.
func (p *watchdog) stallError() error {
	if err := p.health.snapshot().Err; err != nil {
		return err
	}
	return p.noAnswerError() // it was over in this moment
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

// Rename is [Renamer].
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

// Close waits for the driver no longer than it waits for anything, as the program ends and what is committed is safe; and for one that is
// known not to answer, which was logged when it began, hardly at all.
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

// A patientTurn is a turn whose calls are a patient's.
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

// readRows is an answer of many rows, which come in the caller's goroutine: reads heed their context. Only the time between two rows
// is the database's.
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

// panicError is a panic on its way from a goroutine of the driver's to who called.
type panicError struct {
	value any
	stack []byte
}

func (t *panicError) Error() string { return fmt.Sprint(t.value) }

// Stack is where it came from, for who recovers it.
func (t *panicError) Stack() []byte { return t.stack }

func catchPanic(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return f()
}
