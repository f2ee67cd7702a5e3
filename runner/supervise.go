package runner

import (
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/aws-collector/collector/record"
)

// A supervised call may ignore its context. A goroutine cannot be stopped from outside: so a call that has not returned
// in time is abandoned, and takeOver, in another goroutine, does what the caller would have done next.
type supervised struct {
	r        *Runner
	takeOver func()
	decided  atomic.Bool
}

// run calls f in this goroutine and reports whether it returned in time. If not, the caller must do nothing more:
// takeOver has done it.
func (s *supervised) run(f func()) bool {
	f()
	if s.decided.CompareAndSwap(false, true) {
		return true
	}
	s.r.abandoned.Add(-1)
	return false
}

// abandon ends the time for the call. It does nothing if the call has returned.
func (s *supervised) abandon() {
	if s.decided.CompareAndSwap(false, true) {
		s.r.abandoned.Add(1)
		s.takeOver()
	}
}

// drainCheckInterval is how often a step that waits for the store checks whether the drain is over.
const drainCheckInterval = time.Second

// storeContext is the context of the store's part of a step's end. The store itself decides how long it waits for its
// database. Only the end of the drain cancels this context; late is called a second later. A step that was cancelled by
// the drain, or that had timed out before, gets EndTimeout for its end.
func (j *job) storeContext(parent context.Context, late func()) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(parent)
	before, waited := j.ctx.Err() != nil, time.Duration(0)
	var t *time.Timer
	t = time.AfterFunc(math.MaxInt64, func() { // started below, when t is set
		switch {
		case ctx.Err() != nil:
			return
		case j.shutdownErr() == nil || j.ctx.Err() == nil:
			waited = 0
		case (before || j.runTimedOut()) && waited < j.r.o.EndTimeout:
			waited += drainCheckInterval
		default:
			end(fmt.Errorf("the program is stopping and the store has not finished: %w", context.DeadlineExceeded))
			time.AfterFunc(time.Second, late)
			return
		}
		t.Reset(drainCheckInterval)
	})
	t.Reset(drainCheckInterval)
	return ctx, func() {
		t.Stop()
		end(context.Canceled)
	}
}

// endTimeoutErr is the cause when EndTimeout is over.
func (r *Runner) endTimeoutErr() error {
	return fmt.Errorf("no answer within %s: %w", r.o.EndTimeout, context.DeadlineExceeded)
}

// catchPanic turns a panic into an error. The error holds the stack, which leads to the bug.
func catchPanic(f func() error) (err error) {
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
