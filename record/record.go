// Package record holds the types that all packages share: a target and its outcome, the reason of a failure, the
// partitions of AWS, a page of records to deliver, a stored record. It does no I/O and starts no goroutine. Begin at
// [Target], [Outcome] and [Page].
package record

import (
	"encoding/json"
	"time"
)

// A Target is the smallest thing that has a state: one kind in one region of one account.
type Target struct{ Account, Region, Kind string }

// GlobalRegion stands in place of a region in targets of global services, which have the same resources everywhere.
const GlobalRegion = "global"

// A KindInfo is what packages that do not import collectors need to know of a kind.
type KindInfo struct {
	ShortName string // the name without that of its service: "volume" of ec2_volume
	// State and Type are members of a resource's data, by dotted paths. The first that is not empty is its state, or type.
	State, Type []string
}

// A State is the result of a target in a run. Every target ends in exactly one.
type State string

// The states of a target.
const (
	OK             State = "ok"
	Unconfirmed    State = "unconfirmed"     // listed to the end, but more resources are missing than max_gone allows
	Partial        State = "partial"         // some pages were delivered, then the listing failed
	Denied         State = "denied"          // AWS refused the action
	RegionDisabled State = "region_disabled" // the region is not enabled for the account; not a failure
	// RegionUnavailable means that AWS does not have the service in the region; not a failure.
	RegionUnavailable State = "region_unavailable"
	Throttled         State = "throttled"
	Timeout           State = "timeout"
	AuthFailed        State = "auth_failed" // sign-in to the account failed
	Error             State = "error"
	Skipped           State = "skipped" // not tried: its parent kind failed, or its account was removed; not a failure
)

// States lists every state, in display order.
var States = [...]State{
	OK, Unconfirmed, Partial, Denied, RegionDisabled, RegionUnavailable, Throttled, Timeout, AuthFailed, Error, Skipped,
}

// Complete reports whether the listing is complete and confirmed. inventory.ScopeWriter.End decides what is gone.
func (s State) Complete() bool { return s == OK }

// Failed reports whether a run with such a target is partial. If all targets of a run end in a state that is not a
// failure by itself, the run may still have failed: see [Outcome.AccountUnusable].
func (s State) Failed() bool { return s != OK && !s.Absent() && s != Skipped }

// Absent reports whether the account has no such resources in the region, because it cannot have them there.
func (s State) Absent() bool { return s == RegionDisabled || s == RegionUnavailable }

// A Status is the result of a run: one account at one tick.
type Status string

// The statuses of a run.
const (
	Success    Status = "success"
	RunPartial Status = "partial"
	RunFailed  Status = "failed"  // nothing was collected
	RunTimeout Status = "timeout" // its timeout ended it
	RunSkipped Status = "skipped" // it did not begin: see inventory.Run.Missed
	RunExpired Status = "expired" // it waited too long in the queue

	RunRunning     Status = "running"     // it has not ended
	RunInterrupted Status = "interrupted" // the program ended before the run did
)

// Statuses lists every status, in display order.
var Statuses = [...]Status{
	Success, RunPartial, RunFailed, RunTimeout, RunSkipped, RunExpired, RunRunning, RunInterrupted,
}

// An Outcome is the result of a target in a run.
type Outcome struct {
	Target
	Run             string
	State           State
	Reason          Reason // why it failed; "" if the state is ok
	Error           string // the full error text, without secrets
	Hint            string // what a person can do
	Expected        bool   // expect_denied names it: shown, but not a failure
	AccountUnusable bool   // its run could list no region: a failure, whatever the state; set when the run ends
	Records         int
	Duplicates      int // records that the listing showed again; each is delivered once
	Calls           int
	Throttles       int
	Started         time.Time
	Ended           time.Time
}

// Failed reports whether the outcome is a failure.
func (o *Outcome) Failed() bool { return (o.State.Failed() || o.AccountUnusable) && !o.Expected }

// CanComplete reports whether a complete listing of the target is to be expected. A target in a region that is not
// enabled or does not have the service, or whose denial is expected, is never late.
func (o *Outcome) CanComplete() bool { return o.State == OK || o.Failed() }

// An Identity is the account that AWS reports after sign-in.
type Identity struct {
	AccountID string
	Partition string
	ARN       string
}

// A Record is a stored resource that owns its memory. A resource being delivered is a [View].
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
