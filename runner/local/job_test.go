package local

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
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
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
	unavailable := &record.Fault{Reason: record.Unavailable, Err: errors.New("not available there")}
	type list = func(ctx context.Context, g *runner.Gate, t record.Target, parent string, emit emitFunc) error
	both := func(state string) map[string]string {
		return map[string]string{"us-east-1 ec2_instance": state, "eu-west-1 ec2_instance": state}
	}
	fails := func(err error) list {
		return func(context.Context, *runner.Gate, record.Target, string, emitFunc) error {
			return err
		}
	}
	half := func(err error) list {
		return func(ctx context.Context, _ *runner.Gate, _ record.Target, _ string, emit emitFunc) error {
			return errors.Join(emit(ctx, page("i-1")), err)
		}
	}
	for _, c := range []struct {
		name   string
		f      *fakeAccount
		change func(*runner.Account)
		want   map[string]string
		status record.Status
	}{
		{"all ok", &fakeAccount{}, nil, both("ok"), record.Success},
		{"denied", &fakeAccount{list: fails(code("UnauthorizedOperation"))}, nil,
			both("denied access_denied"), record.RunFailed},
		{"expected denial", &fakeAccount{list: fails(code("UnauthorizedOperation"))},
			func(a *runner.Account) { a.Expected = func(region, kind string) bool { return kind == "ec2_instance" } },
			both("denied access_denied"), record.Success},
		{"throttled, though denials are expected", &fakeAccount{list: fails(code("RequestLimitExceeded"))},
			func(a *runner.Account) { a.Expected = func(string, string) bool { return true } },
			both("throttled throttled"), record.RunFailed},
		{"half a listing", &fakeAccount{list: half(code("InternalError"))}, nil,
			both("partial service_error"), record.RunPartial},
		{"a panic", &fakeAccount{list: func(context.Context, *runner.Gate, record.Target, string, emitFunc) error {
			panic("nil map")
		}}, nil, both("error panic"), record.RunFailed},
		{"no sign-in", &fakeAccount{open: func(context.Context) error {
			return &record.Fault{Reason: record.AssumeDenied, Err: errors.New("not authorized to perform sts:AssumeRole")}
		}}, func(a *runner.Account) { a.Regions = []string{"eu-north-1"} },
			map[string]string{"eu-north-1 ec2_instance": "auth_failed assume_denied"}, record.RunFailed},
		{"STS does not answer", &fakeAccount{open: func(context.Context) error {
			return &record.Fault{Reason: record.Network, Err: errors.New("connection refused")}
		}}, nil, map[string]string{" ec2_instance": "auth_failed network"}, record.RunFailed},
		{"the sign-in hangs", &fakeAccount{open: func(ctx context.Context) error { return sleep(ctx, 2*time.Hour) }}, nil,
			map[string]string{" ec2_instance": "timeout timeout"}, record.RunTimeout},
		{"the sign-in panics", &fakeAccount{open: func(context.Context) error { panic("no") }}, nil,
			map[string]string{" ec2_instance": "error panic"}, record.RunFailed},
		{"regions throttled", &fakeAccount{regions: func(context.Context, *runner.Gate) (runner.Plan, error) {
			return runner.Plan{}, code("RequestLimitExceeded")
		}}, nil,
			map[string]string{" ec2_instance": "throttled throttled"}, record.RunFailed},
		{"a region that is not enabled", &fakeAccount{regions: func(context.Context, *runner.Gate) (runner.Plan, error) {
			return runner.Plan{Regions: []string{"us-east-1"}, Disabled: []string{"ap-east-1"}}, nil
		}}, nil, map[string]string{"us-east-1 ec2_instance": "ok",
			"ap-east-1 ec2_instance": "region_disabled region_disabled"}, record.Success},
		{"no configured region is enabled", &fakeAccount{regions: func(context.Context, *runner.Gate) (runner.Plan, error) {
			return runner.Plan{Disabled: []string{"ap-east-1", "me-south-1"}, Complete: true}, nil
		}}, nil, map[string]string{"ap-east-1 ec2_instance": "region_disabled region_disabled !",
			"me-south-1 ec2_instance": "region_disabled region_disabled !"},
			record.RunFailed},
		{"no subscription", &fakeAccount{list: fails(code("OptInRequired"))}, nil,
			both("region_disabled region_disabled !"), record.RunFailed},
		{"no subscription, but a global kind is listed",
			&fakeAccount{list: func(ctx context.Context, g *runner.Gate, t record.Target, _ string, emit emitFunc) error {
				if t.Kind == "ec2_region" {
					return emit(ctx, page("us-east-1"))
				}
				return code("OptInRequired")
			}}, func(a *runner.Account) { a.Kinds = append(a.Kinds, runner.Kind{Name: "ec2_region", Global: true}) },
			map[string]string{"us-east-1 ec2_instance": "region_disabled region_disabled !",
				"eu-west-1 ec2_instance": "region_disabled region_disabled !",
				"us-east-1 ec2_region":   "ok"}, record.RunPartial},
		{"no subscription, and the parent is not collected", &fakeAccount{list: fails(code("OptInRequired"))},
			func(a *runner.Account) {
				a.Kinds, a.Parents = []runner.Kind{{Name: "ec2_route", Parent: "ec2_table"}}, []runner.Kind{{Name: "ec2_table"}}
			}, map[string]string{"us-east-1 ec2_route": "region_disabled region_disabled !",
				"eu-west-1 ec2_route": "region_disabled region_disabled !"}, record.RunFailed},
		{"no subscription, and children", &fakeAccount{list: fails(code("OptInRequired"))}, func(a *runner.Account) {
			a.Kinds = []runner.Kind{{Name: "ec2_table"}, {Name: "ec2_route", Parent: "ec2_table"}}
		}, map[string]string{"us-east-1 ec2_table": "region_disabled region_disabled !",
			"eu-west-1 ec2_table": "region_disabled region_disabled !",
			"us-east-1 ec2_route": "skipped parent", "eu-west-1 ec2_route": "skipped parent"}, record.RunFailed},
		{"not enabled, except for an expected denial",
			&fakeAccount{list: func(_ context.Context, _ *runner.Gate, t record.Target, _ string, _ emitFunc) error {
				if t.Region == "us-east-1" {
					return code("UnauthorizedOperation")
				}
				return code("OptInRequired")
			}}, func(a *runner.Account) { a.Expected = func(string, string) bool { return true } },
			map[string]string{"us-east-1 ec2_instance": "denied access_denied",
				"eu-west-1 ec2_instance": "region_disabled region_disabled"}, record.Success},
		{"no kind exists there", &fakeAccount{list: fails(code("InvalidAction"))}, nil,
			both("region_disabled unsupported !"), record.RunFailed},
		{"the service is not in the regions", &fakeAccount{list: fails(unavailable)}, func(a *runner.Account) {
			a.Kinds = []runner.Kind{{Name: "ec2_table"}, {Name: "ec2_route", Parent: "ec2_table"}}
		}, map[string]string{"us-east-1 ec2_table": "region_unavailable region_unavailable",
			"eu-west-1 ec2_table": "region_unavailable region_unavailable",
			"us-east-1 ec2_route": "region_unavailable region_unavailable",
			"eu-west-1 ec2_route": "region_unavailable region_unavailable"}, record.Success},
		{"one region does not have the service, and the others are not enabled",
			&fakeAccount{list: func(_ context.Context, _ *runner.Gate, t record.Target, _ string, _ emitFunc) error {
				if t.Region == "us-east-1" {
					return unavailable
				}
				return code("OptInRequired")
			}}, nil, map[string]string{"us-east-1 ec2_instance": "region_unavailable region_unavailable",
				"eu-west-1 ec2_instance": "region_disabled region_disabled !"}, record.RunFailed},
		{"DescribeRegions is refused",
			&fakeAccount{regions: func(context.Context, *runner.Gate) (runner.Plan, error) {
				return runner.Plan{}, code("OptInRequired")
			}}, nil, map[string]string{" ec2_instance": "error region_disabled"}, record.RunFailed},
		{"a parent that is not collected is denied", &fakeAccount{list: fails(code("UnauthorizedOperation"))},
			func(a *runner.Account) {
				a.Kinds, a.Parents = []runner.Kind{{Name: "ec2_route", Parent: "ec2_table"}}, []runner.Kind{{Name: "ec2_table"}}
			}, map[string]string{"us-east-1 ec2_route": "denied access_denied", "eu-west-1 ec2_route": "denied access_denied"},
			record.RunFailed},
		{"no region at all", &fakeAccount{regions: func(context.Context, *runner.Gate) (runner.Plan, error) {
			return runner.Plan{}, nil
		}}, nil, map[string]string{" ec2_instance": "error error"}, record.RunFailed},
		{"a global kind", &fakeAccount{},
			func(a *runner.Account) { a.Kinds = append(a.Kinds, runner.Kind{Name: "ec2_region", Global: true}) },
			map[string]string{"us-east-1 ec2_instance": "ok", "eu-west-1 ec2_instance": "ok", "us-east-1 ec2_region": "ok"},
			record.Success},
		{"a listing outlives the run",
			&fakeAccount{list: func(ctx context.Context, _ *runner.Gate, t record.Target, _ string, emit emitFunc) error {
				if t.Region == "us-east-1" {
					return emit(ctx, page("i-1"))
				}
				return sleep(ctx, 24*time.Hour)
			}}, nil, map[string]string{"us-east-1 ec2_instance": "ok", "eu-west-1 ec2_instance": "timeout timeout"},
			record.RunTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newHarness(t, runner.Options{}, Options{})
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
						!slices.Contains([]string{"ok", "skipped", "region_disabled", "region_unavailable"}, strings.Fields(state)[0]) &&
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
		store := runner.NewMemoryStore()
		g := newHarness(t, runner.Options{Store: store}, Options{})
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
			runner.Options{Store: &failingStore{MemoryStore: runner.NewMemoryStore(), begin: errors.New("disk full")}},
			Options{},
		) // by the last plan alone
		g.runner.Swap(buildConfiguration(t, account("a", f)))
		g.once()
		down = true
		g.once()
		g.want(want)
		g = newHarness(t, runner.Options{Store: store}, Options{}) // after a restart
		g.runner.Swap(buildConfiguration(t, account("a", f)))
		g.once()
		g.want(want)
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
				store := &identityStore{MemoryStore: runner.NewMemoryStore(), of: map[record.Identity]string{}}
				g = newHarness(t, runner.Options{Claim: claim, Store: store}, Options{})
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
				if got := store.of[one.id]; got != "one" || store.late > 0 {
					t.Errorf("the store has the account as that of %q, %d times after the first block had it", got, store.late)
				}
			})
		})
	}
}

// An identityStore records which block each AWS account's targets were begun for last.
type identityStore struct {
	*runner.MemoryStore
	mu   sync.Mutex
	of   map[record.Identity]string
	late int // begins by another block after "one" has begun
}

func (s *identityStore) Begin(
	ctx context.Context, t record.Target, id record.Identity, run string,
) (inventory.ScopeWriter, error) {
	s.mu.Lock()
	if s.of[id] == "one" && t.Account != "one" {
		s.late++
	}
	s.of[id] = t.Account
	s.mu.Unlock()
	return s.MemoryStore.Begin(ctx, t, id, run)
}

func TestRemovedRegions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plan := runner.Plan{Regions: []string{"r1", "r2", "r3"}, Complete: true}
		f := &fakeAccount{regions: func(context.Context, *runner.Gate) (runner.Plan, error) { return plan, nil }}
		store := runner.NewMemoryStore()
		g := newHarness(t, runner.Options{Store: store}, Options{})
		g.runner.Swap(buildConfiguration(t, account("a", f)))
		known := func(want int) {
			t.Helper()
			g.once()
			if ts, _ := store.ActiveTargets(t.Context(), "a"); len(ts) != want {
				t.Error("the store has", ts)
			}
		}
		known(3)
		plan = runner.Plan{Regions: []string{"r1"}} // a narrowed run
		known(3)
		plan = runner.Plan{Regions: []string{"r1"}, Complete: true, Warning: errors.New("denied")}
		known(3)
		plan = runner.Plan{Regions: []string{"r1"}, Disabled: []string{"r2"}, Complete: true}
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
		store := runner.NewMemoryStore()
		g := newHarness(t, runner.Options{Store: store}, Options{})
		for _, c := range []struct {
			kinds    []runner.Kind
			narrowed bool
			want     int // targets, in two regions
		}{
			{[]runner.Kind{{Name: "x"}, {Name: "y"}, {Name: "z", Parent: "y"}}, false, 6},
			{[]runner.Kind{{Name: "x"}}, true, 6}, // --kind x
			{[]runner.Kind{{Name: "x"}, {Name: "y"}, {Name: "z", Parent: "y"}}, false, 6},
			{[]runner.Kind{{Name: "x"}}, false, 2},
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
		rules := make([]runner.Overlap, n)
		for i := range n {
			acts[i] = rapid.SliceOfN(rapid.SampledFrom([]string{"fine", "denied", "panic", "hang", "deaf", "half", "slow"}),
				1, 4).
				Draw(rt, "acts")
			rules[i] = rapid.SampledFrom([]runner.Overlap{runner.Skip, runner.Queue, runner.Cancel}).Draw(rt, "rule")
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
			g := newHarness(t, runner.Options{Limits: runner.NewLimits(slots, nil)}, Options{Slots: slots})
			var accounts []*runner.Account
			for i := range n {
				regions := make([]string, len(acts[i]))
				for k := range regions {
					regions[k] = fmt.Sprint("r", k)
				}
				f := &fakeAccount{
					open:    func(ctx context.Context) error { return act(ctx, signIn[i]) },
					regions: func(context.Context, *runner.Gate) (runner.Plan, error) { return runner.Plan{Regions: regions}, nil },
					list: func(ctx context.Context, gate *runner.Gate, t record.Target, parent string, emit emitFunc) error {
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
				accounts = append(accounts, account(fmt.Sprint("a", i), f, family, at("*/15 * * * *"), func(a *runner.Account) {
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
