package runner

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"github.com/aws-collector/collector/record"
)

// errAbandoned is the error of a call that did not return in time.
var errAbandoned = errors.New("abandoned")

// supervise calls f, which may ignore its context, and then next with f's error. A goroutine cannot be stopped from
// outside: if f has not returned when late ends, it is abandoned, and next is called in another goroutine, with
// errAbandoned. It must then not use what f uses. The result is next's, which says whether its goroutine may go on with
// the job's next step; it is false if f was abandoned.
func (j *job) supervise(late context.Context, f func() error, next func(error) bool) bool {
	inTime := context.AfterFunc(late, func() {
		j.r.abandoned.Add(1)
		if next(errAbandoned) {
			j.runSteps()
		}
	})
	err := CatchPanic(f)
	if !inTime() {
		j.r.abandoned.Add(-1)
		return false
	}
	return next(err)
}

// outputContext is for the output's part of the end of a target. late ends a second after ctx.
func (j *job) outputContext() (ctx, late context.Context, stop func()) {
	parent := context.WithoutCancel(j.ctx)
	timeout := j.r.o.EndTimeout
	ctx, cancel := context.WithTimeoutCause(parent, timeout,
		fmt.Errorf("no answer within %s: %w", timeout, context.DeadlineExceeded))
	late, cancelLate := context.WithTimeout(parent, timeout+time.Second)
	return ctx, late, func() {
		cancel()
		cancelLate()
	}
}

// drainCheckInterval is how often a step that waits for the store checks whether the drain is over.
const drainCheckInterval = time.Second

// storeContext is for the store's part of a step's end. The store itself decides how long it waits for its database.
// Only the end of the drain ends ctx, and late a second later. A step that was cancelled by the drain, or that had
// timed out before, gets EndTimeout for its end.
func (j *job) storeContext() (ctx, late context.Context, stop func()) {
	parent := context.WithoutCancel(j.ctx)
	ctx, end := context.WithCancelCause(parent)
	late, endLate := context.WithCancel(parent)
	before, waited := j.ctx.Err() != nil, time.Duration(0)
	var t *time.Timer
	t = time.AfterFunc(math.MaxInt64, func() { // started below, when t is set
		switch {
		case ctx.Err() != nil:
			return
		case j.Draining == nil || !j.Draining() || j.ctx.Err() == nil:
			waited = 0
		case (before || j.runTimedOut()) && waited < j.r.o.EndTimeout:
			waited += drainCheckInterval
		default:
			end(fmt.Errorf("the program is stopping and the store has not finished: %w", context.DeadlineExceeded))
			time.AfterFunc(time.Second, endLate)
			return
		}
		t.Reset(drainCheckInterval)
	})
	t.Reset(drainCheckInterval)
	return ctx, late, func() {
		t.Stop()
		end(context.Canceled)
		endLate()
	}
}

// CatchPanic turns a panic into an error. The error holds the stack, which leads to the bug.
func CatchPanic(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			stack := debug.Stack()
			if from, ok := p.(interface{ Stack() []byte }); ok { // re-panicked from another goroutine
				stack = from.Stack()
			}
			err = &panicError{value: p, stack: stack}
		}
	}()
	return f()
}

func isPanic(err error) bool { return errors.As(err, new(*panicError)) }

// A panicError is a panic, for the log and a target's outcome.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// As lets record.ReasonOf find its reason.
func (p *panicError) As(target any) bool {
	f, ok := target.(**record.Fault)
	if ok {
		*f = &record.Fault{
			Reason: record.Panicked,
			Hint:   "This is a bug of the collector. Report it with the stack from the log.",
			Err:    fmt.Errorf("panic: %v", p.value),
		}
	}
	return ok
}
