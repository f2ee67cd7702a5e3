package yamldoc

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	bareNumber = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)
	withDays   = regexp.MustCompile(`^([0-9]+)d(.*)$`)
)

// ParseDuration parses 90s, 15m, 1h30m or 500ms; 7d or 1d12h, where a day is 24 hours; and a bare number, which is
// seconds. A sign is not allowed. Its error does not repeat s.
func ParseDuration(s string) (time.Duration, error) {
	bad := Problem{Text: "is not a duration", Remedy: "write 90s, 15m, 1h30m or 7d; a bare number is seconds"}
	if strings.HasPrefix(s, "-") {
		return 0, Problem{Text: "a duration cannot be negative", Remedy: bad.Remedy}
	}
	if bareNumber.MatchString(s) {
		sec, err := strconv.ParseFloat(s, 64)
		if err != nil || sec > math.MaxInt64/float64(time.Second)/2 {
			return 0, Problem{Text: "is too long", Remedy: bad.Remedy}
		}
		return time.Duration(sec * float64(time.Second)), nil
	}
	var days time.Duration
	if m := withDays.FindStringSubmatch(s); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil || n > 36500 {
			return 0, Problem{Text: "is too long", Remedy: bad.Remedy}
		}
		days, s = time.Duration(n)*24*time.Hour, m[2]
		if s == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || strings.HasPrefix(s, "+") || d > math.MaxInt64-days {
		return 0, bad
	}
	return days + d, nil
}

// A Duration is written as [ParseDuration] reads it.
type Duration time.Duration

// UnmarshalText is like [ParseDuration].
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String returns Go's form without trailing zero units: 1h, not 1h0m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
