package torture

import (
	"fmt"
	"slices"
	"time"

	"github.com/aws-collector/collector/record"
)

// A story writes a log as replicas that work make it.
type story struct {
	log     []Event
	epoch   int64
	listing int
	stored  int // by the run that is written
	epochs  map[string]int64
}

const (
	spec  = "*/15 * * * *"
	codes = "arn:aws:iam::111111111111:mfa/alice"
)

var (
	r1k1 = record.Target{Account: "a", Region: "r1", Kind: "k1"}
	r1k2 = record.Target{Account: "a", Region: "r1", Kind: "k2"}
	r2k1 = record.Target{Account: "a", Region: "r2", Kind: "k1"}
)

func tickAt(n int) time.Time { return time.Date(2026, 11, 30, 12, 15*n, 0, 0, time.UTC) }

// plans are what the log of goodLog should show.
func plans() map[string]Plan {
	return map[string]Plan{"a": {
		Targets: []record.Target{r1k1, r1k2, r2k1},
		Ticks:   map[string][]time.Time{spec: {tickAt(1), tickAt(2), tickAt(3), tickAt(4), tickAt(5), tickAt(6)}},
	}}
}

func (s *story) add(e Event) { s.log = append(s.log, e) }

func (s *story) fault(p Point, replica string) { s.add(Event{What: Fault, Point: p, Replica: replica}) }

// open makes a tick, its run and the jobs of the run.
func (s *story) open(run, replica string, n, missed int) {
	account := record.Target{Account: "a"}
	s.stored = 0
	s.add(Event{What: TickMade, Replica: replica, Target: account, Spec: spec, Tick: tickAt(n), Missed: missed})
	s.add(Event{What: RunOpened, Target: account, Spec: spec, Tick: tickAt(n), Run: run})
	s.add(Event{What: JobInserted, Target: account, Run: run})
	s.add(Event{What: JobClaimed, Target: account, Run: run, Replica: replica, Attempt: 1})
	for _, region := range []string{"r1", "r2"} {
		s.add(Event{What: JobInserted, Target: record.Target{Account: "a", Region: region}, Run: run})
	}
	s.add(Event{What: JobDone, Target: account, Run: run, Replica: replica, Attempt: 1})
}

// A doing is an attempt of a job.
type doing struct {
	s            *story
	run, replica string
	region       string
	attempt      int
}

func (s *story) claim(run, region, replica string, attempt int) doing {
	d := doing{s, run, replica, region, attempt}
	s.add(d.event(JobClaimed, record.Target{Account: "a", Region: region}))
	return d
}

func (d doing) event(what What, t record.Target) Event {
	return Event{What: what, Target: t, Run: d.run, Replica: d.replica, Attempt: d.attempt}
}

func (d doing) begin(t record.Target) doing {
	d.s.epoch++
	e := d.event(Began, t)
	e.Epoch = d.s.epoch
	d.s.epochs[d.replica+fmt.Sprint(t)] = d.s.epoch
	d.s.add(e)
	return d
}

// commit serves a listing in two pages, and commits it.
func (d doing) commit(t record.Target) doing {
	d.s.listing++
	name := fmt.Sprint("listing-", d.s.listing)
	for _, last := range []bool{false, true} {
		d.s.add(Event{What: Served, Target: t, Replica: d.replica, Listings: []string{name}, Complete: last})
	}
	e := d.event(Committed, t)
	e.Epoch, e.Complete, e.Listings = d.s.epochs[d.replica+fmt.Sprint(t)], true, []string{name}
	d.s.add(e)
	d.s.stored++
	return d
}

func (d doing) done() { d.s.add(d.event(JobDone, record.Target{Account: "a", Region: d.region})) }

func (s *story) end(run string) {
	s.add(Event{
		What: RunEnded, Target: record.Target{Account: "a"}, Run: run, Targets: len(plans()["a"].Targets), Stored: s.stored,
	})
}

// goodLog is a log in which every fault has struck and nothing is broken.
func goodLog() []Event {
	s := &story{epochs: map[string]int64{}}
	s.add(Event{What: Led, Replica: "A"})
	s.add(Event{What: CodeSent, Device: codes, Code: "123456"})
	s.open("run-1", "A", 1, 0)
	s.claim("run-1", "r1", "A", 1).begin(r1k1).commit(r1k1)
	s.claim("run-1", "r2", "C", 1).begin(r2k1)
	s.fault(KilledAfterCommit, "A")
	s.fault(LeaderKilled, "A")
	s.fault(KilledBeforeCommit, "C")
	s.add(Event{What: Led, Replica: "B"})
	s.claim("run-1", "r1", "B", 2).begin(r1k2).commit(r1k2).done()
	s.claim("run-1", "r2", "B", 2).begin(r2k1).commit(r2k1).done()
	s.end("run-1")

	inTick := Event{What: Fault, Point: FrozenInTick, Replica: "D", Target: record.Target{Account: "a"}, Spec: spec}
	inTick.Tick = tickAt(2)
	s.add(inTick)
	s.add(Event{What: Cut, Replica: "D"})
	s.open("run-2", "B", 2, 0)
	s.add(Event{What: Woke, Replica: "D"})
	s.claim("run-2", "r1", "D", 1).begin(r1k1)
	s.fault(FrozenInPage, "D")
	s.add(Event{What: Cut, Replica: "D"})
	s.claim("run-2", "r1", "B", 2).begin(r1k1).commit(r1k1).begin(r1k2).commit(r1k2).done()
	s.add(Event{What: Woke, Replica: "D"})
	s.claim("run-2", "r2", "D", 1).begin(r2k1)
	s.fault(FrozenInCommit, "D")
	s.add(Event{What: Cut, Replica: "D"})
	s.claim("run-2", "r2", "B", 2).begin(r2k1).commit(r2k1).done()
	s.add(Event{What: Woke, Replica: "D"})
	s.end("run-2")

	s.open("run-3", "B", 4, 1) // of the third tick nobody made a run
	s.claim("run-3", "r1", "D", 1).begin(r1k1)
	s.fault(FrozenPastRescue, "D")
	s.claim("run-3", "r1", "B", 2).begin(r1k1)
	s.add(Event{What: Woke, Replica: "D"})
	doing{s, "run-3", "B", "r1", 2}.commit(r1k1).begin(r1k2).commit(r1k2).done()
	s.claim("run-3", "r2", "D", 1)
	s.fault(CutOff, "D")
	s.claim("run-3", "r2", "B", 2).begin(r2k1).commit(r2k1).done()
	s.add(Event{What: Woke, Replica: "D"})
	s.fault(PostgresRestarted, "")
	s.end("run-3")

	account := record.Target{Account: "a"}
	s.add(Event{What: RunSkipped, Target: account, Spec: spec, Tick: tickAt(5)})
	s.open("run-4", "B", 6, 0)
	s.claim("run-4", "r1", "B", 1).begin(r1k1)
	s.fault(RescuedEarly, "B")
	s.claim("run-4", "r1", "E", 2).begin(r1k1).commit(r1k1).begin(r1k2).commit(r1k2).done()
	s.claim("run-4", "r2", "B", 1).begin(r2k1).commit(r2k1).done()
	s.end("run-4")
	return s.log
}

// place is where the nth event of a kind is, from 0.
func place(log []Event, n int, is func(*Event) bool) int {
	for i := range log {
		if is(&log[i]) {
			if n == 0 {
				return i
			}
			n--
		}
	}
	panic("the log has no such event")
}

func what(w What) func(*Event) bool { return func(e *Event) bool { return e.What == w } }

// copyAfter repeats an event at a later place, changed.
func copyAfter(log []Event, from, to int, change func(*Event)) []Event {
	e := log[from]
	e.Listings = slices.Clone(e.Listings)
	change(&e)
	return slices.Insert(log, to, e)
}
