package runner

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
)

// Runner does jobs.
type Runner struct {
	mu    sync.Mutex
	fleet *Fleet
}

// New has no fleet yet: call Swap before an engine runs.
func New(o Options) *Runner { return &Runner{} }

// Swap makes f the fleet of every job that starts from now on.
func (r *Runner) Swap(f *Fleet) {}

// Fleet is the current one, nil before the first Swap. It is for looking at, not for holding.
func (r *Runner) Fleet() *Fleet { return r.fleet }

// Close lets go of the current fleet: it closes when its last job is done. For the end of the program.
func (r *Runner) Close() {}

// Abandoned is the number of works that were given up on and have not returned: a gauge.
func (r *Runner) Abandoned() int { return 0 }

// Do runs one job.
func (r *Runner) Do(ctx context.Context, j Job) (follow []Job, err error) { return nil, nil }

// Memory is the Ledger and Runs of one process: no history.
type Memory struct{}

// NewMemory remembers nothing yet.
func NewMemory() *Memory { return &Memory{} }

// Status is the run's, once all its targets have ended.
func (t Tally) Status() record.Status { return record.Success }

// Tee tells each of several observers; nil ones are left out.
func Tee(os ...Observer) Observer { return nil }

// FileTicks keeps Ticks in a JSON file.
func FileTicks(path string, log func(string)) Ticks { return nil }

// Accounts is every account known, sorted by name.
func (b *Board) Accounts() []AccountInfo { return nil }

// Targets is every target, sorted by account, region, kind.
func (b *Board) Targets() iter.Seq[TargetInfo] { return nil }

// Listings is every target at work, oldest first.
func (b *Board) Listings() []Listing { return nil }

// Subscribe returns a channel that is nudged when something has changed.
func (b *Board) Subscribe() (nudge <-chan struct{}, cancel func()) { return nil, nil }

// Now is the gauge of time for tests.
var _ = time.Now
