package local

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/runnertest"
)

// The engine in one process, in a bubble of fake time: what is due is on time to the nanosecond.
func TestConformance(t *testing.T) {
	runnertest.Run(t, runnertest.Subject{Case: func(t *testing.T, f func(*testing.T, runnertest.World)) {
		synctest.Test(t, func(t *testing.T) {
			var ahead atomic.Int64 // of the wall clock
			now := func() time.Time { return time.Now().Round(0).Add(time.Duration(ahead.Load())) }
			ticks, store := new(memoryTicks), runner.NewMemoryStore()
			f(t, runnertest.World{
				Unit: 5 * time.Minute, Processes: 1, Now: now, Settle: synctest.Wait,
				Suspend: func(d time.Duration) { ahead.Add(int64(d)) },
				Store:   func() runner.Store { return store },
				New: func(r *runner.Runner, o runnertest.Options) runnertest.Process {
					mine := &cutTicks{memoryTicks: ticks}
					e := New(r, Options{Slots: o.Slots, DrainTimeout: o.DrainTimeout, Log: o.Log, Ticks: mine})
					e.clock = now
					return runnertest.Process{Engine: e, Cut: mine.cut}
				},
			})
		})
	}})
}

// cutTicks are the ticks as one process has them. After its death it saves none.
type cutTicks struct {
	*memoryTicks
	mu   sync.Mutex
	dead bool
}

func (c *cutTicks) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
}

func (c *cutTicks) Save(last map[TickKey]time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return nil
	}
	return c.memoryTicks.Save(last)
}
