package runner

import (
	"context"
	"errors"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// ErrFenced is the error of ScopeWriter.End when another listing of the target began since: the late one commits
// nothing.
var ErrFenced = errors.New("target was begun again by another worker")

// A Store keeps what is known about targets. The inventory is the one with a history, [MemoryStore] the one for
// `store: none`. An error of the store (a full disk) is not an error of the target: it is logged, and the listing
// continues.
//
// A call may last as long as the database works on it. Where the database makes no progress (it does not answer, or
// another process holds its lock), the call returns an error within seconds, and later calls return at once until the
// database works again. A call also returns at once when its context ends. So a failing store does not delay a listing.
type Store interface {
	// Admit waits until the store keeps up with the listings. It is called before a listing begins, which then holds
	// nothing that others need but its slot. leave is called once, after the listing's end. A failing store does not
	// make anybody wait.
	Admit(ctx context.Context) (leave func())
	// Begin opens a target and takes its epoch: an earlier ScopeWriter of the same target can no longer commit.
	// id is zero if sign-in to the account never succeeded.
	Begin(ctx context.Context, t record.Target, id record.Identity, run string) (ScopeWriter, error)
	// ActiveTargets returns every target of the account that was begun and is not retired.
	ActiveTargets(ctx context.Context, account string) ([]record.Target, error)
	// Retire ends targets that AWS or the configuration no longer names, and their resources, with this reason. id
	// restricts it to one AWS account, because another account may have used the name; zero: the name alone decides.
	Retire(ctx context.Context, id record.Identity, ts []record.Target, reason string) error
	// StartRun and EndRun store runs, PutSignIn how an account signed in: see [inventory.RunWriter].
	StartRun(ctx context.Context, r inventory.Run) error
	EndRun(ctx context.Context, r inventory.Run) error
	PutSignIn(ctx context.Context, s inventory.SignIn) error
}

// Reasons for which a target is retired.
const (
	AccountRemoved = "account_removed"
	RegionRemoved  = "region_removed"
	KindRemoved    = "kind_removed"
)

// A ScopeWriter stores one listing of a target. It is used by one goroutine at a time.
type ScopeWriter interface {
	Page(ctx context.Context, p *record.Page) error // borrows p
	// End decides which resources are gone; nothing else in the program does. ErrFenced if the target was begun again.
	End(ctx context.Context, o record.Outcome) error
	// Committed returns the outcome that the same run has already stored for the target, or nil: then the job is done
	// again, nothing is listed, and the writer is dropped.
	Committed() *record.Outcome
	// Drop frees what the writer holds if End will not be called. It may be called after a Page that panicked, and more
	// than once.
	Drop()
}
