package runner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call makes one API call of some duration, as a lister would.
func call(ctx context.Context, g *Gate, op string, took time.Duration, code string) error {
	leave, err := g.Enter(ctx, "ec2", op)
	if err != nil {
		return err
	}
	defer leave(code)
	select {
	case <-time.After(took):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestHalfOfEC2sBudget(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		op   string
		took time.Duration // of 100 calls
	}{
		// 50 at once, then 10 a second
		{Kind{}, "DescribeInstances", 5 * time.Second},
		// 10, then 5 a second
		{Kind{Service: "ec2", Op: "DescribeImages", Refill: 10, Burst: 20}, "DescribeImages", 18 * time.Second},
		// another API has its own budget
		{Kind{Service: "ec2", Op: "DescribeImages", Refill: 10, Burst: 20}, "DescribeRegions", 5 * time.Second},
		// never less than one
		{Kind{Service: "ec2", Op: "DescribeIpams", Refill: 2, Burst: 1}, "DescribeIpams", 99 * time.Second},
		// tags are a call of their own
		{Kind{Service: "ec2", Op: "DescribeIpams", TagsOp: "Tags", Refill: 2, Burst: 1}, "Tags", 99 * time.Second},
	} {
		t.Run(fmt.Sprint(c.kind.Op, " ", c.op), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls, waits := map[string]int{}, map[string]time.Duration{}
				observe := func(e Event) {
					switch e := e.(type) {
					case CallEnded:
						calls[e.Region+" "+e.Op+" "+e.Code]++
					case BudgetWaited:
						waits[e.Account+" "+e.Region] += e.Wait
					}
				}
				g := NewLimits(256, observe).Gate("a", "", c.kind).ForRegion("us-east-1")
				from := time.Now()
				for range 100 {
					if err := call(t.Context(), g, c.op, 0, ""); err != nil {
						t.Fatal(err)
					}
				}
				if took := time.Since(from).Round(time.Millisecond); took != c.took {
					t.Errorf("took %s, want %s", took, c.took)
				}
				if w := waits["a us-east-1"].Round(time.Millisecond); w != c.took {
					t.Errorf("%s of waiting reported", w)
				}
				if n := calls["us-east-1 "+c.op+" "]; n != 100 {
					t.Error(n, "calls reported")
				}
			})
		})
	}
}

// Two services may have an operation of the same name.
func TestEachServiceHasItsBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewLimits(256, nil).Gate("a", "r", Kind{Service: "rds", Op: "DescribeEvents", Refill: 2, Burst: 2})
		took := func(service string) time.Duration {
			from := time.Now()
			for range 11 {
				leave, err := g.Enter(t.Context(), service, "DescribeEvents")
				if err != nil {
					t.Fatal(err)
				}
				leave("")
			}
			return time.Since(from)
		}
		if rds, ec2 := took("rds"), took("ec2"); rds != 10*time.Second || ec2 != 0 {
			t.Errorf("11 calls of the kind's service took %s, of another %s", rds, ec2)
		}
	})
}

func TestThrottleReducesOneBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimits(256, nil)
		calls := func(region, op string, n int) time.Duration {
			from := time.Now()
			for range n {
				if err := call(t.Context(), l.Gate("a", region, Kind{}), op, 0, ""); err != nil {
					t.Fatal(err)
				}
			}
			return time.Since(from).Round(100 * time.Millisecond)
		}
		g := l.Gate("a", "r1", Kind{})
		for range 3 { // one event
			if err := call(t.Context(), g, "X", 0, "RequestLimitExceeded"); err != nil {
				t.Fatal(err)
			}
		}
		if calls, throttles := g.close(); calls != 3 || throttles != 3 {
			t.Error(calls, throttles)
		}
		if got := l.ReducedBudgets(); len(got) != 1 || got[0] != (ReducedBudget{"a", "r1", 0.5}) {
			t.Error("slowed down, but", got)
		}
		// The first throttle emptied the bucket; the second and third call waited for a token at 5 a second.
		if took := calls("r1", "X", 10); took != 2*time.Second {
			t.Error("at half the budget 10 calls took", took)
		}
		for _, other := range [][2]string{{"r2", "X"}, {"r1", "Y"}} {
			if took := calls(other[0], other[1], 50); took != 0 {
				t.Error(other, "was slowed down too:", took)
			}
		}
		time.Sleep(2 * time.Minute)
		if got := l.ReducedBudgets(); len(got) != 0 {
			t.Error("recovered, and yet", got)
		}
		calls("r1", "X", 50)
		if took := calls("r1", "X", 10); took != time.Second {
			t.Error("after two minutes without a throttle 10 calls took", took)
		}
		for range 20 {
			if err := call(t.Context(), l.Gate("a", "r1", Kind{}), "X", 2*time.Second, "Throttling"); err != nil {
				t.Fatal(err)
			}
		}
		if took := calls("r1", "X", 1); took > 4*time.Second {
			t.Error("a budget goes no lower than a 32nd, and yet one call took", took)
		}
		// the lower one of two
		if err := call(t.Context(), l.Gate("a", "r1", Kind{}), "Y", 0, "RequestLimitExceeded"); err != nil {
			t.Fatal(err)
		}
		if got := l.ReducedBudgets(); len(got) != 1 || got[0] != (ReducedBudget{"a", "r1", minRatio}) {
			t.Error("slowed down to the least, but", got)
		}
	})
}

// The APIs of a service with one bucket share a budget; other services do not wait for it.
func TestSharedBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimits(256, nil)
		enter := func(k Kind, service, op string) time.Duration {
			from := time.Now()
			leave, err := l.Gate("a", "r", k).Enter(t.Context(), service, op)
			if err != nil {
				t.Fatal(err)
			}
			leave("")
			return time.Since(from)
		}
		groups := Kind{Service: "scaling", Op: "Groups", Refill: 2, Burst: 4, Shared: true} // half: 1 a second, 2 at once
		hooks := groups
		hooks.Op = "Hooks"
		if enter(groups, "scaling", "Groups")+enter(hooks, "scaling", "Hooks") > 0 {
			t.Error("the first two calls wait")
		}
		if waited := enter(hooks, "scaling", "Hooks"); waited != time.Second {
			t.Errorf("the third call waits %v", waited)
		}
		if waited := enter(hooks, "ec2", "Hooks"); waited > 0 {
			t.Errorf("a call of another service waits %v", waited)
		}
	})
}

func TestIdleBudgetsAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimits(256, nil)
		for i := range 20_000 {
			if err := call(t.Context(), l.Gate(fmt.Sprint("account-", i), "r", Kind{}), "X", 10*time.Millisecond,
				""); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(l.buckets); n > 512 {
			t.Error(n, "buckets are kept")
		}
		if l.inFlight.Accounts() != 0 {
			t.Error(l.inFlight.Accounts(), "accounts are kept")
		}
		if err := call(t.Context(), l.Gate("slow", "r", Kind{}), "X", 0, "Throttling"); err != nil {
			t.Fatal(err)
		}
		for i := range 2_000 {
			_ = call(t.Context(), l.Gate(fmt.Sprint("account-", i), "r", Kind{}), "X", time.Millisecond, "")
		}
		if l.buckets[bucketKey{"slow", "r", "ec2", "X"}] == nil {
			t.Error("a budget that was throttled was forgotten")
		}
	})
}

func TestOneAccountHasAnEighth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimits(16, nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		for range 100 { // every call of the account hangs, and many wait
			wg.Go(func() { _ = call(ctx, l.Gate("hung", "r", Kind{}), "X", time.Hour, "") })
		}
		synctest.Wait()
		if n := l.InFlight(); n != 2 {
			t.Errorf("%d in flight, want an eighth of 16", n)
		}
		from := time.Now()
		for i := range 50 {
			wg.Go(func() {
				if err := call(ctx, l.Gate(fmt.Sprint("account-", i), "r", Kind{}), "X", time.Second, ""); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if n := l.InFlight(); n != 2 || time.Since(from) != 4*time.Second { // 50 calls through 14 slots
			t.Errorf("%d in flight after %s", n, time.Since(from))
		}
		why := errors.New("over")
		cancel(why)
		if _, err := l.Gate("hung", "r", Kind{}).Enter(ctx, "ec2", "X"); !errors.Is(err, why) {
			t.Error("the cause is lost:", err)
		}
		wg.Wait()
		if l.InFlight() != 0 || l.inFlight.Accounts() != 0 {
			t.Error("slots were kept")
		}
	})
}

func BenchmarkGate(b *testing.B) {
	for _, accounts := range []int{1, 1000} {
		b.Run(fmt.Sprint(accounts), func(b *testing.B) {
			l := NewLimits(256, nil)
			gates := make([]*Gate, accounts)
			for i := range gates {
				gates[i] = l.Gate(fmt.Sprint("account-", i), "us-east-1", Kind{Service: "ec2", Op: "X", Refill: 1e12, Burst: 1e9})
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				leave, err := gates[i%accounts].Enter(b.Context(), "ec2", "X")
				if err != nil {
					b.Fatal(err)
				}
				leave("")
				i++
			}
		})
	}
}
