package local

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

func TestAbandonedListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		late := make(chan error, 1)
		f := &fakeAccount{
			list: func(ctx context.Context, g *runner.Gate, t record.Target, _ string, emit emitFunc) error {
				if t.Region != "us-east-1" {
					return emit(ctx, page("i-1"))
				}
				leave, err := g.Enter(ctx, "ec2", "DescribeInstances")
				if err != nil {
					return err
				}
				<-release // ignores ctx
				leave("")
				late <- emit(ctx, page("i-late"))
				return nil
			},
		}
		output := &fakeOutput{}
		g := newHarness(t, runner.Options{}, Options{})
		conf := buildConfiguration(t, account("a", f, func(a *runner.Account) { a.Timeout = time.Minute }))
		conf.Output = output
		g.runner.Swap(conf)
		from := time.Now()
		res := g.once()
		if took := time.Since(from); took != time.Minute+3*time.Second {
			t.Error("took", took)
		}
		g.want(map[string]string{"us-east-1 ec2_instance": "timeout stuck", "eu-west-1 ec2_instance": "ok"})
		if res[0].Status != record.RunTimeout || g.runner.Abandoned() != 1 {
			t.Error(res, g.runner.Abandoned())
		}
		if log := strings.Join(g.logs.lines, ""); strings.Count(log, "call abandoned") != 1 ||
			!strings.Contains(log, "region=us-east-1 kind=ec2_instance") {
			t.Error(log)
		}
		close(release)
		if err := <-late; !errors.Is(err, errLoopEnded) {
			t.Error("a page that came late was taken:", err)
		}
		synctest.Wait()
		if g.runner.Abandoned() != 0 || output.records() != 1 || len(output.ended) != 2 {
			t.Error(g.runner.Abandoned(), output.records(), len(output.ended))
		}
		g.checkInvariants()
	})
}

// An abandoned fan-out releases every slot that it had.
func TestAbandonedFanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := &fakeAccount{
			regions: func(context.Context, *runner.Gate) (runner.Plan, error) {
				return runner.Plan{Regions: []string{"r"}}, nil
			},
			list: func(ctx context.Context, _ *runner.Gate, t record.Target, parent string, emit emitFunc) error {
				if t.Kind == "ec2_route" {
					<-release
				}
				return emit(ctx, page("x-1", "x-2", "x-3"))
			}}
		g := newHarness(t, runner.Options{}, Options{})
		g.runner.Swap(buildConfiguration(t, account("a", f, family, func(a *runner.Account) { a.Timeout = time.Minute })))
		if _, err := g.local.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.want(map[string]string{
			"r ec2_instance": "ok",
			"r ec2_table":    "ok",
			"r ec2_route":    "timeout stuck",
			"r ec2_hop":      "skipped parent",
		})
		synctest.Wait() // each slot is released by a goroutine of its own
		g.local.mu.Lock()
		if g.local.queue.Used() != 0 {
			t.Error(g.local.queue.Used(), "slots were not released")
		}
		g.local.mu.Unlock()
		close(release)
		synctest.Wait()
		g.checkInvariants()
	})
}

// An output that ignores its context fails its target, and the slot is released. The target ends in the store. When the
// output returns at last, its loop sends and stores nothing more.
func TestAbandonedOutput(t *testing.T) {
	for _, where := range []string{"send", "end"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				bad := &fakeOutput{}
				if where == "send" {
					bad.send = func(_ context.Context, b outputs.Batch) error {
						if b.Target.Region == "us-east-1" {
							<-release
						}
						return nil
					}
				} else {
					bad.end = func(_ context.Context, o record.Outcome) error {
						if o.Region == "us-east-1" {
							<-release
						}
						return nil
					}
				}
				store := &recordingStore{
					MemoryStore: runner.NewMemoryStore(), calls: map[string]int{}, boom: func(string, int) bool { return false },
				}
				f := &fakeAccount{list: func(ctx context.Context, _ *runner.Gate, _ record.Target, _ string, emit emitFunc) error {
					if err := emit(ctx, page("i-1", "i-2")); err != nil {
						return err
					}
					return emit(ctx, page("i-3"))
				}}
				g := newHarness(t, runner.Options{Store: store}, Options{})
				conf := buildConfiguration(t, account("a", f, func(a *runner.Account) { a.Timeout = time.Minute }))
				conf.Output = bad
				g.runner.Swap(conf)
				g.once()
				pages := 4
				if where == "send" {
					pages = 2
					g.want(map[string]string{"us-east-1 ec2_instance": "timeout stuck", "eu-west-1 ec2_instance": "ok"})
				} else {
					g.want(map[string]string{"us-east-1 ec2_instance": "ok", "eu-west-1 ec2_instance": "ok"})
				}
				if len(bad.ended) != 1 {
					t.Error("the output got an end while it still held the page:", bad.ended)
				}
				stored := func() {
					t.Helper()
					all := g.recorder.all()
					for _, o := range store.ended {
						if want := all["a "+o.Region+" ec2_instance"]; o != want {
							t.Errorf("stored %+v, reported %+v", o, want)
						}
					}
					if len(store.ended) != 2 || store.calls["page"] != pages {
						t.Errorf("%d ends and %d pages are stored", len(store.ended), store.calls["page"])
					}
				}
				stored()
				sent := len(bad.pages)
				close(release)
				synctest.Wait()
				stored()
				if where == "send" {
					sent++ // the page that the output had
				}
				if len(bad.pages) != sent {
					t.Errorf("%d pages were sent, want %d", len(bad.pages), sent)
				}
				g.checkInvariants()
			})
		})
	}
}

// A failing store stops neither listings nor outputs.
type failingStore struct {
	*runner.MemoryStore
	begin, page, end error
	boom             bool
}

type failingWriter struct {
	inventory.ScopeWriter
	l *failingStore
}

func (l *failingStore) Begin(
	ctx context.Context, t record.Target, id record.Identity, run string,
) (inventory.ScopeWriter, error) {
	if l.begin != nil {
		return nil, l.begin
	}
	v, err := l.MemoryStore.Begin(ctx, t, id, run)
	return failingWriter{v, l}, err
}
func (v failingWriter) Page(context.Context, *record.Page) error {
	if v.l.boom {
		panic("store")
	}
	return v.l.page
}
func (v failingWriter) End(context.Context, record.Outcome) error { return v.l.end }

func TestFailingStoreAndOutputs(t *testing.T) {
	full := errors.New("disk full")
	for _, c := range []struct {
		name  string
		store failingStore
		send  func(context.Context, outputs.Batch) error
		state string
		lost  []string
		sent  int // records that the output received
	}{
		{"the store does not begin", failingStore{begin: full}, nil, "ok", []string{"store eu-west-1", "store us-east-1"}, 6},
		{"the store takes no page", failingStore{page: full}, nil, "ok", []string{"store eu-west-1", "store us-east-1"}, 6},
		{"the store does not commit", failingStore{end: inventory.ErrFenced}, nil, "ok",
			[]string{"store eu-west-1", "store us-east-1"}, 6},
		{"the store panics", failingStore{boom: true}, nil, "partial panic",
			[]string{"store eu-west-1", "store us-east-1"}, 6},
		{"an output fails", failingStore{}, func(context.Context, outputs.Batch) error { return full }, "ok",
			[]string{"outputs eu-west-1", "outputs us-east-1"}, 0},
		{"an output panics", failingStore{}, func(context.Context, outputs.Batch) error { panic("output") }, "partial panic",
			[]string{"outputs eu-west-1", "outputs us-east-1"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.store.MemoryStore = runner.NewMemoryStore()
				f := &fakeAccount{
					list: func(ctx context.Context, _ *runner.Gate, _ record.Target, _ string, emit emitFunc) error {
						return errors.Join(emit(ctx, page("i-1")), emit(ctx, page("i-2", "i-3")))
					},
				}
				g := newHarness(t, runner.Options{Store: &c.store}, Options{})
				var calls atomic.Int64
				output := &fakeOutput{send: func(ctx context.Context, b outputs.Batch) error {
					if calls.Add(1); c.send != nil {
						return c.send(ctx, b)
					}
					return nil
				}}
				conf := buildConfiguration(t, account("a", f))
				conf.Output = output
				g.runner.Swap(conf)
				g.once()
				g.want(map[string]string{"us-east-1 ec2_instance": c.state, "eu-west-1 ec2_instance": c.state})
				slices.Sort(g.recorder.undelivered)
				if !slices.Equal(g.recorder.undelivered, c.lost) {
					t.Errorf("undelivered: %v, want %v", g.recorder.undelivered, c.lost)
				}
				wantCalls, wantEnds := int64(4), 2
				if c.state == "partial panic" && c.send != nil { // after a panic the output is not called for the target
					wantCalls, wantEnds = 2, 0
				}
				if output.records() != c.sent || len(output.ended) != wantEnds || calls.Load() != wantCalls {
					t.Errorf("the output has %d records and %d ends after %d calls",
						output.records(), len(output.ended), calls.Load())
				}
				if info, _ := g.board.Account("a"); info.Undelivered[strings.Fields(c.lost[0])[0]] != 2 {
					t.Error("the board:", info.Undelivered)
				}
			})
		})
	}
}

func family(a *runner.Account) {
	a.Kinds = []runner.Kind{
		{Name: "ec2_instance"},
		{Name: "ec2_table"},
		{Name: "ec2_route", Parent: "ec2_table"},
		{Name: "ec2_hop", Parent: "ec2_route"},
	}
}

func TestParentAndChild(t *testing.T) {
	type calls struct {
		sync.Mutex
		under map[string][]string
		most  int
		now   int
	}
	family := func(fail func(kind, parent string) error, second []string) (*fakeAccount, *calls) {
		c := &calls{under: map[string][]string{}}
		return &fakeAccount{
			regions: func(context.Context, *runner.Gate) (runner.Plan, error) {
				return runner.Plan{Regions: []string{"r"}}, nil
			},
			list: func(ctx context.Context, _ *runner.Gate, t record.Target, parent string, emit emitFunc) error {
				c.Lock()
				c.under[t.Kind] = append(c.under[t.Kind], parent)
				if t.Kind == "ec2_route" {
					c.now++
					c.most = max(c.most, c.now)
				}
				c.Unlock()
				err := sleep(ctx, time.Second)
				c.Lock()
				defer c.Unlock()
				if t.Kind == "ec2_route" {
					c.now--
				}
				if err == nil && fail != nil {
					err = fail(t.Kind, parent)
				}
				if err != nil {
					return err
				}
				switch t.Kind {
				case "ec2_table":
					if len(c.under[t.Kind]) > 1 && second != nil {
						return emit(ctx, page(second...))
					}
					return emit(ctx, page("t-1", "t-2", "t-3", "t-4", "t-5", "t-6"))
				case "ec2_route":
					return emit(ctx, page(parent+"-r"))
				}
				return emit(ctx, page("x"))
			}}, c
	}
	six := []string{"t-1", "t-2", "t-3", "t-4", "t-5", "t-6"}
	for _, c := range []struct {
		name      string
		kinds     []string
		fail      func(kind, parent string) error
		want      map[string]string
		under     []string // of ec2_route
		delivered int      // records that reached the output
		second    []string // tables that their second listing shows, if not all
	}{
		{"all of them", nil, nil, map[string]string{"r ec2_instance": "ok", "r ec2_table": "ok", "r ec2_route": "ok",
			"r ec2_hop": "ok"}, six, 1 + 6 + 6 + 6, nil},
		{"a child whose parents are not asked for", []string{"ec2_hop"}, nil, map[string]string{"r ec2_hop": "ok"},
			six, 6, nil},
		{"the parent fails", nil, func(kind, _ string) error {
			if kind == "ec2_table" {
				return errDenied
			}
			return nil
		}, map[string]string{"r ec2_instance": "ok", "r ec2_table": "denied access_denied",
			"r ec2_route": "skipped parent", "r ec2_hop": "skipped parent"}, nil, 1, nil},
		{"a parent that is not asked for fails", []string{"ec2_route"}, func(kind, _ string) error {
			if kind == "ec2_table" {
				return errDenied
			}
			return nil
		}, map[string]string{"r ec2_route": "denied access_denied"}, nil, 0, nil},
		{"a parent goes away meanwhile", []string{"ec2_table", "ec2_route"}, func(kind, parent string) error {
			if kind == "ec2_route" && parent == "t-3" {
				return code("InvalidRouteTableID.NotFound")
			}
			return nil
		}, map[string]string{"r ec2_table": "ok", "r ec2_route": "ok"}, six, 6 + 5,
			[]string{"t-1", "t-2", "t-4", "t-5", "t-6"}},
		{"a child fails under its first parent", []string{"ec2_table", "ec2_route"}, func(kind, parent string) error {
			if kind == "ec2_route" {
				return errDenied
			}
			return nil
		}, map[string]string{"r ec2_table": "ok", "r ec2_route": "denied access_denied"},
			[]string{"t-1", "t-2", "t-3", "t-4"}, 6, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, calls := family(c.fail, c.second)
				a := account("a", f, func(a *runner.Account) {
					a.Parents = []runner.Kind{{Name: "ec2_table"}, {Name: "ec2_route", Parent: "ec2_table"}}
					for _, k := range []runner.Kind{{Name: "ec2_instance"}, {Name: "ec2_table"},
						{Name: "ec2_route", Parent: "ec2_table"}, {Name: "ec2_hop", Parent: "ec2_route"}} {
						if c.kinds == nil || slices.Contains(c.kinds, k.Name) {
							a.Kinds = append(a.Kinds, k)
						}
					}
					a.Kinds = a.Kinds[1:] // account's own
				})
				g := newHarness(t, runner.Options{}, Options{})
				output := &fakeOutput{}
				conf := buildConfiguration(t, a)
				conf.Output = output
				g.runner.Swap(conf)
				g.once()
				g.want(c.want)
				slices.Sort(calls.under["ec2_route"])
				if !slices.Equal(calls.under["ec2_route"], c.under) {
					t.Error("listed under", calls.under["ec2_route"])
				}
				if output.records() != c.delivered {
					t.Errorf("%d records delivered, want %d", output.records(), c.delivered)
				}
				if len(c.under) > 0 && calls.most != jobWidth {
					t.Errorf("%d at once, want %d", calls.most, jobWidth)
				}
			})
		})
	}
	t.Run("no row for the parent", func(t *testing.T) {
		if _, err := runner.NewConfiguration(runner.Configuration{Accounts: []*runner.Account{account("a", nil,
			func(a *runner.Account) { a.Kinds = []runner.Kind{{Name: "x", Parent: "y"}} })}}); err == nil {
			t.Error("accepted")
		}
		twice := runner.Configuration{Accounts: []*runner.Account{account("a", nil), account("a", nil)}}
		if _, err := runner.NewConfiguration(twice); err == nil {
			t.Error("two of one name accepted")
		}
	})
}

// A recordingStore records the ends of targets, and panics when boom says so.
type recordingStore struct {
	*runner.MemoryStore
	boom func(what string, nth int) bool
	slow string // the first call of this lasts until its context ends

	mu    sync.Mutex
	calls map[string]int
	ended []record.Outcome
}

func (l *recordingStore) at(ctx context.Context, what string) error {
	l.mu.Lock()
	l.calls[what]++
	n := l.calls[what]
	l.mu.Unlock()
	if l.boom(what, n) {
		panic("store")
	}
	if what == l.slow && n == 1 {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return nil
}

func (l *recordingStore) Begin(
	ctx context.Context, t record.Target, id record.Identity, run string,
) (inventory.ScopeWriter, error) {
	if err := l.at(ctx, "begin"); err != nil {
		return nil, err
	}
	v, err := l.MemoryStore.Begin(ctx, t, id, run)
	return recordingWriter{v, l}, err
}

type recordingWriter struct {
	inventory.ScopeWriter
	l *recordingStore
}

func (v recordingWriter) Page(ctx context.Context, _ *record.Page) error { return v.l.at(ctx, "page") }

func (v recordingWriter) End(ctx context.Context, o record.Outcome) error {
	if err := v.l.at(ctx, "end"); err != nil {
		return err
	}
	if err := v.ScopeWriter.End(ctx, o); err != nil {
		return err
	}
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	v.l.ended = append(v.l.ended, o)
	return nil
}

// Wherever the store panics, the target ends in it as failed, and never as complete.
func TestPanicEndsTheTargetInTheStore(t *testing.T) {
	for _, what := range []string{"begin", "page", "end"} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &recordingStore{
					MemoryStore: runner.NewMemoryStore(),
					calls:       map[string]int{},
					boom:        func(at string, nth int) bool { return at == what && nth == 1 },
				}
				f := &fakeAccount{
					regions: func(context.Context, *runner.Gate) (runner.Plan, error) {
						return runner.Plan{Regions: []string{"r"}}, nil
					},
					list: func(ctx context.Context, _ *runner.Gate, _ record.Target, _ string, emit emitFunc) error {
						return emit(ctx, page("i-1"))
					},
				}
				g := newHarness(t, runner.Options{Store: l}, Options{})
				g.runner.Swap(buildConfiguration(t, account("a", f)))
				g.once()
				g.want(map[string]string{"r ec2_instance": "partial panic"})
				if len(l.ended) != 1 || l.ended[0].Reason != record.Panicked || l.ended[0].State.Complete() {
					t.Errorf("the store was ended %+v", l.ended)
				}
			})
		})
	}
}

// Where the run's timeout cuts off a call of the store, the store did not fail, and learns how the target ended.
func TestTimeoutWithinTheStore(t *testing.T) {
	for _, cut := range []string{"begin", "page"} {
		t.Run(cut, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &recordingStore{MemoryStore: runner.NewMemoryStore(), calls: map[string]int{}}
				l.boom = func(string, int) bool { return false }
				l.slow = cut
				g := newHarness(t, runner.Options{Store: l}, Options{})
				g.runner.Swap(buildConfiguration(t, account("a", slow(0), func(a *runner.Account) { a.Timeout = time.Minute })))
				g.once()
				g.want(map[string]string{"us-east-1 ec2_instance": "timeout timeout"})
				if len(l.ended) != 1 || l.ended[0].State != record.Timeout || len(g.recorder.undelivered) > 0 {
					t.Errorf("the store was ended %+v; undelivered: %v", l.ended, g.recorder.undelivered)
				}
			})
		})
	}
}

// What hangs in the store is abandoned: the target is begun again and stored as it was reported. The writer that hung
// cannot commit, and gets no further page.
func TestHungWriterIsFenced(t *testing.T) {
	for _, hung := range []string{"begin", "page"} {
		t.Run(hung, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				l := &recordingStore{MemoryStore: runner.NewMemoryStore(), calls: map[string]int{}}
				l.boom = func(at string, nth int) bool {
					if at == hung && nth == 1 {
						<-release
					}
					return false
				}
				f := &fakeAccount{
					regions: func(context.Context, *runner.Gate) (runner.Plan, error) {
						return runner.Plan{Regions: []string{"r"}}, nil
					},
					list: func(ctx context.Context, _ *runner.Gate, _ record.Target, _ string, emit emitFunc) error {
						if err := emit(ctx, page("i-1")); err != nil {
							return err
						}
						return emit(ctx, page("i-2"))
					},
				}
				g := newHarness(t, runner.Options{Store: l}, Options{})
				g.runner.Swap(buildConfiguration(t, account("a", f, func(a *runner.Account) { a.Timeout = time.Minute })))
				g.once()
				g.want(map[string]string{"r ec2_instance": "timeout stuck"})
				stored := func() {
					t.Helper()
					l.mu.Lock()
					defer l.mu.Unlock()
					if len(l.ended) != 1 || l.ended[0].Reason != record.Stuck || l.calls["begin"] != 2 || l.calls["end"] != 1 {
						t.Errorf("the store was called %v and ended %+v", l.calls, l.ended)
					}
				}
				stored()
				close(release)
				synctest.Wait()
				stored()
				if n := l.calls["page"]; n > 1 {
					t.Errorf("%d pages are stored", n)
				}
				g.checkInvariants()
			})
		})
	}
}
