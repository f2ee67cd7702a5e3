// Package runlog logs how runs end, and groups targets that failed in the same way. Begin at
// [Logger.Observe].
package runlog

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// A Logger logs the end of each run, and a line for each way in which its targets failed. A line for each target would
// be too much: an SCP that denies a region fails all of its targets.
type Logger struct {
	log      *slog.Logger
	stopping func() bool

	mu                  sync.Mutex
	runs                map[string]*runLog // by run
	missed, interrupted int                // runs, because the program is stopping

	failing map[string]map[failureKey]*failureEpisode // by account
	regions map[string]*regionsEpisode                // by account
}

// A failureEpisode is a failure that repeats, with the kinds that failed last. A run lists only the kinds of its
// schedule, and tells nothing about the others.
type failureEpisode struct {
	episode
	kinds map[string]bool
}

// A regionsEpisode is a list of regions that fails again and again.
type regionsEpisode struct {
	episode
	cause string
}

type runLog struct {
	targets   int
	records   int
	calls     int
	throttles int
	unreached int // targets that did not begin because the program is stopping
	failures  Failures
	unusable  Failures        // regions that could not be listed: used only if there is no other failure
	kinds     map[string]bool // listed or tried
}

// New returns a Logger. stopping reports whether the program is stopping, which ends runs early; nil: it is not.
func New(log *slog.Logger, stopping func() bool) *Logger {
	return &Logger{
		log: log, stopping: stopping, runs: map[string]*runLog{},
		failing: map[string]map[failureKey]*failureEpisode{}, regions: map[string]*regionsEpisode{},
	}
}

func (l *Logger) runOf(run string) *runLog {
	r := l.runs[run]
	if r == nil {
		r = &runLog{
			failures: Failures{}, unusable: Failures{}, kinds: map[string]bool{},
		}
		l.runs[run] = r
	}
	return r
}

// Observe logs an event.
func (l *Logger) Observe(e runner.Event) {
	switch e := e.(type) {
	case runner.RunStarted:
		l.log.Debug("run started", "account", e.Account, "run", e.Run, "tick", e.Tick)
	case runner.RunEnded:
		l.runEnded(e)
	case runner.RunMissed:
		l.runMissed(e.Account, e.Reason)
	case runner.TargetEnded:
		l.targetEnded(e.Outcome)
	case runner.TaskEnded:
		l.taskEnded(e)
	case runner.SignedIn:
		l.log.Debug("signed in", "account", e.Account, "arn", e.Identity.ARN)
	case runner.RegionsPlanned:
		l.regionsPlanned(e)
	case runner.Configured:
		l.configured(e.Kinds)
	}
}

func (l *Logger) targetEnded(o record.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.runOf(o.Run)
	r.targets++
	r.records += o.Records
	r.calls += o.Calls
	r.throttles += o.Throttles
	if o.Reason == record.Interrupted && o.Calls == 0 && l.stopping != nil && l.stopping() {
		r.unreached++
		return
	}
	r.kinds[o.Kind] = true
	r.failures.Add(o)
	if o.State == record.RegionDisabled {
		o.AccountUnusable = true
		r.unusable.Add(o)
	}
}

// taskEnded counts a failure. A success ends the failure before it. What does not fail the task is logged at level
// debug: it would repeat at each run.
func (l *Logger) taskEnded(e runner.TaskEnded) {
	if e.State != record.OK {
		l.targetEnded(e.Outcome)
		return
	}
	l.mu.Lock()
	l.runOf(e.Run).kinds[e.Kind] = true
	l.mu.Unlock()
	if e.Warning != nil {
		l.log.Debug("task ended with a warning", "account", e.Account, "warning", e.Warning)
	}
}

func (l *Logger) runEnded(e runner.RunEnded) {
	account, run, s := e.Account, e.Run, e.Status
	l.mu.Lock()
	r := l.runOf(run)
	delete(l.runs, run)
	l.mu.Unlock()
	if r.targets == 0 && (s == record.RunSkipped || s == record.RunExpired) {
		return // it never started, and Missed has logged it
	}
	log := l.log.With("account", account, "run", run)
	level := slog.LevelInfo
	if s != record.Success {
		level = slog.LevelWarn
	}
	if (s == record.RunFailed || s == record.RunPartial) && len(r.failures)+r.unreached == 0 {
		r.failures = r.unusable
	}
	failed := 0
	for _, f := range r.failures {
		failed += f.Targets
	}
	if r.unreached > 0 {
		l.mu.Lock()
		l.interrupted++
		l.mu.Unlock()
		if failed += r.unreached; len(r.failures) == 0 {
			level = slog.LevelInfo // the program was told to stop
		}
	}
	l.logFailures(log, account, r)
	log.Log(context.Background(), level, "run ended", "status", s, "targets", r.targets, "failed", failed,
		"records", r.records, "calls", r.calls, "throttles", r.throttles, "duration", e.Took.Round(time.Millisecond))
}

// Stopped logs how many runs the stop of the program interrupted or prevented: one line instead of one for each run's
// targets that did not begin.
func (l *Logger) Stopped() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.interrupted+l.missed > 0 {
		l.log.Info("program stopped before all runs ended", "interrupted", l.interrupted, "missed", l.missed)
	}
}

// logFailures logs what changed in the account's failures, and at level debug what did not.
func (l *Logger) logFailures(log *slog.Logger, account string, r *runLog) {
	l.mu.Lock()
	defer l.mu.Unlock()
	episodes := l.failing[account]
	if episodes == nil {
		episodes = map[failureKey]*failureEpisode{}
	}
	for _, f := range r.failures.Sorted() {
		attrs := []any{"state", f.state, "reason", f.reason, "targets", f.Targets,
			"regions", summarize(f.regions, "region"), "kinds", summarize(f.kinds, "kind"),
			"error", f.Example.Error, "hint", f.Example.Hint}
		e := episodes[f.failureKey]
		if e == nil {
			e = &failureEpisode{}
			if old, ok := replacedEpisode(episodes, r.failures, f.kinds); ok {
				e.since = episodes[old].since // the cause changed: it has failed since then
				attrs = append(attrs, "previous_reason", old.reason)
				delete(episodes, old)
			}
			episodes[f.failureKey] = e
		}
		e.kinds = f.kinds
		e.repeat(log, "targets failed", attrs...)
	}
	for key, e := range episodes {
		if r.failures[key] == nil && r.unreached == 0 && overlap(e.kinds, r.kinds) {
			log.Info("targets recovered", "state", key.state, "reason", key.reason, "duration", e.lasted())
			delete(episodes, key)
		}
	}
	if l.failing[account] = episodes; len(episodes) == 0 {
		delete(l.failing, account)
	}
}

// replacedEpisode returns the failure that these kinds had before, and no longer have.
func replacedEpisode(
	episodes map[failureKey]*failureEpisode, failures Failures, kinds map[string]bool,
) (failureKey, bool) {
	for key, e := range episodes {
		if failures[key] == nil && overlap(e.kinds, kinds) {
			return key, true
		}
	}
	return failureKey{}, false
}

func overlap(a, b map[string]bool) bool {
	for k := range a {
		if b[k] {
			return true
		}
	}
	return false
}

func (l *Logger) runMissed(account, reason string) {
	switch reason {
	case runner.MissedDrain:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.missed++ // stopped logs the number
		return
	case runner.MissedPaused, runner.MissedCancelled:
		return // the act was logged
	case runner.MissedDowntime, runner.MissedSuspended:
		return // the engine logs their number in one line: a quarter-hourly schedule misses 2,880 runs in a month
	}
	l.log.Warn("run missed", "account", account, "reason", reason)
}

func (l *Logger) regionsPlanned(e runner.RegionsPlanned) {
	l.logRegions(e.Account, len(e.Regions), e.Warning)
	l.log.Debug("regions planned", "account", e.Account, "regions", e.Regions, "disabled", e.Disabled)
}

func (l *Logger) logRegions(account string, regions int, warning error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.regions[account]
	if warning == nil {
		if e != nil {
			l.log.Info("account regions read from AWS again", "account", account, "duration", e.lasted())
			delete(l.regions, account)
		}
		return
	}
	cause := string(record.ReasonOf(warning))
	switch {
	case e == nil:
		e = &regionsEpisode{}
		l.regions[account] = e
	case e.cause != cause:
		e.logged = time.Time{}
	}
	e.cause = cause
	e.repeat(l.log, "account regions not readable, using built-in list", "account", account, "regions", regions,
		"error", warning, "hint", record.HintOf(warning))
}

// configured forgets accounts that left the configuration.
func (l *Logger) configured(kinds map[string][]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	removed := func(account string) bool { _, ok := kinds[account]; return !ok }
	maps.DeleteFunc(l.failing, func(account string, _ map[failureKey]*failureEpisode) bool { return removed(account) })
	maps.DeleteFunc(l.regions, func(account string, _ *regionsEpisode) bool { return removed(account) })
}
