package config

import (
	"strings"
	"testing"
	"time"
)

func TestParseSchedule(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	tokyo, err := LoadTimezone("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		spec, from, want string
		loc              *time.Location
	}{
		{spec: "*/15 * * * *", from: "2026-11-21T22:14:59Z", want: "2026-11-21T22:15:00Z"},
		{spec: " 0 3 * * MON ", from: "2026-11-21T22:15:00Z", want: "2026-11-23T03:00:00Z"},
		{spec: "0 3 * * *", loc: tokyo, from: "2026-11-21T00:00:00Z", want: "2026-11-21T18:00:00Z"},
		{spec: "0 0 29 2 *", from: "2026-11-21T00:00:00Z", want: "2028-02-29T00:00:00Z"},
		{spec: "@daily", from: "2026-11-21T22:15:00Z", want: "2026-11-22T00:00:00Z"},
		{spec: "@every 10s", from: "2026-11-21T22:15:00Z", want: "2026-11-21T22:15:10Z"},
		{spec: "@every 7d", from: "2026-11-21T22:15:00Z", want: "2026-11-28T22:15:00Z"},
		{spec: "@every 1d12h", from: "2026-11-21T22:15:00Z", want: "2026-11-23T10:15:00Z"},
		{spec: "@every 1h30m", from: "2026-11-21T22:15:00Z", want: "2026-11-21T23:45:00Z"},
	} {
		s, err := ParseSchedule(c.spec, c.loc)
		if err != nil {
			t.Errorf("%q: %v", c.spec, err)
			continue
		}
		if got := s.Next(at(c.from)); !got.Equal(at(c.want)) {
			t.Errorf("%q after %s: got %v, want %s", c.spec, c.from, got, c.want)
		}
	}
}

// A tick at a time that is skipped comes at the next instant that exists, one at a time that is repeated comes once,
// and schedules of every hour keep their distance.
func TestScheduleWhenClocksChange(t *testing.T) {
	for _, c := range []struct {
		name, zone, spec, from string
		want                   string // the next ticks
	}{
		{"spring", "Europe/Berlin", "30 2 * * *", "2026-03-28T12:00:00Z",
			"2026-03-29T03:00+02:00 2026-03-30T02:30+02:00"},
		{"spring, a weekly tick", "Europe/Berlin", "0 2 * * 0", "2026-03-28T12:00:00Z",
			"2026-03-29T03:00+02:00 2026-04-05T02:00+02:00"},
		{"spring, several become one", "Europe/Berlin", "*/15 2,3 * * *", "2026-03-29T00:00:00Z",
			"2026-03-29T03:00+02:00 2026-03-29T03:15+02:00"},
		{"spring, every hour", "Europe/Berlin", "30 * * * *", "2026-03-29T00:00:00Z",
			"2026-03-29T01:30+01:00 2026-03-29T03:30+02:00"},
		{"spring, at the change", "Europe/Berlin", "@hourly", "2026-03-29T00:00:00Z",
			"2026-03-29T03:00+02:00 2026-03-29T04:00+02:00"},
		{"spring, no midnight", "Africa/Cairo", "@daily", "2026-04-23T12:00:00Z",
			"2026-04-24T01:00+03:00 2026-04-25T00:00+03:00"},
		{"spring, no midnight", "America/Santiago", "@daily", "2026-09-05T12:00:00Z",
			"2026-09-06T01:00-03:00 2026-09-07T00:00-03:00"},
		{"spring, half an hour", "Australia/Lord_Howe", "15 2 * * *", "2026-10-03T00:00:00Z",
			"2026-10-04T02:30+11:00 2026-10-05T02:15+11:00"},
		{"autumn", "Europe/Berlin", "30 2 * * *", "2026-10-24T12:00:00Z",
			"2026-10-25T02:30+02:00 2026-10-26T02:30+01:00"},
		{"autumn, from within the second pass", "Europe/Berlin", "30 2 * * *", "2026-10-25T01:10:00Z",
			"2026-10-26T02:30+01:00 2026-10-27T02:30+01:00"},
		{"autumn, named hours", "Europe/Berlin", "*/30 1-3 * * *", "2026-10-25T00:00:00Z",
			"2026-10-25T02:30+02:00 2026-10-25T03:00+01:00"},
		{"autumn, every hour", "Europe/Berlin", "@hourly", "2026-10-24T23:30:00Z",
			"2026-10-25T02:00+02:00 2026-10-25T02:00+01:00 2026-10-25T03:00+01:00"},
		{"autumn, a repeated midnight", "America/Havana", "15 0 * * *", "2026-10-31T12:00:00Z",
			"2026-11-01T00:15-04:00 2026-11-02T00:15-05:00"},
		{"autumn, the day before is repeated", "Africa/Cairo", "30 23 * * *", "2026-10-29T12:00:00Z",
			"2026-10-29T23:30+03:00 2026-10-30T23:30+02:00"},
	} {
		t.Run(c.name+", "+c.zone+", "+c.spec, func(t *testing.T) {
			loc, err := LoadTimezone(c.zone)
			if err != nil {
				t.Fatal(err)
			}
			s, err := ParseSchedule(c.spec, loc)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(time.RFC3339, c.from)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for range strings.Fields(c.want) {
				at = s.Next(at)
				got = append(got, at.In(loc).Format("2006-01-02T15:04Z07:00"))
			}
			if got := strings.Join(got, " "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// In each zone, a tick a day comes once on each date, whatever its time, and ticks of every hour keep their distance.
func TestScheduleOfManyZones(t *testing.T) {
	from := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, zone := range []string{
		"UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "Africa/Cairo", "Africa/Casablanca",
		"Australia/Lord_Howe", "Asia/Gaza", "Asia/Kolkata", "Pacific/Chatham", "America/Havana",
	} {
		loc, err := LoadTimezone(zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range []string{"0 0 * * *", "30 1 * * *", "30 2 * * *", "59 23 * * *"} {
			s, err := ParseSchedule(spec, loc)
			if err != nil {
				t.Fatal(err)
			}
			at := s.Next(from)
			for range 365 {
				next := s.Next(at)
				day := wallClock(at.In(loc)).AddDate(0, 0, 1).Format(time.DateOnly)
				if next.In(loc).Format(time.DateOnly) != day {
					t.Fatalf("%s, %s: after %s comes %s", zone, spec, at.In(loc), next.In(loc))
				}
				at = next
			}
		}
		s, err := ParseSchedule("*/15 * * * *", loc)
		if err != nil {
			t.Fatal(err)
		}
		for at, end := s.Next(from), from.AddDate(1, 0, 0); at.Before(end); {
			next := s.Next(at)
			if next.Sub(at) != 15*time.Minute {
				t.Fatalf("%s: after %s comes %s", zone, at.In(loc), next.In(loc))
			}
			at = next
		}
	}
}

func TestTimezoneOutsideZoneFiles(t *testing.T) {
	for _, name := range []string{"../../etc/passwd", "/etc/localtime", "Local", "Berlin", "CET/"} {
		if _, err := LoadTimezone(name); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

func FuzzSchedule(f *testing.F) {
	for _, s := range []string{
		"*/15 * * * *", "@hourly", "@every 15m", "TZ=UTC", "CRON_TZ=", "TZ=UTC * * * * *", "0 0 31 2 *", "@every 1ms",
		"@every -1h", "@every", "1-5/2,7 0-23 L * ?", "* * * JAN-DEC SUN", "@", "@@", "0 0 * * 7",
		"99999999999999999999 * * * *", "*/0 * * * *", "5-1 * * * *", "\t*\n* * * *", "* TZ= * * *",
	} {
		f.Add(s)
	}
	start := time.Date(2026, 11, 21, 22, 15, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, spec string) {
		if _, err := ParseSchedule(spec+plantedValue, nil); err != nil && strings.Contains(err.Error(), plantedValue) {
			t.Errorf("the error repeats the spec: %v", err)
		}
		s, err := ParseSchedule(spec, nil)
		if err != nil {
			return
		}
		at := start
		for range 3 {
			next := s.Next(at)
			if next.IsZero() || next.Sub(at) < time.Second {
				t.Fatalf("%q: next after %v is %v", spec, at, next)
			}
			at = next
		}
	})
}
