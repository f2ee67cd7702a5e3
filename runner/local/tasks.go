package local

import (
	"context"
	"fmt"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// startTask starts a run of a task, unless its last run is still in progress. done is called at the end; it may be nil.
// e.mu is held.
func (e *Engine) startTask(t *runner.Task, tick time.Time, done func(RunResult)) error {
	row := inventory.Run{ID: runner.NewRun(), Account: t.Name, Tick: tick, Ticks: 1}
	if e.tasks[t.Name] != nil {
		e.r.Observe(runner.RunMissed{Account: t.Name, Reason: runner.MissedOverlap})
		e.r.Observe(runner.RunEnded{Account: t.Name, Run: row.ID, Status: record.RunSkipped})
		row.Missed = runner.MissedOverlap
		e.r.StoreMissed(row)
		if done != nil {
			done(RunResult{Account: t.Name, Run: row.ID, Task: true, Status: record.RunSkipped})
		}
		return fmt.Errorf("task %q: %w", t.Name, ErrBusy)
	}
	ctx, cancel := context.WithCancelCause(context.Background()) // drain ends it
	e.tasks[t.Name] = cancel
	e.wg.Go(func() {
		status, took := e.r.RunTask(ctx, t, row)
		cancel(nil)
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.tasks, t.Name)
		if done != nil {
			done(RunResult{Account: t.Name, Run: row.ID, Task: true, Status: status, Took: took})
		}
	})
	return nil
}
