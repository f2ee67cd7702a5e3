package local

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

func TestADayOfQuarterHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newHarness(t, runner.Options{}, Options{})
		f := buildConfiguration(
			t,
			account("a", &fakeAccount{}, at("*/15 * * * *")),
			account("b", &fakeAccount{}, at("*/15 * * * *")),
		)
		f.Jitter = 30 * time.Second
		g.runner.Swap(f)
		g.run(24*time.Hour + time.Minute)
		for _, name := range []string{"a", "b"} {
			if n := len(g.recorder.runs(name, time.Now())); n != 96 {
				t.Errorf("account %s: %d runs, want 96", name, n)
			}
			if i := slices.IndexFunc(g.recorder.status(name),
				func(s record.Status) bool { return s != record.Success }); i >= 0 {
				t.Errorf("account %s: run %d: %s", name, i, g.recorder.status(name)[i])
			}
		}
		if g.recorder.started[0].tick.Minute()%15 != 0 || g.recorder.started[0].tick.Second() != 0 {
			t.Error("the tick is not the schedule's instant:", g.recorder.started[0].tick)
		}
	})
}

type memoryTicks struct {
	mu   sync.Mutex
	last map[TickKey]time.Time
	n    int
}

func (m *memoryTicks) Load() (map[TickKey]time.Time, error) { return m.last, nil }
func (m *memoryTicks) Save(l map[TickKey]time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = l
	m.n++
	return nil
}

func TestAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ticks memoryTicks
		start := func(d time.Duration) *harness {
			g := newHarness(t, runner.Options{}, Options{Ticks: &ticks, AtStart: true})
			f := buildConfiguration(t, account("a", &fakeAccount{}, at("*/15 * * * *")))
			f.Jitter = 30 * time.Second
			g.runner.Swap(f)
			g.run(d)
			return g
		}
		from := time.Now()
		if at := start(16*time.Minute).recorder.runs("a", from); len(at) != 2 || at[0] > 30*time.Second {
			t.Error("at the start and at 0:15:", at)
		}
		time.Sleep(time.Hour)
		from = time.Now() // 1:16
		if at := start(10*time.Minute).recorder.runs("a", from); len(at) != 1 || at[0] > 30*time.Second {
			t.Error("after a restart:", at)
		}
	})
}

func TestSuspendAndClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newHarness(t, runner.Options{}, Options{})
		f := buildConfiguration(t, account("a", &fakeAccount{}, at("*/15 * * * *")))
		f.Jitter = 30 * time.Second
		g.runner.Swap(f)
		var ahead atomic.Int64 // of the wall clock
		g.local.clock = func() time.Time { return time.Now().Round(0).Add(time.Duration(ahead.Load())) }
		from := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		step := func(name string, runs, suspended int) {
			t.Helper()
			synctest.Wait()
			if got := len(g.recorder.runs("a", from)); got != runs {
				t.Errorf("%s: %d runs, want %d", name, got, runs)
			}
			if got := g.recorder.missedCount("a", runner.MissedSuspended); got != suspended {
				t.Errorf("%s: missed %d, want %d", name, got, suspended)
			}
		}
		go func() {
			defer cancel()
			time.Sleep(16 * time.Minute)
			step("the first", 1, 0)
			ahead.Store(int64(6 * time.Hour)) // 6:16: the machine slept over 0:30 … 6:15
			time.Sleep(2 * time.Minute)
			step("after the sleep", 2, 23)
			ahead.Add(-int64(time.Hour)) // 5:18: nothing until the clock has reached its former time
			time.Sleep(70 * time.Minute)
			step("clock back by an hour", 2, 23)
			time.Sleep(3 * time.Minute)
			step("the tick of 6:30", 3, 23)
			ahead.Add(-int64(24 * time.Hour)) // the clock was wrong: the schedule follows the new time
			time.Sleep(16 * time.Minute)
			step("clock back by a day", 4, 23)
		}()
		if err := g.local.Run(ctx); err != nil {
			t.Fatal(err)
		}
		g.checkInvariants()
	})
}

func TestJitterSpreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newHarness(t, runner.Options{Limits: runner.NewLimits(256, nil)}, Options{})
		var accounts []*runner.Account
		for i := range 1000 {
			accounts = append(accounts, account(fmt.Sprint("account-", i), &fakeAccount{}, at("*/15 * * * *")))
		}
		f := buildConfiguration(t, accounts...)
		f.Jitter = 30 * time.Second
		g.runner.Swap(f)
		g.run(31 * time.Minute)
		second, offsets := map[int]int{}, map[string]time.Duration{}
		for _, s := range g.recorder.started {
			late := s.at.Sub(s.tick)
			second[int(late.Seconds())]++
			if before, ok := offsets[s.account]; ok && before != late {
				t.Errorf("%s moved from %s to %s", s.account, before, late)
			}
			offsets[s.account] = late
		}
		if len(g.recorder.started) != 2000 || len(second) != 30 {
			t.Error(len(g.recorder.started), second)
		}
		for s, n := range second {
			if n > 2*60 { // 33 a second and tick would be even
				t.Errorf("second %d: %d starts", s, n)
			}
		}
	})
}

func TestOffsetIsAtMostATenthOfThePeriod(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 30, 0, time.UTC)
	for i := range 200 {
		name := fmt.Sprint("account-", i)
		if d := jitterOffset(name, 30*time.Second, every("* * * * *").Schedule, now); d < 0 || d > 6*time.Second {
			t.Error(name, d)
		}
		// 12:55 and 13:00: five minutes apart, once a day
		if d := jitterOffset(name, time.Hour, every("0,55 12,13 * * *").Schedule, now); d > 30*time.Second {
			t.Error(name, d)
		}
	}
}
