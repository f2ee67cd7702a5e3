// Package openfiles knows how many files the process may open, and how many calls that allows.
package openfiles

import (
	"fmt"
	"log/slog"

	"github.com/aws-collector/collector/config"
)

// How many files the process opens besides its connections for calls. A sign-in is not counted as a call in flight.
const (
	filesForProgram  = 32 // standard streams, store, locks, listener and a few clients
	filesForSignIns  = 16
	filesForOutput   = 10 // its spool, its file or connections
	minCallsInFlight = 4  // of a process with too few files for these
)

// CallsInFlight returns the number of calls that may be in flight: that of the configuration, or less if the process
// may not open as many connections. Without the bound, store, outputs and /metrics would fail for want of a file.
func CallsInFlight(f *config.File) int {
	calls := f.Limits.CallsInFlight
	if limit, ok := openFileLimit(); ok {
		calls = callsWithin(limit, calls, len(f.Outputs))
	}
	return calls
}

// callsWithin returns at most calls, so that a process with these outputs opens at most limit files.
func callsWithin(limit, calls, outputs int) int {
	return min(calls, max(limit-otherFiles(outputs), minCallsInFlight))
}

func otherFiles(outputs int) int { return filesForProgram + filesForSignIns + filesForOutput*outputs }

// Warn logs that the limit of open files is too low for the configuration.
func Warn(f *config.File, log *slog.Logger) {
	configured := f.Limits.CallsInFlight
	if calls := CallsInFlight(f); calls < configured {
		limit, _ := openFileLimit()
		log.Warn("open file limit is low; fewer concurrent calls", "limit", limit, "calls_in_flight", calls,
			"configured", configured, "hint", fmt.Sprintf("Raise the limit of open files to %[1]d (ulimit -n %[1]d, "+
				"or LimitNOFILE=%[1]d in a systemd unit), or lower limits.calls_in_flight.",
				configured+otherFiles(len(f.Outputs))))
	}
}
