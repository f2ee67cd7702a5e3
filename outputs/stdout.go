package outputs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/aws-collector/collector/record"
)

// Stdout is the options of the output `stdout`: JSON lines on the process's standard output.
type Stdout struct {
	Common `yaml:",inline"`
}

func stdoutDefaults() any  { return &Stdout{} }
func stdoutKey(any) string { return "stdout" }

func openStdout(_ context.Context, _ any, d Deps) (Output, error) {
	if d.Stdout == nil {
		return nil, errors.New("no standard output")
	}
	return &stdout{mu: make(contextMutex, 1), w: d.Stdout}, nil
}

// stdout writes a batch with one call, so lines of two batches never mix, in a pipe or on a terminal.
type stdout struct {
	mu          contextMutex // locked during a write
	w           io.Writer
	partialLine bool  // a failed write left an incomplete line: end it before the next one
	brokenPipe  error // returned for every later batch
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
		s.brokenPipe = &record.Fault{
			Reason: record.Other,
			Hint: "Restart the collector with a program that reads its standard output, " +
				"or remove `type: stdout` from outputs.",
			Err: fmt.Errorf("%w: standard output: %w", ErrPermanent, err),
		}
		return s.brokenPipe
	}
	if err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	return nil
}

// Flush has nothing to wait for: when Write returns, the data is in the kernel.
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

// Close does not close the writer: it belongs to the process.
func (s *stdout) Close(ctx context.Context) error {
	if err := s.mu.lock(ctx); err != nil {
		return err
	}
	defer s.mu.unlock()
	s.closed = true
	return nil
}

// A contextMutex is a mutex whose lock can be interrupted by a context.
type contextMutex chan struct{}

func (t contextMutex) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err // select chooses randomly
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t contextMutex) unlock() { <-t }
