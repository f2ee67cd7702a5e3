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

// A supervised call is one that may not heed its context. A goroutine cannot be stopped from outside; so when the call has not
// returned in time, it is given up on: instead is called, in another goroutine, and takes over whatever the caller was about to do.
type supervised struct {
	r        *Runner
	takeOver func()
	decided  atomic.Bool
}

// run calls f here, and reports whether it returned in time. If not, its caller must do nothing more, however late f returned:
// instead did.
func (s *supervised) run(f func()) bool {
	f()
	if s.decided.CompareAndSwap(false, true) {
		return true
	}
	s.r.abandoned.Add(-1)
	return false
}

// abandon is for when the time is over. It does nothing if the call has returned.
func (s *supervised) abandon() {
	if s.decided.CompareAndSwap(false, true) {
		s.r.abandoned.Add(1)
		s.takeOver()
	}
}

// drainCheckInterval is how often an end that waits for the ledger looks whether the drain is over.
const drainCheckInterval = time.Second

// storeContext is a context for the ledger's part of the end of a step. The ledger knows itself how long its database is worth waiting
// for, and how large a commit may be. Only the end of the drain cuts it off; late is called a second later. A step that the drain
// broke off, as one that had timed out before, has the end time-out for its end.
func (j *job) storeContext(parent context.Context, late func()) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(parent)
	before, waited := j.ctx.Err() != nil, time.Duration(0)
	var t *time.Timer
	t = time.AfterFunc(math.MaxInt64, func() { // it begins below, when t is set
		switch {
		case ctx.Err() != nil:
			return
		case j.shutdownErr() == nil || j.ctx.Err() == nil:
			waited = 0
		case (before || j.runTimedOut()) && waited < j.r.o.EndTimeout:
			waited += drainCheckInterval
		default:
			end(fmt.Errorf("the program stops, and the store has not taken it yet: %w", context.DeadlineExceeded))
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

// endTimeoutErr is the cause where the end time-out is over.
func (r *Runner) endTimeoutErr() error {
	return fmt.Errorf("no answer within %s: %w", r.o.EndTimeout, context.DeadlineExceeded)
}

// catchPanic turns a panic into an error. The stack goes into it, as it is the only way to the bug.
func catchPanic(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			stack := debug.Stack()
			if from, ok := p.(interface{ Stack() []byte }); ok { // it came here from another goroutine
				stack = from.Stack()
			}
			err = &panicError{value: p, stack: stack}
		}
	}()
	return f()
}

// panicError is a panic on its way to the log and to a target's outcome.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// As lets record.ReasonOf see what it is.
func (p *panicError) As(target any) bool {
	f, ok := target.(**record.Fault)
	if ok {
		*f = &record.Fault{Reason: record.Panicked, Hint: "this is a bug of the collector: please report it, with the stack in the log", Err: fmt.Errorf("panic: %v", p.value)}
	}
	return ok
}
