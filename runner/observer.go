package runner

import (
	"time"

	"github.com/aws-collector/collector/record"
)

// An Observer receives events, synchronously and from many goroutines; it must not block. Its methods use only types of
// package record and of the language, so that package web can implement it without importing this package.
type Observer interface {
	// RunStarted: the run's opening job began. tick is the scheduled instant.
	RunStarted(account, run string, tick time.Time)
	// RunEnded is called once for each run. A run that is skipped or expired has no RunStarted.
	RunEnded(account, run string, s record.Status, took time.Duration)
	// Missed: a tick, or a run that was due, was not run. reason is one of the Missed constants.
	Missed(account, reason string)
	TargetStarted(t record.Target, run string)
	// TargetEnded is called exactly once for each target and run. A target that was never reached has no TargetStarted.
	TargetEnded(o record.Outcome)
	// Call: one attempt of one API call is over. code is AWS's error code, "" for an answer.
	Call(account, region, op, code string, took time.Duration)
	// BudgetWait: a call waited this long for its budget.
	BudgetWait(account, region string, d time.Duration)
	// Expires: the account's session ends at this time, and only a person can renew it; zero: no person is needed. The
	// owner of the sessions calls it.
	Expires(account string, at time.Time)
	// SignedIn: sign-in to the account succeeded, with this identity.
	SignedIn(account string, id record.Identity)
}

// A DetailObserver is an Observer that receives more events, for a live view; a counter does not need them. [Tee] sends
// them to those observers that implement it.
type DetailObserver interface {
	// Progress: the target has delivered this many records so far.
	Progress(t record.Target, run string, records int)
	// Planned: the account's regions, and the configured regions that are not enabled; warning may be nil.
	Planned(account string, regions, disabled []string, warning error)
	// NextStart: the account's next start; zero: none.
	NextStart(account string, at time.Time)
	// Undelivered: an output, or the store, failed for a target for the first time in this run.
	Undelivered(t record.Target, run, output string, err error)
	// Configured: from now on these are the accounts and their kinds. Others can be removed from memory.
	Configured(kinds map[string][]string)
}

// Reasons for a missed run.
const (
	MissedOverlap   = "overlap"   // an earlier run was still in progress
	MissedDowntime  = "downtime"  // the program was not running
	MissedSuspended = "suspended" // the machine slept, or its clock was set forward
	MissedDrain     = "drain"     // the program was stopping
)

// Tee returns an observer that calls each of these, in this order, without nil ones.
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

func (t *tee) Undelivered(target record.Target, run, output string, err error) {
	for _, o := range t.detail {
		o.Undelivered(target, run, output, err)
	}
}

func (t *tee) Configured(kinds map[string][]string) {
	for _, o := range t.detail {
		o.Configured(kinds)
	}
}
