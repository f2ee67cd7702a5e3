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
	// Expires: the account's session ends then, and only a person can renew it; zero: nobody has to. Told by whoever holds the sessions.
	Expires(account string, at time.Time)
	// Entered: the account was signed in to, and this is who it is.
	SignedIn(account string, id record.Identity)
}

// DetailObserver is what an Observer may also be: what a live view needs and a counter does not. [Tee] finds out.
type DetailObserver interface {
	// Progress: the target has delivered this many records so far.
	Progress(t record.Target, run string, records int)
	// Planned: the account's regions are these, and those asked for but not enabled; warning may be nil.
	Planned(account string, regions, disabled []string, warning error)
	// Next: the account's next start; zero for none.
	NextStart(account string, at time.Time)
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

// Tee tells each of several observers, in this order; nil ones are left out.
func Tee(os ...Observer) Observer {
	var t tee
	for _, o := range os {
		if o == nil {
			continue
		}
		t.all = append(t.all, o)
		if d, ok := o.(DetailObserver); ok {
			t.detail = append(t.detail, d)
		}
	}
	return &t
}

type tee struct {
	all    []Observer
	detail []DetailObserver
}

var (
	_ Observer       = (*tee)(nil)
	_ DetailObserver = (*tee)(nil)
)

func (t *tee) RunStarted(account, run string, tick time.Time) {
	for _, o := range t.all {
		o.RunStarted(account, run, tick)
	}
}
func (t *tee) RunEnded(account, run string, s record.Status, took time.Duration) {
	for _, o := range t.all {
		o.RunEnded(account, run, s, took)
	}
}
func (t *tee) Missed(account, reason string) {
	for _, o := range t.all {
		o.Missed(account, reason)
	}
}
func (t *tee) TargetStarted(target record.Target, run string) {
	for _, o := range t.all {
		o.TargetStarted(target, run)
	}
}
func (t *tee) TargetEnded(out record.Outcome) {
	for _, o := range t.all {
		o.TargetEnded(out)
	}
}
func (t *tee) Call(account, region, op, code string, took time.Duration) {
	for _, o := range t.all {
		o.Call(account, region, op, code, took)
	}
}
func (t *tee) BudgetWait(account, region string, d time.Duration) {
	for _, o := range t.all {
		o.BudgetWait(account, region, d)
	}
}
func (t *tee) Expires(account string, at time.Time) {
	for _, o := range t.all {
		o.Expires(account, at)
	}
}
func (t *tee) SignedIn(account string, id record.Identity) {
	for _, o := range t.all {
		o.SignedIn(account, id)
	}
}
func (t *tee) Progress(target record.Target, run string, records int) {
	for _, o := range t.detail {
		o.Progress(target, run, records)
	}
}
func (t *tee) Planned(account string, regions, disabled []string, warning error) {
	for _, o := range t.detail {
		o.Planned(account, regions, disabled, warning)
	}
}
func (t *tee) NextStart(account string, at time.Time) {
	for _, o := range t.detail {
		o.NextStart(account, at)
	}
}
func (t *tee) Undelivered(target record.Target, run, sink string, err error) {
	for _, o := range t.detail {
		o.Undelivered(target, run, sink, err)
	}
}
func (t *tee) Configured(kinds map[string][]string) {
	for _, o := range t.detail {
		o.Configured(kinds)
	}
}
