package outputs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/aws-collector/collector/record"
)

// Stdout is the options of the output `stdout`: the records as JSON lines on the process's standard output.
type Stdout struct {
	Common `yaml:",inline"`
}

func stdoutDefaults() any  { return &Stdout{} }
func stdoutKey(any) string { return "stdout" }

func openStdout(_ context.Context, _ any, d Deps) (Output, error) {
	if d.Stdout == nil {
		return nil, errors.New("there is no standard output")
	}
	return &stdout{mu: make(contextMutex, 1), w: d.Stdout}, nil
}

// stdout makes one write a batch, so lines of two batches never mix, in a pipe and on a terminal alike.
type stdout struct {
	mu          contextMutex // held while writing
	w           io.Writer
	partialLine bool  // a failed write left half a line (standard output is a file on a full disk): end it before the next
	brokenPipe  error // the reader is: said again for each batch, tried no more
	closed      bool
}

func (s *stdout) Send(ctx context.Context, b Batch) error {
	if err := s.mu.lock(ctx); err != nil {
		return err
	}
	defer s.mu.unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.brokenPipe != nil:
		return s.brokenPipe
	}
	if s.partialLine {
		if _, err := s.w.Write([]byte{'\n'}); err != nil {
			return fmt.Errorf("standard output: %w", err)
		}
		s.partialLine = false
	}
	n, err := s.w.Write(b.Lines)
	s.partialLine = err != nil && n > 0 && b.Lines[n-1] != '\n'
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		s.brokenPipe = &record.Fault{Reason: record.Other, Err: fmt.Errorf("%w: standard output: %w", ErrPermanent, err),
			Hint: "whoever read standard output has ended; restart the collector with a reader, or take `type: stdout` out of outputs"}
		return s.brokenPipe
	}
	if err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	return nil
}

// Flush has nothing to wait for: a write to standard output is with the reader's kernel when it returns.
func (s *stdout) Flush(ctx context.Context) error {
	if err := s.mu.lock(ctx); err != nil {
		return err
	}
	defer s.mu.unlock()
	if s.closed {
		return ErrClosed
	}
	return nil
}

// Close leaves the writer open: it is the process's, not ours.
func (s *stdout) Close(ctx context.Context) error {
	if err := s.mu.lock(ctx); err != nil {
		return err
	}
	defer s.mu.unlock()
	s.closed = true
	return nil
}

// A turn is a lock that one can stop waiting for.
type contextMutex chan struct{}

func (t contextMutex) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err // select chooses at random
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t contextMutex) unlock() { <-t }
