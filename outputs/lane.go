package outputs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
)

// A State is how an output fares.
type State struct {
	Name, Type string
	Up         bool
	Ready      bool        // nothing is lost and nobody waits: so it is, too, while a receiver is away and its spool has room
	Error      string      // what it last failed with; "" while it works
	Hint       string      // what a person can do
	Since      time.Time   // when it began to fail, or to work
	Records    int         // delivered, since it was opened
	Lost       int         // not delivered
	Errors     int         // of Send and Flush
	Spool      *SpoolState // nil: it has none
}

// errStalled is why an output gets nothing while an earlier call to it hangs.
var errStalled = errors.New("it does not answer: an earlier write is still under way")

// A lane keeps an output's trouble to itself. A call to the output runs on a goroutine of its own, on a copy of the lent
// bytes, so that one that hangs (a pipe that nobody reads, a network disk) holds neither its caller nor a page; one
// call is under way at most, so one copy is the memory that it costs. Flushes that come while one goes on share the
// next: a group commit, whatever the output.
type worker struct {
	key, typ string
	out      Output
	spool    *spool // out, if it is one
	log      *slog.Logger
	observer Observer
	refs     int // by Set.change

	sendMu contextMutex // held by the call that is under way, given up on or not
	buf    []byte       // its copy

	mu              sync.Mutex
	name            string
	state           State
	sendAbandoned   bool     // a caller gave up on the Send under way
	flushAbandoned  bool     // and on the Flush
	lastErrors      [2]error // what the last Send, the last Flush failed with: a write that works mends no fsync that does not
	permanentErr    error
	closed          bool // no goroutine begins any more, whoever still holds the lane
	sends           int  // batches sent, and how many of them were flushed
	flushedSends    int
	nextFlush       *pendingFlush // the flush that begins after the one that goes on
	flushing        bool
	lostRecords     map[targetRun]int
	filteredRecords map[targetRun]int // by a filter
	feed            *feed
	wg              sync.WaitGroup
}

// A visit is a target in a run.
type targetRun struct {
	run    string
	target record.Target
}

// A round is a flush and all who wait for it.
type pendingFlush struct {
	done chan struct{}
	err  error
}

func newWorker(key, name, typ string, out Output, d Deps) *worker {
	l := &worker{key: key, typ: typ, out: out, log: d.Log, observer: d.Observer, refs: 1, sendMu: make(contextMutex, 1), name: name, lostRecords: map[targetRun]int{}, filteredRecords: map[targetRun]int{}}
	l.state = State{Name: name, Type: typ, Up: true, Since: time.Now()}
	return l
}

// applyConfig gives the output the name and options of an accepted configuration.
func (l *worker) applyConfig(m fanOutput) {
	defer l.replaceFeed(m.feed)
	if l.spool != nil {
		l.spool.applyConfig(m)
		l.reportUp()
		return
	}
	name := m.name
	l.mu.Lock()
	if l.observer != nil {
		if name != l.name {
			l.observer.OutputClosed(l.name)
		}
		l.observer.OutputUp(name, l.state.Up)
	}
	l.name, l.state.Name = name, name
	l.mu.Unlock()
	if r, ok := l.out.(reconfigurer); ok {
		r.reconfigure(m.options)
	}
}

// State is a copy.
func (l *worker) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.currentState()
}

// currentState is the state, with what a spool knows. l.mu is held.
func (l *worker) currentState() State {
	st := l.state
	st.Ready = st.Up
	if l.spool != nil {
		l.spool.merge(&st)
	}
	return st
}

// reportUp tells whether the output works.
func (l *worker) reportUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.observer != nil {
		l.observer.OutputUp(l.name, l.currentState().Up)
	}
}

// send delivers a copy of b. It gives up after patience, if that is not 0, or when ctx ends.
func (l *worker) send(ctx context.Context, b Batch, timeout time.Duration) error {
	if err := ctx.Err(); err != nil { // not the output's doing, but its records are not there all the same
		l.countLost(b, 1)
		return fmt.Errorf("output %s: %w", l.State().Name, context.Cause(ctx))
	}
	if l.spool != nil && l.spool.blocksWhenFull() {
		timeout = 0 // that all wait is what was asked for
	}
	err := l.trySend(ctx, b, timeout)
	if err == nil {
		return nil
	}
	l.countLost(b, 1)
	return l.markFailed(opSend, err)
}

// countLost counts a batch that the output is not known to have.
func (l *worker) countLost(b Batch, errs int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Errors += errs
	l.state.Lost += b.N
	if b.N > 0 {
		l.lostRecords[targetRun{b.Run, b.Target}] += b.N
	}
	if l.observer != nil {
		l.observer.OutputFailed(l.name, b.N)
	}
}

// countFiltered notes records that a filter keeps from the output.
func (l *worker) countFiltered(b Batch, n int) {
	if n == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.filteredRecords[targetRun{b.Run, b.Target}] += n
}

// takeLosses says how many records of a target's run were lost, and how many a filter has left out, and forgets it.
func (l *worker) takeLosses(run string, t record.Target) (lost, left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := targetRun{run, t}
	lost, left = l.lostRecords[v], l.filteredRecords[v]
	delete(l.lostRecords, v)
	delete(l.filteredRecords, v)
	return lost, left
}

// replaceFeed ends the feed of changes, and begins the next one where that stopped; nil: there is none any more.
func (l *worker) replaceFeed(next *feed) {
	l.mu.Lock()
	old := l.feed
	l.feed = next
	l.mu.Unlock()
	if old != nil {
		old.stop()
	}
	if next != nil {
		next.start(old, l.sendRetriable, func(ctx context.Context) error { return l.flush(ctx, SendTimeout) })
	}
}

// wakeFeed tells the feed that a target has ended.
func (l *worker) wakeFeed() {
	l.mu.Lock()
	f := l.feed
	l.mu.Unlock()
	if f != nil {
		f.wake()
	}
}

// sendRetriable is send for what is not lost if it fails: it will be offered again.
func (l *worker) sendRetriable(ctx context.Context, b Batch) error {
	err := l.trySend(ctx, b, SendTimeout)
	if err == nil || ctx.Err() != nil {
		return err
	}
	l.countLost(Batch{}, 1)
	return l.markFailed(opSend, err)
}

// A call is one Send, which its caller may give up on.
type sendCall struct {
	done      chan struct{}
	err       error
	finished  bool // by lane.mu, as is gaveUp
	abandoned bool
	records   int
}

func (l *worker) trySend(ctx context.Context, b Batch, timeout time.Duration) error {
	ctx, cancel := withTimeout(ctx, timeout)
	defer cancel()
	l.mu.Lock()
	gone, stuck := l.permanentErr, l.sendAbandoned && timeout > 0
	l.mu.Unlock()
	switch {
	case gone != nil:
		return gone
	case stuck:
		return errStalled
	}
	if err := l.sendMu.lock(ctx); err != nil {
		return context.Cause(ctx)
	}
	l.buf = append(l.buf[:0], b.Lines...)
	b.Lines = l.buf
	c := &sendCall{done: make(chan struct{}), records: b.N}
	if !l.startGoroutine(func() {
		c.err = l.out.Send(ctx, b)
		l.finishCall(c)
		l.sendMu.unlock()
		close(c.done)
	}) {
		l.sendMu.unlock()
		return ErrClosed
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.finished {
		return c.err
	}
	c.abandoned, l.sendAbandoned = true, true
	return context.Cause(ctx)
}

// startGoroutine runs do on a goroutine of the lane's, unless it is closed.
func (l *worker) startGoroutine(do func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.wg.Go(do)
	return true
}

// finishCall takes note of a Send that came back. One that was given up on and came back well is a sign of life, but its
// records were counted as lost, and stay so.
func (l *worker) finishCall(c *sendCall) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.finished, l.sendAbandoned = true, false
	if errors.Is(c.err, ErrPermanent) {
		l.permanentErr = c.err
	}
	if c.err != nil {
		return
	}
	l.sends++
	if !c.abandoned && l.spool == nil { // else it is not there yet
		l.state.Records += c.records
		if l.observer != nil {
			l.observer.OutputSent(l.name, c.records)
		}
	}
	if c.records > 0 { // on a full disk there may be room for a line, and none for a page
		l.markWorking(opSend)
	}
}

// flush returns when what was sent before it would survive a kill: at once, if nothing was.
func (l *worker) flush(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := withTimeout(ctx, timeout)
	defer cancel()
	l.mu.Lock()
	switch {
	case l.permanentErr != nil || l.closed || l.flushedSends == l.sends: // what it did not get was told by send
		l.mu.Unlock()
		return nil
	case l.flushAbandoned && timeout > 0:
		l.mu.Unlock()
		l.countLost(Batch{}, 1)
		return l.markFailed(opFlush, errStalled)
	}
	r := l.nextFlush
	if r == nil {
		r = &pendingFlush{done: make(chan struct{})}
		l.nextFlush = r
	}
	if !l.flushing {
		l.flushing = true
		l.wg.Go(func() { l.flushLoop(context.WithoutCancel(ctx)) })
	}
	l.mu.Unlock()
	var err error
	select {
	case <-r.done:
		err = r.err
	case <-ctx.Done():
		err = context.Cause(ctx)
		l.mu.Lock()
		l.flushAbandoned = l.flushing
		l.mu.Unlock()
	}
	if err == nil {
		return nil
	}
	l.countLost(Batch{}, 1)
	return l.markFailed(opFlush, err)
}

// flushLoop flushes for as long as somebody waits. It answers many callers, so no caller's context ends it.
func (l *worker) flushLoop(ctx context.Context) {
	for {
		l.mu.Lock()
		r, upTo := l.nextFlush, l.sends
		l.nextFlush = nil
		l.flushing = r != nil
		l.mu.Unlock()
		if r == nil {
			return
		}
		r.err = l.out.Flush(ctx)
		l.mu.Lock()
		l.flushAbandoned = false
		l.flushedSends = upTo // after a failure too: what it cost was said, and a second fsync would claim success
		if r.err == nil {
			l.markWorking(opFlush)
		}
		l.mu.Unlock()
		close(r.done)
	}
}

// The two things that an output does.
const (
	opSend = iota
	opFlush
)

// markFailed notes that the output does not work, and says so once until it works again.
func (l *worker) markFailed(what int, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastErrors[what] = err
	was := l.state.Up
	l.state.Up, l.state.Error, l.state.Hint = false, err.Error(), record.HintOf(err)
	if was {
		l.state.Since = time.Now()
		level := slog.LevelWarn
		if l.permanentErr != nil {
			level = slog.LevelError
		}
		l.log.Log(context.Background(), level, "output fails; its records are lost until it works again",
			"output", l.name, "type", l.typ, "error", err, "hint", record.HintOf(err))
		if l.observer != nil {
			l.observer.OutputUp(l.name, false)
		}
	}
	return fmt.Errorf("output %s: %w", l.name, err)
}

// markWorking notes that the output works. l.mu is held.
func (l *worker) markWorking(what int) {
	l.lastErrors[what] = nil
	if l.state.Up || l.lastErrors != [2]error{} {
		return
	}
	l.log.Info("output works again", "output", l.name, "type", l.typ, "down", time.Since(l.state.Since).Round(time.Second),
		"lost", l.state.Lost)
	l.state.Up, l.state.Error, l.state.Hint, l.state.Since = true, "", "", time.Now()
	if l.observer != nil {
		l.observer.OutputUp(l.name, l.currentState().Up)
	}
}

// close flushes and closes the output, and waits for the calls under way as long as ctx lets it.
func (l *worker) close(ctx context.Context) error {
	name := l.State().Name
	if l.observer != nil {
		defer l.observer.OutputClosed(name)
	}
	fed := l.finishFeed(ctx)
	if err := l.sendMu.lock(ctx); err != nil {
		return fmt.Errorf("output %s: close: %w: %w", name, errStalled, context.Cause(ctx))
	}
	defer l.sendMu.unlock()
	err := errors.Join(fed, l.flush(ctx, 0))
	if cerr := l.out.Close(ctx); cerr != nil {
		err = errors.Join(err, fmt.Errorf("output %s: close: %w", name, cerr))
	}
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	done := make(chan struct{}) // the lane's goroutines: over by now, unless a flush hangs
	go func() { l.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
	return err
}

// finishFeed ends the feed, and sends what has happened since it last looked.
func (l *worker) finishFeed(ctx context.Context) error {
	l.mu.Lock()
	f := l.feed
	l.feed = nil
	l.mu.Unlock()
	if f == nil {
		return nil
	}
	f.stop()
	return l.catchUpFeed(ctx, f)
}

// catchUp sends the changes that there are, without waiting for the feed's own time.
func (l *worker) catchUp(ctx context.Context) error {
	l.mu.Lock()
	f := l.feed
	l.mu.Unlock()
	if f == nil {
		return nil
	}
	return l.catchUpFeed(ctx, f)
}

func (l *worker) catchUpFeed(ctx context.Context, f *feed) error {
	if err := f.catchUp(ctx); err != nil {
		return fmt.Errorf("output %s: last changes, which the next start sends: %w", l.State().Name, err)
	}
	return nil
}

// withTimeout is ctx, ended after d unless that is 0. Its cause is what an output's error then says.
func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("no answer within %s: %w", d, context.DeadlineExceeded))
}
