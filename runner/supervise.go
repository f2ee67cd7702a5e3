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

// supervise calls f here. A goroutine cannot be stopped from outside; so when f has not returned grace after ctx ended, it is
// given up on: instead is called, in another goroutine, and takes over whatever f's caller was about to do. supervise
// reports whether f returned in time. If not, its caller must do nothing more, however late f returned: instead did.
func (r *Runner) supervise(ctx context.Context, grace time.Duration, f, instead func()) bool {
	var settled atomic.Bool
	returned := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-returned:
			return
		case <-t.C:
		}
		if settled.CompareAndSwap(false, true) {
			r.abandoned.Add(1)
			instead()
		}
	})
	f()
	if settled.CompareAndSwap(false, true) {
		stop()
		close(returned)
		return true
	}
	r.abandoned.Add(-1)
	return false
}

// What a ledger gets for an end, in end time-outs: a slow one is waited for while it takes other ends, one that does not answer is not.
const (
	storeIdle = 6
	storeMost = 60
)

// patience is a context for the end of a target. It ends after the end time-out unless the ledger has the target by then, and
// then by what the ledger does for others. Where stopping says that the program ends, there is no time for that.
func (r *Runner) patience(parent context.Context, storing func() bool, stopping func() error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
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
		case !storing(), idle > 0 && stopping() != nil:
			cancel(fmt.Errorf("no answer within %s: %w", r.o.EndTimeout, context.DeadlineExceeded))
		case idle >= storeIdle || all >= storeMost:
			cancel(fmt.Errorf("the store did not take it within %s: %w", time.Duration(all)*r.o.EndTimeout, context.DeadlineExceeded))
		default:
			t.Reset(r.o.EndTimeout)
		}
	})
	t.Reset(r.o.EndTimeout)
	return ctx, func() {
		t.Stop()
		cancel(context.Canceled)
	}
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
