package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// slow takes this long for each listing.
func slow(d time.Duration) *fakeAccount {
	return &fakeAccount{
		regions: func(context.Context, *runner.Gate) (runner.Plan, error) {
			return runner.Plan{Regions: []string{"us-east-1"}}, nil
		},
		list: func(ctx context.Context, _ *runner.Gate, _ record.Target, _ string, emit emitFunc) error {
			if err := emit(ctx, page("i-1")); err != nil {
				return err
			}
			return sleep(ctx, d)
		}}
}

// A run that waits when the program stops never begins.
func TestDrainSkipsWaitingRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newHarness(t, runner.Options{}, Options{})
		g.runner.Swap(buildConfiguration(t,
			account("a", slow(15*time.Minute+20*time.Second), at("*/15 * * * *"), func(a *runner.Account) {
				a.Overlap = runner.Queue
			})))
		g.run(30*time.Minute + time.Second)
		want := []record.Status{record.RunSkipped, record.Success}
		if got := g.recorder.status("a"); !slices.Equal(got, want) {
			t.Errorf("statuses %v, want %v", got, want)
		}
		if n := g.recorder.missedCount("a", runner.MissedDrain); n != 1 {
			t.Errorf("%d missed by the drain", n)
		}
	})
}

func TestDrain(t *testing.T) {
	for _, c := range []struct {
		name  string
		list  time.Duration // how long a listing takes
		deaf  bool          // and whether it ignores its context for a while
		after time.Duration // how long Run takes to return
		state record.State  // of the region that is being listed
		ok    int           // how many of the three regions that wait for it are listed
	}{
		{"listings that end in time", 6 * time.Second, false, 19 * time.Second, record.OK, 3},
		{"listings that end in time or not at all", 14 * time.Second, false, 25 * time.Second, record.OK, 1},
		{"a listing that does not end", time.Hour, false, 25 * time.Second, record.Partial, 0},
		{"a listing that ignores its end", time.Hour, true, 28 * time.Second, record.Timeout, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := slow(c.list)
				if c.deaf {
					f.list = func(ctx context.Context, _ *runner.Gate, _ record.Target, _ string, emit emitFunc) error {
						time.Sleep(c.list)
						return emit(ctx, page("i-late"))
					}
				}
				f.regions = func(context.Context, *runner.Gate) (runner.Plan, error) {
					return runner.Plan{Regions: []string{"r1", "r2", "r3", "r4"}}, nil
				}
				// One slot for each account, so that one region is listed and three wait.
				g := newHarness(t, runner.Options{}, Options{Slots: 8})
				g.runner.Swap(
					buildConfiguration(t, account("a", f, at("*/15 * * * *")), account("b", &fakeAccount{}, at("@every 10s"))),
				)
				ctx, cancel := context.WithCancel(t.Context())
				var stopped time.Time
				go func() {
					time.Sleep(15*time.Minute + 5*time.Second)
					stopped = time.Now()
					cancel()
				}()
				if err := g.local.Run(ctx); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(stopped); took != c.after {
					t.Errorf("the drain took %s, want %s", took, c.after)
				}
				if g.recorder.missedCount("b", runner.MissedDrain) == 0 {
					t.Error("the tick within the drain is not missed")
				}
				all := g.recorder.all()
				if got := all["a r1 ec2_instance"]; got.State != c.state {
					t.Error(got.State, got.Error)
				}
				if c.state == record.Partial && !strings.Contains(all["a r1 ec2_instance"].Error, "drain_timeout of 25s") {
					t.Error(all["a r1 ec2_instance"].Error)
				}
				ok := 0
				for _, r := range []string{"r2", "r3", "r4"} {
					got := all["a "+r+" ec2_instance"]
					switch {
					case got.State == record.OK:
						ok++
					case got.Reason != record.Interrupted || !strings.Contains(got.Error, "drain_timeout of 25s"):
						t.Error(r, got.State, got.Reason, got.Error)
					}
				}
				if ok != c.ok {
					t.Errorf("%d regions were listed after the first, want %d", ok, c.ok)
				}
				if c.deaf && g.runner.Abandoned() != 1 {
					t.Error("abandoned:", g.runner.Abandoned())
				}
				time.Sleep(2 * time.Hour) // the listing that ignored its context returns
				g.checkInvariants()
				if g.runner.Abandoned() != 0 {
					t.Error("abandoned:", g.runner.Abandoned())
				}
			})
		})
	}
}

// One account hangs in every region, one has a denied region; neither delays another's start.
func TestOneBadAccountAmongFifty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newHarness(t, runner.Options{Limits: runner.NewLimits(32, nil)}, Options{Slots: 32})
		var accounts []*runner.Account
		for i := range 50 {
			f := &fakeAccount{
				list: func(ctx context.Context, g *runner.Gate, t record.Target, _ string, emit emitFunc) error {
					if err := call(ctx, g, "DescribeInstances", 100*time.Millisecond, ""); err != nil {
						return err
					}
					return emit(ctx, page("i-1"))
				},
			}
			switch fine := f.list; i {
			case 7:
				f.regions = func(context.Context, *runner.Gate) (runner.Plan, error) {
					return runner.Plan{Regions: strings.Fields("r1 r2 r3 r4 r5 r6 r7 r8 r9 r10 r11 r12 r13 r14 r15 r16 r17")}, nil
				}
				f.list = func(ctx context.Context, g *runner.Gate, t record.Target, _ string, _ emitFunc) error {
					return call(ctx, g, "DescribeInstances", 24*time.Hour, "")
				}
			case 23:
				f.list = func(ctx context.Context, g *runner.Gate, t record.Target, p string, emit emitFunc) error {
					if t.Region == "eu-west-1" {
						return errDenied
					}
					return fine(ctx, g, t, p, emit)
				}
			}
			accounts = append(
				accounts,
				account(fmt.Sprint("account-", i), f, at("*/15 * * * *"), func(a *runner.Account) { a.Timeout = 10 * time.Minute }),
			)
		}
		g.runner.Swap(buildConfiguration(t, accounts...))
		g.run(29 * time.Minute)
		late := map[string]bool{}
		for _, s := range g.recorder.started {
			if s.at.Sub(s.tick) > 5*time.Second {
				late[s.account] = true
			}
		}
		if len(late) > 0 || len(g.recorder.started) != 50 {
			t.Error("late:", late, "runs:", len(g.recorder.started))
		}
		all := g.recorder.all()
		for key, o := range all {
			name := strings.Fields(key)[0]
			switch {
			case name == "account-7":
				if o.State != record.Timeout || !strings.Contains(o.Error, "timed out") {
					t.Error(key, o.State, o.Error)
				}
			case key == "account-23 eu-west-1 ec2_instance":
				if o.State != record.Denied {
					t.Error(key, o.State)
				}
			case o.State != record.OK:
				t.Error(key, o.State, o.Error)
			}
		}
		if len(all) != 49*2+17 {
			t.Error(len(all), "targets")
		}
		if s := g.recorder.status("account-7"); s[0] != record.RunTimeout {
			t.Error(s)
		}
		if s := g.recorder.status("account-23"); s[0] != record.RunPartial {
			t.Error(s)
		}
	})
}

// Accounts with many targets use every slot; an account that is due meanwhile gets the next slot, not the last.
func TestStartsGoBeforeFollowUps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newHarness(t, runner.Options{}, Options{Slots: 16})
		big := slow(70 * time.Second)
		big.regions = func(context.Context, *runner.Gate) (runner.Plan, error) {
			regions := "r1 r2 r3 r4 r5 r6 r7 r8 r9 r10 r11 r12 r13 r14 r15 r16 r17 r18 r19 r20"
			return runner.Plan{Regions: strings.Fields(regions)}, nil
		}
		var accounts []*runner.Account
		for i := range 8 {
			accounts = append(accounts, account(fmt.Sprint("big-", i), big, at("0 * * * *")))
		}
		g.runner.Swap(buildConfiguration(t, append(accounts, account("small", &fakeAccount{}, at("2 * * * *")))...))
		from := time.Now()
		g.run(100 * time.Minute)
		if got := g.recorder.runs("small", from); len(got) != 2 || got[1] != 62*time.Minute+20*time.Second {
			t.Error(got)
		}
	})
}

func TestOnceIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newHarness(t, runner.Options{}, Options{Slots: 8})
		g.runner.Swap(buildConfiguration(t, account("a", slow(time.Hour)), account("b", &fakeAccount{})))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		from := time.Now()
		res, err := g.local.Once(ctx)
		if err != nil || len(res) != 2 || res[0].Status != record.RunPartial || res[1].Status != record.Success ||
			res[1].Account != "b" {
			t.Error(res, err)
		}
		if took := time.Since(from); took != time.Minute+25*time.Second {
			t.Error(took)
		}
		g.checkInvariants()
		if _, err := g.local.Once(t.Context(), "c"); !errors.Is(err, runner.ErrUnknownAccount) {
			t.Error(err)
		}
	})
}

// @every counts from its beginning: a reload that does not change it must not restart it.
