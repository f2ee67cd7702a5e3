package runnertest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
)

// A fixture is what a case has: a world, the processes in it, and what they were seen to do.
type fixture struct {
	*testing.T
	World
	aws        *fakeAWS
	events     *recorder
	board      *board.Board // of what all processes report
	directives *runner.Directives
	from       time.Time // the schedules count from here
	jitter     float64   // units
	logs       *syncBuffer

	over chan struct{} // closed at the end of the case

	mu        sync.Mutex
	blocks    []block // the configuration in force
	tasks     []*runner.Task
	processes []*process
	closed    []*atomic.Int32 // how often each configuration was closed
	commits   map[string]int  // "run target": ends that the store took
}

func newFixture(t *testing.T, w World) *fixture {
	directives, err := runner.OpenDirectives("", nil)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{
		T: t, World: w, aws: new(fakeAWS), events: newRecorder(w.Now), board: board.New(), directives: directives,
		from: w.Now().Truncate(time.Microsecond), // as a database keeps it
		logs: new(syncBuffer), over: make(chan struct{}),
		commits: map[string]int{},
	}
}

func (f *fixture) units(n float64) time.Duration { return time.Duration(n * float64(f.Unit)) }

// at is an instant of the schedules' clock.
func (f *fixture) at(units float64) time.Time { return f.from.Add(f.units(units)) }

// waitUntil waits for an instant of the schedules' clock.
func (f *fixture) waitUntil(units float64) { time.Sleep(f.at(units).Sub(f.Now())) }

// since is an instant in units.
func (f *fixture) since(at time.Time) float64 { return float64(at.Sub(f.from)) / float64(f.Unit) }

// A period is a schedule: an instant each so many units, from the beginning of the case.
type period struct {
	from  time.Time
	every time.Duration
}

func (p period) Next(t time.Time) time.Time {
	n := t.Sub(p.from)/p.every + 1
	if t.Before(p.from) {
		n = 1
	}
	return p.from.Add(n * p.every)
}

// every is a schedule of some kinds, or of all.
func (f *fixture) every(units float64, kinds ...string) runner.Tick {
	spec := fmt.Sprintf("every %g units %v", units, kinds)
	return runner.Tick{Spec: spec, Schedule: period{f.from, f.units(units)}, Kinds: kinds}
}

// configure puts a configuration in force, in every process that runs and in those that start later.
func (f *fixture) configure(blocks ...block) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blocks = blocks
	for _, p := range f.processes {
		if !p.dead.Load() {
			p.runner.Swap(f.build(p))
		}
	}
}

// build makes the configuration of a process. f.mu is held.
func (f *fixture) build(p *process) *runner.Configuration {
	var accounts []*runner.Account
	closed := new(atomic.Int32)
	f.closed = append(f.closed, closed)
	for _, b := range f.blocks {
		spec := &runner.AccountSpec{Ticks: b.ticks, Timeout: time.Hour, Overlap: b.overlap}
		if b.timeout > 0 {
			spec.Timeout = f.units(b.timeout)
		}
		for _, k := range b.kinds {
			spec.Kinds = append(spec.Kinds, runner.Kind{Name: k, Op: k})
		}
		for i := range spec.Ticks {
			if len(spec.Ticks[i].Kinds) == 0 {
				spec.Ticks[i].Kinds = b.kinds
			}
		}
		accounts = append(accounts, &runner.Account{Name: b.name, AccountSpec: spec,
			Open: func(context.Context) (runner.OpenedAccount, error) { return &openedBlock{p, b, closed}, nil }})
	}
	conf, err := runner.NewConfiguration(runner.Configuration{
		Accounts: accounts, Tasks: f.tasks, Jitter: f.units(f.jitter), Directives: f.directives,
		Close: func() { closed.Add(1) },
	})
	if err != nil {
		f.Error(err)
	}
	return conf
}

// A process is one that runs an engine.
type process struct {
	f      *fixture
	runner *runner.Runner
	Process

	life  context.Context // ends when the process is killed
	dead  atomic.Bool
	end   context.CancelFunc
	stop  context.CancelFunc
	ended chan struct{} // closed when Run has returned; nil: it does not run
}

// start starts as many processes as run at once, and returns the first one.
func (f *fixture) start(o Options) *process {
	for range f.Processes - 1 {
		f.startOne(o)
	}
	return f.startOne(o)
}

func (f *fixture) startOne(o Options) *process {
	p := f.newProcess(o)
	ctx, stop := context.WithCancel(context.Background())
	p.stop, p.ended = stop, make(chan struct{})
	go func() {
		defer close(p.ended)
		if err := p.Engine.Run(ctx); err != nil && !p.dead.Load() {
			f.Error(err)
		}
	}()
	return p
}

// newProcess makes a process whose engine does not run.
func (f *fixture) newProcess(o Options) *process {
	p := &process{f: f}
	p.life, p.end = context.WithCancel(context.Background())
	o.Log = slog.New(slog.NewTextHandler(f.logs, nil))
	if o.Slots == 0 {
		o.Slots = 64
	}
	if o.DrainTimeout == 0 {
		o.DrainTimeout = f.units(5)
	}
	p.runner = runner.New(runner.Options{
		Limits: runner.NewLimits(o.Slots, nil), Store: &processStore{f.Store(), p}, Log: o.Log, Grace: f.units(0.125),
		Observe: func(e runner.Event) {
			if !p.dead.Load() {
				f.events.observe(p, e)
				f.board.Observe(e)
			}
		},
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	p.runner.Swap(f.build(p))
	p.Process = f.New(p.runner, o)
	f.processes = append(f.processes, p)
	return p
}

// drain stops a process, and waits for its end.
func (p *process) drain() {
	p.stop()
	<-p.ended
}

// kill ends a process as SIGKILL would: nothing that it still does has an effect.
func (p *process) kill() {
	if p.dead.Swap(true) {
		return
	}
	p.Cut()
	p.f.aws.endOf(p)
	p.end()
	if p.ended != nil {
		p.stop()
	}
}

// drainAll stops all processes.
func (f *fixture) drainAll() {
	var wg sync.WaitGroup
	for _, p := range f.running() {
		wg.Go(p.drain)
	}
	wg.Wait()
	f.settle()
}

// killAll ends what still runs, and waits for it.
func (f *fixture) killAll() {
	close(f.over)
	f.mu.Lock()
	all := slices.Clone(f.processes)
	f.mu.Unlock()
	for _, p := range all {
		p.kill()
	}
	for _, p := range all {
		if p.ended != nil {
			<-p.ended
		}
		p.runner.Close()
	}
	f.settle()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, closed := range f.closed {
		if n := closed.Load(); n != 1 && !f.Failed() {
			f.Errorf("configuration %d was closed %d times", i, n)
		}
	}
}

func (f *fixture) settle() {
	if f.Settle != nil {
		f.Settle()
	}
}

// ignore takes time whatever its context does, as a call that ignores its end.
func (f *fixture) ignore(units float64) {
	select {
	case <-time.After(f.units(units)):
	case <-f.over:
	}
}

// running are the processes that were started and neither killed nor drained.
func (f *fixture) running() (all []*process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.processes {
		if p.ended == nil || p.dead.Load() {
			continue
		}
		select {
		case <-p.ended:
		default:
			all = append(all, p)
		}
	}
	return all
}

// check drains what runs, and checks what holds after every case.
func (f *fixture) check() {
	f.Helper()
	f.drainAll()
	f.aws.mu.Lock()
	defer f.aws.mu.Unlock()
	f.events.mu.Lock()
	defer f.events.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range slices.Concat(f.aws.violations, f.events.violations) {
		f.Error(v)
	}
	ticks := map[string]string{}
	for _, s := range f.events.started {
		if _, ok := f.events.ended[s.Run]; !ok && !s.process.dead.Load() {
			f.Errorf("account %s: run %s never ended", s.Account, s.Run)
		}
		i := slices.IndexFunc(f.blocks, func(b block) bool { return b.name == s.Account })
		if i < 0 || len(f.blocks[i].ticks) != 1 {
			continue
		}
		tick := s.Account + s.Tick.String()
		if other, ok := ticks[tick]; ok {
			f.Errorf("account %s: the tick of %s became the runs %s and %s", s.Account, s.Tick, other, s.Run)
		}
		ticks[tick] = s.Run
	}
	for target, n := range f.commits {
		if n > 1 {
			f.Errorf("committed %d times: %s", n, target)
		}
	}
}

// A processStore is the store as one process has it.
type processStore struct {
	runner.Store
	p *process
}

func (s *processStore) Begin(
	ctx context.Context, t record.Target, id record.Identity, run string,
) (inventory.ScopeWriter, error) {
	if s.p.dead.Load() {
		return nil, errDead
	}
	w, err := s.Store.Begin(ctx, t, id, run)
	if err != nil {
		return nil, err
	}
	return &processWriter{w, s.p}, nil
}

func (s *processStore) ActiveTargets(ctx context.Context, account string) ([]record.Target, error) {
	if s.p.dead.Load() {
		return nil, errDead
	}
	return s.Store.ActiveTargets(ctx, account)
}

func (s *processStore) Retire(ctx context.Context, id record.Identity, ts []record.Target, reason string) error {
	if s.p.dead.Load() {
		return errDead
	}
	return s.Store.Retire(ctx, id, ts, reason)
}

func (s *processStore) StartRun(ctx context.Context, r inventory.Run) error {
	if s.p.dead.Load() {
		return errDead
	}
	return s.Store.StartRun(ctx, r)
}

func (s *processStore) EndRun(ctx context.Context, r inventory.Run) error {
	if s.p.dead.Load() {
		return errDead
	}
	return s.Store.EndRun(ctx, r)
}

func (s *processStore) PutSignIn(ctx context.Context, in inventory.SignIn) error {
	if s.p.dead.Load() {
		return errDead
	}
	return s.Store.PutSignIn(ctx, in)
}

type processWriter struct {
	inventory.ScopeWriter
	p *process
}

func (w *processWriter) Page(ctx context.Context, p *record.Page) error {
	if w.p.dead.Load() {
		return errDead
	}
	return w.ScopeWriter.Page(ctx, p)
}

func (w *processWriter) End(ctx context.Context, o record.Outcome) error {
	if w.p.dead.Load() {
		return errDead
	}
	err := w.ScopeWriter.End(ctx, o)
	if err == nil {
		w.p.f.mu.Lock()
		defer w.p.f.mu.Unlock()
		w.p.f.commits[fmt.Sprint(o.Run, " ", o.Target)]++
	}
	return err
}

// A syncBuffer is a log that many processes write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *syncBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *syncBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
