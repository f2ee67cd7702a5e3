package inventory

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/aws-collector/collector/record"
)

// A Driver keeps scopes and versions in a database. It knows no rule: which resource is new, changed or gone is told to it.
// Package inventorytest holds every driver to the same behaviour.
//
// A call may last: it heeds its context, but has no time-out of its own. Only for a lock of another process it waits no longer than
// the patience, and where nothing can be reached no longer than a connection takes; then its error is a [Stall].
type Driver interface {
	// Begin takes the scope's next epoch and drops what an earlier turn staged. A scope without an account id is looked up by
	// the target's account name.
	Begin(ctx context.Context, t record.Target, s Scope, run string) (ScopeUpdate, error)
	// ActiveTargets is every target of the account's name that is not retired.
	ActiveTargets(ctx context.Context, account string) ([]record.Target, error)
	// Accounts is every account that has a scope that is not retired, under each name that such a scope has.
	Accounts(ctx context.Context) ([]Account, error)
	// Retire ends the scopes of a target, and their live versions, for a reason; turns of theirs are fenced. Another account's
	// that has the name of the target's stay, unless who is zero: a block may just have been given that name.
	Retire(ctx context.Context, t record.Target, who record.Identity, why string) error
	// RetireAccount is Retire for every scope of an account under a name.
	RetireAccount(ctx context.Context, a Account, why string) error
	// Ping reports whether the database answers, beside the calls that are under way and without waiting for what those
	// wait for. It is asked while a call lasts. nil: what it was given it executes, however long that takes.
	Ping(ctx context.Context) error
	// ProbeWrite reports whether the database lets a write in now. It leaves nothing behind, and is asked after a [Stall].
	ProbeWrite(ctx context.Context) error
	Reader
	Close() error
}

// A Renamer is a Driver that can have all of an account's history follow the name of its block at once. Without it, each target's
// follows when it is begun.
type Renamer interface {
	// Rename makes a.Name the name of every scope of the account that is not retired.
	Rename(ctx context.Context, a Account) error
}

// An Account is one that is remembered, and what the configuration called it last.
type Account struct{ Name, Partition, AccountID string }

// A Turn is a driver's side of a visit.
type ScopeUpdate interface {
	// HasScope is false where there is no scope to work on: no account id, and none known by the account's name.
	HasScope() bool
	// Live calls f with the id, the hash and the hash's version of each live resource. f borrows id.
	Live(ctx context.Context, f func(id []byte, sum record.Digest, version int) error) error
	// Pack is bodies, a line each, as the turn wants them handed back: in memory of its own, which the caller keeps.
	Pack(lines []byte) []byte
	// Stage keeps rows where no reader sees them, in a transaction of its own. It keeps nothing of packs itself.
	Stage(ctx context.Context, packs []Pack) error
	// Commit makes everything seen in one transaction: what was staged, c's rows, what is gone, and the outcome. Its error is
	// ErrFenced if the scope was begun again or retired since.
	Commit(ctx context.Context, c Commit) error
}

// A Commit is the end of a turn.
type Commit struct {
	Outcome   record.Outcome
	ExtraTags []byte // the account's, a JSON object; nil: no page came, and they are as they were
	Packs     []Pack
	Gone      iter.Seq[[]byte] // ids; nil: nothing is known to be gone
}

// A Reader answers questions, beside a writer and in another process too. What it returns owns its memory.
type Reader interface {
	// Find ranges over resources: live ones, or those of an instant.
	Find(ctx context.Context, q Query) iter.Seq2[*Resource, error]
	// History ranges over every version of the resources with an id, each resource's together and oldest first.
	History(ctx context.Context, q Query) iter.Seq2[*Resource, error]
	// Diff ranges over what is not the same at two instants.
	Diff(ctx context.Context, q Query, from, to time.Time) iter.Seq2[Change, error]
	// Changes ranges over what happened after an instant, in the order in which it happened. The At of the last one is where to go on.
	Changes(ctx context.Context, q Query, after time.Time) iter.Seq2[Change, error]
	// Targets ranges over what is known of each target and how it ended last.
	Targets(ctx context.Context) iter.Seq2[Coverage, error]
}

// A Query narrows an answer. Empty lists and zero values narrow nothing.
type Query struct {
	Kinds, Accounts, Regions []string // names or globs; an account by its name or its id
	ID                       string
	Where                    *Where
	At                       time.Time // zero: what is live
	Data                     bool      // bodies too, also where Where does not need them
}

// A Resource is one version of a resource.
type Resource struct {
	record.Record           // Run and CollectedAt are of the listing that brought this version; Data only if it was asked for
	State, Type   string    // "" where the kind has none
	FirstSeen     time.Time // when the resource appeared
	StateSince    time.Time // when it took on its state
	ValidFrom     time.Time
	ValidTo       time.Time // zero: it is so now
	Ended         string    // why the resource ended with this version; "" while it lives, and where another version follows
	LastSeen      time.Time // when a complete listing of its target last ended
	Sum           record.Digest
}

// Live reports whether the version is the present one.
func (r *Resource) Live() bool { return r.ValidTo.IsZero() }

// What a change is.
const (
	WasAdded   = "added"
	WasChanged = "changed"
	WasGone    = "gone"
)

// A Change is a resource before and after.
type Change struct {
	Op     string
	At     time.Time // of [Reader.Changes]; zero in a Diff
	Before *Resource // nil for what was added
	After  *Resource // nil for what is gone
}

// Resource is the one that says most: the latest.
func (c Change) Resource() *Resource {
	if c.After != nil {
		return c.After
	}
	return c.Before
}

// Coverage is how far a target is known.
type Coverage struct {
	record.Outcome
	AccountID, Partition string
	LastSeen             time.Time // the end of the last complete listing; zero: there was none
	FirstComplete        time.Time // the end of the first; of one before this was kept, 1970. Zero: there was none
	History              string    // the id of the history that this is part of: a database that is begun anew has another
	Resources            int
	Retired              time.Time // zero: it is collected
	RetiredReason        string    // it was retired
}

// A Delta is a member that differs between two versions.
type Delta struct {
	Path string          `json:"path"`
	From json.RawMessage `json:"from"` // null: it was not there
	To   json.RawMessage `json:"to"`
}
