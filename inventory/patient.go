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

// Patience is how long a store is waited for that makes no progress.
const Patience = 5 * time.Second

// The pace of a patient driver.
const (
	lookEvery = time.Second
	// A call that the database says it executes may last so long; then its goroutine and its place are worth more.
	callLimit = time.Hour
)

// A patient is a driver whose callers do not wait for a database that makes no progress. It is the one way to the database, for the
// runner's calls as for those who read.
//
// How long a call lasts says nothing: a commit may be large. So a driver says itself when it waits for a lock of another
// process (a [Stall]); and while calls are under way it is asked for its pulse, beside them. Where neither a call nor the
// pulse has been answered for the patience, all who wait stop at once, and nobody waits anew until the probe, one at a time, gets
// through. A call that does not heed its context keeps its goroutine, and what it answers late is not taken: its epoch fences what
// it writes late.
type patient struct {
	Driver
	health   *health
	patience time.Duration

	mu      sync.Mutex
	calls   int         // under way
	alive   time.Time   // the last answer, or when the first of the calls began
	timer   *time.Timer // looks while there are calls
	pulse   int         // the number of the pulse that is taken; an older one's answer is not
	pulsing bool
	mute    error // what the last pulse said, if not that all is well
	shut    bool
	quit    chan struct{} // closed by Close
	wg      sync.WaitGroup
}

func newPatient(d Driver, h *health, patience time.Duration) *patient {
	p := &patient{Driver: d, health: h, patience: patience, quit: make(chan struct{})}
	// A driver may know of its trouble before anybody calls it.
	if w, ok := d.(interface{ OnTrouble(func(*Stall)) }); ok {
		w.OnTrouble(p.stall)
	}
	return p
}

// enter counts a call that waits for the database, and leave one that does no longer.
func (p *patient) enter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if p.calls > 1 || p.shut {
		return
	}
	p.alive = time.Now()
	if p.timer == nil {
		p.timer = time.AfterFunc(lookEvery, p.look)
	} else {
		p.timer.Reset(lookEvery)
	}
}

func (p *patient) leave(answered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls--
	if answered {
		p.alive = time.Now()
	}
	if p.calls == 0 && p.timer != nil {
		p.timer.Stop()
	}
}

// look asks for the pulse while calls are under way, and finds out that nothing answers.
func (p *patient) look() {
	p.mu.Lock()
	if p.calls == 0 || p.shut {
		p.mu.Unlock()
		return
	}
	p.timer.Reset(lookEvery)
	left := p.patience - time.Since(p.alive)
	if left > 0 && !p.pulsing {
		p.pulsing = true
		p.pulse++
		n := p.pulse
		p.wg.Add(1)
		go p.feel(n, left)
	}
	err := p.mute
	p.mu.Unlock()
	if left <= -lookEvery { // the pulse, which would say so itself, has not come back either
		p.silent(err)
	}
}

// feel takes the driver's pulse.
func (p *patient) feel(n int, left time.Duration) {
	defer p.wg.Done()
	ctx, cancel := context.WithTimeoutCause(context.Background(), left, p.noAnswer())
	defer cancel()
	err := caught(func() error { return p.Driver.Pulse(ctx) })
	p.mu.Lock()
	if p.pulse != n {
		p.mu.Unlock()
		return
	}
	if p.pulsing, p.mute = false, err; err == nil {
		p.alive = time.Now()
	}
	over := p.calls > 0 && time.Since(p.alive) >= p.patience
	p.mu.Unlock()
	if over {
		p.silent(err)
	}
}

func (p *patient) noAnswer() error {
	return &record.Fault{Reason: record.Network, Hint: "Check the database and the disk that it is on; writes resume when it answers.",
		Err: fmt.Errorf("store: no answer within %s", p.patience)}
}

func (p *patient) silent(err error) {
	if err == nil {
		err = p.noAnswer()
	}
	p.stall(&Stall{Err: err})
}

// stall has everybody stop waiting, and probes until the database works again.
func (p *patient) stall(s *Stall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut || !p.health.stall(s) {
		return
	}
	p.wg.Add(1)
	go p.probe()
}

// probe asks, one question at a time, until the database works again.
func (p *patient) probe() {
	defer p.wg.Done()
	answer := make(chan error, 1)
	asked := false
	for {
		select {
		case <-p.quit:
			return
		case <-time.After(lookEvery):
		}
		if !asked {
			asked = true
			go func() { // it may not heed its context
				ctx, cancel := context.WithTimeoutCause(context.Background(), p.patience, p.noAnswer())
				defer cancel()
				answer <- caught(func() error { return p.Driver.Probe(ctx) })
			}()
		}
		select {
		case <-p.quit:
			return
		case err := <-answer:
			if asked = false; err != nil {
				p.health.still(err)
				continue
			}
			p.mu.Lock()
			p.pulse++ // one that is still out is not waited for
			p.pulsing, p.mute, p.alive = false, nil, time.Now()
			p.health.released()
			p.mu.Unlock()
			return
		case <-time.After(p.patience):
		}
	}
}

// do is one call. f may outlive it: nothing that f uses is used by the caller again, and nothing that f says late is heard.
func (p *patient) do(ctx context.Context, write bool, f func(ctx context.Context) error) error {
	gate := p.health.gate(write)
	select {
	case <-gate:
		return p.stalled()
	default:
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limited, stop := context.WithTimeoutCause(ctx, callLimit, &record.Fault{Reason: record.Other, Hint: "Report it, with the database's list of statements.",
		Err: fmt.Errorf("store: a call lasted longer than %s", callLimit)})
	defer stop()
	p.enter()
	done := make(chan error, 1)
	go func() { done <- caught(func() error { return f(limited) }) }()
	select {
	case err := <-done:
		p.leave(true)
		return p.judge(err)
	case <-gate:
		p.leave(false)
		err := p.stalled()
		cancel(err)
		return err
	case <-limited.Done():
		select {
		case err := <-done: // it was in time
			p.leave(true)
			return p.judge(err)
		default:
		}
		p.leave(false)
		return context.Cause(limited)
	}
}

// judge sees whether an answer is that nobody should wait, and hands a panic on to who called.
func (p *patient) judge(err error) error {
	switch e := err.(type) {
	case *thrown:
		panic(e)
	case nil:
		return nil
	}
	var s *Stall
	if errors.As(err, &s) {
		p.stall(s)
	}
	return err
}

// stalled is what those are told who do not wait.
func (p *patient) stalled() error {
	if err := p.health.now().Err; err != nil {
		return err
	}
	return p.noAnswer() // it was over in this moment
}

func (p *patient) Begin(ctx context.Context, t record.Target, s Scope, run string) (Turn, error) {
	var turn Turn
	if err := p.do(ctx, true, func(ctx context.Context) (err error) {
		turn, err = p.Driver.Begin(ctx, t, s, run)
		return err
	}); err != nil {
		return nil, err
	}
	return &patientTurn{Turn: turn, p: p}, nil
}

func (p *patient) Known(ctx context.Context, account string) ([]record.Target, error) {
	return ask(ctx, p, func(ctx context.Context) ([]record.Target, error) { return p.Driver.Known(ctx, account) })
}

func (p *patient) Accounts(ctx context.Context) ([]Account, error) {
	return ask(ctx, p, p.Driver.Accounts)
}

func ask[T any](ctx context.Context, p *patient, f func(context.Context) (T, error)) (T, error) {
	var answer, none T
	if err := p.do(ctx, false, func(ctx context.Context) (err error) {
		answer, err = f(ctx)
		return err
	}); err != nil {
		return none, err
	}
	return answer, nil
}

// Rename is [Renamer].
func (p *patient) Rename(ctx context.Context, a Account) error {
	d, ok := p.Driver.(Renamer)
	if !ok {
		return nil
	}
	return p.do(ctx, true, func(ctx context.Context) error { return d.Rename(ctx, a) })
}

func (p *patient) Retire(ctx context.Context, t record.Target, who record.Identity, why string) error {
	return p.do(ctx, true, func(ctx context.Context) error { return p.Driver.Retire(ctx, t, who, why) })
}

func (p *patient) RetireAccount(ctx context.Context, a Account, why string) error {
	return p.do(ctx, true, func(ctx context.Context) error { return p.Driver.RetireAccount(ctx, a, why) })
}

// Close waits for the driver no longer than it waits for anything, as the program ends and what is committed is safe; and for one that is
// known not to answer, which was logged when it began, hardly at all.
func (p *patient) Close() error {
	stalled := closed(p.health.gate(true))
	p.mu.Lock()
	if !p.shut {
		p.shut = true
		close(p.quit)
	}
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		err := caught(p.Driver.Close)
		p.wg.Wait()
		done <- err
	}()
	wait := p.patience
	if stalled {
		wait = min(wait, lookEvery)
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
type patientTurn struct {
	Turn
	p *patient
}

func (t *patientTurn) Live(ctx context.Context, f func(id []byte, sum record.Sum, version int) error) error {
	return t.p.do(ctx, true, func(ctx context.Context) error { return t.Turn.Live(ctx, f) })
}

func (t *patientTurn) Stage(ctx context.Context, packs []Pack) error {
	return t.p.do(ctx, true, func(ctx context.Context) error { return t.Turn.Stage(ctx, packs) })
}

func (t *patientTurn) Commit(ctx context.Context, c Commit) error {
	return t.p.do(ctx, true, func(ctx context.Context) error { return t.Turn.Commit(ctx, c) })
}

func (p *patient) Find(ctx context.Context, q Query) iter.Seq2[*Resource, error] {
	return rows(ctx, p, func(ctx context.Context) iter.Seq2[*Resource, error] { return p.Driver.Find(ctx, q) })
}

func (p *patient) History(ctx context.Context, q Query) iter.Seq2[*Resource, error] {
	return rows(ctx, p, func(ctx context.Context) iter.Seq2[*Resource, error] { return p.Driver.History(ctx, q) })
}

func (p *patient) Diff(ctx context.Context, q Query, from, to time.Time) iter.Seq2[Change, error] {
	return rows(ctx, p, func(ctx context.Context) iter.Seq2[Change, error] { return p.Driver.Diff(ctx, q, from, to) })
}

func (p *patient) Changes(ctx context.Context, q Query, after time.Time) iter.Seq2[Change, error] {
	return rows(ctx, p, func(ctx context.Context) iter.Seq2[Change, error] { return p.Driver.Changes(ctx, q, after) })
}

func (p *patient) Targets(ctx context.Context) iter.Seq2[Coverage, error] {
	return rows(ctx, p, p.Driver.Targets)
}

// rows is an answer of many rows, which come in the caller's goroutine: reads heed their context. Only the time between two rows
// is the database's.
func rows[T any](ctx context.Context, p *patient, f func(context.Context) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		gate := p.health.gate(false)
		select {
		case <-gate:
			var none T
			yield(none, p.stalled())
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
				cancel(p.stalled())
			case <-over:
			}
		}()
		p.enter()
		waiting := true
		defer func() {
			if waiting { // also after a panic
				p.leave(ctx.Err() == nil)
			}
		}()
		for row, err := range f(ctx) {
			p.leave(err == nil)
			waiting = false
			if !yield(row, err) {
				return
			}
			p.enter()
			waiting = true
		}
	}
}

// thrown is a panic on its way from a goroutine of the driver's to who called.
type thrown struct {
	value any
	stack []byte
}

func (t *thrown) Error() string { return fmt.Sprint(t.value) }

// Stack is where it came from, for who recovers it.
func (t *thrown) Stack() []byte { return t.stack }

func caught(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &thrown{v, debug.Stack()}
		}
	}()
	return f()
}
