package local

import (
	"context"
	"fmt"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// A taskRun is a run of a task in progress.
type taskRun struct {
	run    string
	cancel context.CancelCauseFunc
}

// startTask starts a run of a task, unless its last run is still in progress, and returns its id. done is called at the
// end; it may be nil. e.mu is held.
func (e *Engine) startTask(t *runner.Task, tick time.Time, done func(runner.RunResult)) (string, error) {
	row := inventory.Run{ID: runner.NewRun(), Account: t.Name, Tick: tick, Ticks: 1}
	if _, active := e.tasks[t.Name]; active {
		e.r.Observe(runner.RunMissed{Account: t.Name, Reason: runner.MissedOverlap})
		e.r.Observe(runner.RunEnded{Account: t.Name, Run: row.ID, Status: record.RunSkipped})
		row.Missed = runner.MissedOverlap
		e.r.StoreMissed(row)
		if done != nil {
			done(runner.RunResult{Account: t.Name, Run: row.ID, Task: true, Status: record.RunSkipped})
		}
		return row.ID, fmt.Errorf("task %q: %w", t.Name, runner.ErrBusy)
	}
	ctx, cancel := context.WithCancelCause(context.Background()) // drain ends it
	e.tasks[t.Name] = taskRun{row.ID, cancel}
	e.wg.Go(func() {
		status, took := e.r.RunTask(ctx, t, row)
		cancel(nil)
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.tasks, t.Name)
		if done != nil {
			done(runner.RunResult{Account: t.Name, Run: row.ID, Task: true, Status: status, Took: took})
		}
	})
	return row.ID, nil
}
