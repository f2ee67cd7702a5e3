package local

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/runner"
)

// Bounds of what is logged about schedules: there may be thousands of accounts.
const (
	maxSchedulesLogged = 10
	maxAccountsNamed   = 5
)

// logNextRuns logs when accounts are next due, a line for each schedule, the next one first.
func logNextRuns(log *slog.Logger, entries []*scheduleEntry) {
	bySpec := map[string][]*scheduleEntry{}
	for _, d := range entries {
		if !d.tick.IsZero() {
			bySpec[d.key.Spec] = append(bySpec[d.key.Spec], d)
		}
	}
	var groups [][]*scheduleEntry
	for _, group := range bySpec {
		slices.SortFunc(group, func(a, b *scheduleEntry) int {
			return cmp.Or(a.at().Compare(b.at()), cmp.Compare(a.key.Account, b.key.Account))
		})
		groups = append(groups, group)
	}
	slices.SortFunc(groups, func(a, b []*scheduleEntry) int {
		return cmp.Or(a[0].at().Compare(b[0].at()), cmp.Compare(a[0].key.Spec, b[0].key.Spec))
	})
	for i, group := range groups {
		if i == maxSchedulesLogged {
			more := slices.Concat(groups[i:]...)
			log.Info("more runs scheduled", "schedules", len(groups)-i, "accounts", countAccounts(more),
				"next_run", logTime(more[0].at()))
			return
		}
		attrs := []any{"schedule", group[0].key.Spec, "accounts", nameAccounts(group), "next_run", logTime(group[0].at())}
		if spread := group[len(group)-1].at().Sub(group[0].at()).Round(time.Second); spread > 0 {
			attrs = append(attrs, "spread", spread)
		}
		log.Info("runs scheduled", attrs...)
	}
}

// logTime is a time as the log shows it.
func logTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func countAccounts(entries []*scheduleEntry) int {
	names := map[string]bool{}
	for _, d := range entries {
		names[d.key.Account] = true
	}
	return len(names)
}

// nameAccounts names the first accounts and counts the others.
func nameAccounts(group []*scheduleEntry) string {
	var names []string
	for _, d := range group[:min(len(group), maxAccountsNamed)] {
		names = append(names, d.key.Account)
	}
	text := strings.Join(names, ", ")
	if more := len(group) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// A NextRun is when a schedule of an account is next due.
type NextRun struct {
	Spec   string
	Kinds  []string
	At     time.Time // zero: never
	Missed bool      // a tick was missed: its run starts soon after the collector does
}

// NextRuns returns when the schedules of an account are next due, the next one first, if a collector runs with the
// ticks that a file has. Without the file, schedules begin now.
func NextRuns(conf *runner.Configuration, account, ticksFile string, now time.Time) (next []NextRun) {
	last, err := readTicks(ticksFile)
	if err != nil { // a collector would start without it
		last = nil
	}
	table := newTimetable(last)
	table.set(conf, now, true)
	for _, d := range table.byAccount[account] {
		at := d.at()
		if d.tick.IsZero() {
			at = time.Time{}
		}
		next = append(next, NextRun{d.key.Spec, d.kinds, at, d.reason != ""})
	}
	slices.SortStableFunc(next, func(a, b NextRun) int {
		if a.At.IsZero() != b.At.IsZero() {
			return cmp.Compare(b.At.Unix(), a.At.Unix()) // what is never due is last
		}
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Spec, b.Spec))
	})
	return next
}
