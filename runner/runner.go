// Package runner decides when and how targets are listed, and how each listing ended. It knows neither AWS nor a
// database nor a metric: what it needs from them is in the interfaces [OpenedAccount], [Output] and [Store].
//
// The flow: an engine makes a [Job] for an account and a tick and passes it to [Runner.StartJob] or [Runner.Do]. A job
// without a region opens the account; its follow-ups are one job for each region. A job with a region lists the kinds
// there, page by page, into the [Output] and the [Store]. At its end the engine commits it. Events go to an [Observer].
// Begin at [Runner.StartJob], then read listing.run, the flow of one target, with the core loop.
//
// Package local has the engine in this process, and the tests that run this package, on fakes in synctest bubbles.
// Package runnertest tests that engines do alike.
// Package board is the observer that page, API and metrics read; package runlog logs the runs.
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

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A Job is what an engine schedules: names and times, no secret and no configuration, so that it can be JSON on a
// queue. Region "" opens the account (sign-in, regions); the follow-up jobs are the account's regions. A job covers
// more than one target because a kind with a parent must run after that parent, and because all kinds of a job share
// the API budgets of one account and region.
type Job struct {
	Run      string    `json:"run"`      // a ULID for each account and tick
	Tick     time.Time `json:"tick"`     // the scheduled instant; the start is later by the account's jitter
	Deadline time.Time `json:"deadline"` // of the run
	Account  string    `json:"account"`
	Region   string    `json:"region,omitempty"`
	Kinds    []string  `json:"kinds,omitempty"`   // empty in an opening job: every kind of the account
	Attempt  int       `json:"attempt,omitempty"` // increases when an engine runs the same job again
}

// Key names the job within its run.
func (j Job) Key() string { return j.Account + "/" + j.Region }

// Options configure a Runner. A zero value means the default named here.
type Options struct {
	Limits  *Limits  // required
	Store   Store    // nil: a new MemoryStore
	Observe Observer // nil: none
	Log     *slog.Logger
	Process inventory.Process // this one, for the store

	// Grace is how long a call may continue after its deadline or its cancellation, before it is abandoned. Default 3s.
	Grace time.Duration
	// EndTimeout is how long outputs may take to finish a target, also after the run's timeout. Default 5s. It does not
	// apply to the store: many targets may wait for it, and an account may have much to write. See storeContext.
	EndTimeout time.Duration
	// Claim is called after each sign-in of an account, with the AWS account that it is. An error refuses it: its targets
	// end with that error. nil: none is refused.
	Claim func(account string, id record.Identity) error
}

// A Runner does jobs for the current [Configuration].
type Runner struct {
	o       Options
	observe Observer
	log     *slog.Logger

	mu            sync.Mutex
	configuration *Configuration
	changed       chan struct{} // closed at the next Swap

	active       activeJobs
	plans        plans
	retireOutage outage
	abandoned    atomic.Int64
	runWriter    *runWriter
}

// New returns a Runner without a configuration: call Swap before an engine runs.
func New(o Options) *Runner {
	if o.Store == nil {
		o.Store = NewMemoryStore()
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
	if o.Claim == nil {
		o.Claim = func(string, record.Identity) error { return nil }
	}
	return &Runner{
		o: o, observe: Tee(o.Observe), log: o.Log, changed: make(chan struct{}), runWriter: newRunWriter(o.Log),
		retireOutage: outage{
			failureMessage:  "retiring removed targets failed; the next run retries",
			recoveryMessage: "removed targets retired again",
		},
	}
}

// Swap makes conf the configuration of every run that starts from now on. Runs in progress finish with the one that
// they started with; the old configuration closes when the last of them is done.
func (r *Runner) Swap(conf *Configuration) {
	r.mu.Lock()
	old := r.configuration
	conf.refs++
	r.configuration = conf
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()

	kinds := make(map[string][]string, len(conf.Accounts)+len(conf.Tasks))
	for _, a := range conf.Accounts {
		kinds[a.Name] = a.KindNames()
	}
	for _, t := range conf.Tasks {
		kinds[t.Name] = []string{t.Kind}
	}
	r.plans.retain(kinds)
	r.observe(Configured{kinds, conf})
	r.releaseNow(old)
}

// Configuration is the current one, nil before the first Swap. It may close at any time: a caller may read it, but must
// not call its outputs.
func (r *Runner) Configuration() *Configuration {
	conf, _ := r.Current()
	return conf
}

// Close releases the current configuration, which closes when its last job is done. It is for the end of the program:
// there is no configuration afterwards. It may be called twice.
func (r *Runner) Close() {
	r.mu.Lock()
	old := r.configuration
	r.configuration = nil
	r.mu.Unlock()
	r.releaseNow(old)
}

// Abandoned is the number of abandoned calls that have not returned yet.
func (r *Runner) Abandoned() int { return int(r.abandoned.Load()) }

// RetireRemoved retires the targets of those accounts that the current configuration no longer has: they end as
// account_removed. Call it after an accepted reload, never for a narrowed run.
func (r *Runner) RetireRemoved(ctx context.Context, accounts []string) error {
	conf := r.Configuration()
	var errs []error
	for _, name := range accounts {
		if conf == nil || conf.Account(name) != nil {
			continue
		}
		ts, err := r.o.Store.ActiveTargets(ctx, name)
		if err == nil && len(ts) > 0 {
			err = r.o.Store.Retire(ctx, record.Identity{}, ts, inventory.AccountRemoved)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("account %q: retire: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// Do runs one job, commits it once, after all its targets have ended, and returns the error of the commit. How the
// targets ended goes to the observer, the outputs and the store, and is not an error. A job that is done again lists
// nothing that its run has stored, and its commit counts nothing twice. Without a configuration nothing is done.
func (r *Runner) Do(ctx context.Context, j Job, commit Commit) error {
	conf := r.Acquire()
	if conf == nil {
		return errors.New("no configuration is loaded")
	}
	defer r.releaseNow(conf)
	done := make(chan error, 1)
	// In a goroutine of its own, because a call that ignores its context would keep this one.
	go r.StartJob(ctx, conf, j, JobEngine{
		Slots: &fixedSlots{left: jobWidth - 1}, Commit: commit, Done: func(err error) { done <- err },
	})
	return <-done
}

// NewRun makes the id of a run: a ULID of the current time.
func NewRun() string { return ulid.Make().String() }

// fixedSlots are the slots of a job that runs without an engine.
type fixedSlots struct {
	mu   sync.Mutex
	left int
}

func (p *fixedSlots) TryAcquire(string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left <= 0 {
		return false
	}
	p.left--
	return true
}

func (p *fixedSlots) Release(string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left++
}

func (*fixedSlots) HasWaiting() bool { return false }
