package runner

import (
	"context"
	"errors"
	"time"

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
	// Drop frees what the writer holds if End will not be called. It may be called after a Page that panicked, and more
	// than once.
	Drop()
}

// Runs counts the jobs of runs, so that exactly one job ends the run, in whichever process. It is not part of the
// Store: a single process counts in memory whatever its store, so a failing store cannot keep a run open.
type Runs interface {
	// SetJobs records how many jobs follow the opening job of a run, and the opening job's counts t. With none, the run
	// is over.
	SetJobs(ctx context.Context, run string, jobs int, t Tally) error
	// JobDone adds a job's counts. last is true for exactly one job of a run, which must report the run's end; sum is
	// then the total. A job that is done twice counts once.
	JobDone(ctx context.Context, run, job string, t Tally) (sum Tally, last bool, err error)
}

// A Tally counts how the targets of a run ended: what the run's status depends on.
type Tally struct {
	Started   time.Time `json:"started"`
	Targets   int       `json:"targets"`
	Collected int       `json:"collected"` // ok, or partial with records
	Failed    int       `json:"failed"`    // failed, and not expected to
	TimedOut  bool      `json:"timed_out"` // the run's own timeout ended at least one

	AllKinds    bool `json:"whole"`       // the run lists all kinds of the account
	Disabled    int  `json:"disabled"`    // the region is not enabled
	Unsupported int  `json:"unsupported"` // the region does not have the kind
	Skipped     int  `json:"skipped"`
	Global      int  `json:"global"` // of Collected: global kinds
}
