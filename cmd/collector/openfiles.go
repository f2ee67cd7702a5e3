package main

import (
	"context"
	"fmt"
)

// How many files the process opens besides its connections for calls. A sign-in is not counted as a call in flight.
const (
	filesForProgram  = 32 // standard streams, store, locks, listener and a few clients
	filesForSignIns  = 16
	filesForOutput   = 10 // its spool, its file or connections
	minCallsInFlight = 4  // of a process with too few files for these
)

// callsInFlight returns the number of calls that may be in flight: that of the configuration, or less if the process
// may not open as many connections. Without the bound, store, outputs and /metrics would fail for want of a file.
func (p *program) callsInFlight(cfg *loadedConfig) int {
	calls := cfg.file.Limits.CallsInFlight
	if limit, ok := openFileLimit(); ok {
		calls = callsWithin(limit, calls, len(cfg.file.Outputs))
	}
	return calls
}

// callsWithin returns at most calls, so that a process with these outputs opens at most limit files.
func callsWithin(limit, calls, outputs int) int {
	return min(calls, max(limit-otherFiles(outputs), minCallsInFlight))
}

func otherFiles(outputs int) int { return filesForProgram + filesForSignIns + filesForOutput*outputs }

// countFiles logs that the limit of open files is low.
func (p *program) countFiles(_ context.Context, cfg *loadedConfig) error {
	configured := cfg.file.Limits.CallsInFlight
	if calls := p.callsInFlight(cfg); calls < configured {
		limit, _ := openFileLimit()
		p.log.Warn("open file limit is low; fewer concurrent calls", "limit", limit, "calls_in_flight", calls,
			"configured", configured, "hint", fmt.Sprintf("Raise the limit of open files to %[1]d (ulimit -n %[1]d, "+
				"or LimitNOFILE=%[1]d in a systemd unit), or lower limits.calls_in_flight.",
				configured+otherFiles(len(cfg.file.Outputs))))
	}
	return nil
}
