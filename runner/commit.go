package runner

import (
	"context"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A Completion is everything that the end of a job changes. An engine commits it as a whole or not at all.
type Completion struct {
	Job       Job
	FollowUps []Job // of an opening job
	Tally     Tally
}

// Progress is the result of a commit.
type Progress struct {
	Repeated bool  // the job was committed before; nothing has changed
	Ended    bool  // true for exactly one commit of a run: its job reports the run's end
	Tally    Tally // of all committed jobs of the run
}

// A Commit is the engine's part of [Runner.Do]: it counts the job in its run, and makes the follow-up jobs start.
type Commit func(context.Context, Completion) (Progress, error)

// A Tally counts how the targets of a run ended. It adds up in whatever order the jobs end.
type Tally struct {
	Started     time.Time            `json:"started"`
	States      map[record.State]int `json:"states"`
	Failed      int                  `json:"failed"`      // of them: failed, and not expected to
	Unsupported int                  `json:"unsupported"` // of them: the region does not have the kind
	Global      int                  `json:"global"`      // of them: ok, and of a kind that is the same in every region
	TimedOut    bool                 `json:"timed_out"`   // the run's own timeout ended at least one
	AllKinds    bool                 `json:"all_kinds"`   // the run lists all kinds of the account
	Records     int                  `json:"records"`
	Calls       int                  `json:"calls"`
	Throttles   int                  `json:"throttles"`
	Causes      []inventory.Cause    `json:"causes"` // of targets that were not ok, and not expected to fail
}

// Add adds the counts of another part of the run.
func (t *Tally) Add(o Tally) {
	if t.Started.IsZero() || !o.Started.IsZero() && o.Started.Before(t.Started) {
		t.Started = o.Started
	}
	for state, n := range o.States {
		t.addState(state, n)
	}
	t.Failed += o.Failed
	t.Unsupported += o.Unsupported
	t.Global += o.Global
	t.TimedOut = t.TimedOut || o.TimedOut
	t.AllKinds = t.AllKinds || o.AllKinds
	t.Records += o.Records
	t.Calls += o.Calls
	t.Throttles += o.Throttles
	for _, c := range o.Causes {
		t.Causes = inventory.AddCause(t.Causes, c)
	}
}

func (t *Tally) addState(s record.State, n int) {
	if t.States == nil {
		t.States = map[record.State]int{}
	}
	t.States[s] += n
}

// count adds one target.
func (t *Tally) count(o record.Outcome, global, runTimedOut bool) {
	t.addState(o.State, 1)
	t.Records += o.Records
	t.Calls += o.Calls
	t.Throttles += o.Throttles
	if global && o.State == record.OK {
		t.Global++
	}
	if o.State == record.RegionDisabled && o.Reason == record.Unsupported {
		t.Unsupported++
	}
	if o.Failed() {
		t.Failed++
		t.TimedOut = t.TimedOut || runTimedOut
	}
	if o.State != record.OK && !o.Expected {
		t.Causes = inventory.AddCause(t.Causes, inventory.CauseOf(o))
	}
}

// targets is the number of targets that ended.
func (t Tally) targets() (n int) {
	for _, k := range t.States {
		n += k
	}
	return n
}

// unusable reports whether no region could be listed. A region that is not enabled is not a failure while others are
// listed; an account without any other region is not collected at all. A kind that no region has says nothing about the
// account, unless the run lists all its kinds.
func (t Tally) unusable() bool {
	refused := t.States[record.RegionDisabled]
	if !t.AllKinds {
		refused -= t.Unsupported
	}
	unknown := t.States[record.RegionUnavailable] + t.States[record.Skipped] + t.Global // say nothing about the account
	return refused > 0 && refused+unknown == t.targets()
}

// Status is the status of the run, once all its targets have ended.
func (t Tally) Status() record.Status {
	switch skipped := t.States[record.Skipped]; {
	case skipped > 0 && skipped == t.targets(): // the account was removed from the configuration
		return record.RunSkipped
	case t.Failed == 0 && !t.unusable():
		return record.Success
	case t.TimedOut:
		return record.RunTimeout
	case t.States[record.OK]+t.States[record.Unconfirmed]+t.States[record.Partial] == 0:
		return record.RunFailed
	}
	return record.RunPartial
}

// Duration is how long the run has lasted.
func (t Tally) Duration() time.Duration {
	if t.Started.IsZero() {
		return 0
	}
	return time.Since(t.Started)
}

// Store sets what the store keeps of a run.
func (t Tally) Store(r *inventory.Run) {
	r.Status, r.Targets, r.Failed, r.Ended = t.Status(), t.States, t.Failed, time.Now()
	if t.Failed == 0 && t.unusable() {
		r.Failed = t.States[record.RegionDisabled]
	}
	r.Records, r.Calls, r.Throttles = t.Records, t.Calls, t.Throttles
	r.Causes = inventory.LimitCauses(t.Causes)
}
