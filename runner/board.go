package runner

import (
	"time"

	"github.com/aws-collector/collector/record"
)

// A Board folds what an Observer hears into what people ask: the one state behind /metrics, the API, the live view, the
// table at the end and exit code 3. It is this process's; what must outlive it is in the Ledger. Reading it never makes a
// collection wait: every answer is a copy, taken an account at a time.
type Board struct{}

// NewBoard has seen nothing yet.
func NewBoard() *Board { return &Board{} }

// An AccountInfo is what is known of an account, now.
type AccountInfo struct {
	Name     string
	Identity record.Identity // zero until it was entered
	Regions  []string        // of the last plan
	Disabled []string
	Warning  error     // of the last plan
	Expires  time.Time // its credentials; zero: unknown, or never
	Next     time.Time // its next start; zero: none
	Running  []RunInfo // oldest first
	Last     RunInfo   // the last that ended; Run is "" until one has
	Missed   map[string]int
}

// A RunInfo is a run, under way or over.
type RunInfo struct {
	Run       string
	Tick      time.Time
	Started   time.Time
	Took      time.Duration // so far, while Status is ""
	Status    record.Status // "" while it is under way
	Targets   int           // ended
	Failed    int           // ended, failed and not expected to
	Records   int
	Calls     int
	Throttles int
}

// A TargetInfo is how a target stands.
type TargetInfo struct {
	record.Outcome           // the last; State is "" until it ended once
	LastSuccess    time.Time // the end of its last ok listing; zero: never
	Resources      int       // the records of its last ok listing
}

// A Listing is a target at work.
type Listing struct {
	record.Target
	Run     string
	Started time.Time
	Records int // delivered so far
}
