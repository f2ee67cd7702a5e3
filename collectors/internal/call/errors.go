package call

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/aws/smithy-go"
	"github.com/klauspost/compress/gzip"

	"github.com/aws-collector/collector/record"
)

// A waitTimer ends an attempt that waits too long for bytes. It runs only during a wait for the network: not during a
// wait for a page, nor while bytes are decoded.
type waitTimer struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	mu     sync.Mutex
	slow   *Slow // the error if the timer ends the attempt
}

func newWaitTimer(parent context.Context) *waitTimer {
	t := new(waitTimer)
	t.ctx, t.cancel = context.WithCancelCause(parent)
	return t
}

func (t *waitTimer) start(d time.Duration, what string) {
	t.mu.Lock()
	if t.slow == nil || t.slow.What != what {
		t.slow = &Slow{What: what, Limit: d}
	}
	t.mu.Unlock()
	if t.timer == nil {
		t.timer = time.AfterFunc(d, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.cancel(t.slow)
		})
		return
	}
	t.timer.Reset(d)
}

func (t *waitTimer) stop() { t.timer.Stop() }

func (t *waitTimer) close() {
	t.timer.Stop()
	t.cancel(nil)
}

// explain replaces the "context canceled" that the timer caused by the timer's error. (The SDK never retries what looks
// canceled; a slow attempt is worth another.)
func (t *waitTimer) explain(err error) error {
	var slow *Slow
	if err != nil && errors.As(context.Cause(t.ctx), &slow) {
		return slow
	}
	return err
}

// Slow is the error of an abandoned attempt: no bytes arrived for Limit.
type Slow struct {
	What  string // what was waited for
	Limit time.Duration
	last  bool
}

// maxSlowAttempts is how many attempts of a call may end like that. One may be a connection that died in silence; an
// endpoint that hangs would otherwise hold its target for all attempts' time-outs, one after the other.
const maxSlowAttempts = 2

// limitSlow counts the attempts that hung, and lets the SDK try again only while they are few.
func (a *attempt) limitSlow(err error) error {
	var s *Slow
	if errors.As(err, &s) {
		a.slow++
		s.last = a.slow >= maxSlowAttempts
	}
	return err
}

func (s *Slow) Error() string {
	return fmt.Sprintf("no bytes for %v while waiting for %s", s.Limit, s.What)
}

// Timeout tells users of net.Error that this is a time-out.
func (s *Slow) Timeout() bool { return true }

// Temporary completes net.Error.
func (s *Slow) Temporary() bool { return true }

// RetryableError is called by the SDK's retryer.
func (s *Slow) RetryableError() bool { return !s.last }

// stallReader limits the wait for the next bytes, not the length of the whole: a page of 10 MB may take long.
type stallReader struct {
	r     io.Reader
	timer *waitTimer
	limit time.Duration
	err   error
}

func (s *stallReader) Read(p []byte) (int, error) {
	s.timer.start(s.limit, "the rest of the response's body")
	n, err := s.r.Read(p)
	s.timer.stop()
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// classify returns an error that says whether err, which the body's reader returned, is worth another attempt: it is if
// the body was truncated on the wire.
func (s *stallReader) classify(err error) error {
	if s.err != nil || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrChecksum) ||
		errors.Is(err, gzip.ErrHeader) {
		return &truncated{
			&record.Fault{
				Reason: record.Network,
				Err:    fmt.Errorf("the response's body was truncated: %w", errors.Join(err, s.err)),
			},
		}
	}
	return &final{err}
}

// truncated is a body that ended early. The SDK does not retry it by itself.
type truncated struct{ err error }

func (t *truncated) Error() string      { return t.err.Error() }
func (t *truncated) Unwrap() error      { return t.err }
func (*truncated) RetryableError() bool { return true }

// final is an error that another attempt would not change, whatever it wraps.
type final struct{ err error }

func (f *final) Error() string      { return f.err.Error() }
func (f *final) Unwrap() error      { return f.err }
func (*final) RetryableError() bool { return false }

func isCanceled(err error) bool {
	var c interface{ CanceledError() bool }
	return errors.Is(err, context.Canceled) || errors.As(err, &c) && c.CanceledError()
}

// unwrapOperation removes the name of an operation that was called in place of another.
func unwrapOperation(err error) error {
	var operation *smithy.OperationError
	if errors.As(err, &operation) {
		return operation.Err
	}
	return err
}
