package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

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
	} {
		t.Run(fmt.Sprint(c.kind.Op, " ", c.op), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newRecorder()
				g := NewLimits(256, d.observe).Gate("a", "", c.kind).ForRegion("us-east-1")
				from := time.Now()
				for range 100 {
					if err := call(t.Context(), g, c.op, 0, ""); err != nil {
						t.Fatal(err)
					}
				}
				if took := time.Since(from).Round(time.Millisecond); took != c.took {
					t.Errorf("took %s, want %s", took, c.took)
				}
				if w := d.waits["a us-east-1"].Round(time.Millisecond); w != c.took {
					t.Errorf("%s of waiting reported", w)
				}
				if n := d.calls["us-east-1 "+c.op+" "]; n != 100 {
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
		if len(l.inFlight.accounts) != 0 {
			t.Error(len(l.inFlight.accounts), "accounts are kept")
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
		if l.InFlight() != 0 || len(l.inFlight.accounts) != 0 {
			t.Error("slots were kept")
		}
	})
}

// However slots are requested, cancelled and released: never more than all, never more than an eighth for one account,
// and no item waits while it could have a slot.
func TestFair(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := newFairQueue[int](rapid.IntRange(0, 20).Draw(rt, "slots"))
		held, waits := map[string]int{}, map[string]*[2][]int{"a": {}, "b": {}, "c": {}}
		next := 0
		waiting := func(a string) bool { return len(waits[a][0])+len(waits[a][1]) > 0 }
		name, class := rapid.SampledFrom([]string{"a", "b", "c"}), rapid.IntRange(0, 1)
		could := func() string {
			for a := range waits {
				if waiting(a) && f.used < f.max && held[a] < f.perAccount {
					return a
				}
			}
			return ""
		}
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				used := 0
				for a, n := range held {
					if used += n; n > f.perAccount {
						rt.Fatalf("%s has %d of %d", a, n, f.max)
					}
				}
				if used != f.used || used > f.max {
					rt.Fatalf("used %d, counted %d, of %d", f.used, used, f.max)
				}
			},
			"push": func(rt *rapid.T) {
				a, c := name.Draw(rt, "account"), class.Draw(rt, "class")
				f.push(a, c, next)
				waits[a][c] = append(waits[a][c], next)
				next++
			},
			"pop": func(rt *rapid.T) {
				first, could := class.Draw(rt, "class"), could()
				a, x, ok := f.pop(first)
				if !ok {
					if could != "" {
						rt.Fatal(could, "could have had a slot")
					}
					return
				}
				c := first
				if !slices.Contains(waits[a][c], x) {
					c = 1 - first
					for a, w := range waits {
						if len(w[first]) > 0 && held[a] < f.perAccount {
							rt.Fatal(a, "is of the class that goes first")
						}
					}
				}
				if waits[a][c][0] != x {
					rt.Fatal("out of order", x, waits[a])
				}
				waits[a][c] = waits[a][c][1:]
				held[a]++
			},
			"try": func(rt *rapid.T) {
				a, before := name.Draw(rt, "account"), could()
				if f.tryAcquire(a) {
					if held[a]++; before != "" {
						rt.Fatal(a, "went before", before)
					}
				} else if before == "" && f.used < f.max && held[a] < f.perAccount {
					rt.Fatal(a, "was refused a free slot")
				}
			},
			"release": func(rt *rapid.T) {
				if a := name.Draw(rt, "account"); held[a] > 0 {
					held[a]--
					f.release(a)
				}
			},
			"remove": func(rt *rapid.T) {
				a := name.Draw(rt, "account")
				for c, w := range waits[a] {
					if len(w) > 0 {
						if f.remove(a, func(y int) bool { return y == w[0] }) != 1 {
							rt.Fatal("not removed")
						}
						waits[a][c] = w[1:]
						return
					}
				}
			},
		})
		for a := range held {
			for ; held[a] > 0; held[a]-- {
				f.release(a)
			}
			f.remove(a, func(int) bool { return true })
		}
		for a := range waits {
			f.remove(a, func(int) bool { return true })
		}
		f.hasWaiting() // removes accounts from the ready list that have nothing waiting
		if len(f.accounts) != 0 {
			rt.Fatal("kept for nothing:", len(f.accounts))
		}
	})
}

func TestAccountsTakeTurns(t *testing.T) {
	f := newFairQueue[string](1)
	for i := range 1000 {
		f.push("big", 0, fmt.Sprint(i))
	}
	f.push("small", 0, "x")
	for want := range 3 {
		a, x, ok := f.pop(0)
		if want == 1 && x != "x" {
			t.Error("the second slot went to", a, x, ok)
		}
		f.release(a)
	}
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
