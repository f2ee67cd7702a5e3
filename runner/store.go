package runner

import (
	"context"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A Store keeps what is known about targets. The inventory is the one with a history, [MemoryStore] the one for
// `store: {type: none}`. An error of the store (a full disk) is not an error of the target: it is logged, and the
// listing continues.
//
// A call may last as long as the database works on it. Where the database makes no progress (it does not answer, or
// another process holds its lock), the call returns an error within seconds, and later calls return at once until the
// database works again. A call also returns at once when its context ends. So a failing store does not delay a listing.
type Store interface {
	// Admit waits until the store keeps up with the listings. It is called before a listing begins, which then holds
	// nothing that others need but its slot. leave is called once, after the listing's end. A failing store does not
	// make anybody wait.
	Admit(ctx context.Context) (leave func())
	// Begin opens a target and takes its epoch: an earlier writer of the same target can no longer commit.
	// id is zero if sign-in to the account never succeeded.
	Begin(ctx context.Context, t record.Target, id record.Identity, run string) (inventory.ScopeWriter, error)
	// ActiveTargets returns every target of the account that was begun and is not retired.
	ActiveTargets(ctx context.Context, account string) ([]record.Target, error)
	// Retire ends targets that AWS or the configuration no longer names, and their resources, with a reason of package
	// inventory. id restricts it to one AWS account, because another account may have used the name; zero: the name alone
	// decides.
	Retire(ctx context.Context, id record.Identity, ts []record.Target, reason string) error
	// StartRun and EndRun store runs, PutSignIn how an account signed in: see [inventory.RunWriter].
	StartRun(ctx context.Context, r inventory.Run) error
	EndRun(ctx context.Context, r inventory.Run) error
	PutSignIn(ctx context.Context, s inventory.SignIn) error
}
