package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
)

// runOnce runs each account once, and waits for the outputs. Its error has the exit code.
func (p *program) runOnce(ctx context.Context) error {
	results, err := p.engine.Once(ctx)
	if err == nil {
		p.retirer.Check(ctx)
		if err = runsExitError(results, p.board); ctx.Err() != nil {
			err = &exitError{exitFailed, context.Cause(ctx)}
		}
	}
	return errors.Join(err, p.drainOutputs(ctx), undelivered(p.outputs.States()), partialError(p.store.NotStored()))
}

// runsExitError returns exit code 1 when nothing at all was collected, and 3 when some targets failed.
func runsExitError(results []runner.RunResult, board *board.Board) error {
	good, bad := 0, 0
	for _, r := range results {
		if r.Task && r.Status == record.Success {
			continue // it collects nothing
		}
		switch r.Status {
		case record.Success:
			good++
		case record.RunPartial:
			good, bad = good+1, bad+1
		default:
			bad++
		}
	}
	for t := range board.Targets() { // a run that timed out may have collected records
		if t.State == record.OK || t.Records > 0 {
			good++
			break
		}
	}
	switch {
	case bad == 0:
		return nil
	case good == 0:
		return &exitError{code: exitFailed}
	}
	return &exitError{code: exitPartial}
}

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
	return partialError(p.outputs.Drain(ctx))
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
	return partialError(errors.Join(errs...))
}
