// Package inventory is what is remembered of every resource that was ever listed: each of its versions, from when to when it
// was so, and why it ended. The rules are here; the databases are behind [Driver], one in each folder below, so that who
// asks compiles no database that they do not use.
//
// A resource is keyed by partition, account id, region, kind and id: what a configuration calls its account is an
// attribute, so renaming a block changes no history. What was listed becomes visible a whole target at a time, at the
// target's end. Begin at [Inventory.Begin] and [Visit.End], which is where it is decided what is gone.
package inventory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws-collector/collector/record"
)

// ErrFenced is what the end of a visit says when its target was begun again since, or retired.
var ErrFenced = errors.New("target was begun again by another worker")

// A Scope is where a resource lives, whatever the configuration calls its account.
type Scope struct{ Partition, AccountID, Region, Kind string }

// Why a resource is gone.
const (
	Absent         = "absent"          // an ok listing of its whole target did not show it
	Terminated     = "terminated"      // the same, and the last that AWS said of it was that it was terminated or deleted
	AccountRemoved = "account_removed" // the configuration no longer names its account
	RegionRemoved  = "region_removed"  // AWS, asked in full, no longer names its region
	KindRemoved    = "kind_removed"    // the configuration no longer names its kind
)

// Options is what an Inventory is made of.
type Options struct {
	Log         *slog.Logger // when the store fails, and when it works again; nil: silence
	MaxBuffered int          // bytes that all visits may keep in memory together before they stage; 0: 10 MiB
	// Saturated reports whether listings wait for each other, for a page: then [Inventory.Room] lets no more of them in. nil: they never do.
	Saturated func() bool
	// StallTimeout is how long the store is waited for that makes no progress. 0: [Patience].
	StallTimeout time.Duration
}

// An Inventory applies the rules to a driver's rows. Any number of goroutines may use it.
type Inventory struct {
	driver    Driver
	health    *healthTracker
	driverErr func() error // the trouble that the driver sees without a call; nil: it sees none

	maxBuffered int64        // bytes that visits may keep
	buffered    atomic.Int64 // that they do
	indexed     atomic.Int64 // bytes of their indexes
	admission   *admission

	mu    sync.Mutex
	names map[Account]string // what an account, its own Name left out, is called now
}

// New stores through d. Everybody else reads and writes through [Inventory.Driver], which the caller closes.
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
	i.admission = newAdmission(func() bool { return i.buffered.Load() >= i.maxBuffered/16 || i.indexed.Load() >= i.maxBuffered/2 }, o.Saturated)
	i.health.onChange = i.admission.setBypass
	i.driver = newWatchdog(d, i.health, o.StallTimeout)
	if w, ok := d.(interface{ Err() error }); ok {
		i.driverErr = w.Err
	}
	return i
}

// Driver is the database, for who reads it or closes it: nobody waits through it for a database that makes no progress.
func (i *Inventory) Driver() Driver { return i.driver }

// Health is how the store fares. It heals by itself: each target tries anew, at no cost while nothing answers. A driver may
// see trouble before a write meets it, as a file that was replaced: so it is asked here as well.
func (i *Inventory) Health() Health {
	if i.driverErr != nil {
		i.health.observeDriver(i.driverErr())
	}
	return i.health.snapshot()
}

// Err is why the store does not store at the moment, or nil.
func (i *Inventory) Err() error { return i.health.snapshot().Err }

// NotStored is how many ends of targets, and retirements, were not stored since the start.
func (i *Inventory) NotStored() int { return i.health.snapshot().NotStored }

// observe keeps the store's trouble, or its end.
func (i *Inventory) observe(ctx context.Context, err error, wrote bool) error {
	late := errors.Is(context.Cause(ctx), context.DeadlineExceeded) // whoever waited gave up: that is trouble
	switch {
	case err == nil && wrote:
		i.health.writeSucceeded()
	case err == nil, errors.Is(err, ErrFenced), ctx.Err() != nil && !late: // no trouble of the store's
	default:
		i.health.writeFailed(err)
	}
	return err
}

// Admit waits until the store keeps up with the listings that are under way, and not at all while it is in trouble. Who is about to
// list calls it while it holds nothing that those need, and leave when the end of its listing is over.
func (i *Inventory) Admit(ctx context.Context) (leave func()) { return i.admission.admit(ctx) }

// Begin opens a target's turn: an earlier turn of the same target can commit nothing from now on. who is zero where the
// account could not be entered; then what is known of the target by the account's name gets the outcome, and nothing else.
func (i *Inventory) Begin(ctx context.Context, t record.Target, who record.Identity, run string) (*ScopeWriter, error) {
	i.admission.beginStoreCall()
	defer i.admission.endStoreCall()
	if err := i.rename(ctx, t.Account, who); err != nil {
		return nil, i.observe(ctx, fmt.Errorf("store: rename an account: %w", err), false)
	}
	turn, err := i.driver.Begin(ctx, t, Scope{Partition: who.Partition, AccountID: who.AccountID, Region: t.Region, Kind: t.Kind}, run)
	if err != nil {
		return nil, i.observe(ctx, fmt.Errorf("store: begin: %w", err), false)
	}
	return &ScopeWriter{inv: i, update: turn, types: typeMembers(t.Kind), packer: packer{maxTotal: i.maxBuffered, total: &i.buffered}}, nil
}

// rename has the history of an account follow the name of its block, all of it at once: a kind that is listed once a day would
// stand under the old name until then.
func (i *Inventory) rename(ctx context.Context, name string, who record.Identity) error {
	d, ok := i.driver.(Renamer)
	if !ok || who.AccountID == "" {
		return nil
	}
	key := Account{Partition: who.Partition, AccountID: who.AccountID}
	i.mu.Lock()
	same := i.names[key] == name
	i.mu.Unlock()
	if same {
		return nil
	}
	if err := d.Rename(ctx, Account{Name: name, Partition: who.Partition, AccountID: who.AccountID}); err != nil {
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

// ActiveTargets is every target that was begun under the account's name and is not retired.
func (i *Inventory) ActiveTargets(ctx context.Context, account string) ([]record.Target, error) {
	ts, err := i.driver.ActiveTargets(ctx, account)
	if err != nil {
		return nil, fmt.Errorf("store: known targets: %w", err)
	}
	return ts, nil
}

// Retire ends targets of an account, of whichever has the name where who is zero, and, for this reason, their resources.
func (i *Inventory) Retire(ctx context.Context, who record.Identity, ts []record.Target, why string) error {
	for _, t := range ts {
		if err := i.observe(ctx, i.driver.Retire(ctx, t, who, why), true); err != nil {
			return fmt.Errorf("store: retire %s %s %s: %w", t.Account, t.Region, t.Kind, err)
		}
	}
	return nil
}

// A Visit is one target's turn. It compares each page with what is live, and keeps ids and hashes of that, no bodies. It
// is for one goroutine at a time.
type ScopeWriter struct {
	inv       *Inventory
	types     []string // where a type of the kind may stand
	update    ScopeUpdate
	live      *index
	indexSize int64 // of live, as counted
	packer    packer
	extraTags []byte
	failed    error
}

// Page takes what is new or different of p, which it borrows. A resource that is as it was costs a hash and a look-up.
func (v *ScopeWriter) Page(ctx context.Context, p *record.Page) error {
	if v.failed != nil {
		return v.failed
	}
	if v.failed = v.addPage(ctx, p); v.failed != nil {
		v.failed = v.inv.observe(ctx, fmt.Errorf("store: %w", v.failed), false)
		v.Drop()
	}
	return v.failed
}

// Drop lets go of what the visit keeps, which others may have then. It stands in the place of End, where none is to come. Safe
// twice.
func (v *ScopeWriter) Drop() {
	v.live = nil
	v.trackIndexSize()
	v.packer.drop()
}

// trackIndexSize tells the others how much the index takes now.
func (v *ScopeWriter) trackIndexSize() {
	var now int64
	if v.live != nil {
		now = v.live.size()
	}
	v.inv.indexed.Add(now - v.indexSize)
	v.indexSize = now
}

// A fresh record is one that is not as it is remembered.
type changedRecord struct {
	view record.View
	id   []byte
	sum  record.Digest
	op   RowOp
}

func (v *ScopeWriter) addPage(ctx context.Context, p *record.Page) error {
	if !v.update.HasScope() {
		return nil
	}
	if err := v.loadIndex(ctx); err != nil {
		return err
	}
	defer v.trackIndexSize()
	v.extraTags = append(v.extraTags[:0], p.ExtraTags()...)
	var news []changedRecord
	for r := range p.Views() {
		id, err := unquote(r.ID())
		if err != nil {
			return fmt.Errorf("id of a record: %w", err)
		}
		sum := r.Digest()
		how := Added
		if e := v.live.find(id); e != nil {
			switch {
			case e.seen(): // under another parent, say: the first one counts
				continue
			case e.hasOldSum(): // its hash is of another version: nobody can say whether it changed
				how = Rebased
			case e.sum == sum:
				e.markSeen()
				continue
			default:
				how = Changed
			}
			e.markSeen()
		} else if err := v.live.add(id, sum, seen); err != nil {
			return err
		}
		news = append(news, changedRecord{r, id, sum, how})
	}
	// In the order in which they will be asked for: who reads a target from end to end then opens each pack once.
	slices.SortFunc(news, func(a, b changedRecord) int { return bytes.Compare(a.id, b.id) })
	for i := range news {
		if err := v.packer.add(v.update, v.types, &news[i]); err != nil {
			return err
		}
		if v.packer.shouldStage() {
			if err := v.stage(ctx); err != nil {
				return err
			}
		}
	}
	v.packer.trim(v.update)
	return nil
}

func (v *ScopeWriter) stage(ctx context.Context) error {
	v.inv.admission.beginStoreCall()
	defer v.inv.admission.endStoreCall()
	if err := v.update.Stage(ctx, v.packer.packs); err != nil {
		return err
	}
	v.packer.clearPacks()
	return nil
}

func (v *ScopeWriter) loadIndex(ctx context.Context) error {
	if v.live != nil {
		return nil
	}
	live := newIndex()
	err := v.update.Live(ctx, func(id []byte, sum record.Digest, version int) error {
		var f flags
		if version != record.DigestVersion {
			f = oldSum
		}
		return live.add(id, sum, f)
	})
	if err != nil {
		return err
	}
	v.live = live
	v.trackIndexSize()
	return nil
}

// End makes what was listed visible, and decides what is gone: what is live and was not shown, if the listing was complete
// and only then. After a failure of the store the turn commits nothing.
func (v *ScopeWriter) End(ctx context.Context, o record.Outcome) error {
	if v.failed != nil {
		return v.failed
	}
	defer v.Drop()
	v.packer.close(v.update)
	c := Commit{Outcome: o, ExtraTags: v.extraTags, Packs: v.packer.packs}
	if o.State.Complete() && v.update.HasScope() {
		if err := v.loadIndex(ctx); err != nil {
			return v.inv.observe(ctx, fmt.Errorf("store: %w", err), false)
		}
		c.Gone = v.live.gone()
	}
	v.live = nil // a hundred visits may wait for their turn to commit
	v.trackIndexSize()
	err := v.commit(ctx, c)
	if err != nil && !errors.Is(err, ErrFenced) {
		err = fmt.Errorf("store: end of target: %w", err)
	}
	return v.inv.observe(ctx, err, true)
}

func (v *ScopeWriter) commit(ctx context.Context, c Commit) error {
	v.inv.admission.beginStoreCall()
	defer v.inv.admission.endStoreCall()
	return v.update.Commit(ctx, c)
}
