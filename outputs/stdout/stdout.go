// Package stdout is the output `stdout`: JSON lines on the process's standard output.
package stdout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/contextmutex"
	"github.com/aws-collector/collector/record"
)

// Options is the options of the output `stdout`: JSON lines on the process's standard output.
type Options struct {
	outputs.Common `yaml:",inline"`
}

// Type is this output.
var Type = outputs.Type{Name: "stdout", Options: defaults, Key: key, Open: open, Direct: true}

func defaults() any  { return &Options{} }
func key(any) string { return "stdout" }

func open(_ context.Context, _ any, d outputs.Deps) (outputs.Output, error) {
	if d.Stdout == nil {
		return nil, errors.New("no standard output")
	}
	return &output{mu: contextmutex.New(), w: d.Stdout}, nil
}

// output writes a batch with one call, so lines of two batches never mix, in a pipe or on a terminal.
type output struct {
	mu          contextmutex.Mutex // locked during a write
	w           io.Writer
	partialLine bool  // a failed write left an incomplete line: end it before the next one
	brokenPipe  error // returned for every later batch
	closed      bool
}

func (s *output) Send(ctx context.Context, b outputs.Batch) error {
	if err := s.mu.Lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return outputs.ErrClosed
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
			Err: fmt.Errorf("%w: standard output: %w", outputs.ErrPermanent, err),
		}
		return s.brokenPipe
	}
	if err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	return nil
}

// Flush has nothing to wait for: when Write returns, the data is in the kernel.
func (s *output) Flush(ctx context.Context) error {
	if err := s.mu.Lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if s.closed {
		return outputs.ErrClosed
	}
	return nil
}

// Close does not close the writer: it belongs to the process.
func (s *output) Close(ctx context.Context) error {
	if err := s.mu.Lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
