package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A Task is work that has a schedule and lists nothing, such as asking which accounts there are. Its runs are stored,
// observed and counted as those of an account are, under the task's name. It has no regions, no slot and no output.
type Task struct {
	Name    string // unique among accounts and tasks
	Kind    string // what it does; a failure is reported as a target of this kind
	Ticks   []Tick
	Timeout time.Duration // of a run
	// Run does the work. warning is a problem that a person should know about although the run succeeded.
	Run func(ctx context.Context) (warning, err error)
}

// target is the target as which a failure of the task is reported.
func (t *Task) target() record.Target { return record.Target{Account: t.Name, Kind: t.Kind} }

// RunTask does one run of a task, and returns when it has ended or was abandoned.
func (r *Runner) RunTask(ctx context.Context, t *Task, row inventory.Run) (status record.Status, took time.Duration) {
	row.Started = time.Now()
	r.observe(RunStarted{t.Name, row.ID, row.Tick})
	r.StoreRunStart(row)
	timeoutErr := &record.Fault{
		Reason: record.TimedOut, Hint: "Raise the timeout.",
		Err: fmt.Errorf("the run timed out after %s", t.Timeout),
	}
	if t.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, t.Timeout, timeoutErr)
		defer cancel()
	}
	warning, err := r.callTask(ctx, t)
	o := record.Outcome{
		Target: t.target(), Run: row.ID, State: record.StateOf(err, 0), Reason: record.ReasonOf(err),
		Hint: record.HintOf(err), Started: row.Started, Ended: time.Now(),
	}
	tally := Tally{Started: row.Started}
	if err != nil {
		o.Error = err.Error()
		if ctx.Err() == nil {
			o.State = record.AuthFailed // it lists nothing: whatever failed, its accounts are not known
		}
		tally.count(o, false, errors.Is(err, timeoutErr))
	}
	if err == nil || ctx.Err() == nil {
		s := inventory.SignIn{Account: t.Name, Checked: o.Ended, Error: o.Error, Hint: o.Hint}
		r.runWriter.add(func(ctx context.Context) error { return r.o.Store.PutSignIn(ctx, s) })
	}
	tally.Store(&row)
	r.StoreRunEnd(row)
	r.observe(TaskEnded{o, warning})
	took = tally.Duration()
	r.observe(RunEnded{t.Name, row.ID, row.Status, took})
	return row.Status, took
}

// callTask calls the task's function. It does not wait for one that ignores its context.
func (r *Runner) callTask(ctx context.Context, t *Task) (warning, err error) {
	type result struct{ warning, err error }
	ended := make(chan result, 1)
	go func() {
		var o result
		o.err = CatchPanic(func() (err error) {
			o.warning, err = t.Run(ctx)
			return err
		})
		ended <- o
	}()
	var o result
	select {
	case o = <-ended:
	case <-ctx.Done():
		select {
		case o = <-ended:
		case <-time.After(r.o.Grace):
			o.err = &record.Fault{
				Reason: record.Stuck, Hint: "Report this bug of the collector.",
				Err: fmt.Errorf("abandoned: did not stop within %s after: %w", r.o.Grace, context.Cause(ctx)),
			}
			r.log.Error("task abandoned: did not stop after its deadline", "account", t.Name, "cause", context.Cause(ctx))
		}
	}
	if p := (*panicError)(nil); errors.As(o.err, &p) {
		r.log.Error("panic", "account", t.Name, "panic", p.Error(), "stack", string(p.stack))
	}
	if cause := context.Cause(ctx); o.err != nil && cause != nil && !errors.Is(o.err, cause) {
		o.err = fmt.Errorf("%w: %w", cause, o.err)
	}
	return o.warning, o.err
}
