package main

import (
	"runtime/debug"
	"testing"
)

// Thousands of accounts leave less room for garbage, and GOGC wins.
func TestGCPercent(t *testing.T) {
	const ours = 77
	defer debug.SetGCPercent(debug.SetGCPercent(ours))
	for _, c := range []struct {
		gogc           string
		accounts, want int
	}{
		{"", 0, 50}, {"", 1999, 50}, {"", 10_000, 25}, {"200", 10_000, ours}, {"off", 0, ours},
	} {
		debug.SetGCPercent(ours)
		setGCPercent(func(string) string { return c.gogc }, c.accounts)
		if got := debug.SetGCPercent(ours); got != c.want {
			t.Errorf("GOGC=%q, %d accounts: %d, want %d", c.gogc, c.accounts, got, c.want)
		}
	}
}
