package torture

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws-collector/collector/record"
)

// A Rule is what a log must not break.
type Rule string

// The rules.
const (
	EachTickOnce    Rule = "a tick becomes one run"
	NoTickLost      Rule = "a tick is a run, is skipped or is counted as missed"
	OneFanOut       Rule = "a run has one job for each region"
	EachTargetOnce  Rule = "a run commits each of its targets once"
	NotTwiceAtOnce  Rule = "no two listings of a target that commit overlap"
	LastAttempt     Rule = "only the last attempt of a job that is not done writes"
	LastEpoch       Rule = "only the last epoch of a target commits"
	AttemptsIncline Rule = "each claim is the next attempt of a job that is not done"
	WholeListing    Rule = "what is committed is one whole listing of the replica that commits it"
	NoOlderListing  Rule = "a commit is of a later listing than the commits before it"
	JobDoneOnce     Rule = "a job is done once"
	RunEndsOnce     Rule = "a run ends once, after all its jobs"
	CountsAreRight  Rule = "a run counts what it has stored"
	AllRunsEnd      Rule = "every run ends"
	EachCodeOnce    Rule = "an MFA code is sent once"
)

// A Violation is a place at which a log breaks a rule.
type Violation struct {
	Rule Rule
	At   int // the event's place in the log; the end: its length
	What string
}

func (v Violation) String() string { return fmt.Sprintf("event %d: %s: %s", v.At, v.Rule, v.What) }

type tickKey struct {
	account, spec string
	tick          int64
}

type jobKey struct{ run, region string }

// A jobState is what is known of a job at one place of the log.
type jobState struct {
	attempt    int
	replica    string // of the last claim
	done, lost bool
}

// A runState is what is known of a run.
type runState struct {
	account string
	jobs    int
	done    int
	ended   bool
	commits map[record.Target]int
}

// A targetState is what is known of a target.
type targetState struct {
	epoch     int64
	began     map[int64]int // by epoch, the place of its begin
	committed []interval
	listing   int // the place of the first page of the listing that was committed last
}

type interval struct{ from, to int }

// A listing is what the fake AWS served under one name.
type servedListing struct {
	record.Target
	replica string
	first   int
	whole   bool
}

// A checker reads a log from its beginning to its end.
type checker struct {
	plans    map[string]Plan // by account
	at       int
	found    []Violation
	ticks    map[tickKey]int // how often each became a run, or was skipped
	missed   map[[2]string]int
	runs     map[string]*runState
	jobs     map[jobKey]*jobState
	targets  map[record.Target]*targetState
	listings map[string]*servedListing
	codes    map[[2]string]bool
}

// Check returns what a log breaks, by what should have happened.
func Check(log []Event, plans map[string]Plan) []Violation {
	c := &checker{
		plans: plans, ticks: map[tickKey]int{}, missed: map[[2]string]int{}, runs: map[string]*runState{},
		jobs: map[jobKey]*jobState{}, targets: map[record.Target]*targetState{}, listings: map[string]*servedListing{},
		codes: map[[2]string]bool{},
	}
	for i := range log {
		c.at = i
		c.event(&log[i])
	}
	c.at = len(log)
	c.end()
	return c.found
}

func (c *checker) breaks(r Rule, format string, args ...any) {
	c.found = append(c.found, Violation{r, c.at, fmt.Sprintf(format, args...)})
}

func (c *checker) event(e *Event) {
	switch e.What {
	case TickMade:
		c.missed[[2]string{e.Account, e.Spec}] += e.Missed
	case RunOpened, RunSkipped:
		c.tick(e)
	case JobInserted:
		c.jobInserted(e)
	case JobClaimed:
		c.claimed(e)
	case Began:
		c.began(e)
	case Committed:
		c.committed(e)
	case JobDone, JobLost:
		c.jobDone(e)
	case RunEnded:
		c.runEnded(e)
	case Served:
		c.served(e)
	case CodeSent:
		key := [2]string{e.Device, e.Code}
		if c.codes[key] {
			c.breaks(EachCodeOnce, "a code of %s", e.Device)
		}
		c.codes[key] = true
	}
}

func (c *checker) tick(e *Event) {
	if e.Spec != "" {
		key := tickKey{e.Account, e.Spec, e.Tick.UnixNano()}
		if c.ticks[key]++; c.ticks[key] > 1 {
			c.breaks(EachTickOnce, "account %s, schedule %s, tick %s", e.Account, e.Spec, e.Tick.Format(time.RFC3339))
		}
	}
	if e.What == RunOpened {
		c.runs[e.Run] = &runState{account: e.Account, commits: map[record.Target]int{}}
	}
}

// run is the run of an event; an event of a run that was never opened, or has ended, is a violation of a rule.
func (c *checker) run(e *Event, r Rule) *runState {
	n := c.runs[e.Run]
	if n == nil {
		c.breaks(r, "%s of run %s, which was not opened", e.What, e.Run)
		n = &runState{account: e.Account, commits: map[record.Target]int{}}
		c.runs[e.Run] = n
	}
	if n.ended {
		c.breaks(r, "%s of run %s, which has ended", e.What, e.Run)
	}
	return n
}

func (c *checker) jobInserted(e *Event) {
	n, key := c.run(e, OneFanOut), jobKey{e.Run, e.Region}
	if c.jobs[key] != nil {
		c.breaks(OneFanOut, "run %s has region %q twice", e.Run, e.Region)
		return
	}
	c.jobs[key] = new(jobState)
	n.jobs++
}

// job is the job of an event.
func (c *checker) job(e *Event) *jobState {
	key := jobKey{e.Run, e.Region}
	if c.jobs[key] == nil {
		c.breaks(OneFanOut, "%s of a job that was not inserted: run %s, region %q", e.What, e.Run, e.Region)
		c.jobs[key] = new(jobState)
	}
	return c.jobs[key]
}

func (c *checker) claimed(e *Event) {
	j := c.job(e)
	if j.done || e.Attempt != j.attempt+1 {
		c.breaks(AttemptsIncline, "attempt %d after %d of run %s, region %q", e.Attempt, j.attempt, e.Run, e.Region)
	}
	j.attempt, j.replica = e.Attempt, e.Replica
}

// writes checks that an event is of its job's last attempt.
func (c *checker) writes(e *Event) {
	if j := c.job(e); j.done || e.Attempt != j.attempt || e.Replica != j.replica {
		c.breaks(LastAttempt, "%s by %s, attempt %d, of run %s, region %q: the last is %d by %s",
			e.What, e.Replica, e.Attempt, e.Run, e.Region, j.attempt, j.replica)
	}
}

func (c *checker) target(t record.Target) *targetState {
	s := c.targets[t]
	if s == nil {
		s = &targetState{began: map[int64]int{}, listing: -1}
		c.targets[t] = s
	}
	return s
}

func (c *checker) began(e *Event) {
	c.run(e, LastAttempt)
	c.writes(e)
	t := c.target(e.Target)
	if e.Epoch <= t.epoch {
		c.breaks(LastEpoch, "epoch %d of %v after %d", e.Epoch, e.Target, t.epoch)
	}
	t.epoch = max(t.epoch, e.Epoch)
	t.began[e.Epoch] = c.at
}

func (c *checker) committed(e *Event) {
	n := c.run(e, LastAttempt)
	c.writes(e)
	if n.commits[e.Target]++; n.commits[e.Target] > 1 {
		c.breaks(EachTargetOnce, "%v in run %s", e.Target, e.Run)
	}
	t := c.target(e.Target)
	from, ok := t.began[e.Epoch]
	if !ok || e.Epoch != t.epoch {
		c.breaks(LastEpoch, "%v committed with epoch %d, the last is %d", e.Target, e.Epoch, t.epoch)
	}
	t.committed = append(t.committed, interval{from, c.at})
	if e.Complete {
		c.listing(e, t)
	}
}

// listing checks what a commit has made visible.
func (c *checker) listing(e *Event, t *targetState) {
	if len(e.Listings) != 1 {
		c.breaks(WholeListing, "%v has resources of the listings %q", e.Target, e.Listings)
		return
	}
	l := c.listings[e.Listings[0]]
	if l == nil || !l.whole || l.Target != e.Target || l.replica != e.Replica {
		c.breaks(WholeListing, "%v by %s has resources of %q: %+v", e.Target, e.Replica, e.Listings[0], l)
		return
	}
	if l.first <= t.listing {
		c.breaks(NoOlderListing, "%v: %q began at event %d, the one before at %d", e.Target, e.Listings[0], l.first,
			t.listing)
	}
	t.listing = l.first
}

func (c *checker) jobDone(e *Event) {
	n, j := c.run(e, JobDoneOnce), c.job(e)
	if j.done {
		c.breaks(JobDoneOnce, "run %s, region %q", e.Run, e.Region)
		return
	}
	if e.What == JobDone {
		c.writes(e)
	}
	j.done, j.lost = true, e.What == JobLost
	n.done++
}

func (c *checker) runEnded(e *Event) {
	n := c.run(e, RunEndsOnce)
	if n.done != n.jobs {
		c.breaks(RunEndsOnce, "run %s: %d of %d jobs are done", e.Run, n.done, n.jobs)
	}
	n.ended = true
	stored := 0
	for _, k := range n.commits {
		stored += k
	}
	want := len(c.plans[n.account].Targets)
	if opening := c.jobs[jobKey{e.Run, ""}]; opening != nil && opening.lost {
		want = 0 // its regions were never known
	}
	if e.Stored != stored || e.Targets != want {
		c.breaks(CountsAreRight, "run %s: counts %d targets and %d stored; there are %d and %d",
			e.Run, e.Targets, e.Stored, want, stored)
	}
	for _, t := range c.plans[n.account].Targets {
		j := c.jobs[jobKey{e.Run, t.Region}]
		if n.commits[t] == 0 && want > 0 && (j == nil || !j.lost) {
			c.breaks(EachTargetOnce, "%v was not committed in run %s", t, e.Run)
		}
	}
}

func (c *checker) served(e *Event) {
	for _, name := range e.Listings {
		l := c.listings[name]
		if l == nil {
			l = &servedListing{Target: e.Target, replica: e.Replica, first: c.at}
			c.listings[name] = l
		}
		l.whole = l.whole || e.Complete
	}
}

// end checks what only the whole log shows.
func (c *checker) end() {
	for _, run := range slices.Sorted(maps.Keys(c.runs)) {
		if !c.runs[run].ended {
			c.breaks(AllRunsEnd, "run %s of account %s", run, c.runs[run].account)
		}
	}
	for t, s := range c.targets {
		slices.SortFunc(s.committed, func(a, b interval) int { return a.from - b.from })
		for i := 1; i < len(s.committed); i++ {
			if a, b := s.committed[i-1], s.committed[i]; b.from < a.to {
				c.breaks(NotTwiceAtOnce, "%v: events %d to %d and %d to %d", t, a.from, a.to, b.from, b.to)
			}
		}
	}
	for _, account := range slices.Sorted(maps.Keys(c.plans)) {
		for spec, ticks := range c.plans[account].Ticks {
			seen := 0
			for _, at := range ticks {
				seen += min(1, c.ticks[tickKey{account, spec, at.UnixNano()}])
			}
			if missed := c.missed[[2]string{account, spec}]; seen+missed != len(ticks) {
				c.breaks(NoTickLost, "account %s, schedule %s: %d became runs or were skipped and %d were missed, of %d",
					account, spec, seen, missed, len(ticks))
			}
		}
	}
}
