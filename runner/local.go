package runner

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/aws-collector/collector/record"
)

// What Start may say.
var (
	ErrUnknownAccount = errors.New("no such account")
	ErrBusy           = errors.New("an earlier run is still going on")
	ErrNotRunning     = errors.New("the engine is not running")
)

// LocalOptions is what the engine in this process needs besides its runner.
type LocalOptions struct {
	Places       int           // targets listed at once, one account at most an eighth of them; default 256, sensibly the calls in flight
	DrainTimeout time.Duration // what running targets get when the program stops; default 25s
	Ticks        Ticks         // where the last instant of each schedule is remembered; nil: nowhere, so no catch-up after a restart
	Log          *slog.Logger
}

// Local runs jobs in this process.
type Local struct{ r *Runner }

// NewLocal makes an engine of a runner.
func NewLocal(r *Runner, o LocalOptions) *Local { return &Local{r: r} }

// Run starts jobs by their schedules until ctx ends, then drains.
func (l *Local) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Start runs an account now.
func (l *Local) Start(ctx context.Context, account string) error { return nil }

// A RunResult is how a run of [Local.Once] ended.
type RunResult struct {
	Account, Run string
	Status       record.Status
	Took         time.Duration
}

// Once runs each of the accounts once, all its kinds, now; no names: every account. It returns when all have ended, in
// the order asked for. When ctx ends it drains as Run does, and the results say what became of each.
func (l *Local) Once(ctx context.Context, accounts ...string) ([]RunResult, error) { return nil, nil }

var _ Engine = (*Local)(nil)
