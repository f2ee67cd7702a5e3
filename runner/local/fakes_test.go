package local

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/robfig/cron/v3"
	"go.uber.org/goleak"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// jobWidth is how many targets of a job the runner lists at once.
const jobWidth = 4

// An emitFunc passes a page to the loop. Its error says that the loop has ended.
type emitFunc = func(context.Context, *record.Page) error

var errLoopEnded = errors.New("the loop has ended")

// A fakeAccount is an OpenedAccount with functions of a test.
type fakeAccount struct {
	id      record.Identity
	open    func(ctx context.Context) error
	regions func(ctx context.Context, g *runner.Gate) (runner.Plan, error)
	list    func(ctx context.Context, g *runner.Gate, t record.Target, parent string, emit emitFunc) error
}

func (f *fakeAccount) Identity() record.Identity { return f.id }
func (f *fakeAccount) SignIn() inventory.SignIn  { return inventory.SignIn{Path: "ak AKIA…MPLE"} }
func (f *fakeAccount) Regions(ctx context.Context, g *runner.Gate) (runner.Plan, error) {
	if f.regions == nil {
		return runner.Plan{Regions: []string{"us-east-1", "eu-west-1"}, Complete: true}, nil
	}
	return f.regions(ctx, g)
}

func (f *fakeAccount) Pages(
	ctx context.Context, g *runner.Gate, t record.Target, _, parent string, _ *record.ListStats,
) iter.Seq2[*record.Page, error] {
	return func(yield func(*record.Page, error) bool) {
		ended := false
		emit := func(_ context.Context, p *record.Page) error {
			if ended = ended || !yield(p, nil); ended {
				return errLoopEnded
			}
			return nil
		}
		list := f.list
		if list == nil {
			list = func(context.Context, *runner.Gate, record.Target, string, emitFunc) error {
				return emit(ctx, page("i-1", "i-2"))
			}
		}
		if err := list(ctx, g, t, parent, emit); err != nil && !ended {
			yield(nil, err)
		}
	}
}

// page returns a page with resources of these ids.
func page(ids ...string) *record.Page {
	p := new(record.Page)
	p.Reset(record.NewEnvelope(record.Target{}, record.Identity{}, []byte("{}"), "", ""))
	for _, id := range ids {
		p.BeginItem(1)
		p.Items.Buf = append(p.Items.Buf, fmt.Sprintf(`{"Id":%q}`, id)...)
		n := len(p.Items.Buf)
		p.SetID(0, record.SpanOf(n-len(id)-3, n-1))
		p.EndItem()
		p.EncodeLines("")
	}
	return p
}

// call makes one API call of some duration, as a lister would.
func call(ctx context.Context, g *runner.Gate, op string, took time.Duration, code string) error {
	leave, err := g.Enter(ctx, "ec2", op)
	if err != nil {
		return err
	}
	err = sleep(ctx, took)
	leave(code)
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func every(spec string) runner.Tick {
	s, err := cron.ParseStandard(spec)
	if err != nil {
		panic(err)
	}
	return runner.Tick{Spec: spec, Schedule: s, Kinds: []string{"ec2_instance"}}
}

func account(name string, f *fakeAccount, change ...func(*runner.Account)) *runner.Account {
	a := &runner.Account{
		Name: name,
		AccountSpec: &runner.AccountSpec{
			Timeout: time.Hour,
			Overlap: runner.Skip,
			Kinds:   []runner.Kind{{Name: "ec2_instance", Op: "DescribeInstances"}},
		},
	}
	a.Open = func(ctx context.Context) (runner.OpenedAccount, error) {
		if f.open != nil {
			if err := f.open(ctx); err != nil {
				return nil, err
			}
		}
		return f, nil
	}
	for _, c := range change {
		c(a)
	}
	return a
}

func at(spec string) func(*runner.Account) {
	return func(a *runner.Account) {
		t := every(spec)
		t.Kinds = a.KindNames()
		a.Ticks = append(a.Ticks, t)
	}
}

// A recorder is an observer that records events and violations of the contract.
type recorder struct {
	mu          sync.Mutex
	started     []started
	ended       map[string]record.Status // by run
	statuses    map[string][]record.Status
	missed      map[string]int // "account reason"
	outcomes    map[string]map[record.Target]record.Outcome
	calls       map[string]int // "region op code"
	waits       map[string]time.Duration
	signedIn    map[string]record.Identity
	undelivered []string
	violations  []string
}

type started struct {
	account, run string
	tick, at     time.Time
}

func newRecorder() *recorder {
	return &recorder{ended: map[string]record.Status{}, statuses: map[string][]record.Status{}, missed: map[string]int{},
		outcomes: map[string]map[record.Target]record.Outcome{}, calls: map[string]int{},
		waits: map[string]time.Duration{}, signedIn: map[string]record.Identity{}}
}

func (d *recorder) observe(e runner.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch e := e.(type) {
	case runner.RunStarted:
		d.started = append(d.started, started{e.Account, e.Run, e.Tick, time.Now()})
	case runner.RunEnded:
		if _, ok := d.ended[e.Run]; ok {
			d.violations = append(d.violations, "run "+e.Run)
		}
		d.ended[e.Run] = e.Status
		d.statuses[e.Account] = append(d.statuses[e.Account], e.Status)
	case runner.RunMissed:
		d.missed[e.Account+" "+e.Reason]++
	case runner.TargetEnded:
		d.targetEnded(e.Outcome)
	case runner.TargetProgress:
		if _, ok := d.outcomes[e.Run][e.Target]; ok {
			d.violations = append(d.violations, fmt.Sprint("progress after the end: ", e.Target))
		}
	case runner.CallEnded:
		d.calls[e.Region+" "+e.Op+" "+e.Code]++
	case runner.BudgetWaited:
		d.waits[e.Account+" "+e.Region] += e.Wait
	case runner.SignedIn:
		d.signedIn[e.Account] = e.Identity
	case runner.Undelivered:
		d.undelivered = append(d.undelivered, e.Output+" "+e.Region)
	}
}

func (d *recorder) targetEnded(o record.Outcome) {
	if d.outcomes[o.Run] == nil {
		d.outcomes[o.Run] = map[record.Target]record.Outcome{}
	}
	if _, ok := d.outcomes[o.Run][o.Target]; ok {
		d.violations = append(d.violations, fmt.Sprint("target ", o.Target))
	}
	if _, ok := d.ended[o.Run]; ok {
		d.violations = append(d.violations, fmt.Sprint("a target after its run: ", o.Target))
	}
	if !slices.Contains(record.States[:], o.State) {
		d.violations = append(d.violations, fmt.Sprintf("state %q", o.State))
	}
	d.outcomes[o.Run][o.Target] = o
}

// runs returns when an account's runs started, relative to from.
func (d *recorder) runs(account string, from time.Time) (at []time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.started {
		if s.account == account {
			at = append(at, s.at.Sub(from))
		}
	}
	return at
}

func (d *recorder) missedCount(account, reason string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.missed[account+" "+reason]
}

// all returns the outcomes of the latest run, by "account region kind".
func (d *recorder) all() map[string]record.Outcome {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := map[string]record.Outcome{}
	for _, run := range slices.Sorted(maps.Keys(d.outcomes)) {
		for t, o := range d.outcomes[run] {
			m[t.Account+" "+t.Region+" "+t.Kind] = o
		}
	}
	return m
}

func (d *recorder) status(account string) []record.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.statuses[account])
}

// A fakeOutput records what it receives.
type fakeOutput struct {
	send  func(ctx context.Context, b outputs.Batch) error
	end   func(ctx context.Context, o record.Outcome) error
	mu    sync.Mutex
	pages map[string]int // records, by the batch's id
	ended []record.Outcome
}

func (s *fakeOutput) Send(ctx context.Context, b outputs.Batch) error {
	if s.send != nil {
		if err := s.send(ctx, b); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pages == nil {
		s.pages = map[string]int{}
	}
	s.pages[b.ID] += b.N
	return nil
}
func (s *fakeOutput) End(ctx context.Context, o record.Outcome) error {
	if s.end != nil {
		if err := s.end(ctx, o); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = append(s.ended, o)
	return nil
}
func (s *fakeOutput) records() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.pages {
		n += k
	}
	return n
}

// A harness is a runner with fakes.
type harness struct {
	t        *testing.T
	recorder *recorder
	runner   *runner.Runner
	local    *Engine
	board    *board.Board
	logs     *logLines
	store    *countingStore
	limits   *runner.Limits
}

// A countingStore counts the admitted listings.
type countingStore struct {
	runner.Store
	admitted, peak, released atomic.Int32
	wait                     func(ctx context.Context) // nil: Admit does not wait
}

func (c *countingStore) Admit(ctx context.Context) (leave func()) {
	if c.wait != nil {
		c.wait(ctx)
	}
	inner := c.Store.Admit(ctx)
	if n := c.admitted.Add(1); n > c.peak.Load() {
		c.peak.Store(n)
	}
	return func() {
		inner()
		c.admitted.Add(-1)
		c.released.Add(1)
	}
}

type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(b))
	return len(b), nil
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "")
}

func newHarness(t *testing.T, o runner.Options, lo Options) *harness {
	d, b, logs := newRecorder(), board.New(), &logLines{}
	if o.Limits == nil {
		o.Limits = runner.NewLimits(64, d.observe)
	}
	if o.Store == nil {
		o.Store = runner.NewMemoryStore()
	}
	rooms := &countingStore{Store: o.Store}
	o.Store = rooms
	o.Observe = runner.Tee(d.observe, b.Observe)
	o.Log = slog.New(slog.NewTextHandler(logs, nil))
	lo.Log = o.Log
	r := runner.New(o)
	return &harness{t: t, recorder: d, runner: r, local: New(r, lo), board: b, logs: logs,
		store: rooms, limits: o.Limits}
}

func buildConfiguration(t *testing.T, accounts ...*runner.Account) *runner.Configuration {
	f, err := runner.NewConfiguration(runner.Configuration{Accounts: accounts})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// run runs the engine for a time, then drains it.
func (g *harness) run(d time.Duration) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), d)
	defer cancel()
	if err := g.local.Run(ctx); err != nil {
		g.t.Fatal(err)
	}
	g.checkInvariants()
}

func (g *harness) once(accounts ...string) []runner.RunResult {
	g.t.Helper()
	res, err := g.local.Once(g.t.Context(), accounts...)
	if err != nil {
		g.t.Fatal(err)
	}
	g.checkInvariants()
	return res
}

// checkInvariants checks what must hold after every test.
func (g *harness) checkInvariants() {
	g.t.Helper()
	synctest.Wait() // the last worker releases its slot after it has reported the end of the run
	g.recorder.mu.Lock()
	defer g.recorder.mu.Unlock()
	if len(g.recorder.violations) > 0 {
		g.t.Error("violations:", g.recorder.violations)
	}
	for _, s := range g.recorder.started {
		if _, ok := g.recorder.ended[s.run]; !ok {
			g.t.Errorf("account %s: run %s never ended", s.account, s.run)
		}
	}
	g.local.mu.Lock()
	defer g.local.mu.Unlock()
	if n := len(g.local.accounts) + g.local.queue.Used() + g.local.queue.Accounts(); n > 0 && g.runner.Abandoned() == 0 {
		g.t.Errorf(
			"the engine kept %d accounts with runs, %d slots, %d queues",
			len(g.local.accounts),
			g.local.queue.Used(),
			g.local.queue.Accounts(),
		)
	}
	if n := g.limits.InFlight(); n > 0 {
		g.t.Errorf("%d calls in flight after the end", n)
	}
	if n := g.store.admitted.Load(); n != 0 {
		g.t.Errorf("%d are admitted after the end", n)
	}
	if len(g.board.Listings()) > 0 {
		g.t.Error("the board still shows listings")
	}
}

var errDenied = &record.Fault{Reason: record.AccessDenied, Err: errors.New("you are not authorized")}
