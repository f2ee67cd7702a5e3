package runner

import (
	"context"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A run is one account at one tick, from its due time to the end of its last job. Local.mu guards its fields.
type run struct {
	id            string
	a             *Account
	spec          string // "" if requested by a person
	kinds         []string
	tick          time.Time
	due           time.Time
	expires       time.Time      // it does not begin after this; zero: it waits without a limit
	configuration *Configuration // acquired from its start to its end
	ctx           context.Context
	cancel        context.CancelCauseFunc
	begun         bool      // its opening job has a slot
	started       time.Time // when it was begun
	progress      runProgress
	jobsLeft      int           // jobs that have not returned
	status        record.Status // set when the run has ended
	took          time.Duration
	done          func(RunResult)
}

// row is the run as the store keeps it, without what its jobs counted.
func (n *run) row(process inventory.Process) inventory.Run {
	return inventory.Run{
		ID: n.id, Account: n.a.Name, Tick: n.tick, Started: n.started, Ticks: 1, Process: process,
	}
}

// scheduled reports whether a schedule started the run. A run that a person requested waits for a slot without a limit.
func (n *run) scheduled() bool { return n.spec != "" }

// expiry is the time after which a run that was due does not begin any more: it would have timed out.
func (n *run) expiry(due time.Time) time.Time {
	if n.a.Timeout == 0 {
		return time.Time{}
	}
	return due.Add(n.a.Timeout)
}
