package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// runLogger is an observer that tells runs as log lines: one when a run ends, and one for each way in which its targets
// failed, not one a target: an SCP that denies a region must not bury the rest.
type runLogger struct {
	log  *slog.Logger
	mu   sync.Mutex
	runs map[string]*runLog // by run
}

type runLog struct {
	targets   int
	records   int
	calls     int
	throttles int
	failures  map[failureKey]*failure
	unusable  map[failureKey]*failure // regions that could not be listed: failures only where there was no other
}

// A failureKey is what failures have in common when one line speaks for them: a service control policy that denies a
// region denies each of its kinds, and that is one thing to say.
type failureKey struct {
	state  record.State
	reason record.Reason
	hint   string // without the name of the action
}

// A failure is targets that failed alike.
type failure struct {
	failureKey
	targets        int
	regions, kinds map[string]bool
	example        record.Outcome
}

// location says which targets failed, as briefly as a person would.
func (f *failure) location() string {
	some := func(set map[string]bool, noun string) string {
		delete(set, "")
		names := slices.Sorted(maps.Keys(set))
		switch {
		case len(names) > 4:
			return fmt.Sprintf("%d %ss (%s, …)", len(names), noun, strings.Join(names[:3], ", "))
		default:
			return strings.Join(names, ", ")
		}
	}
	return strings.Join(slices.DeleteFunc([]string{some(f.regions, "region"), some(f.kinds, "kind")}, func(s string) bool { return s == "" }), ": ")
}

var actionName = regexp.MustCompile(`\bec2:[A-Z][A-Za-z]+`)

func newRunLogger(log *slog.Logger) *runLogger {
	return &runLogger{log: log, runs: map[string]*runLog{}}
}

func (l *runLogger) runOf(run string) *runLog {
	r := l.runs[run]
	if r == nil {
		r = &runLog{failures: map[failureKey]*failure{}, unusable: map[failureKey]*failure{}}
		l.runs[run] = r
	}
	return r
}

func (l *runLogger) RunStarted(account, run string, tick time.Time) {
	l.log.Debug("run started", "account", account, "run", run, "tick", tick)
}

func (l *runLogger) TargetEnded(o record.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.runOf(o.Run)
	r.targets++
	r.records += o.Records
	r.calls += o.Calls
	r.throttles += o.Throttles
	addFailure(r.failures, o)
	if o.State == record.RegionDisabled {
		o.AccountUnusable = true
		addFailure(r.unusable, o)
	}
}

// isFailure reports whether an outcome is a failure.
func isFailure(o record.Outcome) bool { return o.State != "" && o.Failed() }

// addFailure counts a target with those that failed alike; one that did not fail, or was expected to, is not counted.
func addFailure(fs map[failureKey]*failure, o record.Outcome) {
	if !isFailure(o) {
		return
	}
	k := failureKey{o.State, o.Reason, actionName.ReplaceAllString(o.Hint, "ec2:…")}
	f := fs[k]
	if f == nil {
		f = &failure{failureKey: k, example: o, regions: map[string]bool{}, kinds: map[string]bool{}}
		fs[k] = f
	}
	f.targets++
	f.regions[o.Region], f.kinds[o.Kind] = true, true
}

func sortedFailures(fs map[failureKey]*failure) []*failure {
	return slices.SortedFunc(maps.Values(fs), func(a, b *failure) int {
		return cmp.Or(cmp.Compare(b.targets, a.targets), cmp.Compare(a.reason, b.reason), cmp.Compare(a.state, b.state), cmp.Compare(a.hint, b.hint))
	})
}

func (l *runLogger) RunEnded(account, run string, s record.Status, took time.Duration) {
	l.mu.Lock()
	r := l.runOf(run)
	delete(l.runs, run)
	l.mu.Unlock()
	if r.targets == 0 && (s == record.RunSkipped || s == record.RunExpired) {
		return // it never began, and Missed has said so
	}
	log := l.log.With("account", account, "run", run)
	level := slog.LevelInfo
	if s != record.Success {
		level = slog.LevelWarn
	}
	if (s == record.RunFailed || s == record.RunPartial) && len(r.failures) == 0 {
		r.failures = r.unusable
	}
	for _, f := range sortedFailures(r.failures) {
		log.Warn("targets failed", "state", f.state, "reason", f.reason, "targets", f.targets, "where", f.location(),
			"error", f.example.Error, "hint", f.example.Hint)
	}
	log.Log(context.Background(), level, "run ended", "status", s, "targets", r.targets, "records", r.records, "calls", r.calls, "throttles", r.throttles,
		"took", took.Round(time.Millisecond))
}

func (l *runLogger) Missed(account, reason string) {
	if reason == runner.MissedDowntime || reason == runner.MissedSuspended {
		return // the engine says how many, in one line: a month of quarters of an hour is 2,880 of these, for each account
	}
	l.log.Warn("run missed", "account", account, "reason", reason)
}

func (l *runLogger) SignedIn(account string, id record.Identity) {
	l.log.Debug("entered", "account", account, "arn", id.ARN)
}

func (l *runLogger) Planned(account string, regions, disabled []string, warning error) {
	if as := new(inactiveMembersError); errors.As(warning, &as) {
		// The roster has said it when it was new: a member may be suspended for a year of quarters of an hour.
		l.log.Debug("members of the organization are not collected", "organization", account, "why", as)
	} else if warning != nil {
		l.log.Warn("the account's regions are not known for certain: those that this version knows are used", "account", account, "regions", len(regions),
			"error", warning, "hint", record.HintOf(warning))
	}
	l.log.Debug("regions", "account", account, "regions", regions, "disabled", disabled)
}

func (l *runLogger) TargetStarted(record.Target, string)                {}
func (l *runLogger) Call(string, string, string, string, time.Duration) {}
func (l *runLogger) BudgetWait(string, string, time.Duration)           {}
func (l *runLogger) Expires(string, time.Time)                          {}
func (l *runLogger) Progress(record.Target, string, int)                {}
func (l *runLogger) NextStart(string, time.Time)                        {}
func (l *runLogger) Undelivered(record.Target, string, string, error)   {}
func (l *runLogger) Configured(map[string][]string)                     {}
