package torture

import (
	"slices"

	"github.com/aws-collector/collector/record"
)

// A Point is where a fault strikes.
type Point string

// The points. Each is followed by what the log must show, or the fault has missed.
const (
	// A target had begun and not committed, and is begun again under another epoch.
	KilledBeforeCommit Point = "killed between begin and commit"
	// A job had committed a target and was not done, and another attempt ends it.
	KilledAfterCommit Point = "killed after a commit, before the job was done"
	// Another replica made the tick, and the server cut the frozen one.
	FrozenInTick Point = "frozen inside a tick's transaction"
	// The server cut the replica, and the target is begun again.
	FrozenInPage   Point = "frozen inside a page's transaction"
	FrozenInCommit Point = "frozen inside a commit's transaction"
	// Another replica claimed one of its jobs before it woke.
	FrozenPastRescue Point = "frozen past its rescue, and woken"
	CutOff           Point = "cut off from Postgres"
	// Another replica claimed the job while the first one lived, as its later events show.
	RescuedEarly Point = "rescued while its worker lived"
	// Another replica leads afterwards.
	LeaderKilled Point = "leader killed"
	// There are commits before and after.
	PostgresRestarted Point = "Postgres restarted"
)

// points are all of them.
var points = []Point{
	KilledBeforeCommit, KilledAfterCommit, FrozenInTick, FrozenInPage, FrozenInCommit, FrozenPastRescue, CutOff,
	RescuedEarly, LeaderKilled, PostgresRestarted,
}

// Strikes counts, for each point, the faults that hit what they were meant for.
func Strikes(log []Event) map[Point]int {
	n := make(map[Point]int, len(points))
	for i := range log {
		if log[i].What == Fault && struck(log, i) {
			n[log[i].Point]++
		}
	}
	return n
}

// Vacuous returns the points at which no fault has struck in any of some logs, given the strikes of each.
func Vacuous(strikes ...map[Point]int) (never []Point) {
	for _, p := range points {
		if !slices.ContainsFunc(strikes, func(n map[Point]int) bool { return n[p] > 0 }) {
			never = append(never, p)
		}
	}
	return never
}

// struck reports whether a fault at one place of the log hit what it was meant for.
func struck(log []Event, at int) bool {
	f := &log[at]
	before, after := log[:at], log[at+1:]
	cut := func() bool { return has(after, func(e *Event) bool { return e.What == Cut && e.Replica == f.Replica }) }
	switch f.Point {
	case KilledBeforeCommit:
		return begunAgain(before, after, f.Replica)
	case FrozenInPage, FrozenInCommit:
		return cut() && begunAgain(before, after, f.Replica)
	case KilledAfterCommit:
		return endedByAnother(before, after, f.Replica)
	case FrozenInTick:
		return cut() && has(after, func(e *Event) bool {
			return e.What == TickMade && e.Replica != f.Replica && e.Account == f.Account && e.Spec == f.Spec &&
				e.Tick.Equal(f.Tick)
		})
	case FrozenPastRescue, CutOff:
		woke := slices.IndexFunc(after, func(e Event) bool { return e.What == Woke && e.Replica == f.Replica })
		return woke >= 0 && takenOver(before, after[:woke], f.Replica)
	case RescuedEarly:
		return takenOver(before, after, f.Replica) && has(after, func(e *Event) bool {
			return e.Replica == f.Replica && e.What != Fault && e.What != Woke && e.What != Cut
		})
	case LeaderKilled:
		led := lastLeader(before) == f.Replica
		return led && has(after, func(e *Event) bool { return e.What == Led && e.Replica != f.Replica })
	case PostgresRestarted:
		commit := func(e *Event) bool { return e.What == Committed }
		return has(before, commit) && has(after, commit)
	}
	return false
}

func has(log []Event, is func(*Event) bool) bool {
	for i := range log {
		if is(&log[i]) {
			return true
		}
	}
	return false
}

func lastLeader(log []Event) (replica string) {
	for i := range log {
		if log[i].What == Led {
			replica = log[i].Replica
		}
	}
	return replica
}

// begunAgain reports whether a replica had begun a target that it did not commit, which is begun again afterwards.
func begunAgain(before, after []Event, replica string) bool {
	open := map[record.Target]int64{}
	for i := range before {
		switch e := &before[i]; {
		case e.What == Began && e.Replica == replica:
			open[e.Target] = e.Epoch
		case e.What == Began, e.What == Committed && e.Epoch == open[e.Target]:
			delete(open, e.Target)
		}
	}
	for i := range after {
		e := &after[i]
		epoch, ok := open[e.Target]
		switch {
		case !ok:
		case e.What == Committed && e.Epoch == epoch: // it had the time to commit
			delete(open, e.Target)
		case e.What == Began && e.Epoch > epoch:
			return true
		}
	}
	return false
}

// claims returns the jobs that a replica has: claimed last by it, and not done.
func claims(log []Event, replica string) map[jobKey]int {
	have := map[jobKey]int{}
	for i := range log {
		e := &log[i]
		key := jobKey{e.Run, e.Region}
		switch e.What {
		case JobClaimed:
			if delete(have, key); e.Replica == replica {
				have[key] = e.Attempt
			}
		case JobDone, JobLost:
			delete(have, key)
		}
	}
	return have
}

// takenOver reports whether another replica claims one of the replica's jobs afterwards.
func takenOver(before, after []Event, replica string) bool {
	have := claims(before, replica)
	return has(after, func(e *Event) bool {
		attempt, ok := have[jobKey{e.Run, e.Region}]
		return ok && e.What == JobClaimed && e.Replica != replica && e.Attempt > attempt
	})
}

// endedByAnother reports whether another attempt ends a job of which the replica had committed a target.
func endedByAnother(before, after []Event, replica string) bool {
	have := claims(before, replica)
	for key := range have {
		committed := has(before, func(e *Event) bool {
			return e.What == Committed && e.Replica == replica && e.Run == key.run && e.Region == key.region
		})
		if !committed {
			delete(have, key)
		}
	}
	return has(after, func(e *Event) bool {
		attempt, ok := have[jobKey{e.Run, e.Region}]
		return ok && e.What == JobDone && e.Attempt > attempt
	})
}
