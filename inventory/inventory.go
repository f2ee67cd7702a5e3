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
	Log  *slog.Logger // when the store fails, and when it works again; nil: silence
	Hold int          // bytes that all visits may keep in memory together before they stage; 0: 10 MiB
	// Crowded reports whether listings wait for each other, for a page: then [Inventory.Room] lets no more of them in. nil: they never do.
	Crowded func() bool
	// Patience is how long the store is waited for that makes no progress. 0: [Patience].
	Patience time.Duration
}

// An Inventory applies the rules to a driver's rows. Any number of goroutines may use it.
type Inventory struct {
	d      Driver
	health *health
	seen   func() error // the trouble that the driver sees without a call; nil: it sees none

	hold int64        // bytes that visits may keep
	held atomic.Int64 // that they do
	live atomic.Int64 // bytes of their indexes
	room *room

	mu    sync.Mutex
	names map[Account]string // what an account, its own Name left out, is called now
}

// New stores through d. Everybody else reads and writes through [Inventory.Driver], which the caller closes.
func New(d Driver, o Options) *Inventory {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Hold == 0 {
		o.Hold = heldBytes
	}
	if o.Patience == 0 {
		o.Patience = Patience
	}
	i := &Inventory{health: newHealth(o.Log), hold: int64(o.Hold)}
	i.room = newRoom(func() bool { return i.held.Load() >= i.hold/16 || i.live.Load() >= i.hold/2 }, o.Crowded)
	i.health.trouble = i.room.trouble
	i.d = newPatient(d, i.health, o.Patience)
	if w, ok := d.(interface{ Err() error }); ok {
		i.seen = w.Err
	}
	return i
}

// Driver is the database, for who reads it or closes it: nobody waits through it for a database that makes no progress.
func (i *Inventory) Driver() Driver { return i.d }

// Trouble is how the store fares. It heals by itself: each target tries anew, at no cost while nothing answers. A driver may
// see trouble before a write meets it, as a file that was replaced: so it is asked here as well.
func (i *Inventory) Trouble() Trouble {
	if i.seen != nil {
		i.health.see(i.seen())
	}
	return i.health.now()
}

// Err is why the store does not store at the moment, or nil.
func (i *Inventory) Err() error { return i.health.now().Err }

// Lost is how many ends of targets, and retirements, were not stored since the start.
func (i *Inventory) Lost() int { return i.health.now().Lost }

// note keeps the store's trouble, or its end.
func (i *Inventory) note(ctx context.Context, err error, wrote bool) error {
	late := errors.Is(context.Cause(ctx), context.DeadlineExceeded) // whoever waited gave up: that is trouble
	switch {
	case err == nil && wrote:
		i.health.worked()
	case err == nil, errors.Is(err, ErrFenced), ctx.Err() != nil && !late: // no trouble of the store's
	default:
		i.health.failed(err)
	}
	return err
}

// Room waits until the store keeps up with the listings that are under way, and not at all while it is in trouble. Who is about to
// list calls it while it holds nothing that those need, and leave when the end of its listing is over.
func (i *Inventory) Room(ctx context.Context) (leave func()) { return i.room.enter(ctx) }

// Begin opens a target's turn: an earlier turn of the same target can commit nothing from now on. who is zero where the
// account could not be entered; then what is known of the target by the account's name gets the outcome, and nothing else.
func (i *Inventory) Begin(ctx context.Context, t record.Target, who record.Identity, run string) (*Visit, error) {
	i.room.queue()
	defer i.room.done()
	if err := i.called(ctx, t.Account, who); err != nil {
		return nil, i.note(ctx, fmt.Errorf("store: rename an account: %w", err), false)
	}
	turn, err := i.d.Begin(ctx, t, Scope{Partition: who.Partition, AccountID: who.AccountID, Region: t.Region, Kind: t.Kind}, run)
	if err != nil {
		return nil, i.note(ctx, fmt.Errorf("store: begin: %w", err), false)
	}
	return &Visit{inv: i, turn: turn, types: typeMembers(t.Kind), packer: packer{hold: i.hold, all: &i.held}}, nil
}

// called has the history of an account follow the name of its block, all of it at once: a kind that is listed once a day would
// stand under the old name until then.
func (i *Inventory) called(ctx context.Context, name string, who record.Identity) error {
	d, ok := i.d.(Renamer)
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

// Known is every target that was begun under the account's name and is not retired.
func (i *Inventory) Known(ctx context.Context, account string) ([]record.Target, error) {
	ts, err := i.d.Known(ctx, account)
	if err != nil {
		return nil, fmt.Errorf("store: known targets: %w", err)
	}
	return ts, nil
}

// Retire ends targets of an account, of whichever has the name where who is zero, and, for this reason, their resources.
func (i *Inventory) Retire(ctx context.Context, who record.Identity, ts []record.Target, why string) error {
	for _, t := range ts {
		if err := i.note(ctx, i.d.Retire(ctx, t, who, why), true); err != nil {
			return fmt.Errorf("store: retire %s %s %s: %w", t.Account, t.Region, t.Kind, err)
		}
	}
	return nil
}

// A Visit is one target's turn. It compares each page with what is live, and keeps ids and hashes of that, no bodies. It
// is for one goroutine at a time.
type Visit struct {
	inv    *Inventory
	types  []string // where a type of the kind may stand
	turn   Turn
	live   *index
	size   int64 // of live, as counted
	packer packer
	extra  []byte
	failed error
}

// Page takes what is new or different of p, which it borrows. A resource that is as it was costs a hash and a look-up.
func (v *Visit) Page(ctx context.Context, p *record.Page) error {
	if v.failed != nil {
		return v.failed
	}
	if v.failed = v.page(ctx, p); v.failed != nil {
		v.failed = v.inv.note(ctx, fmt.Errorf("store: %w", v.failed), false)
		v.Drop()
	}
	return v.failed
}

// Drop lets go of what the visit keeps, which others may have then. It stands in the place of End, where none is to come. Safe
// twice.
func (v *Visit) Drop() {
	v.live = nil
	v.count()
	v.packer.drop()
}

// count tells the others how much the index takes now.
func (v *Visit) count() {
	var now int64
	if v.live != nil {
		now = v.live.size()
	}
	v.inv.live.Add(now - v.size)
	v.size = now
}

// A fresh record is one that is not as it is remembered.
type fresh struct {
	view record.View
	id   []byte
	sum  record.Sum
	how  How
}

func (v *Visit) page(ctx context.Context, p *record.Page) error {
	if !v.turn.Known() {
		return nil
	}
	if err := v.load(ctx); err != nil {
		return err
	}
	defer v.count()
	v.extra = append(v.extra[:0], p.ExtraTags()...)
	var news []fresh
	for r := range p.Views() {
		id, err := plain(r.ID())
		if err != nil {
			return fmt.Errorf("id of a record: %w", err)
		}
		sum := r.Sum()
		how := Added
		if e := v.live.find(id); e != nil {
			switch {
			case e.seen(): // under another parent, say: the first one counts
				continue
			case e.old(): // its hash is of another version: nobody can say whether it changed
				how = Rebased
			case e.sum == sum:
				e.see()
				continue
			default:
				how = Changed
			}
			e.see()
		} else if err := v.live.add(id, sum, seen); err != nil {
			return err
		}
		news = append(news, fresh{r, id, sum, how})
	}
	// In the order in which they will be asked for: who reads a target from end to end then opens each pack once.
	slices.SortFunc(news, func(a, b fresh) int { return bytes.Compare(a.id, b.id) })
	for i := range news {
		if err := v.packer.add(v.turn, v.types, &news[i]); err != nil {
			return err
		}
		if v.packer.full() {
			if err := v.stage(ctx); err != nil {
				return err
			}
		}
	}
	v.packer.wait(v.turn)
	return nil
}

func (v *Visit) stage(ctx context.Context) error {
	v.inv.room.queue()
	defer v.inv.room.done()
	if err := v.turn.Stage(ctx, v.packer.packs); err != nil {
		return err
	}
	v.packer.forget()
	return nil
}

func (v *Visit) load(ctx context.Context) error {
	if v.live != nil {
		return nil
	}
	live := newIndex()
	err := v.turn.Live(ctx, func(id []byte, sum record.Sum, version int) error {
		var f flags
		if version != record.SumVersion {
			f = old
		}
		return live.add(id, sum, f)
	})
	if err != nil {
		return err
	}
	v.live = live
	v.count()
	return nil
}

// End makes what was listed visible, and decides what is gone: what is live and was not shown, if the listing was complete
// and only then. After a failure of the store the turn commits nothing.
func (v *Visit) End(ctx context.Context, o record.Outcome) error {
	if v.failed != nil {
		return v.failed
	}
	defer v.Drop()
	v.packer.close(v.turn)
	c := Commit{Outcome: o, ExtraTags: v.extra, Packs: v.packer.packs}
	if o.State.Complete() && v.turn.Known() {
		if err := v.load(ctx); err != nil {
			return v.inv.note(ctx, fmt.Errorf("store: %w", err), false)
		}
		c.Gone = v.live.gone()
	}
	v.live = nil // a hundred visits may wait for their turn to commit
	v.count()
	err := v.commit(ctx, c)
	if err != nil && !errors.Is(err, ErrFenced) {
		err = fmt.Errorf("store: end of target: %w", err)
	}
	return v.inv.note(ctx, err, true)
}

func (v *Visit) commit(ctx context.Context, c Commit) error {
	v.inv.room.queue()
	defer v.inv.room.done()
	return v.turn.Commit(ctx, c)
}
