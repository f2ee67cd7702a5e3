package runner

import (
	"context"
	"errors"
	"time"

	"github.com/aws-collector/collector/record"
)

// ErrFenced is what a Visit's End says when its target was begun again since: a late worker commits nothing.
var ErrFenced = errors.New("target was begun again by another worker")

// A Ledger remembers targets. The inventory is the one with a history, [Memory] the one for `store: none`. Its trouble
// (a full disk) is never the target's: it is logged, and the listing goes on.
//
// Each call may last as long as the database works on it. Where the database makes no progress (it does not answer, or another
// process holds its lock), a call returns an error within seconds, and the calls after it at once until the database works
// again; a call returns at once when its context ends. So a listing that calls a ledger in trouble loses no time.
type Store interface {
	// Admit waits until the ledger keeps up with what is being listed. It is called before a listing begins, which then holds
	// nothing that others need but its place; leave is called once, when the listing's end is over. A ledger in trouble lets nobody wait.
	Admit(ctx context.Context) (leave func())
	// Begin opens a target and takes its epoch: an earlier Visit of the same target can commit nothing from now on.
	// id is zero where the account could never be entered.
	Begin(ctx context.Context, t record.Target, id record.Identity, run string) (ScopeWriter, error)
	// ActiveTargets is every target of the account that was begun and is not retired.
	ActiveTargets(ctx context.Context, account string) ([]record.Target, error)
	// Retire ends targets that AWS or the configuration no longer names, and their resources with this reason: those of the account
	// that the block is, for another one may have its name still. id is zero where the name says it all.
	Retire(ctx context.Context, id record.Identity, ts []record.Target, why string) error
}

// Why a target is retired.
const (
	AccountRemoved = "account_removed"
	RegionRemoved  = "region_removed"
	KindRemoved    = "kind_removed"
)

// A Visit is one target's turn, used by one goroutine at a time.
type ScopeWriter interface {
	Page(ctx context.Context, p *record.Page) error // borrows p
	// End decides what is gone; nothing else in the program does. ErrFenced if the target was begun again.
	End(ctx context.Context, o record.Outcome) error
	// Drop lets go of what the visit keeps, where no End is to come. It may be called after a Page that panicked, and after
	// another Drop.
	Drop()
}

// Runs counts the jobs of runs, so that exactly one of them ends the run, in whichever process. It is apart from the
// Ledger because one process counts in memory whatever its store, and then no trouble of the store can keep a run open.
type Runs interface {
	// SetJobs says how many jobs follow the opening one of a run, which brought t. With none, the run is over.
	SetJobs(ctx context.Context, run string, jobs int, t Tally) error
	// JobDone adds a job's part. last is true for exactly one job of a run, the one that must tell its end; sum is then
	// the whole. A job that is Done twice counts once.
	JobDone(ctx context.Context, run, job string, t Tally) (sum Tally, last bool, err error)
}

// A Tally is how the targets of a run ended, as far as its status depends on it.
type Tally struct {
	Started   time.Time `json:"started"`
	Targets   int       `json:"targets"`
	Collected int       `json:"collected"` // ok, or partial with records
	Failed    int       `json:"failed"`    // failed, and not expected to
	TimedOut  bool      `json:"timed_out"` // the run's own time-out ended at least one

	AllKinds    bool `json:"whole"`       // the run is of all kinds of the account
	Disabled    int  `json:"disabled"`    // the region is not enabled
	Unsupported int  `json:"unsupported"` // the region does not have the kind
	Skipped     int  `json:"skipped"`
	Global      int  `json:"global"` // of Collected, kinds that are no region's
}
