package runner

import (
	"context"
	"fmt"
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
