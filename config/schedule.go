package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// LoadTimezone loads a time zone by its IANA name; "" is UTC. It reads the system's zone files, the only I/O of this
// package. It rejects "Local", which depends on the machine.
func LoadTimezone(name string) (*time.Location, error) {
	const remedy = "write an IANA name such as Europe/Berlin, or UTC"
	if name == "Local" {
		return nil, Problem{Text: "depends on the machine", Remedy: remedy}
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, Problem{Text: "is not a time zone that this machine knows", Remedy: remedy}
	}
	return loc, nil
}

// ParseSchedule parses a cron spec: five fields (minute, hour, day of month, month, day of week), @hourly, @daily,
// @midnight, @weekly, @monthly, @yearly, or @every with a duration of whole seconds. A nil loc is UTC. Its error, a
// [Problem], does not repeat the spec.
//
// When clocks change, a run at a named hour that is skipped begins at the next instant that exists, and one in an hour
// that is repeated happens once: see [localSchedule].
//
// ParseSchedule also rejects what cron accepts: a time zone in the spec (the library panics at a bare TZ=UTC), @every
// below a second or with a fraction (the library rounds silently), and days that do not exist, such as 31 February.
func ParseSchedule(spec string, loc *time.Location) (cron.Schedule, error) {
	const remedy = `write 5 fields such as "*/15 * * * *", @hourly, @daily or @every 15m`
	spec = strings.TrimSpace(spec)
	switch {
	case spec == "":
		return nil, Problem{Text: "the schedule is empty", Remedy: remedy}
	case strings.HasPrefix(spec, "TZ=") || strings.HasPrefix(spec, "CRON_TZ="):
		return nil, Problem{Text: "a schedule cannot contain a time zone", Remedy: "set timezone"}
	case strings.HasPrefix(spec, "@every"):
		return parseEvery(strings.TrimPrefix(spec, "@every"))
	case strings.HasPrefix(spec, "@"):
	default:
		if err := checkFields(strings.Fields(spec)); err != nil {
			return nil, err
		}
	}
	sched, err := parseCron(cron.ParseStandard, spec)
	if err != nil {
		return nil, Problem{Text: "is not a schedule", Remedy: remedy}
	}
	if s, ok := sched.(*cron.SpecSchedule); ok {
		if loc == nil {
			loc = time.UTC
		}
		s.Location = loc
		if s.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, loc)).IsZero() { // it searches five years, which include a 29 February
			return nil, Problem{Text: "the schedule names days that do not exist", Remedy: "check its day and month"}
		}
		return newLocalSchedule(s, loc), nil
	}
	return sched, nil
}

// parseCron calls a parser of the library, which panics at some text, such as a field "TZ=".
func parseCron(parse func(string) (cron.Schedule, error), text string) (sched cron.Schedule, err error) {
	defer func() {
		if r := recover(); r != nil {
			sched, err = nil, fmt.Errorf("the library panics: %v", r)
		}
	}()
	return parse(text)
}

// parseEvery parses the duration of @every. A bare number is rejected: it could be meant as minutes.
func parseEvery(s string) (cron.Schedule, error) {
	const remedy = "write @every 15m or @every 7d; the minimum is @every 1s"
	text, spaced := strings.CutPrefix(s, " ")
	d, err := ParseDuration(text)
	_, notNumber := strconv.ParseFloat(text, 64)
	switch {
	case !spaced || err != nil || notNumber == nil:
		return nil, Problem{Text: "@every needs a duration", Remedy: remedy}
	case d < time.Second:
		return nil, Problem{Text: "the time between runs is less than a second", Remedy: remedy}
	case d%time.Second != 0:
		return nil, Problem{
			Text:   "the time between runs has a fraction of a second, which would be ignored",
			Remedy: "write whole seconds",
		}
	}
	return cron.Every(d), nil
}

// checkFields finds the field that cron rejects; cron's own error does not name it.
func checkFields(fields []string) error {
	switch n := len(fields); {
	case n == 6:
		return Problem{
			Text:   "the schedule has 6 fields",
			Remedy: "remove the first, which would be seconds, so that minute hour day month weekday are left",
		}
	case n != 5:
		return Problem{
			Text:   fmt.Sprintf("the schedule has %s", quantity(n, "field")),
			Remedy: "write 5 fields: minute hour day month weekday",
		}
	}
	for i, f := range []struct {
		name, want string
		only       cron.ParseOption
	}{
		{"minute", "0-59", cron.Minute},
		{"hour", "0-23", cron.Hour},
		{"day of the month", "1-31", cron.Dom},
		{"month", "1-12 or JAN-DEC", cron.Month},
		{"day of the week", "0-6 (Sunday is 0) or SUN-SAT", cron.Dow},
	} {
		if _, err := parseCron(cron.NewParser(f.only).Parse, fields[i]); err != nil || strings.HasPrefix(fields[i], "@") {
			return Problem{
				Text:   "the schedule's " + f.name + " is not valid",
				Remedy: "write " + f.want + ", *, or lists, ranges and steps of these, such as */5",
			}
		}
	}
	return nil
}

// A zone is the result of loading a time zone.
type zone struct {
	loc *time.Location
	err error
}

// loadZone loads each zone once in a pass.
func (d *decoder) loadZone(name string) (*time.Location, error) {
	z, ok := d.zones[name]
	if !ok {
		z.loc, z.err = LoadTimezone(name)
		d.zones[name] = z
	}
	return z.loc, z.err
}

// checkTimezone checks the key and returns the zone for checking schedules; nil is UTC.
func (d *decoder) checkTimezone(ptr *string) *time.Location {
	loc, err := d.loadZone(*ptr)
	if p, ok := d.Checkable(ptr); ok && err != nil {
		d.ReportError(p, d.Show(p, *ptr)+" ", err)
	}
	return loc
}

// A scheduleKey identifies a schedule that was checked. Thousands of accounts usually have only a few different ones.
type scheduleKey struct {
	text string
	loc  *time.Location
}

// checkSchedule checks the schedule at ptr.
func (d *decoder) checkSchedule(ptr any, text string, loc *time.Location) {
	p, ok := d.Checkable(ptr)
	if !ok {
		return
	}
	err, known := d.scheduleErrors[scheduleKey{text, loc}]
	if !known {
		_, err = ParseSchedule(text, loc)
		d.scheduleErrors[scheduleKey{text, loc}] = err
	}
	if err != nil {
		d.ReportError(p, d.Show(p, text)+": ", err)
	}
}
