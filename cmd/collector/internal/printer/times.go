package printer

import (
	"fmt"
	"strings"
	"time"

	"github.com/aws-collector/collector/query"
)

// Duration formats a duration with the units that matter for its length.
func Duration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return d.Round(time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return HoursAndMinutes(d)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// Time formats an instant for a cell; "" if there is none.
func Time(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return query.CellText(t.UTC())
}

// HoursAndMinutes formats a duration in hours and minutes.
func HoursAndMinutes(d time.Duration) string {
	s := d.Round(time.Minute).String()
	return strings.TrimSuffix(s, "0s")
}
