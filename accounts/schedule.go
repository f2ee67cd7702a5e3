package accounts

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/runner"
)

// Ticks returns a tick for the account's schedule, and one for each other schedule that some of its kinds have.
func Ticks(a config.Account, names []string) ([]runner.Tick, error) {
	loc, err := config.LoadTimezone(a.Timezone)
	if err != nil {
		return nil, fmt.Errorf("account %q: timezone %q: %w", a.Name, a.Timezone, err)
	}
	bySpec := map[string][]string{}
	for _, n := range names {
		spec, ok := a.Collect.ScheduleOf(n)
		if !ok {
			spec = a.Schedule
		}
		bySpec[spec] = append(bySpec[spec], n)
	}
	var ticks []runner.Tick
	for _, spec := range slices.Sorted(maps.Keys(bySpec)) {
		s, err := config.ParseSchedule(spec, loc)
		if err != nil {
			return nil, fmt.Errorf("account %q: schedule %q: %w", a.Name, spec, err)
		}
		ticks = append(ticks, runner.Tick{Spec: spec + " " + loc.String(), Schedule: s, Kinds: bySpec[spec]})
	}
	return ticks, nil
}

// listingAhead is how long before a run of the members they are listed.
const listingAhead = time.Minute

// listingTicks is the schedule of an organization's listing: a short time before each run of its members, which collect
// these kinds.
func listingTicks(o config.Organization, kinds []string, jitter time.Duration) ([]runner.Tick, error) {
	account := config.Account{Name: o.Label, Schedule: o.Schedule, Timezone: o.Timezone, Collect: o.Collect}
	ticks, err := Ticks(account, kinds)
	if err != nil {
		return nil, err
	}
	ahead := listingLead(o) + min(jitter, schedulePeriod(o)/10) // jitter delays the listing as it delays the members
	var all unionSchedule
	spec := "members"
	for _, t := range ticks {
		e := leadSchedule{t.Schedule, ahead}
		if strings.HasPrefix(t.Spec, "@every") { // counts from the time of the question, so there is no earlier time
			e.lead = 0
		}
		all = append(all, e)
		spec += " " + t.Spec
	}
	return []runner.Tick{{Spec: spec, Schedule: all}}, nil
}

// NewMemberTicks returns the ticks of a new member. With all, and for @every, the first run is now: @every counts from
// the moment when it is asked, so its first run could be after the next list.
func NewMemberTicks(ticks []runner.Tick, all bool) []runner.Tick {
	at := time.Now().Add(newMemberDelay)
	ticks = slices.Clone(ticks)
	for i, t := range ticks {
		if all || strings.HasPrefix(t.Spec, "@every") {
			ticks[i].Schedule = extraRunSchedule{t.Schedule, at}
		}
	}
	return ticks
}

const newMemberDelay = 3 * time.Second // the configuration is not installed yet

// extraRunSchedule is a schedule with one additional run.
type extraRunSchedule struct {
	runner.Schedule
	at time.Time
}

func (s extraRunSchedule) Next(t time.Time) time.Time {
	next := s.Schedule.Next(t)
	if t.Before(s.at) && (next.IsZero() || s.at.Before(next)) {
		return s.at
	}
	return next
}

// leadSchedule moves each run of a schedule to an earlier time.
type leadSchedule struct {
	runner.Schedule
	lead time.Duration
}

func (e leadSchedule) Next(t time.Time) time.Time {
	next := e.Schedule.Next(t.Add(e.lead))
	if next.IsZero() {
		return next
	}
	return next.Add(-e.lead)
}

// unionSchedule has the runs of several schedules.
type unionSchedule []leadSchedule

func (e unionSchedule) Next(t time.Time) (next time.Time) {
	for _, s := range e {
		if at := s.Next(t); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// listingLead is the time between a list of members and their run: a minute, or half of a short period.
func listingLead(o config.Organization) time.Duration {
	return min(listingAhead, schedulePeriod(o)/2)
}

// maxListAge is the age up to which a list is not refreshed.
func maxListAge(o config.Organization) time.Duration { return listingLead(o) / 2 }

// schedulePeriod is the shortest time between the next few runs of the schedule.
func schedulePeriod(o config.Organization) time.Duration {
	loc, err := config.LoadTimezone(o.Timezone)
	if err != nil {
		return time.Hour // listingTicks reports the error
	}
	s, err := config.ParseSchedule(o.Schedule, loc)
	if err != nil {
		return time.Hour
	}
	at, least := s.Next(time.Now()), 24*time.Hour
	for range 8 {
		next := s.Next(at)
		if at.IsZero() || next.IsZero() {
			break
		}
		least, at = min(least, next.Sub(at)), next
	}
	return least
}
