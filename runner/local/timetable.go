package local

import (
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/aws-collector/collector/runner"
)

const (
	maxWait    = 30 * time.Second // to notice that the clock was set or the machine slept
	lateAfter  = time.Minute      // a tick later than this was missed: the machine was suspended
	clockSlack = time.Second      // a smaller step back of the clock is ignored
	// After a smaller step back, no run is repeated. After a larger one the old time was wrong, and the schedule follows
	// the new time. cron(8) has the same limit.
	maxClockCorrection = 3 * time.Hour
	maxMissedCounted   = 10_000 // missed ticks of one schedule that are counted
)

// A timetable computes when each schedule of a configuration is due. It takes the time and returns what to start; it
// does not wait or start anything. It uses wall-clock times without a monotonic reading, which stops while a machine is
// suspended. It is used by one goroutine.
type timetable struct {
	due       entryHeap
	byKey     map[TickKey]*scheduleEntry
	byAccount map[string][]*scheduleEntry
	last      map[TickKey]time.Time // the last tick for which a run was started
	latest    time.Time             // the latest wall clock
	atStart   bool                  // the first configuration is due at once
}

// A due is one schedule of one account.
type scheduleEntry struct {
	key       TickKey
	kinds     []string
	schedule  runner.Schedule
	offset    time.Duration // the account's jitter
	tick      time.Time     // the next instant; zero: never
	notBefore time.Time     // set for a missed tick that runs now
	reason    string        // why it is late
}

// at is when the next run starts.
func (d *scheduleEntry) at() time.Time {
	at := d.tick.Add(d.offset)
	if d.notBefore.After(at) {
		return d.notBefore
	}
	return at
}

// A start is a tick of an account that is due. The missed ticks before it are not run, for this reason.
type start struct {
	key    TickKey
	kinds  []string
	tick   time.Time
	next   time.Time // when the next run starts; zero: never
	missed int
	reason string
}

// newTimetable begins with the last ticks from before a restart.
func newTimetable(last map[TickKey]time.Time) *timetable {
	if last == nil {
		last = map[TickKey]time.Time{}
	}
	return &timetable{byKey: map[TickKey]*scheduleEntry{}, last: last}
}

// set follows a configuration. Schedules that stay keep their next tick. New ones begin now, except after a restart:
// a schedule with a saved last tick may have missed one since, which then runs once. It returns the new ones.
func (t *timetable) set(conf *runner.Configuration, now time.Time, restart bool) (added []*scheduleEntry) {
	old := t.byKey
	t.byKey, t.byAccount, t.due = map[TickKey]*scheduleEntry{}, map[string][]*scheduleEntry{}, nil
	if conf == nil {
		return nil
	}
	for name, ticks := range conf.Schedules() {
		for _, tick := range ticks {
			key := TickKey{name, tick.Spec}
			if t.byKey[key] != nil {
				continue
			}
			d := old[key]
			if d == nil {
				d = &scheduleEntry{key: key}
				d.tick = tick.Schedule.Next(now)
				added = append(added, d)
			}
			d.kinds, d.schedule, d.offset = tick.Kinds, tick.Schedule, jitterOffset(name, conf.Jitter, tick.Schedule, now)
			if last := t.last[key]; restart && !last.IsZero() && last.Before(now.Add(maxClockCorrection)) {
				if d.tick = tick.Schedule.Next(last); d.tick.Before(now) {
					d.notBefore, d.reason = now.Add(d.offset), runner.MissedDowntime
				}
			}
			if restart && t.atStart && d.notBefore.IsZero() { // otherwise its missed tick runs anyway
				d.tick = now
			}
			t.byKey[key] = d
			t.byAccount[name] = append(t.byAccount[name], d)
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
	return added
}

// poll returns what is due at now and how long to wait until the next poll. back is how far the clock went back since
// the last poll, zero if it did not.
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
		if late > lateAfter && d.notBefore.IsZero() { // spread the accounts again, which would all start at once
			d.notBefore, d.reason = now.Add(d.offset), runner.MissedSuspended
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

// take starts the latest tick of d that is due; those before it are missed.
func (t *timetable) take(d *scheduleEntry, now time.Time) start {
	s := start{key: d.key, kinds: d.kinds, tick: d.tick, reason: d.reason}
	if s.reason == "" {
		s.reason = runner.MissedSuspended
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

// reset computes every schedule again: the clock was far ahead, and the ticks computed then may be years away now.
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

// next is the next start of an account, over all its schedules; zero: never.
func (t *timetable) next(account string) (at time.Time) {
	for _, d := range t.byAccount[account] {
		if !d.tick.IsZero() && (at.IsZero() || d.at().Before(at)) {
			at = d.at()
		}
	}
	return at
}

// jitterOffset is an account's delay within the jitter: always the same for a name, so that its runs keep their
// distance, and evenly distributed over the names. It is at most a tenth of the schedule's shortest period, so that a
// run does not overlap the next one.
func jitterOffset(account string, jitter time.Duration, s runner.Schedule, now time.Time) time.Duration {
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
	ratio := float64(binary.BigEndian.Uint64(h[:8])>>11) / (1 << 53)
	return time.Duration(ratio * float64(jitter)).Truncate(time.Millisecond)
}

type entryHeap []*scheduleEntry

func (q entryHeap) Len() int           { return len(q) }
func (q entryHeap) Less(i, j int) bool { return q[i].at().Before(q[j].at()) }
func (q entryHeap) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *entryHeap) Push(x any) {
	*q = append(*q, x.(*scheduleEntry))
}
func (q *entryHeap) Pop() any {
	o := *q
	d := o[len(o)-1]
	o[len(o)-1] = nil
	*q = o[:len(o)-1]
	return d
}
