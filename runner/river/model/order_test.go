package model

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every transaction of DESIGN.md takes its locks in the one order, so no two can wait for each other.
func TestLockOrder(t *testing.T) {
	text, err := os.ReadFile("../DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile("`([a-z_]+)`")
	names := func(s string) (all []string) {
		for _, m := range table.FindAllStringSubmatch(s, -1) {
			all = append(all, m[1])
		}
		return all
	}
	_, rest, _ := strings.Cut(string(text), "\nLock order: ")
	line, rest, _ := strings.Cut(rest, "\n")
	order := names(line)
	_, rest, _ = strings.Cut(rest, "| transaction | locks, in order |")
	rows, _, _ := strings.Cut(rest, "\n\n")
	checked := 0
	for row := range strings.Lines(rows) {
		cells := strings.Split(row, "|")
		if len(cells) < 5 {
			continue
		}
		last := -1
		for _, name := range names(cells[2]) {
			checked++
			at := slices.Index(order, name)
			if at <= last {
				t.Errorf("%s: %s is not locked in the order %v", strings.TrimSpace(cells[1]), name, order)
			}
			last = at
		}
	}
	if len(order) != 8 || checked < 30 {
		t.Errorf("%d tables in the order, %d locks in the table", len(order), checked)
	}
}
