// Package torture checks what replicas of the engine on River did while faults struck them. It believes no replica: the
// events are those that triggers of the database and the fake AWS recorded. [Check] finds what must not be in such a
// log. [Strikes] counts the faults that really hit what they were meant for: a run that one of them missed proves
// nothing. Which rows the triggers watch is in ../DESIGN.md.
package torture

import (
	"time"

	"github.com/aws-collector/collector/record"
)

// What is a kind of event.
type What string

// Events that triggers record. Their order in the log is the order in which the transactions had the rows.
const (
	TickMade    What = "tick made"    // Account, Spec, Tick, Missed: the ticks before it that were not run
	RunOpened   What = "run opened"   // Run, and Account, Spec, Tick; Spec is "" if a person started it
	RunSkipped  What = "run skipped"  // Account, Spec, Tick: by the overlap rule, a pause or a drain
	RunEnded    What = "run ended"    // Run, Targets, Stored
	JobInserted What = "job inserted" // Run, Region
	JobClaimed  What = "job claimed"  // Run, Region, Attempt
	JobDone     What = "job done"     // Run, Region, Attempt
	JobLost     What = "job lost"     // Run, Region: its targets that are not stored count as failed
	Began       What = "began"        // Target, Run, Attempt, Epoch
	Committed   What = "committed"    // Target, Run, Attempt, Epoch, Complete, Listings
	Led         What = "led"          // a replica became River's leader
	Cut         What = "cut"          // the server ended a transaction of the replica that was idle for too long
)

// Events of the fake AWS. Each listing has a name, which is in a tag of every resource that it returns.
const (
	Served   What = "served"    // Target, Listings: a page of a listing; Complete: it is the last one
	CodeSent What = "code sent" // Device, Code: an MFA code
)

// Events of whoever makes the faults.
const (
	Fault What = "fault" // Point; Replica, and what the fault was meant for
	Woke  What = "woke"  // a replica that was frozen or cut off goes on
)

// An Event is one line of the log. It has only the fields that its kind names.
type Event struct {
	What    What
	Replica string
	At      time.Time

	record.Target
	Spec    string
	Tick    time.Time
	Missed  int
	Run     string
	Attempt int
	Epoch   int64

	Complete bool     // the listing was complete
	Listings []string // the names that the target's live resources have after a commit
	Targets  int      // of a run: how many ended, and how many of them are stored by it
	Stored   int

	Device, Code string
	Point        Point
}

// A Plan is what should have happened to an account.
type Plan struct {
	Targets []record.Target
	// Ticks are the instants of each of its schedules, from the first that an event names to the last one.
	Ticks map[string][]time.Time
}
