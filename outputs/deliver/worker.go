package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/contextmutex"
	"github.com/aws-collector/collector/record"
)

// A State is the state of an output.
type State struct {
	Name, Type string
	Up         bool
	// Ready: no record is lost and no caller waits. It is true while a spool takes what its receiver cannot, unless the
	// receiver refuses every record that it is sent.
	Ready   bool
	Error   string      // the last failure; "" while the output works
	Hint    string      // how to fix it
	Since   time.Time   // when the output began to fail, or to work
	Records int         // delivered since the output was opened
	Lost    int         // not delivered
	Errors  int         // of Send and Flush
	Spool   *SpoolState // nil if the output has no spool
}

// errStalled is returned for calls to an output while an earlier call hangs.
var errStalled = errors.New("an earlier write is still in progress")

// A worker isolates one output. Each call to the output runs on its own goroutine with a copy of the borrowed bytes, so
// that a call that hangs (a pipe that nobody reads, a network disk) blocks neither its caller nor a page. At most one
// call is in flight, so there is one copy. Flushes that arrive during a flush share the next one: a group commit.
type worker struct {
	key, typ string
	out      outputs.Output
	spool    *spool // out, if out is a spool
	log      *slog.Logger
	observer outputs.Observer
	refs     int // guarded by Set.configMu

	sendMu contextmutex.Mutex // held by the call in flight, also after it was abandoned
	buf    []byte             // the copy that this call uses

	mu              sync.Mutex
	name            string
	state           State
	sendAbandoned   bool     // the Send in flight was abandoned
	flushAbandoned  bool     // the Flush in flight was abandoned
	lastErrors      [2]error // by operation: a Send that works does not clear the error of a Flush
	permanentErr    error
	closed          bool          // starts no more goroutines
	sends           int           // batches sent
	flushedSends    int           // of them, flushed
	nextFlush       *pendingFlush // starts after the flush in progress
	flushing        bool
	lostRecords     map[targetRun]int
	filteredRecords map[targetRun]int // left out by the option where
	feed            *feed
	wg              sync.WaitGroup
}

// A targetRun is a target in one run.
type targetRun struct {
	run    string
	target record.Target
}

// A pendingFlush is a flush and its waiters.
type pendingFlush struct {
	done chan struct{}
	err  error
}

func newWorker(key, name, typ string, out outputs.Output, d outputs.Deps) *worker {
	w := &worker{
		key: key, typ: typ, out: out, log: d.Log, observer: d.Observer, refs: 1, sendMu: contextmutex.New(), name: name,
		lostRecords: map[targetRun]int{}, filteredRecords: map[targetRun]int{},
	}
	w.state = State{Name: name, Type: typ, Up: true, Since: time.Now()}
	if sp, ok := out.(*spool); ok {
		w.spool, sp.onChange = sp, w.reportUp
	}
	return w
}

// applyConfig sets the name and the options of an accepted configuration.
func (w *worker) applyConfig(fo fanOutput) {
	defer w.replaceFeed(fo.feed)
	if w.spool != nil {
		w.spool.applyConfig(fo)
		w.reportUp()
		return
	}
	name := fo.name
	w.mu.Lock()
	if w.observer != nil {
		if name != w.name {
			w.observer.OutputClosed(w.name)
		}
		w.observer.OutputUp(name, w.state.Up)
	}
	w.name, w.state.Name = name, name
	w.mu.Unlock()
	if r, ok := w.out.(outputs.Reconfigurer); ok {
		r.Reconfigure(fo.options)
	}
}

// State returns a copy of the state.
func (w *worker) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.currentState()
}

// currentState returns the state, including the spool's part. The caller holds w.mu.
func (w *worker) currentState() State {
	st := w.state
	st.Ready = st.Up
	if w.spool != nil {
		w.spool.merge(&st)
	}
	return st
}

// reportUp tells the observer whether the output works.
func (w *worker) reportUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.observer != nil {
		w.observer.OutputUp(w.name, w.currentState().Up)
	}
}

// send delivers a copy of b. It returns after timeout, unless that is 0, or when ctx ends.
func (w *worker) send(ctx context.Context, b outputs.Batch, timeout time.Duration) error {
	if err := ctx.Err(); err != nil { // not the output's fault, but its records are lost
		w.countLost(b, 1)
		return fmt.Errorf("output %s: %w", w.State().Name, context.Cause(ctx))
	}
	if w.spool != nil && w.spool.blocksWhenFull() {
		timeout = 0 // when_full: block asks for it
	}
	err := w.trySend(ctx, b, timeout)
	if err == nil {
		return nil
	}
	w.countLost(b, 1)
	return w.markFailed(opSend, err)
}

// countLost counts a failed batch as lost.
func (w *worker) countLost(b outputs.Batch, errs int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state.Errors += errs
	w.state.Lost += b.N
	if b.N > 0 {
		w.lostRecords[targetRun{b.Run, b.Target}] += b.N
	}
	if w.observer != nil {
		w.observer.OutputFailed(w.name, b.N)
	}
}

// countFiltered counts records that the option where leaves out.
func (w *worker) countFiltered(b outputs.Batch, n int) {
	if n == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.filteredRecords[targetRun{b.Run, b.Target}] += n
}

// takeLosses returns and resets the numbers of lost and filtered records of a target in a run.
func (w *worker) takeLosses(run string, t record.Target) (lost, left int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := targetRun{run, t}
	lost, left = w.lostRecords[v], w.filteredRecords[v]
	delete(w.lostRecords, v)
	delete(w.filteredRecords, v)
	return lost, left
}

// replaceFeed stops the change feed and starts the next one at the same position. If next is nil, there is none.
func (w *worker) replaceFeed(next *feed) {
	w.mu.Lock()
	old := w.feed
	w.feed = next
	w.mu.Unlock()
	if old != nil {
		old.stop()
	}
	if next != nil {
		next.start(old, retriableOutput{timedOutput{w, SendTimeout}})
	}
}

// wakeFeed tells the feed that a target has ended.
func (w *worker) wakeFeed() {
	w.mu.Lock()
	f := w.feed
	w.mu.Unlock()
	if f != nil {
		f.wake()
	}
}

// sendRetriable sends a batch that its caller sends again after a failure. A failure therefore loses nothing.
func (w *worker) sendRetriable(ctx context.Context, b outputs.Batch) error {
	err := w.trySend(ctx, b, SendTimeout)
	if err == nil || ctx.Err() != nil {
		return err
	}
	w.countLost(outputs.Batch{}, 1)
	return w.markFailed(opSend, err)
}

// A sendCall is one Send, which its caller may abandon.
type sendCall struct {
	done      chan struct{}
	err       error
	finished  bool // guarded by worker.mu, as is abandoned
	abandoned bool
	records   int
}

func (w *worker) trySend(ctx context.Context, b outputs.Batch, timeout time.Duration) error {
	ctx, cancel := withTimeout(ctx, timeout)
	defer cancel()
	w.mu.Lock()
	permanent, abandoned := w.permanentErr, w.sendAbandoned && timeout > 0
	w.mu.Unlock()
	switch {
	case permanent != nil:
		return permanent
	case abandoned:
		return errStalled
	}
	if err := w.sendMu.Lock(ctx); err != nil {
		return context.Cause(ctx)
	}
	w.buf = append(w.buf[:0], b.Lines...)
	b.Lines = w.buf
	c := &sendCall{done: make(chan struct{}), records: b.N}
	if !w.startGoroutine(func() {
		c.err = w.out.Send(ctx, b)
		w.finishCall(c)
		w.sendMu.Unlock()
		close(c.done)
	}) {
		w.sendMu.Unlock()
		return outputs.ErrClosed
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.finished {
		return c.err
	}
	c.abandoned, w.sendAbandoned = true, true
	return context.Cause(ctx)
}

// startGoroutine runs do on a goroutine that close waits for. It returns false if the worker is closed.
func (w *worker) startGoroutine(do func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.wg.Go(do)
	return true
}

// finishCall records the result of a Send. If an abandoned Send succeeds, the output works again, but its records stay
// counted as lost.
func (w *worker) finishCall(c *sendCall) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.finished, w.sendAbandoned = true, false
	if errors.Is(c.err, outputs.ErrPermanent) {
		w.permanentErr = c.err
	}
	if c.err != nil {
		return
	}
	w.sends++
	if !c.abandoned && w.spool == nil { // a spool counts its own deliveries
		w.state.Records += c.records
		if w.observer != nil {
			w.observer.OutputSent(w.name, c.records)
		}
	}
	if c.records > 0 { // a full disk may take the line of a target's end, but no page
		w.markWorking(opSend)
	}
}

// flush returns when everything that was sent before would survive a kill.
func (w *worker) flush(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := withTimeout(ctx, timeout)
	defer cancel()
	w.mu.Lock()
	switch {
	case w.permanentErr != nil || w.closed || w.flushedSends == w.sends: // send has reported its failures
		w.mu.Unlock()
		return nil
	case w.flushAbandoned && timeout > 0:
		w.mu.Unlock()
		w.countLost(outputs.Batch{}, 1)
		return w.markFailed(opFlush, errStalled)
	}
	r := w.nextFlush
	if r == nil {
		r = &pendingFlush{done: make(chan struct{})}
		w.nextFlush = r
	}
	if !w.flushing {
		w.flushing = true
		w.wg.Go(func() { w.flushLoop(context.WithoutCancel(ctx)) })
	}
	w.mu.Unlock()
	var err error
	select {
	case <-r.done:
		err = r.err
	case <-ctx.Done():
		err = context.Cause(ctx)
		w.mu.Lock()
		w.flushAbandoned = w.flushing
		w.mu.Unlock()
	}
	if err == nil {
		return nil
	}
	w.countLost(outputs.Batch{}, 1)
	return w.markFailed(opFlush, err)
}

// flushLoop flushes while there are waiters. It serves many callers, so no caller's context ends it.
func (w *worker) flushLoop(ctx context.Context) {
	for {
		w.mu.Lock()
		r, upTo := w.nextFlush, w.sends
		w.nextFlush = nil
		w.flushing = r != nil
		w.mu.Unlock()
		if r == nil {
			return
		}
		r.err = w.out.Flush(ctx)
		w.mu.Lock()
		w.flushAbandoned = false
		w.flushedSends = upTo // also after a failure: it was reported, and a second fsync would wrongly succeed
		if r.err == nil {
			w.markWorking(opFlush)
		}
		w.mu.Unlock()
		close(r.done)
	}
}

// The operations of an output, as indexes of worker.lastErrors.
const (
	opSend = iota
	opFlush
)

// markFailed records a failure. It logs the first one after the output worked.
func (w *worker) markFailed(what int, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lastErrors[what] = err
	wasUp := w.state.Up
	w.state.Up, w.state.Error, w.state.Hint = false, err.Error(), record.HintOf(err)
	if wasUp {
		w.state.Since = time.Now()
		level := slog.LevelWarn
		if w.permanentErr != nil {
			level = slog.LevelError
		}
		w.log.Log(context.Background(), level, "output fails; its records are lost",
			"output", w.name, "type", w.typ, "error", err, "hint", record.HintOf(err))
		if w.observer != nil {
			w.observer.OutputUp(w.name, false)
		}
	}
	return fmt.Errorf("output %s: %w", w.name, err)
}

// markWorking records a success. The caller holds w.mu.
func (w *worker) markWorking(what int) {
	w.lastErrors[what] = nil
	if w.state.Up || w.lastErrors != [2]error{} {
		return
	}
	w.log.Info("output works again", "output", w.name, "type", w.typ,
		"duration", time.Since(w.state.Since).Round(time.Second), "lost", w.state.Lost)
	w.state.Up, w.state.Error, w.state.Hint, w.state.Since = true, "", "", time.Now()
	if w.observer != nil {
		w.observer.OutputUp(w.name, w.currentState().Up)
	}
}

// close flushes and closes the output. It waits for calls in flight until ctx ends.
func (w *worker) close(ctx context.Context) error {
	name := w.State().Name
	if w.observer != nil {
		defer w.observer.OutputClosed(name)
	}
	feedErr := w.finishFeed(ctx)
	if err := w.sendMu.Lock(ctx); err != nil {
		return fmt.Errorf("output %s: close: %w: %w", name, errStalled, context.Cause(ctx))
	}
	defer w.sendMu.Unlock()
	err := errors.Join(feedErr, w.flush(ctx, 0))
	if cerr := w.out.Close(ctx); cerr != nil {
		err = errors.Join(err, fmt.Errorf("output %s: close: %w", name, cerr))
	}
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	done := make(chan struct{}) // the goroutines have returned, unless a flush hangs
	go func() {
		w.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	return err
}

// finishFeed stops the feed and sends the changes that are left.
func (w *worker) finishFeed(ctx context.Context) error {
	w.mu.Lock()
	f := w.feed
	w.feed = nil
	w.mu.Unlock()
	if f == nil {
		return nil
	}
	f.stop()
	return w.catchUpFeed(ctx, f)
}

// catchUp sends the present changes now, instead of at the feed's next interval.
func (w *worker) catchUp(ctx context.Context) error {
	w.mu.Lock()
	f := w.feed
	w.mu.Unlock()
	if f == nil {
		return nil
	}
	return w.catchUpFeed(ctx, f)
}

func (w *worker) catchUpFeed(ctx context.Context, f *feed) error {
	if err := f.catchUp(ctx); err != nil {
		return fmt.Errorf("output %s: send the last changes (the next start sends them): %w", w.State().Name, err)
	}
	return nil
}

// withTimeout returns ctx with a timeout of d, or without one if d is 0. The cause becomes the output's error.
func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d == 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("no answer within %s: %w", d, context.DeadlineExceeded))
}
