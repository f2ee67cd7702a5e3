package runner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws-collector/collector/record"
)

// A listing is the step that lists one target. Its end is the one place where a target's state is decided.
type listing struct {
	j      *job
	kind   Kind
	t      record.Target
	hidden bool  // for its ids only: nothing is delivered, and it is no target of the run
	never  error // set: it ends so, without a call
	parent *listing
	kids   []*listing
	gate   *Gate

	mu       sync.Mutex
	started  time.Time
	over     bool // ended: what comes late is refused
	pages    int
	lent     int // pages that an output or the ledger has now
	records  int
	dups     int
	ids      []string // of what was listed, for kids
	hands    int      // helpers of a fan-out that hold a place
	sinks    []sinkTurn
	bug      error // the first panic of a sink or of the ledger
	lost     error // why the ledger does not hear of this target any more
	out      record.Outcome
	reported bool
	begun    bool   // the ledger was asked for a visit
	leave    func() // the ledger's room; nil: it was not entered

	turn   sync.Mutex // whose the visit is
	visit  Visit
	orphan bool        // who has the turn has the visit's end too: nobody waited; guarded by mu
	stores atomic.Bool // at its end, the outputs have had theirs
}

// sinkTurn is how a sink fares with one target.
type sinkTurn struct {
	busy int  // calls under way
	dead bool // it panicked: it gets nothing more of this target
	said bool // its first error was told
}

func (j *job) listing(k Kind, region string, never error) *listing {
	return &listing{j: j, kind: k, t: record.Target{Account: j.Account, Region: region, Kind: k.Name}, never: never,
		gate: j.r.o.Limits.Gate(j.Account, region, k), sinks: make([]sinkTurn, len(j.f.Sinks))}
}

func (l *listing) target() record.Target { return l.t }
func (l *listing) storing() bool         { return l.stores.Load() }

func (l *listing) unreached(stopped error) error {
	if l.never == nil {
		l.never = stopped
	}
	return l.never
}

func (l *listing) work(ctx context.Context) error {
	if !l.hidden {
		l.room(ctx)
		if err := l.j.stopped(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.started = time.Now()
	l.mu.Unlock()
	if !l.hidden {
		l.j.r.watch.TargetStarted(l.t, l.j.Run)
		l.begin(ctx)
	}
	if l.parent == nil {
		return l.list(ctx, "")
	}
	return l.fanOut(ctx, l.parent.ids)
}

// room waits for the ledger's; [listing.after] leaves it.
func (l *listing) room(ctx context.Context) {
	leave := l.j.r.o.Ledger.Room(ctx)
	l.mu.Lock()
	late := l.reported // it was given up on, and after has been
	if !late {
		l.leave = leave
	}
	l.mu.Unlock()
	if late {
		leave()
	}
}

// begin takes the ledger's epoch. Without it the listing goes on, for the outputs.
func (l *listing) begin(ctx context.Context) {
	l.turn.Lock()
	defer l.giveBack()
	l.mu.Lock()
	l.begun = true
	l.mu.Unlock()
	var v Visit
	err := guard(func() (err error) {
		v, err = l.j.r.o.Ledger.Begin(ctx, l.t, l.j.who, l.j.Run)
		return err
	})
	l.visit = v
	l.ledger(err)
}

func (l *listing) list(ctx context.Context, parent string) error {
	stats, err := l.j.opened.List(ctx, l.gate, l.t, l.j.Run, parent, l.emit)
	l.mu.Lock()
	l.dups += stats.Duplicates
	l.mu.Unlock()
	return err
}

// fanOut lists under each of the parent's ids, several at once where there are places.
func (l *listing) fanOut(ctx context.Context, ids []string) error {
	var (
		mu    sync.Mutex
		next  int
		first error
		wg    sync.WaitGroup
	)
	take := func() (string, bool) {
		mu.Lock()
		defer mu.Unlock()
		if first != nil || next == len(ids) {
			return "", false
		}
		next++
		return ids[next-1], true
	}
	work := func() {
		for {
			id, ok := take()
			if !ok {
				return
			}
			err := guard(func() error { return l.list(ctx, id) })
			if err == nil || missing(err) {
				continue
			}
			mu.Lock()
			if first == nil {
				first = fmt.Errorf("under %s: %w", id, err)
			}
			mu.Unlock()
		}
	}
	for n := min(jobWidth, len(ids)) - 1; n > 0 && l.hand(); n-- {
		wg.Go(func() {
			defer l.handBack()
			work()
		})
	}
	work()
	wg.Wait()
	return first
}

// missing is how EC2 says that the parent went away between the two listings (InvalidRouteTableID.NotFound…): then it has
// no children, and nothing failed.
func missing(err error) bool { return strings.HasSuffix(record.CodeOf(err), "NotFound") }

func (l *listing) hand() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over || !l.j.places.try(l.j.Account) {
		return false
	}
	l.hands++
	return true
}

func (l *listing) handBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.hands--
		l.j.places.leave(l.j.Account)
	}
}

// emit lends a page to each sink and to the ledger, one after the other.
func (l *listing) emit(ctx context.Context, p *record.Page) error {
	l.mu.Lock()
	if l.over {
		l.mu.Unlock()
		return errLate
	}
	id := PageID{Run: l.j.Run, Target: l.t, Attempt: l.j.Attempt, Page: l.pages}
	l.pages++
	l.lent++
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.lent--
		l.mu.Unlock()
	}()
	if len(l.kids) > 0 {
		if err := l.collect(p); err != nil {
			return err
		}
	}
	if l.hidden {
		l.add(p.Len())
		return nil
	}
	for i, s := range l.j.f.Sinks {
		l.sink(i, s, false, func() error { return s.Write(ctx, id, p) })
	}
	l.page(ctx, p)
	if n, ok := l.add(p.Len()); ok {
		l.j.r.watch.Progress(l.t, l.j.Run, n)
		return nil
	}
	return errLate
}

func (l *listing) add(n int) (sum int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.records += n
	}
	return l.records, !l.over
}

func (l *listing) collect(p *record.Page) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for v := range p.Views() {
		id, err := record.Unquote(v.ID())
		if err != nil {
			return fmt.Errorf("id of a parent: %w", err)
		}
		l.ids = append(l.ids, id)
	}
	return nil
}

// sink calls one sink. Its error is its own: it is told once a target and call, and the listing goes on. Its panic is a
// bug, and the target says so.
func (l *listing) sink(i int, s Sink, ending bool, call func() error) {
	l.mu.Lock()
	turn := &l.sinks[i]
	if l.over != ending || turn.dead || ending && turn.busy > 0 { // over: late; busy, at the end: it was given up on
		l.mu.Unlock()
		return
	}
	turn.busy++
	l.mu.Unlock()
	err := guard(call)
	l.mu.Lock()
	turn.busy--
	say := err != nil && !turn.said
	turn.said = turn.said || err != nil
	turn.dead = l.panics(err) || turn.dead
	l.mu.Unlock()
	if say {
		l.undelivered(s.Name(), err)
	}
}

// panics notes a panic. l.mu is held.
func (l *listing) panics(err error) bool {
	var p *panicked
	if !errors.As(err, &p) {
		return false
	}
	if l.bug == nil {
		l.bug = err
	}
	return true
}

func (l *listing) undelivered(to string, err error) {
	l.j.r.log.Debug("not delivered", "to", to, "account", l.t.Account, "region", l.t.Region, "kind", l.t.Kind, "run", l.j.Run, "error", err)
	var p *panicked
	if errors.As(err, &p) {
		l.j.logPanic(l.t, p)
	}
	l.j.r.watch.Undelivered(l.t, l.j.Run, to, err)
}

// page lends p to the visit.
func (l *listing) page(ctx context.Context, p *record.Page) {
	l.turn.Lock()
	defer l.giveBack()
	l.mu.Lock()
	skip := l.over || l.lost != nil || l.visit == nil
	l.mu.Unlock()
	if !skip {
		l.ledger(guard(func() error { return l.visit.Page(ctx, p) }))
	}
}

// giveBack ends a turn. If it was given up on meanwhile, what the visit keeps goes with it.
func (l *listing) giveBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.orphan {
		l.drop()
	}
	l.turn.Unlock()
}

// drop is the visit's end where the ledger is not to hear of one. The turn is the caller's.
func (l *listing) drop() {
	if v := l.visit; v != nil {
		_ = guard(func() error { v.Drop(); return nil }) // a panic was told before, or is of no account
	}
}

// ledger notes the ledger's first trouble with this target; it hears nothing more of it.
func (l *listing) ledger(err error) {
	l.mu.Lock()
	say := err != nil && l.lost == nil
	if say {
		l.lost = err
		l.panics(err)
	}
	l.mu.Unlock()
	if say {
		l.undelivered("store", err)
	}
}

// end decides the state, and tells the sinks and the ledger.
func (l *listing) end(ctx context.Context, err error, late func()) {
	calls, throttles := l.gate.close()
	l.mu.Lock()
	l.over = true
	for ; l.hands > 0; l.hands-- {
		l.j.places.leave(l.j.Account)
	}
	l.decide(err, calls, throttles)
	o, lent := l.out, l.lent
	l.mu.Unlock()
	if o.Reason == record.Stuck {
		l.j.r.o.Abandon(l.t, lent > 0)
	}
	if l.hidden {
		return
	}
	for i, s := range l.j.f.Sinks {
		l.sink(i, s, true, func() error { return s.End(ctx, o) })
	}
	l.mu.Lock()
	begun, gone := l.begun, l.reported // gone: it was given up on inside an output
	l.mu.Unlock()
	if !gone { // an output that took all of its time costs the ledger none
		l.stores.Store(true)
		var cancel context.CancelFunc
		ctx, cancel = l.j.ledgerTime(context.WithoutCancel(ctx), late)
		defer cancel()
	}
	if !begun && l.t.Region != "" {
		l.begin(ctx)
	}
	l.mu.Lock()
	if err == nil && l.bug != nil { // a sink panicked: whether it has everything, nobody knows
		l.decide(l.bug, calls, throttles)
	}
	o = l.out
	l.mu.Unlock()
	l.mu.Lock()
	l.orphan = !l.turn.TryLock() // it was given up on inside the ledger, whose epoch will fence it
	orphan, lost := l.orphan, l.lost != nil
	l.mu.Unlock()
	if orphan {
		return
	}
	defer l.turn.Unlock()
	if lost || l.visit == nil {
		l.drop()
		l.ruined(ctx)
		return
	}
	l.ledger(guard(func() error { return l.visit.End(ctx, o) }))
	l.mu.Lock()
	if err == nil && l.bug != nil {
		l.decide(l.bug, calls, throttles)
	}
	l.mu.Unlock()
	l.ruined(ctx)
}

// ruined is for a target in whose visit the ledger panicked. Nobody knows what that visit holds, so another one tells the ledger
// that the target failed: else it would go on saying what it said of the run before.
func (l *listing) ruined(ctx context.Context) {
	l.mu.Lock()
	o := l.out
	var p *panicked
	is := errors.As(l.lost, &p) && !o.State.Complete() // it is complete only where it was given up on, and told, before
	l.mu.Unlock()
	if !is {
		return
	}
	err := guard(func() error {
		v, err := l.j.r.o.Ledger.Begin(ctx, l.t, l.j.who, l.j.Run)
		if err != nil {
			return err
		}
		defer v.Drop()
		return v.End(ctx, o)
	})
	if err != nil {
		l.undelivered("store", fmt.Errorf("after a panic: %w", err))
	}
}

// decide makes the outcome. l.mu is held.
func (l *listing) decide(err error, calls, throttles int) {
	if l.reported {
		return
	}
	now := time.Now()
	if l.started.IsZero() {
		l.started = now
	}
	o := record.Outcome{Target: l.t, Run: l.j.Run, State: record.StateOf(err, l.records), Reason: record.ReasonOf(err), Hint: record.HintOf(err),
		Records: l.records, Duplicates: l.dups, Calls: calls, Throttles: throttles, Started: l.started, Ended: now}
	var signIn *signInError
	var plan *planError
	switch {
	case err == nil:
	case errors.Is(err, errGone):
		o.State = record.Skipped
	case errors.As(err, &signIn):
		o.State = record.AuthFailed
	case errors.As(err, &plan) && !o.State.Failed():
		o.State = record.Error
	}
	if err != nil {
		o.Error = err.Error()
	}
	if o.State == record.Denied && l.j.a != nil && l.j.a.Expected != nil {
		o.Expected = l.j.a.Expected(l.t.Region, l.t.Kind)
	}
	l.out = o
}

// after tells how the target ended, once, and sets its kids free.
func (l *listing) after() {
	l.mu.Lock()
	l.reported = true
	o, leave := l.out, l.leave
	l.mu.Unlock()
	if leave != nil {
		leave()
	}
	j := l.j
	if !l.hidden {
		j.mu.Lock()
		j.tally.count(o, l.kind.Global, o.State != record.OK && j.runTimedOut())
		j.mu.Unlock()
		j.r.watch.TargetEnded(o)
	}
	for _, kid := range l.kids {
		if o.State != record.OK {
			f := &record.Fault{Reason: record.ParentFailed, Err: fmt.Errorf("%s, under which it is listed, could not be listed whole: %s", l.kind.Name, o.Error)}
			if l.hidden && !o.Expected { // nobody else says that it failed, and why
				f.Reason, f.Hint = o.Reason, o.Hint
			}
			kid.never = f
		}
		j.add(kid)
	}
}
