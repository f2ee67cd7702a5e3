package runner

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
)

// Errors of Start and Once.
var (
	ErrUnknownAccount = errors.New("unknown account")
	ErrBusy           = errors.New("an earlier run is still in progress")
	ErrNotRunning     = errors.New("the engine is not running")
)

// LocalOptions configure a Local engine. A zero value means the default named here.
type LocalOptions struct {
	// Slots is how many targets are listed at once; one account may use an eighth of them. Set it to the limit on calls in
	// flight. Default 256.
	Slots        int
	DrainTimeout time.Duration // for the runs in progress when the program stops; default 25s
	Ticks        Ticks         // stores the last tick of each schedule; nil: a restart runs no missed tick
	AtStart      bool          // also run each account once when Run begins, spread by its jitter
	Log          *slog.Logger
}

// A Local engine runs jobs in this process: a heap of due times, a queue of jobs, and a goroutine for each target that
// is being listed. Accounts that wait use no goroutine and get slots in turn.
type Local struct {
	r *Runner
	o LocalOptions

	clock    func() time.Time // without a monotonic reading; replaced in tests
	draining atomic.Bool

	mu        sync.Mutex
	running   bool // Run or Once is running
	queue     *fairQueue[queued]
	begunRuns int // runs in progress that have had a slot
	accounts  map[string]*accountRuns
	tasks     map[string]context.CancelCauseFunc // of the runs in progress, by name
	wg        sync.WaitGroup                     // of runs
}

// The classes of waiting jobs.
const (
	followUpClass = 0 // follow-up jobs, of runs that have begun
	openingClass  = 1
)

// A queued job waits for a slot.
type queued struct {
	run *run
	job Job
}

// accountRuns are the runs of an account.
type accountRuns struct{ active, waiting []*run }

// NewLocal makes the engine of a runner. Only one Run or Once may be active at a time.
func NewLocal(r *Runner, o LocalOptions) *Local {
	if o.Slots == 0 {
		o.Slots = 256
	}
	if o.DrainTimeout == 0 {
		o.DrainTimeout = 25 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Local{
		r: r, o: o,
		queue:    newFairQueue[queued](o.Slots),
		accounts: map[string]*accountRuns{},
		tasks:    map[string]context.CancelCauseFunc{},
		clock:    func() time.Time { return time.Now().Round(0) },
	}
}

// Run starts jobs by their schedules until ctx ends. Then no run begins; those in progress may use the drain timeout,
// then they are cancelled, then abandoned; and Run returns. It follows a new configuration at once. Its error
// is that of reading the last run times.
func (l *Local) Run(ctx context.Context) error {
	var last map[TickKey]time.Time
	if l.o.Ticks != nil {
		var err error
		if last, err = l.o.Ticks.Load(); err != nil {
			return err
		}
	}
	if err := l.markRunning(); err != nil {
		return err
	}
	defer l.markStopped()
	defer l.r.runWriter.flush(l.r.o.EndTimeout)
	table := newTimetable(last)
	table.atStart = l.o.AtStart
	saver := l.newTickSaver()
	defer saver.close()

	var drained <-chan struct{}
	done, first := ctx.Done(), true
	var conf *Configuration
	for {
		now := l.clock()
		current, changed := l.r.current()
		if first || current != conf {
			conf = current
			l.applySchedules(table, conf, now, first)
			first = false
		}
		starts, wait, back := table.poll(now)
		if back > 0 {
			l.o.Log.Warn("system clock went back", "duration", back)
		}
		for _, s := range starts {
			l.startDue(conf, s)
		}
		if len(starts) > 0 && drained == nil {
			saver.save(table.last)
			for _, s := range starts {
				l.r.observe(NextStart{s.key.Account, table.next(s.key.Account)})
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-done:
			done, drained = nil, l.drain()
		case <-drained:
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}

// applySchedules follows the schedules of a configuration, and drops the waiting runs of removed accounts.
func (l *Local) applySchedules(table *timetable, conf *Configuration, now time.Time, restart bool) {
	if conf == nil {
		return
	}
	logNextRuns(l.o.Log, table.set(conf, now, restart))
	for name := range conf.schedules() {
		l.r.observe(NextStart{name, table.next(name)})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, runs := range l.accounts {
		if conf.Account(name) == nil {
			for _, n := range slices.Clone(runs.waiting) {
				l.drop(n, record.RunExpired)
			}
		}
	}
}

func (l *Local) markRunning() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running {
		return errors.New("the engine is already running")
	}
	l.running = true
	l.draining.Store(false)
	return nil
}

func (l *Local) markStopped() {
	l.mu.Lock()
	l.running = false
	l.mu.Unlock()
}

// startDue starts a run that is due, or counts it as missed.
func (l *Local) startDue(conf *Configuration, s start) {
	for range s.missed {
		l.r.observe(RunMissed{s.key.Account, s.reason})
	}
	if s.missed > 0 {
		l.o.Log.Warn("runs missed", "account", s.key.Account, "reason", s.reason, "runs", s.missed)
		l.storeMissed(inventory.Run{Account: s.key.Account, Tick: s.tick, Missed: s.reason, Ticks: s.missed})
	}
	if l.draining.Load() {
		l.r.observe(RunMissed{s.key.Account, MissedDrain})
		l.storeMissed(inventory.Run{Account: s.key.Account, Tick: s.tick, Missed: MissedDrain, Ticks: 1})
		return
	}
	if t := conf.Task(s.key.Account); t != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		_ = l.startTask(t, s.tick, nil) // the observer was told the error
		return
	}
	a := conf.Account(s.key.Account)
	now := time.Now()
	n := &run{id: NewRun(), a: a, spec: s.key.Spec, kinds: s.kinds, tick: s.tick, due: now}
	if len(n.kinds) == 0 {
		n.kinds = a.kindNames()
	}
	n.expires = n.expiry(now)
	if next := now.Add(s.next.Sub(l.clock())); !s.next.IsZero() && (n.expires.IsZero() || next.Before(n.expires)) {
		n.expires = next
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.admit(n) // the observer was told the error
}

// storeMissed stores ticks for which no run began.
func (l *Local) storeMissed(r inventory.Run) {
	if r.ID == "" {
		r.ID = NewRun()
	}
	if r.Status == "" {
		r.Status = record.RunSkipped
	}
	r.Ended, r.Process = time.Now(), l.r.o.Process
	l.r.runWriter.add(func(ctx context.Context) error { return l.r.o.Store.EndRun(ctx, r) })
}

// Start runs all kinds of an account now, by its overlap rule, or a task. It does not wait for the run.
func (l *Local) Start(_ context.Context, account string) error {
	conf := l.r.Configuration()
	if conf == nil || !conf.Has(account) {
		return fmt.Errorf("account %q: %w", account, ErrUnknownAccount)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running || l.draining.Load() {
		return ErrNotRunning
	}
	return l.startRequested(conf, account, nil)
}

// startRequested starts a run that a person requested, of an account or task of the configuration. l.mu is held.
func (l *Local) startRequested(conf *Configuration, name string, done func(RunResult)) error {
	if t := conf.Task(name); t != nil {
		return l.startTask(t, l.clock(), done)
	}
	a := conf.Account(name)
	return l.admit(&run{id: NewRun(), a: a, kinds: a.kindNames(), tick: l.clock(), due: time.Now(), done: done})
}

// A RunResult is how a run of [Local.Once] ended.
type RunResult struct {
	Account, Run string
	Task         bool
	Status       record.Status
	Took         time.Duration
}

// Once runs all kinds of each named account now and once; without names, of every account, and every task. It returns
// when all have ended, in the order of the names. When ctx ends it drains as Run does, and the results have the status
// of each.
func (l *Local) Once(ctx context.Context, accounts ...string) ([]RunResult, error) {
	conf := l.r.Configuration()
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
			return nil, fmt.Errorf("account %q: %w", name, ErrUnknownAccount)
		}
	}
	results := make([]RunResult, len(accounts))
	if err := l.markRunning(); err != nil {
		return nil, err
	}
	defer l.markStopped()
	defer l.r.runWriter.flush(l.r.o.EndTimeout)
	l.mu.Lock()
	for i, name := range accounts {
		_ = l.startRequested(conf, name, func(res RunResult) { results[i] = res })
	}
	l.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		l.wg.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		<-l.drain()
		<-idle
	}
	return results, nil
}

// admit starts, queues or skips a run that is due, by the overlap rule. l.mu is held.
func (l *Local) admit(n *run) error {
	l.wg.Add(1)
	runs := l.accountRuns(n.a.Name)
	d := l.situation(runs, n.a.Overlap).Due(n.ref())
	runs.waiting = append(runs.waiting, n) // until it is decided
	l.obey(n.a.Name, d)
	if len(d.Skip) > 0 {
		return fmt.Errorf("account %q: %w", n.a.Name, ErrBusy)
	}
	return nil
}

// ref is the run as the overlap rules see it.
func (n *run) ref() RunRef {
	return RunRef{ID: n.id, Schedule: n.spec, Kinds: n.kinds, Begun: n.begun, Deadline: n.expires}
}

// situation is what the overlap rules look at. l.mu is held.
func (l *Local) situation(runs *accountRuns, rule Overlap) AccountRuns {
	refs := func(rs []*run) (list []RunRef) {
		for _, o := range rs {
			list = append(list, o.ref())
		}
		return list
	}
	return AccountRuns{
		Rule: rule, Active: refs(runs.active), Waiting: refs(runs.waiting), Draining: l.draining.Load(), Now: time.Now(),
	}
}

// obey does what the overlap rules decided. A run that ends may let others start, which is decided anew: a run that is
// not there any more is left alone. l.mu is held.
func (l *Local) obey(account string, d Decision) {
	find := func(id string) *run {
		runs := l.accounts[account]
		if runs == nil {
			return nil
		}
		for _, n := range slices.Concat(runs.active, runs.waiting) {
			if n.id == id {
				return n
			}
		}
		return nil
	}
	for _, end := range []struct {
		ids    []string
		status record.Status
	}{{d.Expire, record.RunExpired}, {d.Skip, record.RunSkipped}} {
		for _, id := range end.ids {
			if n := find(id); n != nil {
				l.drop(n, end.status)
			}
		}
	}
	for _, id := range d.Cancel {
		if n := find(id); n != nil {
			n.cancel(errSuperseded)
		}
	}
	for _, id := range d.Start {
		runs := l.accounts[account]
		if runs == nil {
			return
		}
		i := slices.IndexFunc(runs.waiting, func(n *run) bool { return n.id == id })
		if i < 0 {
			continue
		}
		n := runs.waiting[i]
		runs.waiting = slices.Delete(runs.waiting, i, i+1)
		l.activate(runs, n)
	}
}

func (l *Local) accountRuns(account string) *accountRuns {
	runs := l.accounts[account]
	if runs == nil {
		runs = &accountRuns{}
		l.accounts[account] = runs
	}
	return runs
}

var errSuperseded = &record.Fault{
	Reason: record.Interrupted,
	Hint:   "Set a slower schedule, or another overlap rule: cancel ends a run when the next one is due.",
	Err:    errors.New("cancelled by a newer run of the account"),
}

// activate makes a run active: its opening job waits for a slot. l.mu is held.
func (l *Local) activate(runs *accountRuns, n *run) {
	if n.configuration = l.r.acquire(); n.configuration == nil {
		l.drop(n, record.RunSkipped)
		return
	}
	if n.scheduled() { // it waits only for a slot now
		n.expires = n.expiry(n.due)
	}
	n.ctx, n.cancel = context.WithCancelCause(context.Background()) // drain ends it
	n.jobsLeft = 1
	runs.active = append(runs.active, n)
	l.queue.push(n.a.Name, openingClass, queued{n, Job{Run: n.id, Tick: n.tick, Account: n.a.Name, Kinds: n.kinds}})
	l.dispatch()
}

// drop ends a run that never began. l.mu is held.
func (l *Local) drop(n *run, s record.Status) {
	reason := MissedOverlap
	if l.draining.Load() {
		reason = MissedDrain
	}
	l.r.observe(RunMissed{n.a.Name, reason})
	l.r.observe(RunEnded{n.a.Name, n.id, s, 0})
	row := n.row(l.r.o.Process)
	row.Status, row.Missed = s, reason
	l.storeMissed(row)
	l.queue.remove(n.a.Name, func(q queued) bool { return q.run == n })
	l.finish(n, RunResult{Account: n.a.Name, Run: n.id, Status: s})
}

// finish removes a run from its account, and activates the runs that waited for it. l.mu is held.
func (l *Local) finish(n *run, res RunResult) {
	isThis := func(o *run) bool { return o == n }
	runs := l.accounts[n.a.Name]
	runs.active, runs.waiting = slices.DeleteFunc(runs.active, isThis), slices.DeleteFunc(runs.waiting, isThis)
	if n.begun {
		l.begunRuns--
	}
	if n.configuration != nil {
		n.cancel(nil)
		if l.r.unref(n.configuration) && n.configuration.Close != nil {
			l.wg.Go(n.configuration.Close) // its outputs may take long
		}
	}
	if n.done != nil {
		n.done(res)
	}
	l.obey(n.a.Name, l.situation(runs, "").Finished())
	if len(runs.active)+len(runs.waiting) == 0 {
		delete(l.accounts, n.a.Name)
	}
	l.wg.Done()
}

func (*Local) expired(n *run) bool { return !n.expires.IsZero() && !time.Now().Before(n.expires) }

// dispatch gives free slots to jobs. New runs go before follow-up jobs, so that a start is not late. But no more runs
// begin than there are slots, so that the number of waiting jobs does not grow with the accounts. l.mu is held.
func (l *Local) dispatch() {
	for {
		first := openingClass
		if l.begunRuns >= l.o.Slots {
			first = followUpClass
		}
		account, q, ok := l.queue.pop(first)
		if !ok {
			return
		}
		n := q.run
		if !n.begun && l.expired(n) {
			l.queue.release(account)
			l.drop(n, record.RunExpired)
			continue
		}
		if !n.begun {
			n.begun, n.started = true, time.Now()
			l.begunRuns++
			if n.a.Timeout > 0 {
				q.job.Deadline = n.started.Add(n.a.Timeout)
			}
			row := n.row(l.r.o.Process)
			l.r.runWriter.add(func(ctx context.Context) error { return l.r.o.Store.StartRun(ctx, row) })
		}
		go l.r.startJob(n.ctx, n.configuration, q.job, jobEngine{
			slots: (*localSlots)(l), draining: l.draining.Load,
			commit: func(ctx context.Context, c Completion) (Progress, error) { return l.commit(ctx, n, c) },
			done:   func(err error) { l.jobDone(n, err) },
		})
	}
}

// commit counts a job of a run, and queues its follow-ups.
func (l *Local) commit(_ context.Context, n *run, c Completion) (Progress, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := n.progress.commit(c)
	if p.Repeated {
		return p, nil
	}
	for _, j := range c.FollowUps {
		l.queue.push(n.a.Name, followUpClass, queued{n, j})
	}
	n.jobsLeft += len(c.FollowUps)
	if p.Ended { // the job of the last commit is not always the last to return
		n.status, n.took = p.Tally.Status(), p.Tally.duration()
		row := n.row(l.r.o.Process)
		p.Tally.store(&row)
		l.r.runWriter.addEnd(func(ctx context.Context) error { return l.r.o.Store.EndRun(ctx, row) })
	}
	l.dispatch()
	return p, nil
}

func (l *Local) jobDone(n *run, err error) {
	if err != nil {
		l.o.Log.Error("committing a job failed", "account", n.a.Name, "run", n.id, "error", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n.jobsLeft--
	if n.jobsLeft == 0 {
		l.finish(n, RunResult{Account: n.a.Name, Run: n.id, Status: n.status, Took: n.took})
	}
	l.dispatch()
}

// drain stops runs from beginning and returns a channel that closes when all have ended. Those in progress may use the
// drain timeout: what they finish need not be listed again after a restart. Then they are cancelled, and abandoned if
// they ignore that.
func (l *Local) drain() <-chan struct{} {
	l.mu.Lock()
	l.draining.Store(true)
	for _, name := range slices.Collect(maps.Keys(l.accounts)) {
		l.obey(name, l.situation(l.accounts[name], "").Finished())
	}
	l.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		l.wg.Wait()
		close(ended)
	}()
	timeout := time.AfterFunc(l.o.DrainTimeout, func() {
		cause := &record.Fault{
			Reason: record.Interrupted,
			Err:    fmt.Errorf("the program is stopping: drain_timeout of %s is over", l.o.DrainTimeout),
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, runs := range l.accounts {
			for _, n := range runs.active {
				n.cancel(cause)
			}
		}
		for _, cancel := range l.tasks {
			cancel(cause)
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

var _ Engine = (*Local)(nil)
