package runner

import (
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/aws-collector/collector/record"
)

func TestCalendar(t *testing.T) {
	spec := func(text string) Tick {
		s, err := cron.ParseStandard(text)
		if err != nil {
			t.Fatal(err)
		}
		return Tick{Spec: text, Schedule: s}
	}
	with := func(tick Tick, kinds ...string) Tick { tick.Kinds = kinds; return tick }
	f, err := NewConfiguration(Configuration{Jitter: time.Hour, Accounts: []*Account{
		{
			Name: "often",
			AccountSpec: &AccountSpec{
				Kinds: []Kind{{Name: "instance"}, {Name: "image"}},
				Ticks: []Tick{with(spec("*/15 * * * *"), "instance"), with(spec("0 0 * * *"), "image")},
			},
		},
		{Name: "all", AccountSpec: &AccountSpec{Kinds: []Kind{{Name: "instance"}}, Ticks: []Tick{spec("0 9 * * 1-5")}}},
		{
			Name:        "twice",
			AccountSpec: &AccountSpec{Kinds: []Kind{{Name: "instance"}}, Ticks: []Tick{spec("0 0 * * *"), spec("30 * * * *")}},
		},
		{Name: "never", AccountSpec: &AccountSpec{Kinds: []Kind{{Name: "instance"}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	at := func(text string) time.Time {
		when, err := time.Parse("2006-01-02 15:04:05", text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	friday := at("2026-11-20 09:03:00")
	c := NewCalendar(f)
	for _, x := range []struct {
		account, kind string
		after, want   time.Time
	}{
		// the jitter is at most a tenth of its period
		{"often", "instance", at("2026-11-21 12:00:05"), at("2026-11-21 12:16:30")},
		{"often", "image", at("2026-11-21 00:00:05"), at("2026-11-22 01:00:00")},
		{"all", "instance", friday, at("2026-11-23 10:00:00")}, // over the weekend
		{"twice", "instance", at("2026-11-21 12:00:00"), at("2026-11-21 12:36:00")},
		{"never", "instance", friday, time.Time{}},
		{"often", "volume", friday, time.Time{}},
		{"unknown", "instance", friday, time.Time{}},
		{"often", "instance", time.Time{}, time.Time{}},
	} {
		for range 2 { // the cached answer is the same
			if got := c.Due(x.account, x.kind, x.after); !got.Equal(x.want) {
				t.Errorf("%s of %s after %s: %s, want %s", x.kind, x.account, x.after, got, x.want)
			}
		}
	}
	if got := NewCalendar(nil).Due("often", "instance", friday); !got.IsZero() {
		t.Error(got)
	}
}

// A target is overdue from the time when it is due. A run in progress may still list it, until the account's timeout.
func TestOverdue(t *testing.T) {
	hourly, err := cron.ParseStandard("@every 1h")
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewConfiguration(Configuration{Accounts: []*Account{{Name: "a", AccountSpec: &AccountSpec{
		Kinds: []Kind{{Name: "instance"}}, Ticks: []Tick{{Spec: "@every 1h", Schedule: hourly}}, Timeout: 10 * time.Minute,
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	c := NewCalendar(f)
	for _, x := range []struct {
		age     time.Duration
		running bool
		want    time.Duration
	}{
		{59 * time.Minute, false, 0}, {65 * time.Minute, false, 5 * time.Minute}, {65 * time.Minute, true, 0},
		{75 * time.Minute, true, 15 * time.Minute},
	} {
		target := record.Target{Account: "a", Kind: "instance"}
		if got := c.Overdue(target, now.Add(-x.age), now, x.running); got != x.want {
			t.Errorf("after %s, running %v: %s, want %s", x.age, x.running, got, x.want)
		}
	}
	if got := c.Overdue(record.Target{Account: "unknown"}, now.Add(-time.Hour), now, true); got != 0 {
		t.Errorf("an unknown account is overdue by %s", got)
	}
}
