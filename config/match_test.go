package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestMatch(t *testing.T) {
	names := []string{"ec2_volume", "ec2_image", "ec2_instance", "vpc", "ü"}
	for _, c := range []struct {
		patterns []string
		want     []string
	}{
		{nil, names},
		{[]string{"*"}, names},
		{[]string{"ec2_image", "ec2_volume"}, []string{"ec2_volume", "ec2_image"}},
		{[]string{"ec2_i*"}, []string{"ec2_image", "ec2_instance"}},
		{[]string{"ec2_*", "!ec2_i*"}, []string{"ec2_volume"}},
		{[]string{"!ec2_i*", "ec2_*"}, []string{"ec2_volume"}},
		{[]string{"!ec2_*"}, []string{"vpc", "ü"}},
		{[]string{"!*"}, nil},
		{[]string{"?"}, []string{"ü"}},
		{[]string{"v?c"}, []string{"vpc"}},
		{[]string{"*_*a*e"}, []string{"ec2_image", "ec2_instance"}},
		{[]string{"ec2"}, nil},
		{[]string{""}, nil},
		{[]string{"[ev]*"}, nil},
	} {
		if got := Match(c.patterns, names); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.patterns, got, c.want)
		}
	}
}

// glob agrees with the simplest definition.
func TestGlobAgainstDefinition(t *testing.T) {
	var plain func(p, n string) bool
	plain = func(p, n string) bool {
		switch {
		case p == "":
			return n == ""
		case p[0] == '*':
			return plain(p[1:], n) || n != "" && plain(p, n[1:])
		}
		return n != "" && (p[0] == '?' || p[0] == n[0]) && plain(p[1:], n[1:])
	}
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringMatching(`[ab*?]{0,8}`).Draw(t, "pattern")
		n := rapid.StringMatching(`[ab]{0,10}`).Draw(t, "name")
		if got := glob(p, n); got != plain(p, n) {
			t.Fatalf("glob(%q, %q) is %v", p, n, got)
		}
	})
}

func TestGlobIsFast(t *testing.T) {
	done := make(chan bool)
	go func() { done <- glob(strings.Repeat("*a", 60)+"b", strings.Repeat("a", 5000)) }()
	select {
	case got := <-done:
		if got {
			t.Error("it matches")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("glob backtracks exponentially")
	}
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0": 0, "90": 90 * time.Second, "1.5": 1500 * time.Millisecond, "3600": time.Hour,
		"15m": 15 * time.Minute, "1h30m": 90 * time.Minute, "36h": 36 * time.Hour, "500ms": 500 * time.Millisecond,
		"7d": 168 * time.Hour, "1d12h": 36 * time.Hour, "0d": 0,
	} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "-1", "-5m", "+5m", "1w", "5 m", "1h -5m", "d", "1dd", "1d-5m", "1d+5m",
		"99999999999999999999", "9223372036", "40000d", "NaN", "0x10", "1e3",
	} {
		if got, err := ParseDuration(s); err == nil {
			if s == "9223372036" { // 292 years: rejected, so that sums do not overflow
				t.Errorf("%q overflows half the range: %v", s, got)
				continue
			}
			t.Errorf("%q: got %v", s, got)
		}
	}
}

func TestDurationString(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "d"))
		var back Duration
		if err := back.UnmarshalText([]byte(d.String())); err != nil || back != d {
			t.Fatalf("%v is read as %v, %v", d, back, err)
		}
	})
	for d, want := range map[time.Duration]string{
		time.Hour:               "1h",
		90 * time.Second:        "1m30s",
		0:                       "0s",
		time.Hour + time.Second: "1h0m1s",
		10 * time.Minute:        "10m",
	} {
		if got := Duration(d).String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
