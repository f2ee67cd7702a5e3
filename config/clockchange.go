package config

import (
	"math/bits"
	"time"

	"github.com/robfig/cron/v3"
)

// A localSchedule is a cron schedule in a time zone whose clocks change. The library computes on a clock that never
// changes, and this type decides what a change means:
//
//   - Some hours are named, as in "30 2 * * *" or @daily: each tick is a time of day. A time that is repeated is a tick
//     the first time only. A time that is skipped becomes the next instant that exists.
//   - Every hour is meant, as in "*/15 * * * *" or @hourly: the ticks keep their distance, as cron(8) does. In an hour
//     that is repeated they come again, and an hour that is skipped has none.
type localSchedule struct {
	fields    cron.Schedule // in UTC, which stands for the clock on the wall
	everyHour bool
	loc       *time.Location
}

// newLocalSchedule takes over the fields of a schedule of the library.
func newLocalSchedule(s *cron.SpecSchedule, loc *time.Location) *localSchedule {
	fields := *s
	fields.Location = time.UTC
	return &localSchedule{fields: &fields, everyHour: bits.OnesCount64(s.Hour&(1<<24-1)) == 24, loc: loc}
}

// Next is the first tick after t, or zero if the next five years have none.
func (s *localSchedule) Next(t time.Time) time.Time {
	next := s.nextTimeOfDay
	if s.everyHour {
		next = s.nextInPeriod
	}
	if at := next(t.In(s.loc)); !at.IsZero() {
		return at.In(t.Location())
	}
	return time.Time{}
}

func (s *localSchedule) nextTimeOfDay(t time.Time) time.Time {
	for wall := s.fields.Next(wallClock(t)); !wall.IsZero(); wall = s.fields.Next(wall) {
		if at := firstInstant(wall, s.loc); at.After(t) { // else t is in the second pass of an hour
			return at
		}
	}
	return time.Time{}
}

// nextInPeriod searches the period of the zone's current offset, then those after it.
func (s *localSchedule) nextInPeriod(t time.Time) time.Time {
	for period := t; ; {
		_, seconds := period.Zone()
		offset := time.Duration(seconds) * time.Second
		wall := s.fields.Next(t.UTC().Add(offset))
		if wall.IsZero() {
			return wall
		}
		at := wall.Add(-offset)
		_, end := period.ZoneBounds()
		if end.IsZero() || at.Before(end) {
			return at
		}
		period, t = end, end.Add(-time.Nanosecond) // a period's first instant can be a tick
	}
}

// wallClock returns the date and time that a clock shows at t, as a time in UTC.
func wallClock(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// firstInstant is the first instant at which the clocks of a zone show a time or, if they skip it, a later one.
func firstInstant(wall time.Time, loc *time.Location) time.Time {
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, loc)
	begin, end := t.ZoneBounds()
	switch shown := wallClock(t); {
	case shown.After(wall): // skipped; time.Date took the offset before the change
		return begin
	case shown.Before(wall): // skipped; it took the offset after the change
		return end
	}
	if !begin.IsZero() {
		_, before := begin.Add(-1).Zone()
		if earlier := wall.Add(-time.Duration(before) * time.Second).In(loc); earlier.Before(begin) {
			return earlier
		}
	}
	return t
}
