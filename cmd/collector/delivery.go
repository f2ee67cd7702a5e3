package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/record"
)

// spoolsIn is the folder that contains a spool for each output.
func spoolsIn(dataDir string) string { return filepath.Join(dataDir, "spools") }

// flushContext limits the wait for outputs to the flush timeout.
func (p *program) flushContext(ctx context.Context) (context.Context, context.CancelFunc) {
	timedOut := fmt.Errorf("outputs did not accept all records within %s", p.opt.flushTimeout)
	return context.WithTimeoutCause(ctx, p.opt.flushTimeout, timedOut)
}

// drainOutputs waits, after a single run, until the receivers have acknowledged everything. What they do not accept in
// time waits in the spools for the next start; the error says so.
func (p *program) drainOutputs(ctx context.Context) error {
	ctx, cancel := p.flushContext(ctx)
	defer cancel()
	if err := p.outputs.Drain(ctx); err != nil {
		return &exitError{exitPartial, err}
	}
	return nil
}

// undelivered is the error of a single run that collected records which an output will never deliver.
func undelivered(states []deliver.State) error {
	var errs []error
	for _, s := range states {
		if s.Lost > 0 {
			err := fmt.Errorf("output %s lost %d records", s.Name, s.Lost)
			if s.Error != "" { // without an error the output works again, and the log has the cause
				err = &record.Fault{Reason: record.Other, Hint: s.Hint, Err: fmt.Errorf("%w: %s", err, s.Error)}
			}
			errs = append(errs, err)
		}
		if s.Spool != nil && s.Spool.Dropped > 0 {
			errs = append(errs, fmt.Errorf("output %s: its spool dropped %d records", s.Name, s.Spool.Dropped))
		}
		if s.Spool != nil && s.Spool.DeadLetters > 0 {
			errs = append(errs, fmt.Errorf("output %s: its receiver refused %d records: see dead-letter.jsonl in %s",
				s.Name, s.Spool.DeadLetters, s.Spool.Dir))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return &exitError{exitPartial, errors.Join(errs...)}
}

// notReadyReasons names the outputs that lose records or delay collection. An output whose receiver is away is ready
// while its spool has space.
func notReadyReasons(states []deliver.State) []string {
	var reasons []string
	for _, s := range states {
		if !s.Ready {
			reasons = append(reasons, fmt.Sprintf("output %s: %s", s.Name, s.Error))
		}
	}
	return reasons
}
