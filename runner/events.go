package runner

import (
	"time"

	"github.com/aws-collector/collector/record"
)

// An Event is something that happened. Each kind of event is a struct with only the fields that it has; who observes
// events switches on the kinds that it wants.
type Event interface{ event() }

// The events.
type (
	// RunStarted: the run's opening job began. Tick is the scheduled instant.
	RunStarted struct {
		Account, Run string
		Tick         time.Time
	}
	// RunEnded comes once for each run. A run that is skipped or expired has no RunStarted.
	RunEnded struct {
		Account, Run string
		Status       record.Status
		Took         time.Duration
	}
	// RunMissed: a tick, or a run that was due, was not run. Reason is one of the Missed constants.
	RunMissed struct{ Account, Reason string }
	// TargetStarted: a target's listing began.
	TargetStarted struct {
		record.Target
		Run string
	}
	// TargetProgress: the target has delivered this many records so far.
	TargetProgress struct {
		record.Target
		Run     string
		Records int
	}
	// TargetEnded comes exactly once for each target and run. A target that was never reached has no TargetStarted.
	TargetEnded struct{ record.Outcome }
	// CallEnded: one attempt of one API call is over. Code is AWS's error code, "" if it succeeded.
	CallEnded struct {
		Account, Region, Op, Code string
		Took                      time.Duration
	}
	// BudgetWaited: a call waited this long for its budget.
	BudgetWaited struct {
		Account, Region string
		Wait            time.Duration
	}
	// SessionExpires: the account's session ends at this time, and only a person can renew it; zero: no person is
	// needed. The owner of the sessions sends it.
	SessionExpires struct {
		Account string
		At      time.Time
	}
	// SignedIn: sign-in to the account succeeded, with this identity.
	SignedIn struct {
		Account  string
		Identity record.Identity
	}
	// RegionsPlanned: the account's regions, and the configured regions that are not enabled; Warning may be nil.
	RegionsPlanned struct {
		Account           string
		Regions, Disabled []string
		Warning           error
	}
	// NextStart: the account's next start; zero: none.
	NextStart struct {
		Account string
		At      time.Time
	}
	// Undelivered: an output, or the store, failed for a target for the first time in this run.
	Undelivered struct {
		record.Target
		Run, Output string
		Err         error
	}
	// DirectivesChanged: a person paused or resumed the account, or acknowledged a failure. The Directives have it.
	DirectivesChanged struct{ Account string }
	// TaskEnded: a run of a task is over; its RunEnded follows. The target is the task's name and kind. Warning is a
	// problem of a run that succeeded; it may be nil.
	TaskEnded struct {
		record.Outcome
		Warning error
	}
	// Configured: from now on these are the accounts and tasks, and their kinds. Others can be removed from memory.
	// Without a Configuration there are no tasks, and nothing is ever due.
	Configured struct {
		Kinds         map[string][]string
		Configuration *Configuration
	}
)

func (RunStarted) event()        {}
func (RunEnded) event()          {}
func (RunMissed) event()         {}
func (TargetStarted) event()     {}
func (TargetProgress) event()    {}
func (TargetEnded) event()       {}
func (CallEnded) event()         {}
func (BudgetWaited) event()      {}
func (SessionExpires) event()    {}
func (SignedIn) event()          {}
func (RegionsPlanned) event()    {}
func (NextStart) event()         {}
func (Undelivered) event()       {}
func (DirectivesChanged) event() {}
func (TaskEnded) event()         {}
func (Configured) event()        {}

// Reasons for a missed run.
const (
	MissedOverlap   = "overlap"   // an earlier run was still in progress
	MissedDowntime  = "downtime"  // the program was not running
	MissedSuspended = "suspended" // the machine slept, or its clock was set forward
	MissedDrain     = "drain"     // the program was stopping
	MissedPaused    = "paused"    // a person paused the account
	MissedCancelled = "cancelled" // a person cancelled the run before it began
)

// An Observer receives events, synchronously and from many goroutines; it must not block. nil: none.
type Observer func(Event)

// Tee returns an observer that calls each of these, in this order, without nil ones.
func Tee(os ...Observer) Observer {
	return func(e Event) {
		for _, o := range os {
			if o != nil {
				o(e)
			}
		}
	}
}
