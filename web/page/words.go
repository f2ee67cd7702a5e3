package page

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"
)

// span formats a duration for people in at most two units: "45 s", "6 m 41 s", "1 h 10 m", "3 d 2 h".
func span(d time.Duration) string {
	two := func(unit time.Duration, large string, small time.Duration, name string) string {
		n, rest := int(d/unit), int(d%unit/small)
		if rest == 0 {
			return fmt.Sprintf("%d %s", n, large)
		}
		return fmt.Sprintf("%d %s %d %s", n, large, rest, name)
	}
	switch d = max(d, 0); {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d/time.Millisecond)
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return two(time.Minute, "m", time.Second, "s")
	case d < 24*time.Hour:
		return two(time.Hour, "h", time.Minute, "m")
	}
	return two(24*time.Hour, "d", time.Hour, "h")
}

// age is how long ago an instant was: span without seconds beyond a minute, because the page is not that exact.
func age(now, t time.Time) string {
	d := max(now.Sub(t), 0)
	if d >= time.Minute {
		d = d.Truncate(time.Minute)
	}
	return span(d)
}

// clock formats an instant in UTC, with its date unless it is near: within half a day.
func clock(now, t time.Time) string {
	t, now = t.UTC(), now.UTC()
	switch distance := now.Sub(t).Abs(); {
	case t.YearDay() == now.YearDay() && t.Year() == now.Year(), distance < 12*time.Hour:
		return t.Format("15:04")
	case distance < 300*24*time.Hour:
		return t.Format("2 Jan 15:04")
	}
	return t.Format("2 Jan 2006 15:04")
}

func fullTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// number writes an integer with a comma after each thousand.
func number(n int) string {
	digits := strconv.Itoa(max(n, -n))
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if n < 0 {
		return "−" + digits
	}
	return digits
}

// count writes a number with its noun: "1 account", "2 accounts".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return number(n) + " " + noun + "s"
}

// list joins names: "a, b and c", and "a, b and 7 more" if there are too many.
func list(names []string, most int, noun string) string {
	switch n := len(names); {
	case n == 0:
		return ""
	case n == 1:
		return names[0]
	case n <= most:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return count(len(names), noun)
}

// shorten cuts a text that is too long for its place. The whole text is in a title, or on the page of its own.
func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// kindName is a kind as the command line takes it: without the prefix of EC2.
func kindName(kind string) string { return strings.TrimPrefix(kind, "ec2_") }

// A moment formats instants relative to the time at which the page was made.
type moment struct{ now time.Time }

// Now returns the time at which the page was made.
func (m moment) Now() time.Time { return m.now }

func (m moment) element(t time.Time, text string) template.HTML {
	full := fullTime(t)
	//nolint:gosec // no text from outside
	return template.HTML(`<time datetime="` + full + `" title="` + full + `">` + text + `</time>`)
}

// At shows an instant by the clock.
func (m moment) At(t time.Time) template.HTML { return m.element(t, clock(m.now, t)) }

// Age shows how long ago an instant was. The script of the page counts it on.
func (m moment) Age(t time.Time) template.HTML {
	full := fullTime(t)
	//nolint:gosec // no text from outside
	return template.HTML(`<time data-age datetime="` + full + `" title="` + full + `">` + age(m.now, t) + `</time>`)
}

// In shows how long it is until an instant.
func (m moment) In(t time.Time) string {
	if !t.After(m.now) {
		return "now"
	}
	return "in " + age(t, m.now)
}
