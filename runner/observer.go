package runner

import (
	"time"

	"github.com/aws-collector/collector/record"
)

// An Observer hears what happens, synchronously and from many goroutines; it must not block. It speaks in words of
// package record and of the language alone, so that package web can be one without importing this one.
type Observer interface {
	// RunStarted: the run's opening job began. tick is the schedule's instant.
	RunStarted(account, run string, tick time.Time)
	// RunEnded comes once a run; without a RunStarted for one that is skipped or expired.
	RunEnded(account, run string, s record.Status, took time.Duration)
	// Missed: a tick, or a run that was due, was not collected: overlap, downtime, suspended, drain.
	Missed(account, reason string)
	TargetStarted(t record.Target, run string)
	// TargetEnded comes exactly once a target and run; without a TargetStarted where the target was never reached.
	TargetEnded(o record.Outcome)
	// Call: one attempt of one API call is over. code is AWS's error code, "" for an answer.
	Call(account, region, op, code string, took time.Duration)
	// BudgetWait: a call waited this long for its budget.
	BudgetWait(account, region string, d time.Duration)
	// Expires: the account's credentials end then. Told by whoever holds the sessions.
	Expires(account string, at time.Time)
	// Entered: the account was signed in to, and this is who it is.
	Entered(account string, id record.Identity)
}

// Detail is what an Observer may also be: what a live view needs and a counter does not. [Tee] finds out.
type Detail interface {
	// Progress: the target has delivered this many records so far.
	Progress(t record.Target, run string, records int)
	// Planned: the account's regions are these, and those asked for but not enabled; warning may be nil.
	Planned(account string, regions, disabled []string, warning error)
	// Next: the account's next start; zero for none.
	Next(account string, at time.Time)
	// Undelivered: an output or the ledger failed for a target, for the first time in this run.
	Undelivered(t record.Target, run, sink string, err error)
	// Configured: from now on these are the accounts, and what each lists. What is not in it can be forgotten.
	Configured(kinds map[string][]string)
}

// Why a run was missed.
const (
	MissedOverlap   = "overlap"   // an earlier run was still going on
	MissedDowntime  = "downtime"  // the program was not running
	MissedSuspended = "suspended" // the machine was asleep, or its clock was put forward
	MissedDrain     = "drain"     // the program was stopping
)
