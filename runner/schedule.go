package runner

import (
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

const (
	maxWait    = 30 * time.Second // so that a clock that was put, or a machine that slept, is noticed
	lateAfter  = time.Minute      // a tick that is later than this was missed while nobody looked
	clockSlack = time.Second      // less than this is no jump back
	// A clock that goes back by less repeats no run; by more it was wrong before, and the schedule follows the new time.
	// The bound is that of cron(8) for such corrections.
	maxClockCorrection = 3 * time.Hour
	maxMissedCounted   = 10_000 // missed ticks of one schedule that are counted one by one
)

// A timetable knows when each schedule of a fleet is due. It is told the time and tells what to start; it waits for
// nothing and starts nothing. Wall-clock times only: they have no monotonic reading, so that a suspended machine's clock
// counts. Used by one goroutine.
type timetable struct {
	due       dueHeap
	byKey     map[TickKey]*due
	byAccount map[string][]*due
	last      map[TickKey]time.Time // the last instant for which a run was started
	latest    time.Time             // the latest wall clock
	atStart   bool                  // the first fleet is due at once
}

// A due is one schedule of one account.
type due struct {
	key       TickKey
	kinds     []string
	schedule  Schedule
	offset    time.Duration // the account's jitter
	tick      time.Time     // the next instant; zero: never
	notBefore time.Time     // of a tick that is caught up
	reason    string        // what kept it from being on time
}

// at is when it starts.
func (d *due) at() time.Time {
	at := d.tick.Add(d.offset)
	if d.notBefore.After(at) {
		return d.notBefore
	}
	return at
}

// A start is what is due: a tick of an account. missed earlier ones are not made up for, because of why.
type start struct {
	key    TickKey
	kinds  []string
	tick   time.Time
	next   time.Time // when the one after it starts; zero: never
	missed int
	reason string
}

// newTimetable begins with the last instants from before a restart.
func newTimetable(last map[TickKey]time.Time) *timetable {
	if last == nil {
		last = map[TickKey]time.Time{}
	}
	return &timetable{byKey: map[TickKey]*due{}, last: last}
}

// set makes the timetable that of a fleet. Schedules that stay keep their next instant; new ones begin now, but for those
// that have a last instant from before a restart, which may be due for a catch-up.
func (t *timetable) set(f *Configuration, now time.Time, restart bool) {
	old := t.byKey
	t.byKey, t.byAccount, t.due = map[TickKey]*due{}, map[string][]*due{}, nil
	if f == nil {
		return
	}
	for _, a := range f.Accounts {
		for _, tick := range a.Ticks {
			key := TickKey{a.Name, tick.Spec}
			if t.byKey[key] != nil {
				continue
			}
			d := old[key]
			if d == nil {
				d = &due{key: key}
				d.tick = tick.Schedule.Next(now)
			}
			d.kinds, d.schedule, d.offset = tick.Kinds, tick.Schedule, jitterOffset(a.Name, f.Jitter, tick.Schedule, now)
			if last := t.last[key]; restart && !last.IsZero() && last.Before(now.Add(maxClockCorrection)) {
				if d.tick = tick.Schedule.Next(last); d.tick.Before(now) {
					d.notBefore, d.reason = now.Add(d.offset), MissedDowntime
				}
			}
			if restart && t.atStart && d.notBefore.IsZero() { // else it is due for a catch-up anyway
				d.tick = now
			}
			t.byKey[key] = d
			t.byAccount[a.Name] = append(t.byAccount[a.Name], d)
			if !d.tick.IsZero() {
				heap.Push(&t.due, d)
			}
		}
	}
	for key := range t.last {
		if t.byKey[key] == nil {
			delete(t.last, key)
		}
	}
}

// poll says what is due at now, and when to look again. back is by how much the clock went back since the last look,
// zero where it did not.
func (t *timetable) poll(now time.Time) (starts []start, wait, back time.Duration) {
	if b := t.latest.Sub(now); !t.latest.IsZero() && b > clockSlack {
		back = b
		if b > maxClockCorrection {
			t.reset(now)
		}
		t.latest = now
	}
	if now.After(t.latest) {
		t.latest = now
	}
	for len(t.due) > 0 {
		d := t.due[0]
		late := now.Sub(d.at())
		if late < 0 {
			return starts, min(-late, maxWait), back
		}
		if late > lateAfter && d.notBefore.IsZero() { // all accounts would start at once: each at its own offset again
			d.notBefore, d.reason = now.Add(d.offset), MissedSuspended
			heap.Fix(&t.due, 0)
			continue
		}
		starts = append(starts, t.take(d, now))
		if d.tick.IsZero() {
			heap.Pop(&t.due)
		} else {
			heap.Fix(&t.due, 0)
		}
	}
	return starts, maxWait, back
}

// take takes the latest of d's ticks that is due; those before it are missed.
func (t *timetable) take(d *due, now time.Time) start {
	s := start{key: d.key, kinds: d.kinds, tick: d.tick, reason: d.reason}
	if s.reason == "" {
		s.reason = MissedSuspended
	}
	next := d.schedule.Next(d.tick)
	for !next.IsZero() && !next.Add(d.offset).After(now) {
		if s.missed++; s.missed == maxMissedCounted {
			next = d.schedule.Next(now.Add(-d.offset))
			break
		}
		s.tick, next = next, d.schedule.Next(next)
	}
	t.last[d.key] = s.tick
	d.tick, d.notBefore, d.reason = next, time.Time{}, ""
	if !next.IsZero() {
		s.next = d.at()
	}
	return s
}

// reset times everything anew: the clock was far ahead, and what was due then is years away now.
func (t *timetable) reset(now time.Time) {
	t.due = nil
	for key, d := range t.byKey {
		d.tick, d.notBefore, d.reason = d.schedule.Next(now), time.Time{}, ""
		if t.last[key].After(now) {
			delete(t.last, key)
		}
		if !d.tick.IsZero() {
			heap.Push(&t.due, d)
		}
	}
}

// next is when an account starts next, over all its schedules; zero: never.
func (t *timetable) next(account string) (at time.Time) {
	for _, d := range t.byAccount[account] {
		if !d.tick.IsZero() && (at.IsZero() || d.at().Before(at)) {
			at = d.at()
		}
	}
	return at
}

// jitterOffset is an account's place within the jitter: always the same for a name, so that its runs keep their distance, and
// spread evenly over the names. At most a tenth of the schedule's shortest period, so that a run is never late for the
// next one.
func jitterOffset(account string, jitter time.Duration, s Schedule, now time.Time) time.Duration {
	a := s.Next(now)
	for range 8 {
		b := s.Next(a)
		if a.IsZero() || b.IsZero() {
			break
		}
		jitter = min(jitter, b.Sub(a)/10)
		a = b
	}
	if jitter <= 0 {
		return 0
	}
	h := sha256.Sum256([]byte(account))
	part := float64(binary.BigEndian.Uint64(h[:8])>>11) / (1 << 53)
	return time.Duration(part * float64(jitter)).Truncate(time.Millisecond)
}

type dueHeap []*due

func (q dueHeap) Len() int           { return len(q) }
func (q dueHeap) Less(i, j int) bool { return q[i].at().Before(q[j].at()) }
func (q dueHeap) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *dueHeap) Push(x any) {
	*q = append(*q, x.(*due))
}
func (q *dueHeap) Pop() any {
	o := *q
	d := o[len(o)-1]
	o[len(o)-1] = nil
	*q = o[:len(o)-1]
	return d
}
