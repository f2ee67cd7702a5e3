package torture

import (
	"slices"
	"testing"
	"time"

	"github.com/aws-collector/collector/record"
)

func TestGoodLog(t *testing.T) {
	for _, v := range Check(goodLog(), plans()) {
		t.Error(v)
	}
}

// unchanged is an event that comes again as it was.
func unchanged(*Event) {}

// badLogs break each rule, some of them in several ways.
func badLogs() []struct {
	name  string
	rule  Rule
	spoil func(log []Event) []Event
} {
	return []struct {
		name  string
		rule  Rule
		spoil func(log []Event) []Event
	}{
		{"two runs of a tick", EachTickOnce, func(log []Event) []Event {
			i := place(log, 0, what(RunOpened))
			return copyAfter(log, i, i+1, func(e *Event) { e.Run = "run-1b" })
		}},
		{"a tick that is skipped and runs", EachTickOnce, func(log []Event) []Event {
			i := place(log, 0, what(RunOpened))
			return copyAfter(log, i, i+1, func(e *Event) { e.What = RunSkipped })
		}},
		{"a tick without a run", NoTickLost, func(log []Event) []Event {
			i := place(log, 0, what(RunSkipped))
			return slices.Delete(log, i, i+1)
		}},
		{"a missed tick that is not counted", NoTickLost, func(log []Event) []Event {
			log[place(log, 2, what(TickMade))].Missed = 0
			return log
		}},
		{"two fan-outs", OneFanOut, func(log []Event) []Event {
			i := place(log, 1, what(JobInserted))
			return copyAfter(log, i, i+1, unchanged)
		}},
		{"a job from nowhere", OneFanOut, func(log []Event) []Event {
			i := place(log, 1, what(JobInserted))
			return slices.Delete(log, i, i+1)
		}},
		{"a run from nowhere", RunEndsOnce, func(log []Event) []Event {
			i := place(log, 0, what(RunEnded))
			return copyAfter(log, i, i+1, func(e *Event) { e.Run = "run-9" })
		}},
		{"a target twice in a run", EachTargetOnce, func(log []Event) []Event {
			i := place(log, 1, what(Committed)) // of B, whose job is not done
			return copyAfter(log, i, i+1, unchanged)
		}},
		{"a target that is not done", EachTargetOnce, func(log []Event) []Event {
			i := place(log, 1, what(Committed))
			return slices.Delete(log, i, i+1)
		}},
		{"two listings at once", NotTwiceAtOnce, func(log []Event) []Event {
			commit := place(log, 1, what(Committed))
			other := log[commit]
			other.What, other.Epoch = Began, other.Epoch+1000
			log = slices.Insert(log, commit, other)
			return copyAfter(log, commit+1, commit+2, func(e *Event) { e.Epoch += 1000 })
		}},
		{"a woken worker begins its next target", LastAttempt, func(log []Event) []Event {
			woke := place(log, 1, what(Woke))
			began := place(log, 0, func(e *Event) bool { return e.What == Began && e.Replica == "D" })
			return copyAfter(log, began, woke+1, func(e *Event) { e.Epoch += 1000 })
		}},
		{"a woken worker commits", LastAttempt, func(log []Event) []Event {
			woke := place(log, 3, what(Woke)) // of D in run-3, while B lists
			began := place(log, 2, func(e *Event) bool { return e.What == Began && e.Replica == "D" })
			return copyAfter(log, began, woke+1, func(e *Event) { e.What = Committed })
		}},
		{"a woken worker completes the job", LastAttempt, func(log []Event) []Event {
			done := place(log, 0, func(e *Event) bool { return e.What == JobDone && e.Region == "r1" && e.Attempt == 2 })
			log[done].Attempt, log[done].Replica = 1, "A"
			return log
		}},
		{"a commit of an epoch that is over", LastEpoch, func(log []Event) []Event {
			log[place(log, 1, what(Committed))].Epoch--
			return log
		}},
		{"an epoch that comes again", LastEpoch, func(log []Event) []Event {
			i := place(log, 2, what(Began))
			return copyAfter(log, i, i+1, unchanged)
		}},
		{"an attempt that comes again", AttemptsIncline, func(log []Event) []Event {
			i := place(log, 1, what(JobClaimed))
			return copyAfter(log, i, i+1, func(e *Event) { e.Replica = "B" })
		}},
		{"a claim of a job that is done", AttemptsIncline, func(log []Event) []Event {
			done := place(log, 1, what(JobDone))
			return copyAfter(log, done, done+1, func(e *Event) { e.What, e.Attempt = JobClaimed, e.Attempt+1 })
		}},
		{"resources of two listings", WholeListing, func(log []Event) []Event {
			i := place(log, 1, what(Committed))
			log[i].Listings = []string{"listing-1", log[i].Listings[0]}
			return log
		}},
		{"a listing that was not whole", WholeListing, func(log []Event) []Event {
			i := place(log, 0, func(e *Event) bool { return e.What == Served && e.Complete })
			return slices.Delete(log, i, i+1)
		}},
		{"a listing of another replica", WholeListing, func(log []Event) []Event {
			log[place(log, 0, what(Served))].Replica = "B"
			return log
		}},
		{"an older listing", NoOlderListing, func(log []Event) []Event {
			// B began it before A's commit in run-1, and commits it in run-2.
			commit := place(log, 3, what(Committed))
			name := log[commit].Listings
			pages := slices.Clone(log[commit-2 : commit])
			log = slices.Delete(log, commit-2, commit)
			if pages[0].Listings[0] != name[0] {
				panic("the pages are of another listing")
			}
			return slices.Insert(log, 0, pages...)
		}},
		{"a job that is done twice", JobDoneOnce, func(log []Event) []Event {
			i := place(log, 1, what(JobDone))
			return copyAfter(log, i, i+1, unchanged)
		}},
		{"a job that is done and lost", JobDoneOnce, func(log []Event) []Event {
			i := place(log, 1, what(JobDone))
			return copyAfter(log, i, i+1, func(e *Event) { e.What = JobLost })
		}},
		{"a run that ends twice", RunEndsOnce, func(log []Event) []Event {
			i := place(log, 0, what(RunEnded))
			return copyAfter(log, i, i+1, unchanged)
		}},
		{"a run that ends before its last job", RunEndsOnce, func(log []Event) []Event {
			i := place(log, 0, what(RunEnded))
			log[i-1], log[i] = log[i], log[i-1]
			return log
		}},
		{"a count too many", CountsAreRight, func(log []Event) []Event {
			log[place(log, 1, what(RunEnded))].Stored++
			return log
		}},
		{"a target that is not counted", CountsAreRight, func(log []Event) []Event {
			log[place(log, 1, what(RunEnded))].Targets--
			return log
		}},
		{"a run that does not end", AllRunsEnd, func(log []Event) []Event { return log[:len(log)-1] }},
		{"a code that is sent twice", EachCodeOnce, func(log []Event) []Event {
			i := place(log, 0, what(CodeSent))
			return copyAfter(log, i, len(log), func(e *Event) { e.Replica = "B" })
		}},
	}
}

// Every bad log is found, by the rule that it breaks, and every rule has one.
func TestBadLogs(t *testing.T) {
	tested := map[Rule]bool{}
	for _, c := range badLogs() {
		t.Run(c.name, func(t *testing.T) {
			tested[c.rule] = true
			found := Check(c.spoil(goodLog()), plans())
			if !slices.ContainsFunc(found, func(v Violation) bool { return v.Rule == c.rule }) {
				t.Errorf("not found: %s; found %v", c.rule, found)
			}
		})
	}
	for _, r := range []Rule{
		EachTickOnce, NoTickLost, OneFanOut, EachTargetOnce, NotTwiceAtOnce, LastAttempt, LastEpoch, AttemptsIncline,
		WholeListing, NoOlderListing, JobDoneOnce, RunEndsOnce, CountsAreRight, AllRunsEnd, EachCodeOnce,
	} {
		if !tested[r] {
			t.Errorf("no log breaks the rule that %s", r)
		}
	}
}

// A job that is lost ends its run: its targets are counted and need no commit.
func TestLostJob(t *testing.T) {
	s := &story{epochs: map[string]int64{}}
	s.open("run-1", "A", 1, 0)
	s.claim("run-1", "r1", "A", 1).begin(r1k1).commit(r1k1)
	s.add(Event{What: JobLost, Target: record.Target{Account: "a", Region: "r1"}, Run: "run-1"})
	s.claim("run-1", "r2", "A", 1).begin(r2k1).commit(r2k1).done()
	s.end("run-1")
	p := plans()
	p["a"].Ticks[spec] = []time.Time{tickAt(1)}
	for _, v := range Check(s.log, p) {
		t.Error(v)
	}
	late := doing{s, "run-1", "A", "r1", 1}
	late.begin(r1k2)
	if found := Check(s.log, p); len(found) == 0 || found[0].Rule != LastAttempt {
		t.Errorf("a target of a lost job begins after the run: %v", found)
	}
}

func TestStrikes(t *testing.T) {
	n := Strikes(goodLog())
	for _, p := range points {
		if n[p] != 1 {
			t.Errorf("%s: %d strikes, want 1", p, n[p])
		}
	}
	if never := Vacuous(n); len(never) > 0 {
		t.Errorf("never: %v", never)
	}
}

// A fault that misses what it was meant for does not count, and a run without a strike at a point is vacuous.
func TestMissedFaults(t *testing.T) {
	drop := func(w What, replica string) func([]Event) []Event {
		return func(log []Event) []Event {
			return slices.DeleteFunc(log, func(e Event) bool { return e.What == w && e.Replica == replica })
		}
	}
	fault := func(p Point) func(*Event) bool {
		return func(e *Event) bool { return e.What == Fault && e.Point == p }
	}
	for point, miss := range map[Point]func([]Event) []Event{
		KilledBeforeCommit: func(log []Event) []Event { // it had committed
			i := place(log, 0, func(e *Event) bool { return e.What == Began && e.Replica == "C" })
			return copyAfter(log, i, i+1, func(e *Event) { e.What = Committed })
		},
		KilledAfterCommit: func(log []Event) []Event { // it had not committed
			i := place(log, 0, what(Committed))
			return slices.Delete(log, i, i+1)
		},
		FrozenInTick: func(log []Event) []Event { // it had made the tick
			log[place(log, 1, what(TickMade))].Replica = "D"
			return log
		},
		FrozenInPage:   drop(Cut, "D"),
		FrozenInCommit: drop(Cut, "D"),
		FrozenPastRescue: func(log []Event) []Event { // it woke before another claimed the job
			at := place(log, 0, fault(FrozenPastRescue))
			return slices.Insert(log, at+1, Event{What: Woke, Replica: "D"})
		},
		CutOff: func(log []Event) []Event { // it never came back
			return slices.DeleteFunc(log, func(e Event) bool { return e.What == Woke })
		},
		RescuedEarly: func(log []Event) []Event { // it was dead
			at := place(log, 0, fault(RescuedEarly))
			return append(log[:at+1], drop(JobDone, "B")(drop(Committed, "B")(drop(Served, "B")(
				drop(Began, "B")(drop(JobClaimed, "B")(log[at+1:])))))...)
		},
		LeaderKilled: func(log []Event) []Event { // another one led
			return slices.Insert(log, 1, Event{What: Led, Replica: "B"})
		},
		PostgresRestarted: func(log []Event) []Event { // nothing was committed afterwards
			return log[:place(log, 0, fault(PostgresRestarted))+1]
		},
	} {
		n := Strikes(miss(goodLog()))
		if n[point] != 0 {
			t.Errorf("%s: %d strikes of a fault that missed", point, n[point])
		}
		if !slices.Contains(Vacuous(n), point) {
			t.Errorf("%s: the run is not vacuous", point)
		}
	}
	if never := Vacuous(nil, map[Point]int{CutOff: 1}); slices.Contains(never, CutOff) || len(never) != len(points)-1 {
		t.Errorf("of two runs, never: %v", never)
	}
}
