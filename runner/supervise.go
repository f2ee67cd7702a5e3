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
	r       *Runner
	instead func()
	settled atomic.Bool
}

// do calls f here, and reports whether it returned in time. If not, its caller must do nothing more, however late f returned:
// instead did.
func (s *supervised) do(f func()) bool {
	f()
	if s.settled.CompareAndSwap(false, true) {
		return true
	}
	s.r.abandoned.Add(-1)
	return false
}

// giveUp is for when the time is over. It does nothing if the call has returned.
func (s *supervised) giveUp() {
	if s.settled.CompareAndSwap(false, true) {
		s.r.abandoned.Add(1)
		s.instead()
	}
}

// What a ledger gets for an end, in end time-outs: a slow one is waited for while it takes other ends, one that does not answer is not.
const (
	storeIdle = 6
	storeMost = 60
)

// patience is a context for the ledger's part of the end of a target. How long it lasts hangs on what the ledger does for others.
// Where stopping says that the program ends, there is no time for that. late is called a second after the time is over.
func (r *Runner) patience(parent context.Context, stopping func() error, late func()) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(parent)
	cancel := func(cause error) {
		end(cause)
		time.AfterFunc(time.Second, late)
	}
	idle, all, last := 0, 0, r.stored.Load()
	var t *time.Timer
	t = time.AfterFunc(math.MaxInt64, func() { // it begins below, when t is set
		if ctx.Err() != nil {
			return
		}
		now := r.stored.Load()
		if idle, all = idle+1, all+1; now != last {
			idle, last = 0, now
		}
		switch {
		case idle > 0 && stopping() != nil:
			cancel(r.tooLate())
		case idle >= storeIdle || all >= storeMost:
			cancel(fmt.Errorf("the store did not take it within %s: %w", time.Duration(all)*r.o.EndTimeout, context.DeadlineExceeded))
		default:
			t.Reset(r.o.EndTimeout)
		}
	})
	t.Reset(r.o.EndTimeout)
	return ctx, func() {
		t.Stop()
		end(context.Canceled)
	}
}

// tooLate is the cause where the end time-out is over.
func (r *Runner) tooLate() error {
	return fmt.Errorf("no answer within %s: %w", r.o.EndTimeout, context.DeadlineExceeded)
}

// guard turns a panic into an error. The stack goes into it, as it is the only way to the bug.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicked{value: p, stack: debug.Stack()}
		}
	}()
	return f()
}

// panicked is a panic on its way to the log and to a target's outcome.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// As lets record.ReasonOf see what it is.
func (p *panicked) As(target any) bool {
	f, ok := target.(**record.Fault)
	if ok {
		*f = &record.Fault{Reason: record.Panicked, Hint: "this is a bug of the collector: please report it, with the stack in the log", Err: fmt.Errorf("panic: %v", p.value)}
	}
	return ok
}
