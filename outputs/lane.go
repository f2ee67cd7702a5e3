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
type lane struct {
	key, typ string
	out      Output
	spool    *spool // out, if it is one
	log      *slog.Logger
	watch    Observer
	refs     int // by Set.change

	turn turn   // held by the call that is under way, given up on or not
	buf  []byte // its copy

	mu       sync.Mutex
	name     string
	state    State
	stuck    bool     // a caller gave up on the Send under way
	hung     bool     // and on the Flush
	troubles [2]error // what the last Send, the last Flush failed with: a write that works mends no fsync that does not
	gone     error
	closed   bool // no goroutine begins any more, whoever still holds the lane
	sent     int  // batches sent, and how many of them were flushed
	synced   int
	next     *round // the flush that begins after the one that goes on
	flushing bool
	lost     map[visit]int
	left     map[visit]int // by a filter
	feed     *feed
	wg       sync.WaitGroup
}

// A visit is a target in a run.
type visit struct {
	run    string
	target record.Target
}

// A round is a flush and all who wait for it.
type round struct {
	done chan struct{}
	err  error
}

func newLane(key, name, typ string, out Output, d Deps) *lane {
	l := &lane{key: key, typ: typ, out: out, log: d.Log, watch: d.Watch, refs: 1, turn: make(turn, 1), name: name, lost: map[visit]int{}, left: map[visit]int{}}
	l.state = State{Name: name, Type: typ, Up: true, Since: time.Now()}
	return l
}

// adopt gives the output the name and options of an accepted configuration.
func (l *lane) adopt(m member) {
	defer l.adoptFeed(m.feed)
	if l.spool != nil {
		l.spool.adopt(m)
		l.signal()
		return
	}
	name := m.name
	l.mu.Lock()
	if l.watch != nil {
		if name != l.name {
			l.watch.OutputClosed(l.name)
		}
		l.watch.OutputUp(name, l.state.Up)
	}
	l.name, l.state.Name = name, name
	l.mu.Unlock()
	if r, ok := l.out.(reconfigurer); ok {
		r.reconfigure(m.options)
	}
}

// State is a copy.
func (l *lane) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now()
}

// now is the state, with what a spool knows. l.mu is held.
func (l *lane) now() State {
	st := l.state
	st.Ready = st.Up
	if l.spool != nil {
		l.spool.merge(&st)
	}
	return st
}

// signal tells whether the output works.
func (l *lane) signal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watch != nil {
		l.watch.OutputUp(l.name, l.now().Up)
	}
}

// send delivers a copy of b. It gives up after patience, if that is not 0, or when ctx ends.
func (l *lane) send(ctx context.Context, b Batch, patience time.Duration) error {
	if err := ctx.Err(); err != nil { // not the output's doing, but its records are not there all the same
		l.count(b, 1)
		return fmt.Errorf("output %s: %w", l.State().Name, context.Cause(ctx))
	}
	if l.spool != nil && l.spool.blocks() {
		patience = 0 // that all wait is what was asked for
	}
	err := l.trySend(ctx, b, patience)
	if err == nil {
		return nil
	}
	l.count(b, 1)
	return l.failed(sending, err)
}

// count counts a batch that the output is not known to have.
func (l *lane) count(b Batch, errs int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Errors += errs
	l.state.Lost += b.N
	if b.N > 0 {
		l.lost[visit{b.Run, b.Target}] += b.N
	}
	if l.watch != nil {
		l.watch.OutputFailed(l.name, b.N)
	}
}

// leave notes records that a filter keeps from the output.
func (l *lane) leave(b Batch, n int) {
	if n == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left[visit{b.Run, b.Target}] += n
}

// settle says how many records of a target's run were lost, and how many a filter has left out, and forgets it.
func (l *lane) settle(run string, t record.Target) (lost, left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := visit{run, t}
	lost, left = l.lost[v], l.left[v]
	delete(l.lost, v)
	delete(l.left, v)
	return lost, left
}

// adoptFeed ends the feed of changes, and begins the next one where that stopped; nil: there is none any more.
func (l *lane) adoptFeed(next *feed) {
	l.mu.Lock()
	old := l.feed
	l.feed = next
	l.mu.Unlock()
	if old != nil {
		old.stop()
	}
	if next != nil {
		next.start(old, l.offer, func(ctx context.Context) error { return l.flush(ctx, Patience) })
	}
}

// nudge tells the feed that a target has ended.
func (l *lane) nudge() {
	l.mu.Lock()
	f := l.feed
	l.mu.Unlock()
	if f != nil {
		f.nudge()
	}
}

// offer is send for what is not lost if it fails: it will be offered again.
func (l *lane) offer(ctx context.Context, b Batch) error {
	err := l.trySend(ctx, b, Patience)
	if err == nil || ctx.Err() != nil {
		return err
	}
	l.count(Batch{}, 1)
	return l.failed(sending, err)
}

// A call is one Send, which its caller may give up on.
type call struct {
	done    chan struct{}
	err     error
	over    bool // by lane.mu, as is gaveUp
	gaveUp  bool
	records int
}

func (l *lane) trySend(ctx context.Context, b Batch, patience time.Duration) error {
	ctx, cancel := patient(ctx, patience)
	defer cancel()
	l.mu.Lock()
	gone, stuck := l.gone, l.stuck && patience > 0
	l.mu.Unlock()
	switch {
	case gone != nil:
		return gone
	case stuck:
		return errStalled
	}
	if err := l.turn.take(ctx); err != nil {
		return context.Cause(ctx)
	}
	l.buf = append(l.buf[:0], b.Lines...)
	b.Lines = l.buf
	c := &call{done: make(chan struct{}), records: b.N}
	if !l.begin(func() {
		c.err = l.out.Send(ctx, b)
		l.ended(c)
		l.turn.give()
		close(c.done)
	}) {
		l.turn.give()
		return ErrClosed
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.over {
		return c.err
	}
	c.gaveUp, l.stuck = true, true
	return context.Cause(ctx)
}

// begin runs do on a goroutine of the lane's, unless it is closed.
func (l *lane) begin(do func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.wg.Go(do)
	return true
}

// ended takes note of a Send that came back. One that was given up on and came back well is a sign of life, but its
// records were counted as lost, and stay so.
func (l *lane) ended(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.over, l.stuck = true, false
	if errors.Is(c.err, ErrPermanent) {
		l.gone = c.err
	}
	if c.err != nil {
		return
	}
	l.sent++
	if !c.gaveUp && l.spool == nil { // else it is not there yet
		l.state.Records += c.records
		if l.watch != nil {
			l.watch.OutputSent(l.name, c.records)
		}
	}
	if c.records > 0 { // on a full disk there may be room for a line, and none for a page
		l.worked(sending)
	}
}

// flush returns when what was sent before it would survive a kill: at once, if nothing was.
func (l *lane) flush(ctx context.Context, patience time.Duration) error {
	ctx, cancel := patient(ctx, patience)
	defer cancel()
	l.mu.Lock()
	switch {
	case l.gone != nil || l.closed || l.synced == l.sent: // what it did not get was told by send
		l.mu.Unlock()
		return nil
	case l.hung && patience > 0:
		l.mu.Unlock()
		l.count(Batch{}, 1)
		return l.failed(flushing, errStalled)
	}
	r := l.next
	if r == nil {
		r = &round{done: make(chan struct{})}
		l.next = r
	}
	if !l.flushing {
		l.flushing = true
		l.wg.Go(func() { l.rounds(context.WithoutCancel(ctx)) })
	}
	l.mu.Unlock()
	var err error
	select {
	case <-r.done:
		err = r.err
	case <-ctx.Done():
		err = context.Cause(ctx)
		l.mu.Lock()
		l.hung = l.flushing
		l.mu.Unlock()
	}
	if err == nil {
		return nil
	}
	l.count(Batch{}, 1)
	return l.failed(flushing, err)
}

// rounds flushes for as long as somebody waits. It answers many callers, so no caller's context ends it.
func (l *lane) rounds(ctx context.Context) {
	for {
		l.mu.Lock()
		r, upTo := l.next, l.sent
		l.next = nil
		l.flushing = r != nil
		l.mu.Unlock()
		if r == nil {
			return
		}
		r.err = l.out.Flush(ctx)
		l.mu.Lock()
		l.hung = false
		l.synced = upTo // after a failure too: what it cost was said, and a second fsync would claim success
		if r.err == nil {
			l.worked(flushing)
		}
		l.mu.Unlock()
		close(r.done)
	}
}

// The two things that an output does.
const (
	sending = iota
	flushing
)

// failed notes that the output does not work, and says so once until it works again.
func (l *lane) failed(what int, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.troubles[what] = err
	was := l.state.Up
	l.state.Up, l.state.Error, l.state.Hint = false, err.Error(), record.HintOf(err)
	if was {
		l.state.Since = time.Now()
		level := slog.LevelWarn
		if l.gone != nil {
			level = slog.LevelError
		}
		l.log.Log(context.Background(), level, "output fails; its records are lost until it works again",
			"output", l.name, "type", l.typ, "error", err, "hint", record.HintOf(err))
		if l.watch != nil {
			l.watch.OutputUp(l.name, false)
		}
	}
	return fmt.Errorf("output %s: %w", l.name, err)
}

// worked notes that the output works. l.mu is held.
func (l *lane) worked(what int) {
	l.troubles[what] = nil
	if l.state.Up || l.troubles != [2]error{} {
		return
	}
	l.log.Info("output works again", "output", l.name, "type", l.typ, "down", time.Since(l.state.Since).Round(time.Second),
		"lost", l.state.Lost)
	l.state.Up, l.state.Error, l.state.Hint, l.state.Since = true, "", "", time.Now()
	if l.watch != nil {
		l.watch.OutputUp(l.name, l.now().Up)
	}
}

// close flushes and closes the output, and waits for the calls under way as long as ctx lets it.
func (l *lane) close(ctx context.Context) error {
	name := l.State().Name
	if l.watch != nil {
		defer l.watch.OutputClosed(name)
	}
	fed := l.lastChanges(ctx)
	if err := l.turn.take(ctx); err != nil {
		return fmt.Errorf("output %s: close: %w: %w", name, errStalled, context.Cause(ctx))
	}
	defer l.turn.give()
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

// lastChanges ends the feed, and sends what has happened since it last looked.
func (l *lane) lastChanges(ctx context.Context) error {
	l.mu.Lock()
	f := l.feed
	l.feed = nil
	l.mu.Unlock()
	if f == nil {
		return nil
	}
	f.stop()
	return l.sendChanges(ctx, f)
}

// catchUp sends the changes that there are, without waiting for the feed's own time.
func (l *lane) catchUp(ctx context.Context) error {
	l.mu.Lock()
	f := l.feed
	l.mu.Unlock()
	if f == nil {
		return nil
	}
	return l.sendChanges(ctx, f)
}

func (l *lane) sendChanges(ctx context.Context, f *feed) error {
	if err := f.catchUp(ctx); err != nil {
		return fmt.Errorf("output %s: last changes, which the next start sends: %w", l.State().Name, err)
	}
	return nil
}

// patient is ctx, ended after d unless that is 0. Its cause is what an output's error then says.
func patient(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("no answer within %s: %w", d, context.DeadlineExceeded))
}
