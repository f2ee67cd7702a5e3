package runner

import (
	"slices"
	"time"
)

// A RunRef is a run as the overlap rules see it: a value of the local engine, or a row of a store.
type RunRef struct {
	ID       string
	Schedule string    // "" if a person requested it
	Kinds    []string  // runs without a common kind do not overlap
	Begun    bool      // its opening job has started
	Deadline time.Time // of a waiting run: after it, it is not worth starting; zero: none
}

func (n RunRef) overlaps(o RunRef) bool {
	return slices.ContainsFunc(n.Kinds, func(k string) bool { return slices.Contains(o.Kinds, k) })
}

func (n RunRef) overlapping(rs []RunRef) (found []RunRef) {
	for _, o := range rs {
		if n.overlaps(o) {
			found = append(found, o)
		}
	}
	return found
}

// AccountRuns is what the overlap rules look at: the runs of one account that have not ended. The rules know nothing of
// engines, so that every engine decides alike: the local one under its mutex, one with a database in the transaction
// that holds the account's runs.
type AccountRuns struct {
	Rule     Overlap
	Active   []RunRef
	Waiting  []RunRef // oldest first
	Draining bool     // the program stops: nothing begins
	Now      time.Time
}

// A Decision is what becomes of runs, by their ids. A run that is not named stays as it is.
type Decision struct {
	Start  []string // becomes active
	Wait   []string // waits for the active runs
	Skip   []string // ends as skipped, without having begun
	Expire []string // ends as expired, without having begun
	Cancel []string // has begun, and is to be stopped
}

// Due decides about a run that is due.
func (a AccountRuns) Due(n RunRef) (d Decision) {
	if a.Draining {
		return Decision{Skip: []string{n.ID}}
	}
	active, waiting := n.overlapping(a.Active), n.overlapping(a.Waiting)
	// A requested run, or a run of another schedule, keeps its place in the queue.
	waitsForOther := slices.ContainsFunc(waiting, func(o RunRef) bool {
		return o.Schedule != n.Schedule || n.Schedule == ""
	})
	blocked := len(active) > 0
	switch {
	case len(active)+len(waiting) == 0:
	case a.Rule == Cancel:
		blocked = false
		for _, o := range slices.Concat(waiting, active) {
			if o.Begun {
				d.Cancel = append(d.Cancel, o.ID)
				blocked = true // what is stopped still has to end
			} else {
				d.Expire = append(d.Expire, o.ID)
			}
		}
	case a.Rule == Queue && !waitsForOther:
		for _, o := range waiting { // replaced by the next tick of the same schedule
			d.Expire = append(d.Expire, o.ID)
		}
	default:
		d.Skip = []string{n.ID}
		return d
	}
	if blocked {
		d.Wait = []string{n.ID}
	} else {
		d.Start = []string{n.ID}
	}
	return d
}

// Finished decides about those that are left when a run has ended, and when the program begins to stop.
func (a AccountRuns) Finished() (d Decision) {
	if a.Draining {
		for _, o := range a.Waiting {
			d.Skip = append(d.Skip, o.ID)
		}
		for _, o := range a.Active {
			if !o.Begun {
				d.Skip = append(d.Skip, o.ID)
			}
		}
		return d
	}
	active := slices.Clone(a.Active)
	for _, w := range a.Waiting {
		switch {
		case len(w.overlapping(active)) > 0:
		case !w.Deadline.IsZero() && !a.Now.Before(w.Deadline):
			d.Expire = append(d.Expire, w.ID)
		default:
			d.Start = append(d.Start, w.ID)
			active = append(active, w)
		}
	}
	return d
}
