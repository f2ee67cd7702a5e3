// Package web shows the state of the collector: /metrics for Prometheus, health for orchestrators, a page for people.
// It declares the interfaces that it reads, and changes nothing except through the reload function. It leaves the
// choice of the listener to its caller. Begin at [NewMetrics], which counts events, and [NewServer], which serves them.
package web

import (
	"iter"
	"time"

	"github.com/aws-collector/collector/record"
)

// A StatusSource returns the current state of this process. Both answers are copies: reading them neither delays nor
// starts a collection.
type StatusSource interface {
	// Accounts returns every account of the configuration in force, in the order in which to show them.
	Accounts() []Account
	// Targets returns every known target, always in the same order, so that a limit omits the same ones in each scrape.
	Targets() iter.Seq[Target]
}

// An Account is the current state of an account.
type Account struct {
	Name     string
	Identity record.Identity // zero until the first sign-in
	Expires  time.Time       // of its session, if only a person can renew it; zero: no person is needed
	Next     time.Time       // its next start; zero: none
	Running  time.Time       // when the run in progress began; zero: none
	Last     Run             // the last run that ended; Status is "" before the first
	Warning  string          // a problem with finding its regions
	// Organization means that it is an organization's own entry: its runs list members, and no resources.
	Organization bool
}

// A Run is a run that ended.
type Run struct {
	Status  record.Status
	Ended   time.Time
	Took    time.Duration
	Records int
}

// A Target is the current state of a target.
type Target struct {
	record.Outcome           // the last; State is "" before the first
	LastSuccess    time.Time // the end of its last ok listing; zero: never
	Due            time.Time // when its schedule lists it again after LastSuccess; zero: never
	Resources      int       // the records of its last ok listing
}
