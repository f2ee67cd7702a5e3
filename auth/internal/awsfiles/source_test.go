package awsfiles

import (
	"testing"
	"time"
)

// TestParseTime: the formats of an Expiration that programs print.
func TestParseTime(t *testing.T) {
	want := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for text, ok := range map[string]bool{
		"2026-11-30T12:00:00Z": true, "2026-11-30T13:00:00+01:00": true, "2026-11-30T12:00:00+0000": true,
		"2026-11-30T12:00:00.000Z": true, "2026-11-30 12:00:00+00:00": true,
		"2026-11-30T12:00:00 UTC": true, "2026-11-30 12:00:00 UTC": true, "2026-11-30T12:00:00 XYZ": false,
		"tomorrow": false, "1795990000": false,
	} {
		at, got := ParseTime(text)
		if got != ok || ok && !at.Equal(want) {
			t.Errorf("%s: %v, %t", text, at, got)
		}
	}
}
