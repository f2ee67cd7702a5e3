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

// Schedules in the two nights when clocks change, as ParseSchedule documents.
func TestScheduleWhenClocksChange(t *testing.T) {
	berlin, err := LoadTimezone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	runs := func(spec string, from, to time.Time) (n int) {
		s, err := ParseSchedule(spec, berlin)
		if err != nil {
			t.Fatal(err)
		}
		for at := s.Next(from); at.Before(to); at = s.Next(at) {
			n++
		}
		return n
	}
	spring := time.Date(2026, 3, 29, 0, 0, 0, 0, berlin) // 02:00 becomes 03:00
	autumn := time.Date(2026, 10, 25, 0, 0, 0, 0, berlin)
	day := func(d time.Time) time.Time { return d.AddDate(0, 0, 1) }
	before := func(d time.Time) time.Time { return d.Add(-time.Second) }
	if got := runs("30 2 * * *", before(spring), day(spring)); got != 0 {
		t.Errorf("spring, 02:30: %d runs", got)
	}
	if got := runs("30 2 * * *", before(autumn), day(autumn)); got != 2 {
		t.Errorf("autumn, 02:30: %d runs", got)
	}
	if got := runs("*/15 * * * *", before(spring), day(spring)); got != 23*4 {
		t.Errorf("spring, */15: %d runs", got)
	}
	if got := runs("*/15 * * * *", before(autumn), day(autumn)); got != 25*4 {
		t.Errorf("autumn, */15: %d runs", got)
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
		"99999999999999999999 * * * *", "*/0 * * * *", "5-1 * * * *", "\t*\n* * * *",
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
