// Package inventory stores every version of every resource that was ever listed: from when to when it was valid, and
// why it ended. The rules are here; the databases are behind [Driver], one in each folder below, so that a program
// links only the databases that it uses.
//
// A resource is keyed by partition, account id, region, kind and id. The name that the configuration gives its account
// is an attribute, so renaming a block changes no history. A listing becomes visible as a whole, when its target ends.
// Begin at [Inventory.Begin] and [ScopeWriter.End], which decides what is gone.
package inventory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws-collector/collector/record"
)

// ErrFenced is returned by the end of a target that was begun again or retired in the meantime.
var ErrFenced = errors.New("target was begun again by another worker")

// A Scope is where resources live: a target, independent of the name that the configuration gives its account.
type Scope struct{ Partition, AccountID, Region, Kind string }

// Why a resource is gone.
const (
	Absent         = "absent"          // a complete listing of its target did not contain it
	Terminated     = "terminated"      // the same, and its last state was terminated or deleted
	AccountRemoved = "account_removed" // the configuration no longer names its account
	RegionRemoved  = "region_removed"  // a complete answer of AWS no longer names its region
	KindRemoved    = "kind_removed"    // the configuration no longer names its kind
)

// Options configure an Inventory.
type Options struct {
	Log         *slog.Logger // outages and recoveries; nil: no log
	MaxBuffered int          // bytes that all writers together buffer before they stage; 0: 10 MiB
	// Saturated reports whether every page buffer is taken. [Inventory.Admit] then admits no further listing. nil: never.
	Saturated func() bool
	// StallTimeout is how long callers wait for a store that makes no progress. 0: [StallTimeout].
	StallTimeout time.Duration
}

// An Inventory applies the rules to a driver's rows. It is safe for concurrent use.
type Inventory struct {
	driver    Driver
	health    *healthTracker
	driverErr func() error // an error that the driver finds without a call; may be nil

	maxBuffered int64        // limit of buffered
	buffered    atomic.Int64 // bytes that all writers buffer
	indexed     atomic.Int64 // bytes of all writers' indexes
	admission   *admission

	mu    sync.Mutex
	names map[Account]string // the current name of an account; the key has no Name
}

// New returns an Inventory that stores through d. All other access must go through [Inventory.Driver], which the caller
// closes.
func New(d Driver, o Options) *Inventory {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxBuffered == 0 {
		o.MaxBuffered = defaultMaxBuffered
	}
	if o.StallTimeout == 0 {
		o.StallTimeout = StallTimeout
	}
	i := &Inventory{health: newHealthTracker(o.Log), maxBuffered: int64(o.MaxBuffered)}
	i.admission = newAdmission(
		func() bool { return i.buffered.Load() >= i.maxBuffered/16 || i.indexed.Load() >= i.maxBuffered/2 }, o.Saturated,
	)
	i.health.onChange = i.admission.setBypass
	i.driver = newWatchdog(d, i.health, o.StallTimeout)
	if reporter, ok := d.(interface{ Err() error }); ok {
		i.driverErr = reporter.Err
	}
	return i
}

// Driver returns the database for readers and for closing. Its calls do not wait for a database that makes no progress.
func (i *Inventory) Driver() Driver { return i.driver }

// Health returns the state of the store. An outage ends by itself: each target tries to write again. A driver may find
// an error before a write does, such as a replaced file, so Health asks it too.
func (i *Inventory) Health() Health {
	if i.driverErr != nil {
		i.health.observeDriver(i.driverErr())
	}
	return i.health.snapshot()
}

// Err returns why writes fail at the moment, or nil.
func (i *Inventory) Err() error { return i.health.snapshot().Err }

// NotStored returns the number of target ends and retirements that were not stored since the start.
func (i *Inventory) NotStored() int { return i.health.snapshot().NotStored }

// observe updates the health of the store with the result of a call. wrote is true if a success means that a write was
// stored.
func (i *Inventory) observe(ctx context.Context, err error, wrote bool) error {
	// the caller's time ran out: that counts as a failure
	timedOut := errors.Is(context.Cause(ctx), context.DeadlineExceeded)
	switch {
	case err == nil && wrote:
		i.health.writeSucceeded()
	case err == nil, errors.Is(err, ErrFenced), ctx.Err() != nil && !timedOut: // not an error of the store
	default:
		i.health.writeFailed(err)
	}
	return err
}

// Admit waits until the store keeps up with the listings in progress; during an outage it does not wait. Call it before
// a listing takes anything that those listings need, and call release after the listing has ended.
func (i *Inventory) Admit(ctx context.Context) (release func()) { return i.admission.admit(ctx) }

// Begin begins a target: earlier writers of the same target can no longer commit. identity is zero if the account could
// not be opened; then only the outcome is stored, for the scope with the account's name.
func (i *Inventory) Begin(
	ctx context.Context, t record.Target, identity record.Identity, run string,
) (ScopeWriter, error) {
	i.admission.beginStoreCall()
	defer i.admission.endStoreCall()
	if err := i.rename(ctx, t.Account, identity); err != nil {
		return nil, i.observe(ctx, fmt.Errorf("store: rename account: %w", err), false)
	}
	update, err := i.driver.Begin(
		ctx, t, Scope{Partition: identity.Partition, AccountID: identity.AccountID, Region: t.Region, Kind: t.Kind}, run,
	)
	if err != nil {
		return nil, i.observe(ctx, fmt.Errorf("store: begin: %w", err), false)
	}
	w := &scopeWriter{inv: i, update: update}
	h := &writerHandle{w}
	runtime.AddCleanup(h, (*scopeWriter).drop, w)
	return h, nil
}

// rename gives all scopes of an account the name of its block at once. A kind that is listed once a day would otherwise
// keep the old name until then.
func (i *Inventory) rename(ctx context.Context, name string, identity record.Identity) error {
	d, ok := i.driver.(Renamer)
	if !ok || identity.AccountID == "" {
		return nil
	}
	key := Account{Partition: identity.Partition, AccountID: identity.AccountID}
	i.mu.Lock()
	same := i.names[key] == name
	i.mu.Unlock()
	if same {
		return nil
	}
	if err := d.Rename(
		ctx, Account{Name: name, Partition: identity.Partition, AccountID: identity.AccountID},
	); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.names == nil {
		i.names = map[Account]string{}
	}
	i.names[key] = name
	return nil
}

// ActiveTargets returns the targets that were begun under the account's name and are not retired.
func (i *Inventory) ActiveTargets(ctx context.Context, account string) ([]record.Target, error) {
	ts, err := i.driver.ActiveTargets(ctx, account)
	if err != nil {
		return nil, fmt.Errorf("store: read active targets: %w", err)
	}
	return ts, nil
}

// Retire ends targets and their resources, with a reason. If identity is zero, it ends those of every account with the
// name.
func (i *Inventory) Retire(ctx context.Context, identity record.Identity, ts []record.Target, reason string) error {
	for _, t := range ts {
		if err := i.observe(ctx, i.driver.Retire(ctx, t, identity, reason), true); err != nil {
			return fmt.Errorf("store: retire %s %s %s: %w", t.Account, t.Region, t.Kind, err)
		}
	}
	return nil
}

// A ScopeWriter stores one listing of a target. It is used by one goroutine at a time. A writer without an end, because
// its caller hangs or because it panicked, needs no care: the next Begin of the target fences it.
type ScopeWriter interface {
	// Page takes what is new or changed in p, and keeps no reference to p.
	Page(ctx context.Context, p *record.Page) error
	// Missing returns how many resources the listing should have found, as the last complete one did, and how many of them
	// its pages do not have. [MaxGone.Check] says whether that can be believed.
	Missing(ctx context.Context) (missing, expected int, err error)
	// End publishes what was listed and decides what is gone; nothing else in the program does. The error is ErrFenced if
	// the target was begun again, or retired.
	End(ctx context.Context, o record.Outcome) error
	// Committed returns the outcome that the same run has already stored for the target, or nil: then the job is done
	// again, nothing is listed, and the writer is not used.
	Committed() *record.Outcome
}

// A writerHandle is what the caller has of a scopeWriter. The memory of a writer without an end is counted until the
// garbage collector finds that nobody has the handle.
type writerHandle struct{ w *scopeWriter }

func (h *writerHandle) Page(ctx context.Context, p *record.Page) error {
	defer runtime.KeepAlive(h)
	return h.w.Page(ctx, p)
}

func (h *writerHandle) Missing(ctx context.Context) (missing, expected int, err error) {
	defer runtime.KeepAlive(h)
	return h.w.Missing(ctx)
}

func (h *writerHandle) End(ctx context.Context, o record.Outcome) error {
	defer runtime.KeepAlive(h)
	return h.w.End(ctx, o)
}

func (h *writerHandle) Committed() *record.Outcome {
	defer runtime.KeepAlive(h)
	if h.w.update == nil { // dropped
		return nil
	}
	return h.w.update.Committed()
}

// A scopeWriter is a ScopeWriter with a database. It compares each page with the live resources, of which it keeps ids
// and hashes but no bodies. It is not safe for concurrent use.
type scopeWriter struct {
	inv       *Inventory
	update    ScopeUpdate // nil after drop
	live      *index
	indexSize int64 // bytes of live that are counted in inv.indexed
	buffered  int64 // bytes of update that are counted in inv.buffered
	extraTags []byte
	failed    error
}

// Page takes what is new or changed in p, and keeps no reference to p. An unchanged resource costs a hash and a
// look-up.
func (w *scopeWriter) Page(ctx context.Context, p *record.Page) error {
	if w.failed != nil {
		return w.failed
	}
	if w.failed = w.addPage(ctx, p); w.failed != nil {
		w.failed = w.inv.observe(ctx, fmt.Errorf("store: %w", w.failed), false)
		w.drop()
	}
	return w.failed
}

// drop frees the memory of the writer. It may be called more than once.
func (w *scopeWriter) drop() {
	w.live, w.update = nil, nil
	w.trackIndexSize()
	w.trackBuffered()
}

// trackIndexSize updates the total of all indexes.
func (w *scopeWriter) trackIndexSize() {
	var now int64
	if w.live != nil {
		now = w.live.size()
	}
	w.inv.indexed.Add(now - w.indexSize)
	w.indexSize = now
}

// trackBuffered updates the total of what all writers buffer.
func (w *scopeWriter) trackBuffered() {
	var now int64
	if w.update != nil {
		now = int64(w.update.Buffered())
	}
	w.inv.buffered.Add(now - w.buffered)
	w.buffered = now
}

// A changedRecord is a record that differs from the stored one, or is new.
type changedRecord struct {
	view record.View
	id   []byte
	sum  record.Digest
	op   RowOp
}

func (w *scopeWriter) addPage(ctx context.Context, p *record.Page) error {
	if !w.update.HasScope() {
		return nil
	}
	if err := w.loadIndex(ctx); err != nil {
		return err
	}
	defer w.trackIndexSize()
	w.extraTags = append(w.extraTags[:0], p.ExtraTags()...)
	for _, id := range p.SetAside().IDs { // they exist, so their last version stays
		if e := w.live.find([]byte(id)); e != nil {
			e.seen = true
		}
	}
	var changed []changedRecord
	for view := range p.Views() {
		id, err := unquote(view.ID())
		if err != nil {
			return fmt.Errorf("read the id of a record: %w", err)
		}
		sum := view.Digest()
		op := Added
		if e := w.live.find(id); e != nil {
			switch {
			case e.seen: // listed before, for example under another parent: the first one counts
				continue
			case e.oldSum: // the stored hash is of another version, so a change cannot be detected
				op = Rebased
			case e.sum == sum:
				e.seen = true
				continue
			default:
				op = Changed
			}
			e.seen = true
		} else {
			w.live.add(entry{id: string(id), sum: sum, seen: true})
		}
		changed = append(changed, changedRecord{view, id, sum, op})
	}
	// In the order of later reads, so that a driver may store neighbours together.
	slices.SortFunc(changed, func(a, b changedRecord) int { return bytes.Compare(a.id, b.id) })
	rows := make([]Row, 0, min(len(changed), rowsPerAdd))
	for chunk := range slices.Chunk(changed, rowsPerAdd) {
		rows = rows[:0]
		for i := range chunk {
			row, err := newRow(&chunk[i])
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
		w.update.Add(rows)
		w.trackBuffered()
		if w.shouldStage() {
			if err := w.stage(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// What writers buffer until their ends. Staging a row doubles its cost, but several hundred writers may be open and
// wait for a slow store.
const (
	defaultMaxBuffered = 10 << 20  // of all writers; beyond it, each one stages what it has
	minStageBytes      = 128 << 10 // less is not worth a transaction
)

// rowsPerAdd is how many rows a writer buffers before it looks whether it should stage them.
const rowsPerAdd = 256

// shouldStage reports whether it is time to stage. One writer may have a quarter of the total.
func (w *scopeWriter) shouldStage() bool {
	most := w.inv.maxBuffered
	return w.buffered >= min(minStageBytes, most) && w.inv.buffered.Load() >= most ||
		w.buffered > 0 && w.buffered >= most/4
}

func (w *scopeWriter) stage(ctx context.Context) error {
	w.inv.admission.beginStoreCall()
	defer w.inv.admission.endStoreCall()
	if err := w.update.Stage(ctx); err != nil {
		return err
	}
	w.trackBuffered()
	return nil
}

func (w *scopeWriter) loadIndex(ctx context.Context) error {
	if w.live != nil {
		return nil
	}
	var entries []entry
	err := w.update.Live(ctx, func(l LiveResource) error {
		entries = append(entries, entry{
			id: string(l.ID), sum: l.Sum, oldSum: l.SumVersion != record.DigestVersion, unconfirmed: l.Unconfirmed,
		})
		return nil
	})
	if err != nil {
		return err
	}
	w.live = newIndex(entries)
	w.trackIndexSize()
	return nil
}

// Missing counts the resources that the pages do not have.
func (w *scopeWriter) Missing(ctx context.Context) (missing, expected int, err error) {
	if w.failed != nil || !w.update.HasScope() {
		return 0, 0, w.failed
	}
	if w.failed = w.loadIndex(ctx); w.failed != nil {
		w.failed = w.inv.observe(ctx, fmt.Errorf("store: %w", w.failed), false)
		w.drop()
		return 0, 0, w.failed
	}
	missing, expected = w.live.missing()
	return missing, expected, nil
}

// End publishes what was listed and decides what is gone: the live resources that were not found, and only if the
// listing was complete. If it is unconfirmed, a resource is gone only if the complete listing before did not find it
// either. After an error of the store nothing is committed.
func (w *scopeWriter) End(ctx context.Context, o record.Outcome) error {
	if w.failed != nil {
		return w.failed
	}
	defer w.drop()
	c := Commit{Outcome: o, ExtraTags: w.extraTags}
	isUnconfirmed := o.State == record.Unconfirmed
	if (o.State.Complete() || isUnconfirmed) && w.update.HasScope() {
		if err := w.loadIndex(ctx); err != nil {
			return w.inv.observe(ctx, fmt.Errorf("store: %w", err), false)
		}
		if isUnconfirmed {
			c.Gone, c.Unconfirmed = w.live.confirmed()
		} else {
			c.Gone = w.live.gone()
		}
	}
	if w.live != nil {
		c.Reappeared = w.live.reappeared()
	}
	w.live = nil // free it now: a hundred writers may wait for their commit
	w.trackIndexSize()
	err := w.commit(ctx, c)
	if err != nil && !errors.Is(err, ErrFenced) {
		err = fmt.Errorf("store: commit target: %w", err)
	}
	return w.inv.observe(ctx, err, true)
}

func (w *scopeWriter) commit(ctx context.Context, c Commit) error {
	w.inv.admission.beginStoreCall()
	defer w.inv.admission.endStoreCall()
	return w.update.Commit(ctx, c)
}
