package runner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A listing is the step that lists one target. Its end is the one place where a target's state is decided.
type listing struct {
	j        *job
	kind     Kind
	t        record.Target
	hidden   bool  // listed for its ids only: nothing is delivered, and the run does not count it
	skipErr  error // if set, it ends with this error and makes no call
	parent   *listing
	children []*listing
	gate     *Gate

	mu           sync.Mutex
	started      time.Time
	over         bool // late pages are refused
	pages        int
	records      int
	duplicates   int
	ids          []string // of the listed resources, for children
	helpers      int      // goroutines of a fan-out that have a slot
	outputs      []outputState
	panicErr     error // the first panic of an output or of the store
	storeErr     error // if set, the store is not called for this target any more
	outcome      record.Outcome
	stored       *record.Outcome // what the run stored before, if the job is done again: then nothing is listed
	reported     bool
	begun        bool   // Store.Begin was called
	releaseStore func() // from Store.Admit; nil: not admitted

	againMu     sync.Mutex // guards listedAgain
	listedAgain bool

	writerMu        sync.Mutex // guards writer
	writer          inventory.ScopeWriter
	writerAbandoned bool        // the holder of writerMu must drop the writer: end did not wait for it; guarded by mu
	atStore         atomic.Bool // end has finished with the outputs
}

// An outputState is the state of an output for one target.
type outputState struct {
	busy     int  // calls in progress
	panicked bool // it is not called for this target any more
	reported bool // its first error was reported
}

func (j *job) newListing(k Kind, region string, skipErr error) *listing {
	return &listing{
		j: j, kind: k, t: record.Target{Account: j.Account, Region: region, Kind: k.Name}, skipErr: skipErr,
		gate: j.r.o.Limits.Gate(j.Account, region, k), outputs: make([]outputState, len(j.conf.Outputs)),
	}
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
		l.j.r.observe(TargetStarted{l.t, l.j.Run})
		l.beginStore(ctx)
	}
	if l.storedOutcome() != nil {
		return nil
	}
	if l.parent == nil {
		return l.list(ctx, "")
	}
	if err := l.parent.listIDsAgain(ctx); err != nil {
		return err
	}
	return l.fanOut(ctx, l.parent.ids)
}

// listIDsAgain lists a parent whose outcome the run has stored: its children still need the ids.
func (l *listing) listIDsAgain(ctx context.Context) error {
	l.againMu.Lock()
	defer l.againMu.Unlock()
	if l.storedOutcome() == nil || l.listedAgain {
		return nil
	}
	again := l.j.newListing(l.kind, l.t.Region, nil)
	again.hidden, again.parent, again.children = true, l.parent, l.children
	defer again.gate.close()
	if err := again.work(ctx); err != nil {
		return fmt.Errorf("list %s again for its ids: %w", l.kind.Name, err)
	}
	l.ids, l.listedAgain = again.ids, true
	return nil
}

// admitToStore waits until the store admits the listing; [listing.after] releases it.
func (l *listing) admitToStore(ctx context.Context) {
	leave := l.j.r.o.Store.Admit(ctx)
	l.mu.Lock()
	late := l.reported // abandoned, and after was called
	if !late {
		l.releaseStore = leave
	}
	l.mu.Unlock()
	if late {
		leave()
	}
}

// beginStore begins the target in the store. If that fails, the listing continues for the outputs.
func (l *listing) beginStore(ctx context.Context) {
	l.writerMu.Lock()
	defer l.unlockWriter()
	l.mu.Lock()
	l.begun = true
	l.mu.Unlock()
	var w inventory.ScopeWriter
	err := catchPanic(func() (err error) {
		w, err = l.j.r.o.Store.Begin(ctx, l.t, l.j.identity, l.j.Run)
		return err
	})
	l.writer = w
	if err == nil {
		l.setStored(w.Committed())
	}
	l.noteStoreErr(err)
}

func (l *listing) list(ctx context.Context, parent string) error {
	stats, err := l.j.opened.List(ctx, l.gate, l.t, l.j.Run, parent, l.emit)
	l.mu.Lock()
	l.duplicates += stats.Duplicates
	l.mu.Unlock()
	return err
}

// fanOut lists under each of the parent's ids, several at once if there are slots.
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
	worker := func() {
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
			worker()
		})
	}
	worker()
	wg.Wait()
	return first
}

// isNotFound reports whether the parent was deleted between the two listings (InvalidRouteTableID.NotFound…): then it
// has no children, and nothing failed.
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

// emit lends a page to each output and to the store, one after the other.
func (l *listing) emit(ctx context.Context, p *record.Page) error {
	l.mu.Lock()
	if l.over {
		l.mu.Unlock()
		return errTargetOver
	}
	id := PageID{Run: l.j.Run, Target: l.t, Attempt: l.j.Attempt, Page: l.pages}
	l.pages++
	l.mu.Unlock()
	if len(l.children) > 0 {
		if err := l.collectIDs(p); err != nil {
			return err
		}
	}
	if l.hidden {
		l.addRecords(p.Len())
		return nil
	}
	for i, out := range l.j.conf.Outputs {
		l.callOutput(i, out, false, func() error { return out.Write(ctx, id, p) })
	}
	l.storePage(ctx, p)
	if n, ok := l.addRecords(p.Len()); ok {
		l.j.r.observe(TargetProgress{l.t, l.j.Run, n})
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

// callOutput calls one output. An error is reported once for each target, and the listing continues. A panic is a bug,
// and becomes the error of the target.
func (l *listing) callOutput(i int, out Output, ending bool, call func() error) {
	l.mu.Lock()
	state := &l.outputs[i]
	late := l.over != ending
	abandoned := ending && state.busy > 0
	if late || abandoned || state.panicked {
		l.mu.Unlock()
		return
	}
	state.busy++
	l.mu.Unlock()
	err := catchPanic(call)
	l.mu.Lock()
	state.busy--
	report := err != nil && !state.reported
	state.reported = state.reported || err != nil
	state.panicked = l.notePanic(err) || state.panicked
	l.mu.Unlock()
	if report {
		l.undelivered(out.Name(), err)
	}
}

// notePanic records the first panic and reports whether err is one. l.mu is held.
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

func (l *listing) undelivered(output string, err error) {
	l.j.r.log.Debug("not delivered",
		"output", output, "account", l.t.Account, "region", l.t.Region, "kind", l.t.Kind, "run", l.j.Run, "error", err)
	var p *panicError
	if errors.As(err, &p) {
		l.j.logPanic(l.t, p)
	}
	l.j.r.observe(Undelivered{l.t, l.j.Run, output, err})
}

// storePage lends p to the store.
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

// unlockWriter unlocks writerMu. If the call was abandoned meanwhile, it drops the writer first.
func (l *listing) unlockWriter() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writerAbandoned {
		l.dropWriter()
	}
	l.writerMu.Unlock()
}

// dropWriter drops the writer, where End is not called. The caller holds writerMu.
func (l *listing) dropWriter() {
	if w := l.writer; w != nil {
		_ = catchPanic(func() error { // a panic was reported before, or does not matter any more
			w.Drop()
			return nil
		})
	}
}

// noteStoreErr reports the store's first error for this target; later calls are skipped.
func (l *listing) noteStoreErr(err error) {
	l.mu.Lock()
	report := err != nil && l.storeErr == nil
	if report {
		l.storeErr = err
		l.notePanic(err)
	}
	l.mu.Unlock()
	if report {
		l.undelivered("store", err)
	}
}

// end decides the state, and ends the target in the outputs and in the store.
func (l *listing) end(ctx context.Context, err error, late func()) {
	calls, throttles := l.gate.close()
	l.mu.Lock()
	l.over = true
	for ; l.helpers > 0; l.helpers-- {
		l.j.slots.release(l.j.Account)
	}
	l.decide(err, calls, throttles)
	o := l.outcome
	l.mu.Unlock()
	if l.hidden {
		return
	}
	if l.endStored() {
		return
	}
	for i, out := range l.j.conf.Outputs {
		l.callOutput(i, out, true, func() error { return out.End(ctx, o) })
	}
	l.mu.Lock()
	begun, abandoned := l.begun, l.reported // abandoned: while it waited for an output
	l.mu.Unlock()
	if !abandoned { // the store gets its own time, however long the outputs took
		l.atStore.Store(true)
		var cancel context.CancelFunc
		ctx, cancel = l.j.storeContext(context.WithoutCancel(ctx), late)
		defer cancel()
	}
	if !begun && l.t.Region != "" {
		l.beginStore(ctx)
		if l.endStored() {
			return
		}
	}
	l.mu.Lock()
	if err == nil && l.panicErr != nil { // an output panicked, and may not have everything
		l.decide(l.panicErr, calls, throttles)
	}
	o = l.outcome
	l.mu.Unlock()
	l.mu.Lock()
	l.writerAbandoned = !l.writerMu.TryLock() // a call of the store was abandoned; the store's epoch fences it
	writerAbandoned, storeFailed := l.writerAbandoned, l.storeErr != nil
	l.mu.Unlock()
	if writerAbandoned {
		return
	}
	defer l.writerMu.Unlock()
	if storeFailed || l.writer == nil {
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

func (l *listing) setStored(o *record.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stored = o
}

func (l *listing) storedOutcome() *record.Outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stored
}

// endStored ends a target that the run has stored before, with that outcome and without a write. It reports whether
// there is one.
func (l *listing) endStored() bool {
	l.mu.Lock()
	if l.stored == nil {
		l.mu.Unlock()
		return false
	}
	if !l.reported {
		l.outcome = *l.stored
	}
	l.mu.Unlock()
	l.writerMu.Lock()
	defer l.unlockWriter()
	l.dropWriter()
	return true
}

// endAfterPanic ends a target in the store after the store panicked. The state of the writer is unknown, so a new one
// stores that the target failed: otherwise the store would keep the outcome of the run before.
func (l *listing) endAfterPanic(ctx context.Context) {
	l.mu.Lock()
	o := l.outcome
	var p *panicError
	// The state is complete only if the listing was abandoned, and reported, before.
	storePanicked := errors.As(l.storeErr, &p) && !o.State.Complete()
	l.mu.Unlock()
	if !storePanicked {
		return
	}
	err := catchPanic(func() error {
		w, err := l.j.r.o.Store.Begin(ctx, l.t, l.j.identity, l.j.Run)
		if err != nil {
			return err
		}
		defer w.Drop()
		return w.End(ctx, o)
	})
	if err != nil {
		l.undelivered("store", fmt.Errorf("after a panic: %w", err))
	}
}

// decide sets the outcome. l.mu is held.
func (l *listing) decide(err error, calls, throttles int) {
	if l.reported {
		return
	}
	now := time.Now()
	if l.started.IsZero() {
		l.started = now
	}
	o := record.Outcome{
		Target: l.t, Run: l.j.Run,
		State: record.StateOf(err, l.records), Reason: record.ReasonOf(err), Hint: record.HintOf(err),
		Records: l.records, Duplicates: l.duplicates, Calls: calls, Throttles: throttles,
		Started: l.started, Ended: now,
	}
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

// after reports the outcome, once, and makes the children ready.
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
		j.r.observe(TargetEnded{o})
	}
	for _, child := range l.children {
		if o.State != record.OK {
			f := &record.Fault{
				Reason: record.ParentFailed,
				Err:    fmt.Errorf("listing of parent kind %s is not complete: %s", l.kind.Name, o.Error),
			}
			if l.hidden && !o.Expected { // the failure is reported nowhere else
				f.Reason, f.Hint = o.Reason, o.Hint
			}
			child.skipErr = f
		}
		j.addSteps(child)
	}
}
