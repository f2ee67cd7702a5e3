// Package local is the engine in one process: it starts the runner's jobs by schedule or on request, gives them slots,
// and drains them at the end. A timetable says what is due, [runner.AccountRuns] what overlap allows. Begin at
// [Engine.Run]. What every engine does is tested by package runnertest; the tests here are of what is its own, and of
// the runner's jobs and listings.
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/internal/fairqueue"
)

// Options configure an Engine. A zero value means the default named here.
type Options struct {
	// Slots is how many targets are listed at once; one account may use an eighth of them. Set it to the limit on calls in
	// flight. Default 256.
	Slots        int
	DrainTimeout time.Duration // for the runs in progress when the program stops; default 25s
	Ticks        Ticks         // stores the last tick of each schedule; nil: a restart runs no missed tick
	AtStart      bool          // also run each account once when Run begins, spread by its jitter
	Log          *slog.Logger
}

// An Engine runs jobs in this process: a heap of due times, a queue of jobs, and a goroutine for each target that is
// being listed. Accounts that wait use no goroutine and get slots in turn.
type Engine struct {
	r *runner.Runner
	o Options

	clock    func() time.Time // without a monotonic reading; replaced in tests
	draining atomic.Bool

	mu        sync.Mutex
	running   bool // Run or Once is running
	queue     *fairqueue.Queue[queued]
	begunRuns int // runs in progress that have had a slot
	accounts  map[string]*accountRuns
	tasks     map[string]taskRun // in progress, by name
	wg        sync.WaitGroup     // of runs
}

var _ runner.Engine = (*Engine)(nil)

// New makes the engine of a runner. Only one Run or Once may be active at a time.
func New(r *runner.Runner, o Options) *Engine {
	if o.Slots == 0 {
		o.Slots = 256
	}
	if o.DrainTimeout == 0 {
		o.DrainTimeout = 25 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Engine{
		r: r, o: o,
		queue:    fairqueue.New[queued](o.Slots),
		accounts: map[string]*accountRuns{},
		tasks:    map[string]taskRun{},
		clock:    func() time.Time { return time.Now().Round(0) },
	}
}

// Run implements [runner.Engine]. Its error is that of reading the last run times.
func (e *Engine) Run(ctx context.Context) error {
	var last map[TickKey]time.Time
	if e.o.Ticks != nil {
		var err error
		if last, err = e.o.Ticks.Load(); err != nil {
			return err
		}
	}
	if err := e.markRunning(); err != nil {
		return err
	}
	defer e.markStopped()
	defer e.r.FlushRuns()
	table := newTimetable(last)
	table.atStart = e.o.AtStart
	saver := e.newTickSaver()
	defer saver.close()

	var drained <-chan struct{}
	done, first := ctx.Done(), true
	var conf *runner.Configuration
	for {
		now := e.clock()
		current, changed := e.r.Current()
		if first || current != conf {
			conf = current
			e.applySchedules(table, conf, now, first)
			first = false
		}
		starts, wait, back := table.poll(now)
		if back > 0 {
			e.o.Log.Warn("system clock went back", "duration", back)
		}
		for _, s := range starts {
			e.startDue(conf, s)
		}
		if len(starts) > 0 && drained == nil {
			saver.save(table.last)
			for _, s := range starts {
				e.r.Observe(runner.NextStart{Account: s.key.Account, At: table.next(s.key.Account)})
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-done:
			done, drained = nil, e.drain()
		case <-drained:
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}

// applySchedules follows the schedules of a configuration, and drops the waiting runs of removed accounts.
func (e *Engine) applySchedules(table *timetable, conf *runner.Configuration, now time.Time, restart bool) {
	if conf == nil {
		return
	}
	logNextRuns(e.o.Log, table.set(conf, now, restart))
	for name := range conf.Schedules() {
		e.r.Observe(runner.NextStart{Account: name, At: table.next(name)})
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, runs := range e.accounts {
		if conf.Account(name) == nil {
			for _, n := range slices.Clone(runs.waiting) {
				e.drop(n, record.RunExpired)
			}
		}
	}
}

func (e *Engine) markRunning() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running {
		return errors.New("the engine is already running")
	}
	e.running = true
	e.draining.Store(false)
	return nil
}

func (e *Engine) markStopped() {
	e.mu.Lock()
	e.running = false
	e.mu.Unlock()
}

// startDue starts a run that is due, or counts it as missed.
func (e *Engine) startDue(conf *runner.Configuration, s start) {
	for range s.missed {
		e.r.Observe(runner.RunMissed{Account: s.key.Account, Reason: s.reason})
	}
	if s.missed > 0 {
		e.o.Log.Warn("runs missed", "account", s.key.Account, "reason", s.reason, "runs", s.missed)
		e.r.StoreMissed(inventory.Run{Account: s.key.Account, Tick: s.tick, Missed: s.reason, Ticks: s.missed})
	}
	reason := ""
	switch {
	case e.draining.Load():
		reason = runner.MissedDrain
	case conf.Directives.Paused(s.key.Account) != nil:
		reason = runner.MissedPaused
	}
	if reason != "" {
		e.r.Observe(runner.RunMissed{Account: s.key.Account, Reason: reason})
		e.r.StoreMissed(inventory.Run{Account: s.key.Account, Tick: s.tick, Missed: reason, Ticks: 1})
		return
	}
	if t := conf.Task(s.key.Account); t != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		_, _ = e.startTask(t, s.tick, nil) // the observer was told the error
		return
	}
	a := conf.Account(s.key.Account)
	now := time.Now()
	n := &run{id: runner.NewRun(), a: a, spec: s.key.Spec, kinds: s.kinds, tick: s.tick, due: now}
	if len(n.kinds) == 0 {
		n.kinds = a.KindNames()
	}
	n.expires = n.expiry(now)
	if next := now.Add(s.next.Sub(e.clock())); !s.next.IsZero() && (n.expires.IsZero() || next.Before(n.expires)) {
		n.expires = next
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	_ = e.admit(n) // the observer was told the error
}

// Start implements [runner.Engine].
func (e *Engine) Start(_ context.Context, account string) (string, error) {
	conf, err := e.lockFor(account)
	if err != nil {
		return "", err
	}
	defer e.mu.Unlock()
	return e.startRequested(conf, account, nil)
}

// lockFor returns the configuration, with e.mu held, if a person may act on its account now.
func (e *Engine) lockFor(account string) (*runner.Configuration, error) {
	conf := e.r.Configuration()
	if conf == nil || !conf.Has(account) {
		return nil, fmt.Errorf("account %q: %w", account, runner.ErrUnknownAccount)
	}
	e.mu.Lock()
	if !e.running || e.draining.Load() {
		e.mu.Unlock()
		return nil, runner.ErrNotRunning
	}
	return conf, nil
}

// startRequested starts a run that a person requested, of an account or task of the configuration. e.mu is held.
func (e *Engine) startRequested(conf *runner.Configuration, name string, done func(runner.RunResult)) (string, error) {
	if t := conf.Task(name); t != nil {
		return e.startTask(t, e.clock(), done)
	}
	a := conf.Account(name)
	n := &run{id: runner.NewRun(), a: a, kinds: a.KindNames(), tick: e.clock(), due: time.Now(), done: done}
	return n.id, e.admit(n)
}

// Cancel implements [runner.Engine].
func (e *Engine) Cancel(_ context.Context, account string, cause error) ([]string, error) {
	if _, err := e.lockFor(account); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	if t, ok := e.tasks[account]; ok {
		t.cancel(cause)
		return []string{t.run}, nil
	}
	runs := e.accounts[account]
	if runs == nil {
		return nil, nil
	}
	var ids []string
	for _, n := range slices.Concat(runs.waiting, runs.active) { // those that wait first, so that none of them starts
		if !slices.Contains(runs.waiting, n) && !slices.Contains(runs.active, n) {
			continue // it ended with one before it
		}
		ids = append(ids, n.id)
		if n.begun {
			n.cancel(cause)
		} else {
			n.cancelled = true
			e.drop(n, record.RunSkipped)
		}
	}
	return ids, nil
}

// Once implements [runner.Engine].
func (e *Engine) Once(ctx context.Context, accounts ...string) ([]runner.RunResult, error) {
	conf := e.r.Configuration()
	if conf != nil && len(accounts) == 0 {
		for _, a := range conf.Accounts {
			accounts = append(accounts, a.Name)
		}
		for _, t := range conf.Tasks {
			accounts = append(accounts, t.Name)
		}
	}
	for _, name := range accounts {
		if conf == nil || !conf.Has(name) {
			return nil, fmt.Errorf("account %q: %w", name, runner.ErrUnknownAccount)
		}
	}
	results := make([]runner.RunResult, len(accounts))
	if err := e.markRunning(); err != nil {
		return nil, err
	}
	defer e.markStopped()
	defer e.r.FlushRuns()
	e.mu.Lock()
	for i, name := range accounts {
		_, _ = e.startRequested(conf, name, func(res runner.RunResult) { results[i] = res })
	}
	e.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		e.wg.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		<-e.drain()
		<-idle
	}
	return results, nil
}

// drain stops runs from beginning and returns a channel that closes when all have ended. Those in progress may use the
// drain timeout: what they finish need not be listed again after a restart. Then they are cancelled, and abandoned if
// they ignore that.
func (e *Engine) drain() <-chan struct{} {
	e.mu.Lock()
	e.draining.Store(true)
	for _, name := range slices.Collect(maps.Keys(e.accounts)) {
		e.applyDecision(name, e.overlapInput(e.accounts[name], "").Finished())
	}
	e.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		e.wg.Wait()
		close(ended)
	}()
	timeout := time.AfterFunc(e.o.DrainTimeout, func() {
		cause := &record.Fault{
			Reason: record.Interrupted,
			Err:    fmt.Errorf("the program is stopping: drain_timeout of %s is over", e.o.DrainTimeout),
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, runs := range e.accounts {
			for _, n := range runs.active {
				n.cancel(cause)
			}
		}
		for _, t := range e.tasks {
			t.cancel(cause)
		}
	})
	drained := make(chan struct{})
	go func() {
		<-ended
		timeout.Stop()
		close(drained)
	}()
	return drained
}
