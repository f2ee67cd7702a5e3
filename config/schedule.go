package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// LoadTimezone finds a time zone by its IANA name; "" is UTC. It looks into the system's zone files: the package's only I/O.
// "Local" is refused, because it is another zone on another machine.
func LoadTimezone(name string) (*time.Location, error) {
	const remedy = "write an IANA name such as Europe/Berlin, or UTC"
	if name == "Local" {
		return nil, Problem{Text: "is another zone on every machine", Remedy: remedy}
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, Problem{Text: "is no time zone that this machine knows", Remedy: remedy}
	}
	return loc, nil
}

// ParseSchedule reads a cron spec: five fields (minute, hour, day of month, month, day of week), @hourly, @daily, @midnight,
// @weekly, @monthly, @yearly, or @every with a duration of whole seconds. nil is UTC. Its error, a [Problem], does not repeat the spec.
//
// What the schedule does where the clocks change is robfig/cron's doing (https://pkg.go.dev/github.com/robfig/cron/v3, "Time
// zones"): in spring, a run at an hour that is left out does not happen that day; in autumn, a run in the hour that comes
// twice happens twice. Schedules of minutes (*/15) and @every see no difference, nor does UTC, the default.
//
// Refused, beside what cron refuses: a zone in the spec (the library panics at a bare TZ=UTC), @every below a second or with
// a fraction (which it rounds in silence), and days that never come, such as 31 February.
func ParseSchedule(spec string, loc *time.Location) (sched cron.Schedule, err error) {
	const remedy = `write 5 fields such as "*/15 * * * *", @hourly, @daily or @every 15m`
	spec = strings.TrimSpace(spec)
	switch {
	case spec == "":
		return nil, Problem{Text: "the schedule is empty", Remedy: remedy}
	case strings.HasPrefix(spec, "TZ=") || strings.HasPrefix(spec, "CRON_TZ="):
		return nil, Problem{Text: "a schedule holds no time zone", Remedy: "set timezone:"}
	case strings.HasPrefix(spec, "@every"):
		if err := checkEvery(strings.TrimPrefix(spec, "@every")); err != nil {
			return nil, err
		}
	case strings.HasPrefix(spec, "@"):
	default:
		if err := checkFields(strings.Fields(spec)); err != nil {
			return nil, err
		}
	}
	defer func() {
		if r := recover(); r != nil { // the library's own traps, of which there may be more than are known
			sched, err = nil, Problem{Text: "is no schedule", Remedy: remedy}
		}
	}()
	sched, err = cron.ParseStandard(spec)
	if err != nil {
		return nil, Problem{Text: "is no schedule", Remedy: remedy}
	}
	if s, ok := sched.(*cron.SpecSchedule); ok {
		if loc == nil {
			loc = time.UTC
		}
		s.Location = loc
		if s.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, loc)).IsZero() { // it looks five years ahead: one 29 February
			return nil, Problem{Text: "the schedule names days that never come", Remedy: "look at its day and month"}
		}
	}
	return sched, nil
}

func checkEvery(s string) error {
	const remedy = "write @every 15m; the least is @every 1s"
	if !strings.HasPrefix(s, " ") {
		return Problem{Text: "@every needs a duration", Remedy: remedy}
	}
	d, err := time.ParseDuration(strings.TrimPrefix(s, " ")) // as cron does
	switch {
	case err != nil:
		return Problem{Text: "@every needs a duration", Remedy: remedy}
	case d < time.Second:
		return Problem{Text: "the time between runs is below a second", Remedy: remedy}
	case d%time.Second != 0:
		return Problem{Text: "the time between runs has a fraction of a second, which would be cut off", Remedy: "write whole seconds"}
	}
	return nil
}

// checkFields finds the field that cron would not take, which its own error does not tell.
func checkFields(fields []string) error {
	switch n := len(fields); {
	case n == 6:
		return Problem{Text: "the schedule has 6 fields", Remedy: "leave out the first, which would be seconds: want minute hour day month weekday"}
	case n != 5:
		return Problem{Text: fmt.Sprintf("the schedule has %s", quantity(n, "field")), Remedy: "want 5: minute hour day month weekday"}
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
		if _, err := cron.NewParser(f.only).Parse(fields[i]); err != nil || strings.HasPrefix(fields[i], "@") {
			return Problem{Text: "the schedule's " + f.name + " is wrong", Remedy: "want " + f.want + ", *, or lists, ranges and steps of these, such as */5"}
		}
	}
	return nil
}

// A zone is a time zone that was looked up.
type zone struct {
	loc *time.Location
	err error
}

// loadZone looks a name up once a pass.
func (d *decoder) loadZone(name string) (*time.Location, error) {
	z, ok := d.zones[name]
	if !ok {
		z.loc, z.err = LoadTimezone(name)
		d.zones[name] = z
	}
	return z.loc, z.err
}

// checkTimezone judges the key and gives the zone that schedules are judged in; nil is UTC.
func (d *decoder) checkTimezone(ptr *string) *time.Location {
	loc, err := d.loadZone(*ptr)
	if p, ok := d.checkable(ptr); ok && err != nil {
		d.reportError(p, d.show(p, *ptr)+" ", err)
	}
	return loc
}

// A spec is a schedule that was judged. A file of thousands of accounts holds few different ones.
type scheduleKey struct {
	text string
	loc  *time.Location
}

// checkSchedule judges the spec that ptr was filled with.
func (d *decoder) checkSchedule(ptr any, text string, loc *time.Location) {
	p, ok := d.checkable(ptr)
	if !ok {
		return
	}
	err, known := d.scheduleErrors[scheduleKey{text, loc}]
	if !known {
		_, err = ParseSchedule(text, loc)
		d.scheduleErrors[scheduleKey{text, loc}] = err
	}
	if err != nil {
		d.reportError(p, d.show(p, text)+": ", err)
	}
}
