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
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

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
	Limits   *Limits  // required
	Store    Store    // nil: a new Memory
	Runs     Runs     // nil: a new Memory
	Observer Observer // nil: nobody
	Log      *slog.Logger

	// Grace is what a work gets after its deadline, or after it was cancelled, before it is given up on. Default 3s.
	Grace time.Duration
	// EndTimeout is what outputs get for the end of a target, also after the run's time-out. Default 5s. The ledger, for which many
	// targets may wait, and which has to write down what an account of any size has, has a patience of its own.
	EndTimeout time.Duration
	// OnAbandoned hears of a work that was given up on, so that what it holds can be replaced. holdsPage says that at that
	// moment a page was lent to an output or to the ledger. nil: nobody.
	OnAbandoned func(t record.Target, holdsPage bool)
}

// A Runner does jobs, and knows the fleet that they are done for.
type Runner struct {
	o        Options
	observer *tee
	log      *slog.Logger

	mu            sync.Mutex
	configuration *Configuration
	changed       chan struct{} // closed at the next Swap

	claims       claims
	plans        plans
	retireOutage outage
	abandoned    atomic.Int64
}

// New has no fleet yet: Swap one in before an engine runs.
func New(o Options) *Runner {
	if o.Store == nil {
		o.Store = NewMemoryStore()
	}
	if o.Runs == nil {
		o.Runs = NewMemoryStore()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Grace == 0 {
		o.Grace = 3 * time.Second
	}
	if o.EndTimeout == 0 {
		o.EndTimeout = 5 * time.Second
	}
	if o.OnAbandoned == nil {
		o.OnAbandoned = func(record.Target, bool) {}
	}
	return &Runner{o: o, observer: Tee(o.Observer).(*tee), log: o.Log, changed: make(chan struct{}), retireOutage: outage{
		failureMessage:  "what is no longer listed could not be retired; it is tried again at each run of the account",
		recoveryMessage: "what is no longer listed is retired again",
	}}
}

// Swap makes f the fleet of every run that starts from now on. Runs under way finish with the one that they began with;
// when the last of them is done, the old fleet is closed.
func (r *Runner) Swap(f *Configuration) {
	r.mu.Lock()
	old := r.configuration
	f.refs++
	r.configuration = f
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()

	kinds := make(map[string][]string, len(f.Accounts))
	for _, a := range f.Accounts {
		kinds[a.Name] = a.kindNames()
	}
	r.claims.reset(f)
	r.plans.retain(kinds)
	r.observer.Configured(kinds)
	r.release(old)
}

// Configuration is the current one, nil before the first Swap. It is for looking at: who works with it must hold it.
func (r *Runner) Configuration() *Configuration {
	f, _ := r.current()
	return f
}

// current is the fleet and a channel that closes when another takes its place.
func (r *Runner) current() (*Configuration, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.configuration, r.changed
}

// acquire keeps the current fleet open until release.
func (r *Runner) acquire() *Configuration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.configuration != nil {
		r.configuration.refs++
	}
	return r.configuration
}

func (r *Runner) release(f *Configuration) {
	if r.unref(f) && f.Close != nil {
		f.Close()
	}
}

// unref ends a hold, and reports whether it was the last: then the fleet is to be closed.
func (r *Runner) unref(f *Configuration) bool {
	if f == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f.refs--
	return f.refs == 0
}

// Close lets go of the current fleet, which closes when its last job is done. It is for the end of the program; there
// is no fleet afterwards. Safe twice.
func (r *Runner) Close() {
	r.mu.Lock()
	old := r.configuration
	r.configuration = nil
	r.mu.Unlock()
	r.release(old)
}

// Abandoned is the number of works that were given up on and have not returned: a gauge.
func (r *Runner) Abandoned() int { return int(r.abandoned.Load()) }

// RetireRemoved tells the ledger which of these accounts the current fleet no longer has: their targets end as
// account_removed. For after a reload that was accepted, never for a narrowed run.
func (r *Runner) RetireRemoved(ctx context.Context, accounts []string) error {
	f := r.Configuration()
	var errs []error
	for _, name := range accounts {
		if f == nil || f.Account(name) != nil {
			continue
		}
		ts, err := r.o.Store.ActiveTargets(ctx, name)
		if err == nil && len(ts) > 0 {
			err = r.o.Store.Retire(ctx, record.Identity{}, ts, AccountRemoved)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("account %q: retire: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// Do runs one job and returns when it is over, in whichever process an engine put it. The follow-ups are its result, so
// that an engine with a queue can insert them in the transaction that completes the job: exactly one fan-out. How the
// targets ended is told to the Observer, the sinks and the ledger, and is no error: the error says that the run's
// bookkeeping failed, or that there is no fleet, and that the job may be tried again.
func (r *Runner) Do(ctx context.Context, j Job) (follow []Job, err error) {
	f := r.acquire()
	if f == nil {
		return nil, errors.New("no configuration is loaded")
	}
	defer r.release(f)
	over := make(chan jobResult, 1)
	// Apart, because a work that ignores its context keeps its goroutine, and not this one.
	go r.startJob(ctx, f, j, &fixedSlots{left: jobWidth - 1}, nil, func(res jobResult) { over <- res })
	res := <-over
	return res.followUps, res.err
}

// NewRun makes a run's id, a ULID of now.
func NewRun() string { return ulid.Make().String() }

// fixedSlots bounds a job that no engine gives places to.
type fixedSlots struct {
	mu   sync.Mutex
	left int
}

func (p *fixedSlots) tryAcquire(string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left <= 0 {
		return false
	}
	p.left--
	return true
}
func (p *fixedSlots) release(string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left++
}
func (*fixedSlots) hasWaiting() bool { return false }
