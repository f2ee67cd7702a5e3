package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

	delivery   *delivery
	started    time.Time
	outcome    record.Outcome
	leaveStore atomic.Pointer[func()] // from Store.Admit; nil: not admitted

	idsMu sync.Mutex // guards ids
	ids   *[]string  // of the listed resources, for children; nil: the run stored the outcome before, so not known
}

func (j *job) newListing(k Kind, region string, skipErr error) *listing {
	return &listing{
		j: j, kind: k, t: record.Target{Account: j.Account, Region: region, Kind: k.Name}, skipErr: skipErr,
		gate: j.r.o.Limits.Gate(j.Account, region, k),
	}
}

// run is the flow of one target: the store admits it and begins it; it is listed, page by page; the output flushes; the
// store decides what is gone; the target takes its one state. Each part may hang, and is then abandoned: see supervise.
func (l *listing) run() bool {
	j, d := l.j, newDelivery(l)
	l.delivery = d
	err := l.skipErr
	if err == nil {
		err = j.stopErr()
	}
	if err != nil {
		return l.end(err)
	}
	list := func() error { return l.list(j.ctx, d) }
	if l.hidden {
		return j.supervise(j.late, list, l.end)
	}
	return j.supervise(j.late, func() error { return l.begin(j.ctx, d) }, func(err error) bool {
		if err != nil || d.stored != nil {
			return l.end(err)
		}
		l.started = time.Now()
		j.r.observe(TargetStarted{l.t, j.Run})
		return j.supervise(j.late, func() error {
			if err := list(); err != nil {
				return err
			}
			return d.checkMissing(j.ctx)
		}, l.end)
	})
}

// maxGone is the account's limit. If the listing of the parent kind is unconfirmed, parents that it does not have may
// still exist, and then so do their children: any child that is missing must be confirmed.
func (l *listing) maxGone() inventory.MaxGone {
	switch {
	case l.parent != nil && l.parent.outcome.State == record.Unconfirmed:
		return inventory.MaxGone{AtLeast: 1}
	case l.j.a == nil:
		return inventory.MaxGone{}
	}
	return l.j.a.MaxGone
}

// begin waits until the store admits the listing, and begins the target there. If that fails, the listing continues for
// the output.
func (l *listing) begin(ctx context.Context, d *delivery) error {
	leave := l.j.r.o.Store.Admit(ctx)
	if !l.leaveStore.CompareAndSwap(nil, &leave) {
		leave() // abandoned, and the target has ended
		return errTargetOver
	}
	if err := l.j.stopErr(); err != nil {
		return err
	}
	d.callStore(ctx, func() error { return d.begin(ctx, l.j.identity) })
	return nil
}

func (l *listing) list(ctx context.Context, d *delivery) error {
	if l.parent == nil {
		return l.listPages(ctx, d, "")
	}
	ids, err := l.parent.resourceIDs(ctx)
	if err != nil {
		return err
	}
	return l.listUnder(ctx, d, ids)
}

// listPages is the core loop: the output gets each page, then the store. A kind with a parent has a loop for each of
// the parent's resources; they share the delivery.
func (l *listing) listPages(ctx context.Context, d *delivery, parent string) error {
	var st record.ListStats
	defer func() { d.duplicates.Add(int64(st.Duplicates)) }()
	for page, err := range l.j.opened.Pages(ctx, l.gate, l.t, l.j.Run, parent, &st) {
		if err == nil {
			err = d.take(ctx, page) // to the output, then to the store
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A fanOut lists under each of a parent's ids.
type fanOut struct {
	mu       sync.Mutex
	ids      []string // that are left
	answered int
	refused  []refusal
	failed   error // the first error that is not about one id
}

// A refusal is the error of an API for one parent.
type refusal struct {
	id  string
	err error
}

func (f *fanOut) take() (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil || len(f.ids) == 0 {
		return "", false
	}
	id := f.ids[0]
	f.ids = f.ids[1:]
	return id, true
}

// ended counts how the listing under one id ended.
func (f *fanOut) ended(id string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
		f.answered++
	case !refusesParent(err):
		if f.failed == nil {
			f.failed = fmt.Errorf("under %s: %w", id, err)
		}
	default:
		f.refused = append(f.refused, refusal{id, err})
		if f.answered == 0 && len(f.refused) >= jobWidth && record.ReasonOf(err) == record.Unsupported {
			f.ids = nil // the region does not have the API
		}
	}
}

// refusesParent reports whether an error may be about the parent that the request named: it was deleted, its owner
// does not share it any more, it is of a type that the API does not know.
func refusesParent(err error) bool {
	code := record.CodeOf(err)
	switch record.ReasonOf(err) {
	case record.Other, record.BadRequest, record.Unsupported:
		return code != ""
	case record.AccessDenied:
		return code == "AuthFailure"
	}
	return record.IsNotFoundCode(code)
}

// listUnder lists under each of the parent's ids, several at once if there are slots.
func (l *listing) listUnder(ctx context.Context, d *delivery, ids []string) error {
	f := &fanOut{ids: ids}
	loop := func() {
		for id, ok := f.take(); ok; id, ok = f.take() {
			f.ended(id, CatchPanic(func() error { return l.listPages(ctx, d, id) }))
		}
	}
	var wg sync.WaitGroup
	release := func() { l.j.Slots.Release(l.j.Account) }
	for n := min(jobWidth, len(ids)) - 1; n > 0 && ctx.Err() == nil && l.j.Slots.TryAcquire(l.j.Account); n-- {
		inTime := context.AfterFunc(l.j.late, release) // an abandoned loop has no slot
		wg.Go(func() {
			loop()
			if inTime() {
				release()
			}
		})
	}
	loop()
	wg.Wait()
	if f.failed != nil || len(f.refused) == 0 {
		return f.failed
	}
	return l.judgeRefusals(ctx, f)
}

// judgeRefusals lists the parents again. One that is gone has no children, so its refusal is not a failure. EC2 also
// refuses a parent that is new or that it does not want to show: then its children are not known.
func (l *listing) judgeRefusals(ctx context.Context, f *fanOut) error {
	ids, err := l.parent.listIDs(ctx)
	if err != nil {
		return err
	}
	exists := make(map[string]bool, len(ids))
	for _, id := range ids {
		exists[id] = true
	}
	refused := slices.DeleteFunc(f.refused, func(r refusal) bool { return !exists[r.id] })
	if len(refused) == 0 {
		return nil
	}
	first := refused[0]
	if more := len(refused) - 1; more > 0 {
		err = fmt.Errorf("under %s and %d others: %w", first.id, more, first.err)
	} else {
		err = fmt.Errorf("under %s: %w", first.id, first.err)
	}
	if f.answered > 0 && record.ReasonOf(err) == record.Unsupported {
		// The region has the API, so the target did not end because of the region.
		return &record.Fault{Reason: record.Other, Err: err,
			Hint: "Look at the resource that the error names: EC2 lists what belongs to the others."}
	}
	return err
}

// resourceIDs returns the ids of the listed resources. A listing whose outcome the run stored before is done again for
// them.
func (l *listing) resourceIDs(ctx context.Context) ([]string, error) {
	l.idsMu.Lock()
	defer l.idsMu.Unlock()
	if l.ids != nil {
		return *l.ids, nil
	}
	ids, err := l.listIDs(ctx)
	if err == nil {
		l.ids = &ids
	}
	return ids, err
}

// listIDs lists again, for the ids.
func (l *listing) listIDs(ctx context.Context) ([]string, error) {
	again := l.j.newListing(l.kind, l.t.Region, nil)
	again.hidden, again.parent, again.children = true, l.parent, l.children
	defer again.gate.close()
	d := newDelivery(again)
	if err := again.list(ctx, d); err != nil {
		return nil, fmt.Errorf("list %s again for its ids: %w", l.kind.Name, err)
	}
	return d.ids, nil
}

// end decides the state, and ends the target in the output and in the store. err is the error that ended the listing.
func (l *listing) end(err error) bool {
	j := l.j
	calls, throttles := l.gate.close()
	if err == errAbandoned {
		l.delivery = l.delivery.successor()
	}
	d := l.delivery
	l.outcome = record.Outcome{
		Target: l.t, Run: j.Run, Records: int(d.records.Load()), Duplicates: int(d.duplicates.Load()),
		Calls: calls, Throttles: throttles, Started: l.started,
	}
	l.setState(j.listingErr(l.t, err))
	if l.hidden || d.stored != nil {
		return l.report(d.stored)
	}
	out := j.conf.Output
	if out == nil || d.outputDown {
		return l.endInStore()
	}
	o := l.outcome
	ctx, late, stop := j.outputContext()
	return j.supervise(late, func() error { return out.End(ctx, o) }, func(err error) bool {
		stop()
		if err == errAbandoned {
			j.logEndAbandoned(l.t)
		} else {
			d.outputFailed(err)
		}
		return l.endInStore()
	})
}

// endInStore ends the target in the store, which gets its own time, however long the output took.
func (l *listing) endInStore() bool {
	j, d := l.j, l.delivery
	if l.outcome.State == record.OK && d.panicErr != nil { // the output or the store may not have everything
		l.setState(d.panicErr)
	}
	panicked := isPanic(d.storeErr)
	if panicked {
		// The state of the writer is unknown. Another one stores that the target failed: otherwise the store would keep the
		// outcome of the run before.
		d.writer = nil
	}
	if d.storeErr != nil && !panicked || l.t.Region == "" {
		return l.report(nil)
	}
	o := l.outcome
	ctx, late, stop := j.storeContext()
	return j.supervise(late, func() error { return d.end(ctx, o) }, func(err error) bool {
		stop()
		switch {
		case err == errAbandoned:
			j.logEndAbandoned(l.t)
			return l.report(nil)
		case panicked && err != nil:
			d.undelivered("store", fmt.Errorf("after a panic: %w", err))
		default:
			d.storeFailed(err)
			if isPanic(err) {
				return l.endInStore()
			}
		}
		return l.report(d.stored)
	})
}

// setState sets the state that err means.
func (l *listing) setState(err error) {
	o := &l.outcome
	o.Ended = time.Now()
	if o.Started.IsZero() {
		o.Started = o.Ended
	}
	o.State, o.Reason, o.Hint = record.StateOf(err, o.Records), record.ReasonOf(err), record.HintOf(err)
	var signIn *signInError
	var plan *planError
	switch {
	case err == nil:
		return
	case errors.Is(err, errRemoved):
		o.State = record.Skipped
	case errors.As(err, &signIn):
		o.State = record.AuthFailed
	case errors.As(err, &plan) && !o.State.Failed():
		o.State = record.Error
	}
	o.Error = err.Error()
	if o.State == record.Denied && l.j.a != nil && l.j.a.Expected != nil {
		o.Expected = l.j.a.Expected(l.t.Region, l.t.Kind)
	}
}

// logSetAside names the resources that could not be read. The target may be complete in spite of them.
func (l *listing) logSetAside() {
	aside := &l.delivery.setAside
	if aside.Len() == 0 {
		return
	}
	l.j.r.log.Warn("resources set aside", "account", l.t.Account, "region", l.t.Region, "kind", l.t.Kind, "run", l.j.Run,
		"resources", aside.Len(), "without_id", aside.Unnamed, "error", strings.Join(aside.Causes, "; "),
		"hint", "Remove the characters that the error names, or report the resource to AWS Support.")
}

// report reports the outcome, and makes the children ready. A target that the run has stored before keeps the stored
// outcome.
func (l *listing) report(stored *record.Outcome) bool {
	none := func() {}
	if leave := l.leaveStore.Swap(&none); leave != nil {
		(*leave)()
	}
	if stored != nil {
		l.outcome = *stored
	} else {
		l.ids = &l.delivery.ids
	}
	j, o := l.j, l.outcome
	if !l.hidden {
		l.logSetAside()
		j.mu.Lock()
		j.tally.count(o, l.kind.Global || l.kind.GlobalService, o.State != record.OK && j.runTimedOut())
		j.mu.Unlock()
		j.r.observe(TargetEnded{o})
	}
	for _, child := range l.children {
		if o.State != record.OK && o.State != record.Unconfirmed {
			f := &record.Fault{
				Reason: record.ParentFailed,
				Err:    fmt.Errorf("listing of parent kind %s is not complete: %s", l.kind.Name, o.Error),
			}
			// The failure of a hidden listing is reported nowhere else. What a region does not have, it has no part of.
			if l.hidden && !o.Expected || o.State == record.RegionUnavailable {
				f.Reason, f.Hint = o.Reason, o.Hint
			}
			child.skipErr = f
		}
		j.addSteps(child)
	}
	return true
}
