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
	j        *job
	kind     Kind
	t        record.Target
	hidden   bool  // for its ids only: nothing is delivered, and it is no target of the run
	skipErr  error // set: it ends so, without a call
	parent   *listing
	children []*listing
	gate     *Gate

	mu           sync.Mutex
	started      time.Time
	over         bool // ended: what comes late is refused
	pages        int
	lentPages    int // pages that an output or the ledger has now
	records      int
	duplicates   int
	ids          []string // of what was listed, for kids
	helpers      int      // helpers of a fan-out that hold a place
	outputs      []outputState
	panicErr     error // the first panic of a sink or of the ledger
	storeErr     error // why the ledger does not hear of this target any more
	outcome      record.Outcome
	reported     bool
	begun        bool   // the ledger was asked for a visit
	releaseStore func() // the ledger's room; nil: it was not entered

	writerMu        sync.Mutex // whose the visit is
	writer          ScopeWriter
	writerAbandoned bool        // who has the turn has the visit's end too: nobody waited; guarded by mu
	atStore         atomic.Bool // at its end, the outputs have had theirs
}

// outputState is how a sink fares with one target.
type outputState struct {
	busy     int  // calls under way
	panicked bool // it panicked: it gets nothing more of this target
	reported bool // its first error was told
}

func (j *job) newListing(k Kind, region string, never error) *listing {
	return &listing{j: j, kind: k, t: record.Target{Account: j.Account, Region: region, Kind: k.Name}, skipErr: never,
		gate: j.r.o.Limits.Gate(j.Account, region, k), outputs: make([]outputState, len(j.conf.Outputs))}
}

func (l *listing) target() record.Target { return l.t }
func (l *listing) storing() bool         { return l.atStore.Load() }

func (l *listing) skipReason(stopped error) error {
	if l.skipErr == nil {
		l.skipErr = stopped
	}
	return l.skipErr
}

func (l *listing) work(ctx context.Context) error {
	if !l.hidden {
		l.admitToStore(ctx)
		if err := l.j.stopErr(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.started = time.Now()
	l.mu.Unlock()
	if !l.hidden {
		l.j.r.observer.TargetStarted(l.t, l.j.Run)
		l.beginStore(ctx)
	}
	if l.parent == nil {
		return l.list(ctx, "")
	}
	return l.fanOut(ctx, l.parent.ids)
}

// admitToStore waits for the ledger's; [listing.after] leaves it.
func (l *listing) admitToStore(ctx context.Context) {
	leave := l.j.r.o.Store.Admit(ctx)
	l.mu.Lock()
	late := l.reported // it was given up on, and after has been
	if !late {
		l.releaseStore = leave
	}
	l.mu.Unlock()
	if late {
		leave()
	}
}

// beginStore takes the ledger's epoch. Without it the listing goes on, for the outputs.
func (l *listing) beginStore(ctx context.Context) {
	l.writerMu.Lock()
	defer l.unlockWriter()
	l.mu.Lock()
	l.begun = true
	l.mu.Unlock()
	var v ScopeWriter
	err := catchPanic(func() (err error) {
		v, err = l.j.r.o.Store.Begin(ctx, l.t, l.j.identity, l.j.Run)
		return err
	})
	l.writer = v
	l.noteStoreErr(err)
}

func (l *listing) list(ctx context.Context, parent string) error {
	stats, err := l.j.opened.List(ctx, l.gate, l.t, l.j.Run, parent, l.emit)
	l.mu.Lock()
	l.duplicates += stats.Duplicates
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
			err := catchPanic(func() error { return l.list(ctx, id) })
			if err == nil || isNotFound(err) {
				continue
			}
			mu.Lock()
			if first == nil {
				first = fmt.Errorf("under %s: %w", id, err)
			}
			mu.Unlock()
		}
	}
	for n := min(jobWidth, len(ids)) - 1; n > 0 && l.acquireHelper(); n-- {
		wg.Go(func() {
			defer l.releaseHelper()
			work()
		})
	}
	work()
	wg.Wait()
	return first
}

// isNotFound is how EC2 says that the parent went away between the two listings (InvalidRouteTableID.NotFound…): then it has
// no children, and nothing failed.
func isNotFound(err error) bool { return strings.HasSuffix(record.CodeOf(err), "NotFound") }

func (l *listing) acquireHelper() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over || !l.j.slots.tryAcquire(l.j.Account) {
		return false
	}
	l.helpers++
	return true
}

func (l *listing) releaseHelper() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.helpers--
		l.j.slots.release(l.j.Account)
	}
}

// emit lends a page to each sink and to the ledger, one after the other.
func (l *listing) emit(ctx context.Context, p *record.Page) error {
	l.mu.Lock()
	if l.over {
		l.mu.Unlock()
		return errTargetOver
	}
	id := PageID{Run: l.j.Run, Target: l.t, Attempt: l.j.Attempt, Page: l.pages}
	l.pages++
	l.lentPages++
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.lentPages--
		l.mu.Unlock()
	}()
	if len(l.children) > 0 {
		if err := l.collectIDs(p); err != nil {
			return err
		}
	}
	if l.hidden {
		l.addRecords(p.Len())
		return nil
	}
	for i, s := range l.j.conf.Outputs {
		l.callOutput(i, s, false, func() error { return s.Write(ctx, id, p) })
	}
	l.storePage(ctx, p)
	if n, ok := l.addRecords(p.Len()); ok {
		l.j.r.observer.Progress(l.t, l.j.Run, n)
		return nil
	}
	return errTargetOver
}

func (l *listing) addRecords(n int) (sum int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.records += n
	}
	return l.records, !l.over
}

func (l *listing) collectIDs(p *record.Page) error {
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

// callOutput calls one sink. Its error is its own: it is told once a target and call, and the listing goes on. Its panic is a
// bug, and the target says so.
func (l *listing) callOutput(i int, s Output, ending bool, call func() error) {
	l.mu.Lock()
	turn := &l.outputs[i]
	if l.over != ending || turn.panicked || ending && turn.busy > 0 { // over: late; busy, at the end: it was given up on
		l.mu.Unlock()
		return
	}
	turn.busy++
	l.mu.Unlock()
	err := catchPanic(call)
	l.mu.Lock()
	turn.busy--
	say := err != nil && !turn.reported
	turn.reported = turn.reported || err != nil
	turn.panicked = l.notePanic(err) || turn.panicked
	l.mu.Unlock()
	if say {
		l.undelivered(s.Name(), err)
	}
}

// notePanic notes a panic. l.mu is held.
func (l *listing) notePanic(err error) bool {
	var p *panicError
	if !errors.As(err, &p) {
		return false
	}
	if l.panicErr == nil {
		l.panicErr = err
	}
	return true
}

func (l *listing) undelivered(to string, err error) {
	l.j.r.log.Debug("not delivered", "to", to, "account", l.t.Account, "region", l.t.Region, "kind", l.t.Kind, "run", l.j.Run, "error", err)
	var p *panicError
	if errors.As(err, &p) {
		l.j.logPanic(l.t, p)
	}
	l.j.r.observer.Undelivered(l.t, l.j.Run, to, err)
}

// storePage lends p to the visit.
func (l *listing) storePage(ctx context.Context, p *record.Page) {
	l.writerMu.Lock()
	defer l.unlockWriter()
	l.mu.Lock()
	skip := l.over || l.storeErr != nil || l.writer == nil
	l.mu.Unlock()
	if !skip {
		l.noteStoreErr(catchPanic(func() error { return l.writer.Page(ctx, p) }))
	}
}

// unlockWriter ends a turn. If it was given up on meanwhile, what the visit keeps goes with it.
func (l *listing) unlockWriter() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writerAbandoned {
		l.dropWriter()
	}
	l.writerMu.Unlock()
}

// dropWriter is the visit's end where the ledger is not to hear of one. The turn is the caller's.
func (l *listing) dropWriter() {
	if v := l.writer; v != nil {
		_ = catchPanic(func() error { v.Drop(); return nil }) // a panic was told before, or is of no account
	}
}

// noteStoreErr notes the ledger's first trouble with this target; it hears nothing more of it.
func (l *listing) noteStoreErr(err error) {
	l.mu.Lock()
	say := err != nil && l.storeErr == nil
	if say {
		l.storeErr = err
		l.notePanic(err)
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
	for ; l.helpers > 0; l.helpers-- {
		l.j.slots.release(l.j.Account)
	}
	l.decide(err, calls, throttles)
	o, lent := l.outcome, l.lentPages
	l.mu.Unlock()
	if o.Reason == record.Stuck {
		l.j.r.o.OnAbandoned(l.t, lent > 0)
	}
	if l.hidden {
		return
	}
	for i, s := range l.j.conf.Outputs {
		l.callOutput(i, s, true, func() error { return s.End(ctx, o) })
	}
	l.mu.Lock()
	begun, gone := l.begun, l.reported // gone: it was given up on inside an output
	l.mu.Unlock()
	if !gone { // an output that took all of its time costs the ledger none
		l.atStore.Store(true)
		var cancel context.CancelFunc
		ctx, cancel = l.j.storeContext(context.WithoutCancel(ctx), late)
		defer cancel()
	}
	if !begun && l.t.Region != "" {
		l.beginStore(ctx)
	}
	l.mu.Lock()
	if err == nil && l.panicErr != nil { // a sink panicked: whether it has everything, nobody knows
		l.decide(l.panicErr, calls, throttles)
	}
	o = l.outcome
	l.mu.Unlock()
	l.mu.Lock()
	l.writerAbandoned = !l.writerMu.TryLock() // it was given up on inside the ledger, whose epoch will fence it
	orphan, lost := l.writerAbandoned, l.storeErr != nil
	l.mu.Unlock()
	if orphan {
		return
	}
	defer l.writerMu.Unlock()
	if lost || l.writer == nil {
		l.dropWriter()
		l.endAfterPanic(ctx)
		return
	}
	l.noteStoreErr(catchPanic(func() error { return l.writer.End(ctx, o) }))
	l.mu.Lock()
	if err == nil && l.panicErr != nil {
		l.decide(l.panicErr, calls, throttles)
	}
	l.mu.Unlock()
	l.endAfterPanic(ctx)
}

// endAfterPanic is for a target in whose visit the ledger panicked. Nobody knows what that visit holds, so another one tells the ledger
// that the target failed: else it would go on saying what it said of the run before.
func (l *listing) endAfterPanic(ctx context.Context) {
	l.mu.Lock()
	o := l.outcome
	var p *panicError
	is := errors.As(l.storeErr, &p) && !o.State.Complete() // it is complete only where it was given up on, and told, before
	l.mu.Unlock()
	if !is {
		return
	}
	err := catchPanic(func() error {
		v, err := l.j.r.o.Store.Begin(ctx, l.t, l.j.identity, l.j.Run)
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
		Records: l.records, Duplicates: l.duplicates, Calls: calls, Throttles: throttles, Started: l.started, Ended: now}
	var signIn *signInError
	var plan *planError
	switch {
	case err == nil:
	case errors.Is(err, errRemoved):
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
	l.outcome = o
}

// after tells how the target ended, once, and sets its kids free.
func (l *listing) after() {
	l.mu.Lock()
	l.reported = true
	o, leave := l.outcome, l.releaseStore
	l.mu.Unlock()
	if leave != nil {
		leave()
	}
	j := l.j
	if !l.hidden {
		j.mu.Lock()
		j.tally.count(o, l.kind.Global, o.State != record.OK && j.runTimedOut())
		j.mu.Unlock()
		j.r.observer.TargetEnded(o)
	}
	for _, kid := range l.children {
		if o.State != record.OK {
			f := &record.Fault{Reason: record.ParentFailed, Err: fmt.Errorf("%s, under which it is listed, could not be listed whole: %s", l.kind.Name, o.Error)}
			if l.hidden && !o.Expected { // nobody else says that it failed, and why
				f.Reason, f.Hint = o.Reason, o.Hint
			}
			kid.skipErr = f
		}
		j.addSteps(kid)
	}
}
