package local

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// Configurations are swapped while jobs run: the outputs of a job's configuration are open from its beginning to its
// end, and each configuration but the last is closed exactly once. It runs outside a bubble, to test with real
// scheduling.
func TestSwapUnderLoad(t *testing.T) {
	r := runner.New(runner.Options{Limits: runner.NewLimits(64, nil)})
	const fleets = 200
	var closed [fleets + 1]atomic.Int32
	build := func(i int) *runner.Configuration {
		output := &fakeOutput{send: func(context.Context, outputs.Batch) error {
			if closed[i].Load() > 0 {
				t.Error("written to after it was closed")
			}
			return nil
		}}
		f, err := runner.NewConfiguration(
			runner.Configuration{
				Accounts: []*runner.Account{account("a", &fakeAccount{})},
				Output:   output,
				Close:    func() { closed[i].Add(1) },
			},
		)
		if err != nil {
			t.Error(err)
		}
		return f
	}
	r.Swap(build(0))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				j := runner.Job{Run: runner.NewRun(), Account: "a", Region: "r", Kinds: []string{"ec2_instance"}}
				if err := r.Do(t.Context(), j, commitNothing); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range fleets {
		r.Swap(build(i + 1))
		runtime.Gosched()
	}
	close(stop)
	wg.Wait()
	if closed[fleets].Load() != 0 {
		t.Error("the last one was closed early")
	}
	r.Close()
	r.Close()
	for i := range closed {
		if n := closed[i].Load(); n != 1 {
			t.Errorf("configuration %d was closed %d times", i, n)
		}
	}
}

// Three thousand accounts, two regions each, come due together.
func TestGoroutinesFollowTheCallsInFlight(t *testing.T) {
	if testing.Short() {
		t.Skip("9,000 jobs")
	}
	synctest.Test(t, func(t *testing.T) {
		var most, runs, begun atomic.Int64
		var engine *Engine
		before := runtime.NumGoroutine()
		f := &fakeAccount{
			regions: func(context.Context, *runner.Gate) (runner.Plan, error) {
				return runner.Plan{Regions: strings.Fields("r1 r2")}, nil
			},
			list: func(ctx context.Context, g *runner.Gate, t record.Target, _ string, emit emitFunc) error {
				leave, err := g.Enter(ctx, "ec2", "DescribeInstances")
				if err != nil {
					return err
				}
				defer leave("")
				if err := sleep(ctx, 40*time.Millisecond); err != nil {
					return err
				}
				if n := int64(runtime.NumGoroutine() - before); n > most.Load() {
					most.Store(n)
				}
				engine.mu.Lock()
				begun.Store(max(begun.Load(), int64(engine.begunRuns)))
				engine.mu.Unlock()
				runs.Add(1)
				return sleep(ctx, 40*time.Millisecond)
			}}
		l := runner.NewLimits(256, nil)
		r := runner.New(runner.Options{Limits: l})
		accounts := make([]*runner.Account, 3_000)
		for i := range accounts {
			accounts[i] = account(fmt.Sprint("account-", i), f, at("*/15 * * * *"))
		}
		r.Swap(buildConfiguration(t, accounts...))
		ctx, cancel := context.WithTimeout(t.Context(), 16*time.Minute)
		defer cancel()
		engine = New(r, Options{})
		if err := engine.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if runs.Load() != 6_000 {
			t.Error(runs.Load(), "listings")
		}
		// One for each call in flight, and a handful for the engine: the transport adds two.
		if n := most.Load(); n > 256+32 {
			t.Errorf("%d goroutines for 256 calls in flight", n)
		}
		// A job releases its slot a moment before it reports its end, so there are more goroutines than slots; how many is
		// the scheduler's whim, but it has nothing to do with the 3,000.
		if n := begun.Load(); n > 4*256 {
			t.Errorf("%d runs were under way at once: what waits grows with the accounts", n)
		}
		t.Logf("%d goroutines at most", most.Load())
	})
}
