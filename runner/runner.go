// Package runner decides when and how targets are listed, and how each of them ended. It knows neither AWS nor a
// database nor a metric: what it needs of them is in the interfaces [Opened], [Sink], [Ledger], [Runs] and [Observer],
// and all its tests run on fakes inside synctest bubbles.
//
// Data flows so: an [Engine] ([Local] is the one in this process) makes a [Job] of an account and a tick and hands it to
// [Runner.Do]. A job without a region opens the account and returns a job for each of its regions; a job with one lists
// the kinds there, page by page, into every [Sink] and the [Ledger]. What happens is told to an [Observer]; [Board] is
// the one that everything reads. Begin at [Runner.Do].
package runner

import (
	"context"
	"log/slog"
	"time"

	"github.com/aws-collector/collector/record"
)

// A Job is what an engine carries: names and times, no secret, no configuration; JSON on a queue. Region "" opens the
// account (sign-in, regions) and its follow-ups are the account's regions. A job is wider than a target on purpose:
// kinds that need a parent run after it, and whoever holds the job holds the API budget of that account and region.
type Job struct {
	Run      string    `json:"run"`      // ULID; one an account and tick
	Tick     time.Time `json:"tick"`     // the instant that the schedule names; the start is later by the account's jitter
	Deadline time.Time `json:"deadline"` // of the run
	Account  string    `json:"account"`
	Region   string    `json:"region,omitempty"`
	Kinds    []string  `json:"kinds,omitempty"`   // empty, in an opening job: every kind of the account
	Attempt  int       `json:"attempt,omitempty"` // counts up when an engine runs the same job again
}

// Key names the job within its run.
func (j Job) Key() string { return j.Account + "/" + j.Region }

// An Engine decides when and where jobs run.
type Engine interface {
	// Run starts jobs by the schedules of the runner's fleet until ctx ends, then drains and returns.
	Run(ctx context.Context) error
	// Start runs an account now, all its kinds, by the account's overlap rule. It does not wait for the run.
	// Its error is ErrUnknownAccount, ErrBusy or ErrNotRunning.
	Start(ctx context.Context, account string) error
}

// Options is what a Runner is made of. Zero values mean what is said.
type Options struct {
	Limits *Limits  // required
	Ledger Ledger   // nil: a new Memory
	Runs   Runs     // nil: a new Memory
	Watch  Observer // nil: nobody
	Log    *slog.Logger

	// Grace is what a work gets after its deadline, or after it was cancelled, before it is given up on. Default 3s.
	Grace time.Duration
	// EndTimeout is what outputs and ledger get for the end of a target, also after the run's time-out. Default 5s.
	EndTimeout time.Duration
	// Abandon hears of a work that was given up on, so that what it holds can be replaced. holdsPage says that at that
	// moment a page was lent to an output or to the ledger. nil: nobody.
	Abandon func(t record.Target, holdsPage bool)
}
