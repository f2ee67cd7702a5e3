package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

// spoolsIn is the folder of the spools, one an output.
func spoolsIn(dataDir string) string { return filepath.Join(dataDir, "spools") }

// drainOutputs waits, at the end of a run by hand, until receivers have acknowledged everything. What they do not take in time waits
// for the next start, and that is said.
func (p *program) drainOutputs(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.opt.flushTimeout, fmt.Errorf("outputs did not take everything within %s", p.opt.flushTimeout))
	defer cancel()
	if err := p.outputs.Drain(ctx); err != nil {
		return &exitError{exitPartial, err}
	}
	return nil
}

// undelivered is what a run by hand must not end well with: records that were collected and that an output will never have.
func undelivered(states []outputs.State) error {
	var errs []error
	for _, s := range states {
		if s.Lost > 0 {
			err := fmt.Errorf("output %s lost %d records", s.Name, s.Lost)
			if s.Error != "" { // else it works again, and the log says what it was
				err = &record.Fault{Reason: record.Other, Hint: s.Hint, Err: fmt.Errorf("%w: %s", err, s.Error)}
			}
			errs = append(errs, err)
		}
		if s.Spool != nil && s.Spool.Dropped > 0 {
			errs = append(errs, fmt.Errorf("output %s: its spool dropped %d records", s.Name, s.Spool.Dropped))
		}
		if s.Spool != nil && s.Spool.DeadLetters > 0 {
			errs = append(errs, fmt.Errorf("output %s: its receiver refused %d records: see dead-letter.jsonl in %s", s.Name, s.Spool.DeadLetters, s.Spool.Dir))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return &exitError{exitPartial, errors.Join(errs...)}
}

// notReadyReasons is the outputs that lose records, or make collecting wait. One whose receiver is away while its spool has room is
// well: nothing is lost, and nobody waits.
func notReadyReasons(states []outputs.State) []string {
	var why []string
	for _, s := range states {
		if !s.Ready {
			why = append(why, fmt.Sprintf("output %s: %s", s.Name, s.Error))
		}
	}
	return why
}
