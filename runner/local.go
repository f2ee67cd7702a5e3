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

	"github.com/aws-collector/collector/record"
)

// What Start and Once may say.
var (
	ErrUnknownAccount = errors.New("no such account")
	ErrBusy           = errors.New("an earlier run is still going on")
	ErrNotRunning     = errors.New("the engine is not running")
)

// LocalOptions is what the engine in this process needs besides its runner. Zero values mean what is said.
type LocalOptions struct {
	Slots        int           // targets listed at once, one account at most an eighth of them; default 256, sensibly the calls in flight
	DrainTimeout time.Duration // what running targets get when the program stops; default 25s
	Ticks        Ticks         // where the last instant of each schedule is remembered; nil: nowhere, so no catch-up after a restart
	AtStart      bool          // collect each account once when Run begins, spread by its jitter; then by its schedules
	Log          *slog.Logger
}

// Local runs jobs in this process: a heap of due times, a queue of jobs, and as many goroutines as targets are listed at
// once. Accounts that wait cost no goroutine and get places in turn.
type Local struct {
	r *Runner
	o LocalOptions

	clock    func() time.Time // without a monotonic reading; tests put it
	draining atomic.Bool

	mu        sync.Mutex
	running   bool // Run or Once is at work
	queue     *fairQueue[queued]
	begunRuns int // runs that are not over and have had a place
	accounts  map[string]*accountRuns
	pool      *workerPool    // while running
	wg        sync.WaitGroup // of runs
}

// The classes of jobs that wait.
const (
	followUpClass = 0 // of runs that have begun
	openingClass  = 1
)

// A queued job waits for a place.
type queued struct {
	run *run
	job Job
}

// A lane is an account's runs.
type accountRuns struct{ active, waiting []*run }

// A run is one account at one tick, from when it is due until its last job is over. Its fields are guarded by Local.mu.
type run struct {
	id            string
	a             *Account
	spec          string // "" when a person asked for it
	kinds         []string
	tick          time.Time
	due           time.Time
	expires       time.Time      // after this it is not begun any more; zero: it waits as long as it takes
	configuration *Configuration // held from its start to its end
	ctx           context.Context
	cancel        context.CancelCauseFunc
	begun         bool          // its opening job has a place
	jobsLeft      int           // jobs that are not over
	status        record.Status // how it ended, once a job's bookkeeping has said so
	took          time.Duration
	done          func(RunResult)
}

// overlaps reports whether both list one kind: kinds on schedules of their own do not get in each other's way.
func (n *run) overlaps(o *run) bool {
	return slices.ContainsFunc(n.kinds, func(k string) bool { return slices.Contains(o.kinds, k) })
}

// scheduled reports whether it is not one that somebody asked for: such a run waits for a place as long as it takes.
func (n *run) scheduled() bool { return n.spec != "" }

// expiry is when a run that was due then is not worth beginning any more: it would have timed out.
func (n *run) expiry(due time.Time) time.Time {
	if n.a.Timeout == 0 {
		return time.Time{}
	}
	return due.Add(n.a.Timeout)
}

// NewLocal makes an engine of a runner. One Run or Once at a time.
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
	return &Local{r: r, o: o, queue: newFairQueue[queued](o.Slots), accounts: map[string]*accountRuns{}, clock: func() time.Time { return time.Now().Round(0) }}
}

// Run starts jobs by their schedules until ctx ends. Then nothing new begins; targets at work get the drain time-out,
// then they are cancelled, then given up on; and Run returns. A fleet that is swapped in is followed at once. The error
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
	table := newTimetable(last)
	table.atStart = l.o.AtStart
	keeper := l.newTickSaver()
	defer keeper.close()

	var drained <-chan struct{}
	done, first := ctx.Done(), true
	var fleet *Configuration
	for {
		now := l.clock()
		current, changed := l.r.current()
		if first || current != fleet {
			fleet = current
			l.applySchedules(table, fleet, now, first)
			first = false
		}
		starts, wait, back := table.poll(now)
		if back > 0 {
			l.o.Log.Warn("the clock went back", "by", back)
		}
		for _, s := range starts {
			l.startDue(fleet, s)
		}
		if len(starts) > 0 && drained == nil {
			keeper.save(table.last)
			for _, s := range starts {
				l.r.observer.NextStart(s.key.Account, table.next(s.key.Account))
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

// applySchedules takes a fleet's schedules up. Runs that wait, of accounts that are gone, are dropped.
func (l *Local) applySchedules(table *timetable, f *Configuration, now time.Time, restart bool) {
	if f == nil {
		return
	}
	table.set(f, now, restart)
	for _, a := range f.Accounts {
		l.r.observer.NextStart(a.Name, table.next(a.Name))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, ln := range l.accounts {
		if f.Account(name) == nil {
			for _, n := range slices.Clone(ln.waiting) {
				l.drop(n, record.RunExpired)
			}
		}
	}
}

func (l *Local) markRunning() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running {
		return errors.New("the engine is running already")
	}
	l.running = true
	l.pool = newWorkerPool()
	l.draining.Store(false)
	return nil
}

func (l *Local) markStopped() {
	l.mu.Lock()
	l.running = false
	l.mu.Unlock()
	l.pool.close()
}

// startDue starts what the timetable says, or counts it as missed.
func (l *Local) startDue(f *Configuration, s start) {
	for range s.missed {
		l.r.observer.Missed(s.key.Account, s.reason)
	}
	if s.missed > 0 {
		l.o.Log.Warn("runs were missed", "account", s.key.Account, "reason", s.reason, "runs", s.missed)
	}
	if l.draining.Load() {
		l.r.observer.Missed(s.key.Account, MissedDrain)
		return
	}
	a := f.Account(s.key.Account)
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
	_ = l.admit(n) // what became of it was told to the observer
}

// Start runs an account now: every kind that it lists, by its overlap rule. It does not wait for the run.
func (l *Local) Start(_ context.Context, account string) error {
	n, err := l.requestedRun(account, nil)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running || l.draining.Load() {
		return ErrNotRunning
	}
	return l.admit(n)
}

// requestedRun is a run that somebody asks for.
func (l *Local) requestedRun(account string, over func(RunResult)) (*run, error) {
	f := l.r.Configuration()
	if f == nil || f.Account(account) == nil {
		return nil, fmt.Errorf("account %q: %w", account, ErrUnknownAccount)
	}
	a := f.Account(account)
	return &run{id: NewRun(), a: a, kinds: a.kindNames(), tick: l.clock(), due: time.Now(), done: over}, nil
}

// A RunResult is how a run of [Local.Once] ended.
type RunResult struct {
	Account, Run string
	Status       record.Status
	Took         time.Duration
}

// Once runs each of the accounts once, all its kinds, now; no names: every account. It returns when all have ended, in
// the order asked for. When ctx ends it drains as Run does, and the results say what became of each.
func (l *Local) Once(ctx context.Context, accounts ...string) ([]RunResult, error) {
	if f := l.r.Configuration(); f != nil && len(accounts) == 0 {
		for _, a := range f.Accounts {
			accounts = append(accounts, a.Name)
		}
	}
	results := make([]RunResult, len(accounts))
	runs := make([]*run, len(accounts))
	for i, name := range accounts {
		n, err := l.requestedRun(name, func(res RunResult) { results[i] = res })
		if err != nil {
			return nil, err
		}
		runs[i] = n
	}
	if err := l.markRunning(); err != nil {
		return nil, err
	}
	defer l.markStopped()
	l.mu.Lock()
	for i, n := range runs {
		_ = l.admit(n)
		runs[i] = nil // it lives as long as it runs
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

// admit decides by the overlap rule what becomes of a run that is due. l.mu is held.
func (l *Local) admit(n *run) error {
	l.wg.Add(1)
	ln := l.accountRuns(n.a.Name)
	active, waiting := overlapping(ln.active, n), overlapping(ln.waiting, n)
	switch {
	case len(active)+len(waiting) == 0:
	case n.a.Overlap == Cancel:
		for _, o := range waiting {
			l.drop(o, record.RunExpired)
		}
		for _, o := range active {
			if o.begun {
				o.cancel(errSuperseded)
			} else {
				l.drop(o, record.RunExpired)
			}
		}
	case n.a.Overlap == Queue && !slices.ContainsFunc(waiting, func(o *run) bool { return o.spec != n.spec || n.spec == "" }):
		for _, o := range waiting { // its own next tick has come: it is overtaken by itself
			l.drop(o, record.RunExpired)
		}
	default:
		l.drop(n, record.RunSkipped)
		return fmt.Errorf("account %q: %w", n.a.Name, ErrBusy)
	}
	ln = l.accountRuns(n.a.Name)
	if len(overlapping(ln.active, n)) == 0 {
		l.activate(ln, n)
	} else {
		ln.waiting = append(ln.waiting, n)
	}
	return nil
}

func (l *Local) accountRuns(account string) *accountRuns {
	ln := l.accounts[account]
	if ln == nil {
		ln = &accountRuns{}
		l.accounts[account] = ln
	}
	return ln
}

var errSuperseded = &record.Fault{Reason: record.Interrupted, Hint: "overlap: cancel ends a run when the next one is due; a slower schedule lets it finish",
	Err: errors.New("a newer run took over")}

func overlapping(rs []*run, n *run) (is []*run) {
	for _, o := range rs {
		if n.overlaps(o) {
			is = append(is, o)
		}
	}
	return is
}

// activate makes a run active: its opening job waits for a place. l.mu is held.
func (l *Local) activate(ln *accountRuns, n *run) {
	if n.configuration = l.r.acquire(); n.configuration == nil {
		l.drop(n, record.RunSkipped)
		return
	}
	if n.scheduled() { // it waits for nobody now, but for a place
		n.expires = n.expiry(n.due)
	}
	n.ctx, n.cancel = context.WithCancelCause(context.Background()) // the end of the program comes as a drain
	n.jobsLeft = 1
	ln.active = append(ln.active, n)
	l.queue.push(n.a.Name, openingClass, queued{n, Job{Run: n.id, Tick: n.tick, Account: n.a.Name, Kinds: n.kinds}})
	l.dispatch()
}

// drop ends a run that never began. l.mu is held.
func (l *Local) drop(n *run, s record.Status) {
	why := MissedOverlap
	if l.draining.Load() {
		why = MissedDrain
	}
	l.r.observer.Missed(n.a.Name, why)
	l.r.observer.RunEnded(n.a.Name, n.id, s, 0)
	l.queue.remove(n.a.Name, func(q queued) bool { return q.run == n })
	l.finish(n, RunResult{Account: n.a.Name, Run: n.id, Status: s})
}

// finish takes a run out of its lane, and lets go what waited for it. l.mu is held.
func (l *Local) finish(n *run, res RunResult) {
	is := func(o *run) bool { return o == n }
	ln := l.accounts[n.a.Name]
	ln.active, ln.waiting = slices.DeleteFunc(ln.active, is), slices.DeleteFunc(ln.waiting, is)
	if n.begun {
		l.begunRuns--
	}
	if n.configuration != nil {
		n.cancel(nil)
		if l.r.unref(n.configuration) && n.configuration.Close != nil {
			l.wg.Go(n.configuration.Close) // it may take as long as its outputs do
		}
	}
	if n.done != nil {
		n.done(res)
	}
	for _, w := range slices.Clone(ln.waiting) {
		switch {
		case len(overlapping(ln.active, w)) > 0:
		case l.expired(w):
			l.drop(w, record.RunExpired)
		default:
			ln.waiting = slices.DeleteFunc(ln.waiting, func(o *run) bool { return o == w })
			l.activate(ln, w)
		}
	}
	if len(ln.active)+len(ln.waiting) == 0 {
		delete(l.accounts, n.a.Name)
	}
	l.wg.Done()
}

func (*Local) expired(n *run) bool { return !n.expires.IsZero() && !time.Now().Before(n.expires) }

// dispatch gives free places to jobs. Runs are begun before others go on, so that a start is not late; but no more runs than
// there are places, so that what waits does not grow with the accounts. l.mu is held.
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
			n.begun = true
			l.begunRuns++
			if n.a.Timeout > 0 {
				q.job.Deadline = time.Now().Add(n.a.Timeout)
			}
		}
		l.pool.run(func() {
			l.r.startJob(n.ctx, n.configuration, q.job, (*localSlots)(l), l.shutdownErr, func(res jobResult) { l.jobDone(n, res) })
		})
	}
}

// shutdownErr is why no target begins while the engine drains.
func (l *Local) shutdownErr() error {
	if l.draining.Load() {
		return errStopping
	}
	return nil
}

var errStopping = &record.Fault{Reason: record.Interrupted, Err: errors.New("the program was stopping")}

func (l *Local) jobDone(n *run, res jobResult) {
	if res.err != nil {
		l.o.Log.Error("the run's bookkeeping failed", "error", res.err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, j := range res.followUps {
		l.queue.push(n.a.Name, followUpClass, queued{n, j})
	}
	if res.runEnded { // the last job to be counted; not always the last that comes here
		n.status, n.took = res.status, res.took
	}
	n.jobsLeft += len(res.followUps) - 1
	if n.jobsLeft == 0 {
		l.finish(n, RunResult{Account: n.a.Name, Run: n.id, Status: n.status, Took: n.took})
	}
	l.dispatch()
}

// drain lets nothing new begin and returns a channel that closes when all is over. Targets at work get the drain
// time-out; then they are cancelled, and who ignores that is given up on.
func (l *Local) drain() <-chan struct{} {
	l.mu.Lock()
	l.draining.Store(true)
	for _, name := range slices.Collect(maps.Keys(l.accounts)) {
		ln := l.accounts[name]
		for _, n := range slices.Clone(ln.waiting) {
			l.drop(n, record.RunSkipped)
		}
		for _, n := range slices.Clone(ln.active) {
			if !n.begun {
				l.drop(n, record.RunSkipped)
			}
		}
	}
	l.mu.Unlock()
	over := make(chan struct{})
	go func() {
		l.wg.Wait()
		close(over)
	}()
	hurry := time.AfterFunc(l.o.DrainTimeout, func() {
		cause := &record.Fault{Reason: record.Interrupted, Err: fmt.Errorf("the program was stopping, and the drain time-out of %s is over", l.o.DrainTimeout)}
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, ln := range l.accounts {
			for _, n := range ln.active {
				n.cancel(cause)
			}
		}
	})
	drained := make(chan struct{})
	go func() {
		<-over
		hurry.Stop()
		close(drained)
	}()
	return drained
}

// localSlots is the queue's places, for jobs that can use more than one.
type localSlots Local

func (p *localSlots) tryAcquire(account string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.tryAcquire(account)
}

func (p *localSlots) release(account string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.release(account)
	(*Local)(p).dispatch()
}

func (p *localSlots) hasWaiting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.hasWaiting()
}

var _ Engine = (*Local)(nil)
