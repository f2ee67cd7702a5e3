// Package web shows how the collector fares: /metrics for Prometheus, health for whoever restarts it, a page for people.
// It declares what it reads, and changes nothing but by the reload that it is given. It opens no listener of its own.
// Begin at [NewMetrics], which counts what happens, and [NewServer], which serves it.
package web

import (
	"iter"
	"time"

	"github.com/aws-collector/collector/record"
)

// StatusSource is this process, now. Both answers are copies: whoever reads them makes no collection wait, and starts none.
type StatusSource interface {
	// Accounts is every account of the configuration in force, in the order in which they are shown.
	Accounts() []Account
	// Targets is every target of which something is known, always in the same order, so that what a cap leaves out does
	// not change from scrape to scrape.
	Targets() iter.Seq[Target]
}

// An Account is what is known of an account.
type Account struct {
	Name     string
	Identity record.Identity // zero until it was entered
	Expires  time.Time       // its session, which only a person can renew; zero: nobody has to
	Next     time.Time       // its next start; zero: none
	Running  time.Time       // when the run under way began; zero: none is
	Last     Run             // the last that ended; Status is "" until one has
	Warning  string          // what a person should know of how its regions were found
	// Organization says that it is an organization's own entry: its runs list members, and no resources.
	Organization bool
}

// A Run is one that ended.
type Run struct {
	Status  record.Status
	Ended   time.Time
	Took    time.Duration
	Records int
}

// A Target is how a target stands.
type Target struct {
	record.Outcome           // the last; State is "" until it ended once
	LastSuccess    time.Time // the end of its last ok listing; zero: never
	Due            time.Time // when its schedule has it listed again after that; zero: never, or there was none
	Resources      int       // the records of its last ok listing
}
