// Package record holds the words that every room of the house shares: a target and how it ended, why something failed,
// the partitions of AWS, a page of records on its way out, a record as it is read back. It does no I/O and starts no
// goroutine. Begin at [Target], [Outcome] and [Page].
package record

import (
	"encoding/json"
	"time"
)

// A Target is the smallest thing that has a state: one kind in one region of one account.
type Target struct{ Account, Region, Kind string }

// A State is how a target ended a run. Every target ends in exactly one.
type State string

// The states of a target.
const (
	OK             State = "ok"
	Partial        State = "partial"         // some pages came, then the listing failed
	Denied         State = "denied"          // AWS refused the action
	RegionDisabled State = "region_disabled" // the region is not enabled for the account; no failure
	Throttled      State = "throttled"
	Timeout        State = "timeout"
	AuthFailed     State = "auth_failed" // the account could not be entered
	Error          State = "error"
	Skipped        State = "skipped" // not tried: its parent kind failed, or the account left the configuration; no failure
)

// States is every state, in the order in which they are shown.
var States = [...]State{OK, Partial, Denied, RegionDisabled, Throttled, Timeout, AuthFailed, Error, Skipped}

// Complete reports whether what the listing did not show is gone. It is the only place that says so.
func (s State) Complete() bool { return s == OK }

// Failed reports whether a run with such a target is partial. What is harmless for a target is not so for all of a run's: see
// [Outcome.Unusable].
func (s State) Failed() bool { return s != OK && s != RegionDisabled && s != Skipped }

// A Status is how a run ended: one account at one tick.
type Status string

// The statuses of a run.
const (
	Success    Status = "success"
	RunPartial Status = "partial"
	RunFailed  Status = "failed"  // nothing was collected
	RunTimeout Status = "timeout" // its time-out ended it
	RunSkipped Status = "skipped" // an earlier run of the account was still going on
	RunExpired Status = "expired" // it waited too long in the queue
)

// An Outcome is what a run leaves behind of a target.
type Outcome struct {
	Target
	Run             string
	State           State
	Reason          Reason // the error's kind; "" where the state is ok
	Error           string // the error in full, without a secret
	Hint            string // what a person can do
	Expected        bool   // expect_denied names it: shown, but no failure
	AccountUnusable bool   // no region of its run could be listed: a failure, whatever the state. Known once the run has ended
	Records         int
	Duplicates      int // records that the listing showed again; they are delivered once
	Calls           int
	Throttles       int
	Started         time.Time
	Ended           time.Time
}

// Failed reports whether the outcome is a failure.
func (o *Outcome) Failed() bool { return (o.State.Failed() || o.AccountUnusable) && !o.Expected }

// An Identity is who an account turned out to be.
type Identity struct {
	AccountID string
	Partition string
	ARN       string
}

// A Record is a resource as it is read back, owning its memory. On the way out a resource is a [View].
type Record struct {
	Kind        string            `json:"kind"`
	ID          string            `json:"id"`
	Account     string            `json:"account"`
	AccountID   string            `json:"account_id"`
	Partition   string            `json:"partition"`
	Region      string            `json:"region"`
	Name        string            `json:"name,omitempty"`
	Tags        map[string]string `json:"tags"`
	ExtraTags   map[string]string `json:"extra_tags"`
	Run         string            `json:"run"`
	CollectedAt time.Time         `json:"collected_at"`
	Data        json.RawMessage   `json:"data"`
}
