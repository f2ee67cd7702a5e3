package inventory

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/aws-collector/collector/record"
)

// A Driver stores scopes and versions in a database. It decides nothing: its caller says which resources are new,
// changed or gone. Package inventorytest is the conformance test of every driver.
//
// A call may take long: it ends with its context but has no timeout of its own. Only two waits are bounded: the wait
// for a lock of another process, by the lock timeout, and the wait for a server that cannot be reached, by the connect
// timeout. The error is then a [Stall].
type Driver interface {
	// Begin takes the next epoch of the scope and drops what an earlier update staged. A scope without an account id is
	// found by the target's account name.
	Begin(ctx context.Context, t record.Target, s Scope, run string) (ScopeUpdate, error)
	// ActiveTargets returns the targets of the account's name that are not retired.
	ActiveTargets(ctx context.Context, account string) ([]record.Target, error)
	// Accounts returns the accounts with a scope that is not retired, once for each name of such a scope.
	Accounts(ctx context.Context) ([]Account, error)
	// Retire ends the scopes of a target and their live versions, and fences open updates of them. Scopes of another
	// account with the same name stay, unless identity is zero: a block may have taken over that name.
	Retire(ctx context.Context, t record.Target, identity record.Identity, reason string) error
	// RetireAccount is Retire for every scope that an account has under a name.
	RetireAccount(ctx context.Context, a Account, reason string) error
	// Ping reports whether the database answers. It uses a connection of its own, so it does not wait for what other calls
	// wait for. It is called while other calls last; nil means that the database still executes them, however long that
	// takes.
	Ping(ctx context.Context) error
	// ProbeWrite reports whether the database accepts a write now, and writes nothing. It is called after a [Stall].
	ProbeWrite(ctx context.Context) error
	Reader
	RunReader
	RunWriter
	Close() error
}

// A Renamer is a Driver that can rename all scopes of an account at once. Without it, a scope takes the new name when
// its target is begun.
type Renamer interface {
	// Rename sets the name of every scope of the account that is not retired to a.Name.
	Rename(ctx context.Context, a Account) error
}

// An Account is an account in the store, with the name that the configuration gave it last.
type Account struct{ Name, Partition, AccountID string }

// A ScopeUpdate is the driver's side of a [ScopeWriter]: one epoch of one scope.
type ScopeUpdate interface {
	// Committed returns the outcome that the same run has already committed for the scope, or nil.
	Committed() *record.Outcome
	// HasScope is false if there is no scope to update: the account id is unknown, and the store has no scope for the
	// account's name.
	HasScope() bool
	// Live calls f with each live resource.
	Live(ctx context.Context, f func(LiveResource) error) error
	// Add buffers rows, in the form that the database needs. It keeps no reference to their bodies.
	Add(rows []Row)
	// Buffered returns the bytes that buffered rows take. Rows that wait for others may be left out, if they are few.
	Buffered() int
	// Stage writes buffered rows, in a transaction of its own, where no reader sees them, and frees them.
	Stage(ctx context.Context) error
	// Commit publishes everything in one transaction: the staged and the buffered rows, the end of what is gone, and the
	// outcome. It returns ErrFenced if the scope was begun again or retired in the meantime.
	Commit(ctx context.Context, c Commit) error
}

// A Commit is the end of a scope update.
type Commit struct {
	Outcome     record.Outcome
	ExtraTags   []byte   // of the account, a JSON object; nil: no page arrived, keep them
	Gone        []string // ids of resources that end
	Unconfirmed []string // ids that the listing did not find; whether they ended, the next complete listing decides
	Reappeared  []string // ids that were unconfirmed, and that the listing found
}

// A LiveResource is what a [ScopeWriter] needs of a live resource.
type LiveResource struct {
	ID          []byte // valid until the function that got it returns
	Sum         record.Digest
	SumVersion  int
	Unconfirmed bool // see Commit.Unconfirmed
}

// A Reader answers queries, also while another process writes. Its results own their memory.
type Reader interface {
	// Find yields resources: the live ones, or those of an instant.
	Find(ctx context.Context, q Query) iter.Seq2[*Resource, error]
	// History yields every version of the resources with an id, grouped by resource, oldest first.
	History(ctx context.Context, q Query) iter.Seq2[*Resource, error]
	// Diff yields the differences between two instants.
	Diff(ctx context.Context, q Query, from, to time.Time) iter.Seq2[Change, error]
	// Changes yields the changes after an instant, oldest first. To resume, pass the At of the last one.
	Changes(ctx context.Context, q Query, after time.Time) iter.Seq2[Change, error]
	// NotIndexed returns the number of versions that Query.Search does not find yet: those of an older program.
	NotIndexed(ctx context.Context) (int, error)
	// Targets yields the stored state of each target.
	Targets(ctx context.Context) iter.Seq2[Coverage, error]
}

// A Query selects resources. Empty lists and zero values select everything.
type Query struct {
	Kinds, Accounts, Regions []string // names or globs; an account by its name or its id
	ID                       string
	// Search is of Find: any part of an id, a name, a key or value of a tag, an address, a DNS name, or the name or id of
	// an account. Upper and lower case of ASCII are the same.
	Search string
	Where  *Where
	At     time.Time // zero: live resources
	Data   bool      // return bodies even if Where does not need them
	After  *Key      // only what follows it in the order of Find and Diff; nil: all
	Limit  int       // of Find: at most this many; 0: all
}

// A Key identifies a resource. Find and Diff yield resources in the order of their keys.
type Key struct{ Kind, Account, Region, ID, AccountID, Partition string }

// KeyOf returns the key of r.
func KeyOf(r *Resource) Key { return Key{r.Kind, r.Account, r.Region, r.ID, r.AccountID, r.Partition} }

// A Resource is one version of a resource.
type Resource struct {
	record.Record           // Run and CollectedAt are those of the listing that found this version; Data only if asked for
	State, Type   string    // "" if the kind has none
	FirstSeen     time.Time // when the resource appeared
	StateSince    time.Time // when the resource entered its state
	ValidFrom     time.Time
	ValidTo       time.Time // zero: still valid
	Ended         string    // why the resource ended; "" if it is live or another version follows
	LastSeen      time.Time // when a complete listing of its target last ended
	Sum           record.Digest
}

// Live reports whether the version is the current one.
func (r *Resource) Live() bool { return r.ValidTo.IsZero() }

// Values of [Change.Op].
const (
	WasAdded   = "added"
	WasChanged = "changed"
	WasGone    = "gone"
)

// A Change is a resource before and after a change.
type Change struct {
	Op     string
	At     time.Time // zero in a Diff
	Before *Resource // nil if the resource was added
	After  *Resource // nil if the resource is gone
}

// Resource returns the latest version: After, or Before if the resource is gone.
func (c Change) Resource() *Resource {
	if c.After != nil {
		return c.After
	}
	return c.Before
}

// Coverage is what the store knows about a target.
type Coverage struct {
	record.Outcome
	AccountID, Partition string
	LastSeen             time.Time // the end of the last complete listing; zero: none
	StateSince           time.Time // when the target entered its present state; zero: not known
	FirstComplete        time.Time // the end of the first complete listing; 1970 if it was not recorded; zero: none
	History              string    // the id of the history in this database; a database that begins again has another
	Resources            int
	Retired              time.Time // zero: still collected
	RetiredReason        string    // why it was retired
}

// A Delta is a member that differs between two versions.
type Delta struct {
	Path string          `json:"path"`
	From json.RawMessage `json:"from"` // null: it did not exist
	To   json.RawMessage `json:"to"`
}

// First yields at most n of rows; 0: all. A driver whose statement has no limit uses it.
func First[T any](n int, rows iter.Seq2[T, error]) iter.Seq2[T, error] {
	if n == 0 {
		return rows
	}
	return func(yield func(T, error) bool) {
		left := n
		for row, err := range rows {
			if !yield(row, err) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}
