package runner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

// states returns "region kind": "state reason" of one account.
func (g *harness) states() map[string]string {
	m := map[string]string{}
	for key, o := range g.recorder.all() {
		_, rest, _ := strings.Cut(key, " ")
		m[rest] = strings.TrimSpace(string(o.State) + " " + string(o.Reason))
	}
	return m
}

func (g *harness) want(want map[string]string) {
	g.t.Helper()
	if got := g.states(); !maps.Equal(got, want) {
		g.t.Errorf("targets:\n got %v\nwant %v", got, want)
	}
}

type code string

func (c code) Error() string     { return "api error " + string(c) }
func (c code) ErrorCode() string { return string(c) }

func TestEveryWayToEnd(t *testing.T) {
	type list = func(ctx context.Context, g *Gate, t record.Target, parent string, emit emitFunc) error
	both := func(state string) map[string]string {
		return map[string]string{"us-east-1 ec2_instance": state, "eu-west-1 ec2_instance": state}
	}
	fails := func(err error) list {
		return func(context.Context, *Gate, record.Target, string, emitFunc) error {
			return err
		}
	}
	half := func(err error) list {
		return func(ctx context.Context, _ *Gate, _ record.Target, _ string, emit emitFunc) error {
			return errors.Join(emit(ctx, page("i-1")), err)
		}
	}
	for _, c := range []struct {
		name   string
		f      *fakeAccount
		change func(*Account)
		want   map[string]string
		status record.Status
	}{
		{"all ok", &fakeAccount{}, nil, both("ok"), record.Success},
		{"denied", &fakeAccount{list: fails(code("UnauthorizedOperation"))}, nil,
			both("denied access_denied"), record.RunFailed},
		{"expected denial", &fakeAccount{list: fails(code("UnauthorizedOperation"))},
			func(a *Account) { a.Expected = func(region, kind string) bool { return kind == "ec2_instance" } },
			both("denied access_denied"), record.Success},
		{"throttled, though denials are expected", &fakeAccount{list: fails(code("RequestLimitExceeded"))},
			func(a *Account) { a.Expected = func(string, string) bool { return true } },
			both("throttled throttled"), record.RunFailed},
		{"half a listing", &fakeAccount{list: half(code("InternalError"))}, nil,
			both("partial error"), record.RunPartial},
		{"a panic", &fakeAccount{list: func(context.Context, *Gate, record.Target, string, emitFunc) error {
			panic("nil map")
		}}, nil, both("error panic"), record.RunFailed},
		{"no sign-in", &fakeAccount{open: func(context.Context) error {
			return &record.Fault{Reason: record.AssumeDenied, Err: errors.New("not authorized to perform sts:AssumeRole")}
		}}, func(a *Account) { a.Regions = []string{"eu-north-1"} },
			map[string]string{"eu-north-1 ec2_instance": "auth_failed assume_denied"}, record.RunFailed},
		{"STS does not answer", &fakeAccount{open: func(context.Context) error {
			return &record.Fault{Reason: record.Network, Err: errors.New("connection refused")}
		}}, nil, map[string]string{" ec2_instance": "auth_failed network"}, record.RunFailed},
		{"the sign-in hangs", &fakeAccount{open: func(ctx context.Context) error { return sleep(ctx, 2*time.Hour) }}, nil,
			map[string]string{" ec2_instance": "timeout timeout"}, record.RunTimeout},
		{"the sign-in panics", &fakeAccount{open: func(context.Context) error { panic("no") }}, nil,
			map[string]string{" ec2_instance": "error panic"}, record.RunFailed},
		{"regions throttled", &fakeAccount{regions: func(context.Context, *Gate) (Plan, error) {
			return Plan{}, code("RequestLimitExceeded")
		}}, nil,
			map[string]string{" ec2_instance": "throttled throttled"}, record.RunFailed},
		{"a region that is not enabled", &fakeAccount{regions: func(context.Context, *Gate) (Plan, error) {
			return Plan{Regions: []string{"us-east-1"}, Disabled: []string{"ap-east-1"}}, nil
		}}, nil, map[string]string{"us-east-1 ec2_instance": "ok",
			"ap-east-1 ec2_instance": "region_disabled region_disabled"}, record.Success},
		{"no configured region is enabled", &fakeAccount{regions: func(context.Context, *Gate) (Plan, error) {
			return Plan{Disabled: []string{"ap-east-1", "me-south-1"}, Complete: true}, nil
		}}, nil, map[string]string{"ap-east-1 ec2_instance": "region_disabled region_disabled !",
			"me-south-1 ec2_instance": "region_disabled region_disabled !"},
			record.RunFailed},
		{"no subscription", &fakeAccount{list: fails(code("OptInRequired"))}, nil,
			both("region_disabled region_disabled !"), record.RunFailed},
		{"no subscription, but a global kind is listed",
			&fakeAccount{list: func(ctx context.Context, g *Gate, t record.Target, _ string, emit emitFunc) error {
				if t.Kind == "ec2_region" {
					return emit(ctx, page("us-east-1"))
				}
				return code("OptInRequired")
			}}, func(a *Account) { a.Kinds = append(a.Kinds, Kind{Name: "ec2_region", Global: true}) },
			map[string]string{"us-east-1 ec2_instance": "region_disabled region_disabled !",
				"eu-west-1 ec2_instance": "region_disabled region_disabled !",
				"us-east-1 ec2_region":   "ok"}, record.RunPartial},
		{"no subscription, and the parent is not collected", &fakeAccount{list: fails(code("OptInRequired"))},
			func(a *Account) {
				a.Kinds, a.Parents = []Kind{{Name: "ec2_route", Parent: "ec2_table"}}, []Kind{{Name: "ec2_table"}}
			}, map[string]string{"us-east-1 ec2_route": "region_disabled region_disabled !",
				"eu-west-1 ec2_route": "region_disabled region_disabled !"}, record.RunFailed},
		{"no subscription, and children", &fakeAccount{list: fails(code("OptInRequired"))}, func(a *Account) {
			a.Kinds = []Kind{{Name: "ec2_table"}, {Name: "ec2_route", Parent: "ec2_table"}}
		}, map[string]string{"us-east-1 ec2_table": "region_disabled region_disabled !",
			"eu-west-1 ec2_table": "region_disabled region_disabled !",
			"us-east-1 ec2_route": "skipped parent", "eu-west-1 ec2_route": "skipped parent"}, record.RunFailed},
		{"not enabled, except for an expected denial",
			&fakeAccount{list: func(_ context.Context, _ *Gate, t record.Target, _ string, _ emitFunc) error {
				if t.Region == "us-east-1" {
					return code("UnauthorizedOperation")
				}
				return code("OptInRequired")
			}}, func(a *Account) { a.Expected = func(string, string) bool { return true } },
			map[string]string{"us-east-1 ec2_instance": "denied access_denied",
				"eu-west-1 ec2_instance": "region_disabled region_disabled"}, record.Success},
		{"no kind exists there", &fakeAccount{list: fails(code("InvalidAction"))}, nil,
			both("region_disabled unsupported !"), record.RunFailed},
		{"DescribeRegions is refused",
			&fakeAccount{regions: func(context.Context, *Gate) (Plan, error) { return Plan{}, code("OptInRequired") }}, nil,
			map[string]string{" ec2_instance": "error region_disabled"}, record.RunFailed},
		{"a parent that is not collected is denied", &fakeAccount{list: fails(code("UnauthorizedOperation"))},
			func(a *Account) {
				a.Kinds, a.Parents = []Kind{{Name: "ec2_route", Parent: "ec2_table"}}, []Kind{{Name: "ec2_table"}}
			}, map[string]string{"us-east-1 ec2_route": "denied access_denied", "eu-west-1 ec2_route": "denied access_denied"},
			record.RunFailed},
		{"no region at all", &fakeAccount{regions: func(context.Context, *Gate) (Plan, error) { return Plan{}, nil }}, nil,
			map[string]string{" ec2_instance": "error error"}, record.RunFailed},
		{"a global kind", &fakeAccount{},
			func(a *Account) { a.Kinds = append(a.Kinds, Kind{Name: "ec2_region", Global: true}) },
			map[string]string{"us-east-1 ec2_instance": "ok", "eu-west-1 ec2_instance": "ok", "us-east-1 ec2_region": "ok"},
			record.Success},
		{"a listing outlives the run",
			&fakeAccount{list: func(ctx context.Context, _ *Gate, t record.Target, _ string, emit emitFunc) error {
				if t.Region == "us-east-1" {
					return emit(ctx, page("i-1"))
				}
				return sleep(ctx, 24*time.Hour)
			}}, nil, map[string]string{"us-east-1 ec2_instance": "ok", "eu-west-1 ec2_instance": "timeout timeout"},
			record.RunTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newHarness(t, Options{}, LocalOptions{})
				a, afterRuns := account("a", c.f), 0
				a.AfterRun = func(context.Context) { afterRuns++ }
				if c.change != nil {
					c.change(a)
				}
				g.runner.Swap(buildConfiguration(t, a))
				res := g.once()
				failed := 0
				for at, state := range c.want {
					c.want[at], _ = strings.CutSuffix(state, " !") // unusable
					if state != c.want[at] ||
						!slices.Contains([]string{"ok", "skipped", "region_disabled"}, strings.Fields(state)[0]) &&
							c.status != record.Success {
						failed++
					}
				}
				g.want(c.want)
				if info, _ := g.board.Account("a"); info.Last.Failed != failed {
					t.Errorf("the board counts %d failed targets, want %d", info.Last.Failed, failed)
				}
				for t := range g.board.Targets() {
					if t.Failed() {
						failed--
					}
				}
				if failed != 0 {
					t.Errorf("%d targets more should have failed", failed)
				}
				if afterRuns != 1 {
					t.Errorf("AfterRun was called %d times", afterRuns)
				}
				if res[0].Status != c.status {
					t.Errorf("status %s, want %s", res[0].Status, c.status)
				}
				if strings.Contains(c.name, "panic") && !strings.Contains(strings.Join(g.logs.lines, ""), "supervise.go") {
					t.Error("the log has no stack of the panic")
				}
			})
		})
	}
}

// A run that fails before it has a plan fails the targets that were known before.
func TestKnownTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := false
		f := &fakeAccount{open: func(context.Context) error {
			if down {
				return &record.Fault{Reason: record.Expired, Err: errors.New("expired")}
			}
			return nil
		}}
		store := NewMemoryStore()
		g := newHarness(t, Options{Store: store}, LocalOptions{})
		g.runner.Swap(buildConfiguration(t, account("a", f)))
		g.once()
		down = true
		g.once()
		want := map[string]string{
			"us-east-1 ec2_instance": "auth_failed expired",
			"eu-west-1 ec2_instance": "auth_failed expired",
		}
		g.want(want)
		down = false
		g = newHarness(t,
			Options{Store: &failingStore{MemoryStore: NewMemoryStore(), begin: errors.New("disk full")}},
			LocalOptions{},
		) // by the last plan alone
		g.runner.Swap(buildConfiguration(t, account("a", f)))
		g.once()
		down = true
		g.once()
		g.want(want)
		g = newHarness(t, Options{Store: store}, LocalOptions{}) // after a restart
		g.runner.Swap(buildConfiguration(t, account("a", f)))
		g.once()
		g.want(want)
	})
}

func TestAbandonedListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		late := make(chan error, 1)
		f := &fakeAccount{
			list: func(ctx context.Context, g *Gate, t record.Target, _ string, emit emitFunc) error {
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
		g := newHarness(t, Options{}, LocalOptions{})
		conf := buildConfiguration(t, account("a", f, func(a *Account) { a.Timeout = time.Minute }))
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
			regions: func(context.Context, *Gate) (Plan, error) { return Plan{Regions: []string{"r"}}, nil },
			list: func(ctx context.Context, _ *Gate, t record.Target, parent string, emit emitFunc) error {
				if t.Kind == "ec2_route" {
					<-release
				}
				return emit(ctx, page("x-1", "x-2", "x-3"))
			}}
		g := newHarness(t, Options{}, LocalOptions{})
		g.runner.Swap(buildConfiguration(t, account("a", f, family, func(a *Account) { a.Timeout = time.Minute })))
		if _, err := g.local.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.want(map[string]string{
			"r ec2_instance": "ok",
			"r ec2_table":    "ok",
			"r ec2_route":    "timeout stuck",
			"r ec2_hop":      "skipped parent",
		})
		g.local.mu.Lock()
		if g.local.queue.used != 0 {
			t.Error(g.local.queue.used, "slots were not released")
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
					MemoryStore: NewMemoryStore(), calls: map[string]int{}, boom: func(string, int) bool { return false },
				}
				f := &fakeAccount{list: func(ctx context.Context, _ *Gate, _ record.Target, _ string, emit emitFunc) error {
					if err := emit(ctx, page("i-1", "i-2")); err != nil {
						return err
					}
					return emit(ctx, page("i-3"))
				}}
				g := newHarness(t, Options{Store: store}, LocalOptions{})
				conf := buildConfiguration(t, account("a", f, func(a *Account) { a.Timeout = time.Minute }))
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
	*MemoryStore
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
				c.store.MemoryStore = NewMemoryStore()
				f := &fakeAccount{
					list: func(ctx context.Context, _ *Gate, _ record.Target, _ string, emit emitFunc) error {
						return errors.Join(emit(ctx, page("i-1")), emit(ctx, page("i-2", "i-3")))
					},
				}
				g := newHarness(t, Options{Store: &c.store}, LocalOptions{})
				calls := 0
				output := &fakeOutput{send: func(ctx context.Context, b outputs.Batch) error {
					if calls++; c.send != nil {
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
				wantCalls, wantEnds := 4, 2
				if c.state == "partial panic" && c.send != nil { // after a panic the output is not called for the target
					wantCalls, wantEnds = 2, 0
				}
				if output.records() != c.sent || len(output.ended) != wantEnds || calls != wantCalls {
					t.Errorf("the output has %d records and %d ends after %d calls", output.records(), len(output.ended), calls)
				}
				if info, _ := g.board.Account("a"); info.Undelivered[strings.Fields(c.lost[0])[0]] != 2 {
					t.Error("the board:", info.Undelivered)
				}
			})
		})
	}
}

func family(a *Account) {
	a.Kinds = []Kind{
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
	family := func(fail func(kind, parent string) error) (*fakeAccount, *calls) {
		c := &calls{under: map[string][]string{}}
		return &fakeAccount{
			regions: func(context.Context, *Gate) (Plan, error) { return Plan{Regions: []string{"r"}}, nil },
			list: func(ctx context.Context, _ *Gate, t record.Target, parent string, emit emitFunc) error {
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
	}{
		{"all of them", nil, nil, map[string]string{"r ec2_instance": "ok", "r ec2_table": "ok", "r ec2_route": "ok",
			"r ec2_hop": "ok"}, six, 1 + 6 + 6 + 6},
		{"a child whose parents are not asked for", []string{"ec2_hop"}, nil, map[string]string{"r ec2_hop": "ok"}, six, 6},
		{"the parent fails", nil, func(kind, _ string) error {
			if kind == "ec2_table" {
				return errDenied
			}
			return nil
		}, map[string]string{"r ec2_instance": "ok", "r ec2_table": "denied access_denied",
			"r ec2_route": "skipped parent", "r ec2_hop": "skipped parent"}, nil, 1},
		{"a parent that is not asked for fails", []string{"ec2_route"}, func(kind, _ string) error {
			if kind == "ec2_table" {
				return errDenied
			}
			return nil
		}, map[string]string{"r ec2_route": "denied access_denied"}, nil, 0},
		{"a parent goes away meanwhile", []string{"ec2_table", "ec2_route"}, func(kind, parent string) error {
			if kind == "ec2_route" && parent == "t-3" {
				return code("InvalidRouteTableID.NotFound")
			}
			return nil
		}, map[string]string{"r ec2_table": "ok", "r ec2_route": "ok"}, six, 6 + 5},
		{"a child fails under its first parent", []string{"ec2_table", "ec2_route"}, func(kind, parent string) error {
			if kind == "ec2_route" {
				return errDenied
			}
			return nil
		}, map[string]string{"r ec2_table": "ok", "r ec2_route": "denied access_denied"},
			[]string{"t-1", "t-2", "t-3", "t-4"}, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, calls := family(c.fail)
				a := account("a", f, func(a *Account) {
					a.Parents = []Kind{{Name: "ec2_table"}, {Name: "ec2_route", Parent: "ec2_table"}}
					for _, k := range []Kind{{Name: "ec2_instance"}, {Name: "ec2_table"}, {Name: "ec2_route", Parent: "ec2_table"},
						{Name: "ec2_hop", Parent: "ec2_route"}} {
						if c.kinds == nil || slices.Contains(c.kinds, k.Name) {
							a.Kinds = append(a.Kinds, k)
						}
					}
					a.Kinds = a.Kinds[1:] // account's own
				})
				g := newHarness(t, Options{}, LocalOptions{})
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
		if _, err := NewConfiguration(Configuration{Accounts: []*Account{account("a", nil,
			func(a *Account) { a.Kinds = []Kind{{Name: "x", Parent: "y"}} })}}); err == nil {
			t.Error("accepted")
		}
		if _, err := NewConfiguration(Configuration{Accounts: []*Account{account("a", nil), account("a", nil)}}); err == nil {
			t.Error("two of one name accepted")
		}
	})
}

// Of two blocks that are one AWS account, the second is refused after its sign-in; if it signed in first, its jobs in
// progress end when the first one signs in.
func TestTwoBlocksOneAccount(t *testing.T) {
	for _, first := range []string{"one", "two"} { // which signs in first
		t.Run(first, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wait := func(name string) func(ctx context.Context) error {
					return func(ctx context.Context) error {
						if name != first {
							return sleep(ctx, time.Second)
						}
						return nil
					}
				}
				one, two := slow(time.Minute), slow(time.Minute)
				one.id.AccountID, two.id.AccountID = "111111111111", "111111111111"
				one.open, two.open = wait("one"), wait("two")
				refused := &record.Fault{Reason: record.SameAccount, Err: errors.New(`it is "one"`)}
				var g *harness
				var taken atomic.Bool
				claim := func(name string, id record.Identity) error {
					switch {
					case name == "one" && id == one.id:
						taken.Store(true)
						g.runner.Cancel("two", refused)
					case name == "two" && taken.Load():
						return refused
					}
					return nil
				}
				g = newHarness(t, Options{Claim: claim}, LocalOptions{})
				g.runner.Swap(buildConfiguration(t, account("one", one), account("two", two), account("other", slow(time.Minute))))
				for range 2 {
					res := g.once()
					if res[0].Status != record.Success || res[1].Status == record.Success || res[2].Status != record.Success {
						t.Error(res)
					}
				}
				for key, o := range g.recorder.all() {
					if o.Account != "two" {
						continue
					}
					if o.State != record.AuthFailed || o.Reason != record.SameAccount || !strings.Contains(o.Error, `"one"`) {
						t.Error(key, o.State, o.Reason, o.Error)
					}
				}
			})
		})
	}
}

func TestRemovedRegions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plan := Plan{Regions: []string{"r1", "r2", "r3"}, Complete: true}
		f := &fakeAccount{regions: func(context.Context, *Gate) (Plan, error) { return plan, nil }}
		store := NewMemoryStore()
		g := newHarness(t, Options{Store: store}, LocalOptions{})
		g.runner.Swap(buildConfiguration(t, account("a", f)))
		known := func(want int) {
			t.Helper()
			g.once()
			if ts, _ := store.ActiveTargets(t.Context(), "a"); len(ts) != want {
				t.Error("the store has", ts)
			}
		}
		known(3)
		plan = Plan{Regions: []string{"r1"}} // a narrowed run
		known(3)
		plan = Plan{Regions: []string{"r1"}, Complete: true, Warning: errors.New("denied")}
		known(3)
		plan = Plan{Regions: []string{"r1"}, Disabled: []string{"r2"}, Complete: true}
		known(2)
		if n := len(slices.Collect(g.board.Targets())); n != 2 {
			t.Error("the board has", n)
		}
		if err := g.runner.RetireRemoved(t.Context(), []string{"a", "b"}); err != nil {
			t.Fatal(err)
		}
		known(2)
		g.runner.Swap(buildConfiguration(t, account("b", &fakeAccount{})))
		if err := g.runner.RetireRemoved(t.Context(), []string{"a"}); err != nil {
			t.Fatal(err)
		}
		if ts, _ := store.ActiveTargets(t.Context(), "a"); len(ts) != 0 {
			t.Error("the store has", ts)
		}
	})
}

func TestRemovedKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemoryStore()
		g := newHarness(t, Options{Store: store}, LocalOptions{})
		for _, c := range []struct {
			kinds    []Kind
			narrowed bool
			want     int // targets, in two regions
		}{
			{[]Kind{{Name: "x"}, {Name: "y"}, {Name: "z", Parent: "y"}}, false, 6},
			{[]Kind{{Name: "x"}}, true, 6}, // --kind x
			{[]Kind{{Name: "x"}, {Name: "y"}, {Name: "z", Parent: "y"}}, false, 6},
			{[]Kind{{Name: "x"}}, false, 2},
		} {
			a := account("a", &fakeAccount{})
			a.Kinds, a.Narrowed = c.kinds, c.narrowed
			g.runner.Swap(buildConfiguration(t, a))
			g.once()
			if ts, _ := store.ActiveTargets(t.Context(), "a"); len(ts) != c.want {
				t.Errorf("with %v, narrowed %v: the store has %v", c.kinds, c.narrowed, ts)
			}
		}
	})
}

// Whatever the accounts do, and whenever the program stops: every known target ends each run in exactly
// one state, every run that started ends once, and nothing remains in memory. The recorder checks the rest.
func TestEveryTargetEndsOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(rt, "accounts")
		slots := rapid.SampledFrom([]int{1, 2, 8, 64}).Draw(rt, "slots")
		stop := time.Duration(rapid.IntRange(0, 7200).Draw(rt, "seconds until the stop")) * time.Second
		acts := make([][]string, n)
		rules := make([]Overlap, n)
		for i := range n {
			acts[i] = rapid.SliceOfN(rapid.SampledFrom([]string{"fine", "denied", "panic", "hang", "deaf", "half", "slow"}),
				1, 4).
				Draw(rt, "acts")
			rules[i] = rapid.SampledFrom([]Overlap{Skip, Queue, Cancel}).Draw(rt, "rule")
		}
		signIn := rapid.SliceOfN(rapid.SampledFrom([]string{"fine", "fine", "fine", "denied", "panic", "hang", "deaf"}), n,
			n).
			Draw(rt, "sign-in")
		synctest.Test(t, func(t *testing.T) {
			act := func(ctx context.Context, what string) error {
				switch what {
				case "denied":
					return errDenied
				case "panic":
					panic("bug")
				case "hang":
					return sleep(ctx, 24*time.Hour)
				case "deaf":
					time.Sleep(3 * time.Hour)
				case "slow":
					return sleep(ctx, 7*time.Minute)
				}
				return nil
			}
			g := newHarness(t, Options{Limits: NewLimits(slots, nil)}, LocalOptions{Slots: slots})
			var accounts []*Account
			for i := range n {
				regions := make([]string, len(acts[i]))
				for k := range regions {
					regions[k] = fmt.Sprint("r", k)
				}
				f := &fakeAccount{
					open:    func(ctx context.Context) error { return act(ctx, signIn[i]) },
					regions: func(context.Context, *Gate) (Plan, error) { return Plan{Regions: regions}, nil },
					list: func(ctx context.Context, gate *Gate, t record.Target, parent string, emit emitFunc) error {
						leave, err := gate.Enter(ctx, "ec2", t.Kind)
						if err != nil {
							return err
						}
						defer leave("")
						what := acts[i][slices.Index(regions, t.Region)]
						if err := act(ctx, what); err != nil {
							return err
						}
						err = emit(ctx, page("x-1", "x-2"))
						if what == "half" {
							err = errors.Join(err, errDenied)
						}
						return err
					}}
				accounts = append(accounts, account(fmt.Sprint("a", i), f, family, at("*/15 * * * *"), func(a *Account) {
					a.Overlap, a.Regions, a.Timeout = rules[i], regions, 20*time.Minute
				}))
			}
			output := &fakeOutput{}
			conf := buildConfiguration(t, accounts...)
			closed := false
			conf.Output, conf.Close = output, func() { closed = true }
			g.runner.Swap(conf)
			g.run(stop)
			ended := 0
			g.recorder.mu.Lock()
			for run, ts := range g.recorder.outcomes {
				ended += len(ts)
				for t := range ts {
					if i := int(t.Account[1] - '0'); len(ts) != len(acts[i])*4 {
						rt.Errorf("run %s of %s: %d targets of %d: %v", run, t.Account, len(ts), len(acts[i])*4, ts)
					}
					break
				}
			}
			for _, s := range g.recorder.started {
				if len(g.recorder.outcomes[s.run]) == 0 {
					rt.Errorf("run %s of %s ended no target", s.run, s.account)
				}
			}
			g.recorder.mu.Unlock()
			g.runner.Close()
			time.Sleep(4 * time.Hour) // the listings that ignored their context return
			if len(output.ended) != ended || !closed || g.runner.Abandoned() != 0 {
				rt.Errorf(
					"%d ends reported, %d to the output; closed: %v; abandoned: %d",
					ended,
					len(output.ended),
					closed,
					g.runner.Abandoned(),
				)
			}
			g.checkInvariants()
			if t.Failed() {
				rt.Fail()
			}
		})
	})
}
