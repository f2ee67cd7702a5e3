package live

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner/board"
)

// A Summary is what the board says about all accounts, for people.
type Summary struct {
	Rows                []Row
	Problems            []Problem
	Accounts, Resources int
}

// A failure is a cause, and the targets of all accounts that failed for it.
type failure struct {
	state    record.State
	reason   record.Reason
	hint     string // of one of them
	targets  int
	accounts []string
}

// Summarize reads the board. onPurpose says what is wrong with the accounts that are meant to fail.
func Summarize(board *board.Board, onPurpose map[string]string, now time.Time) Summary {
	type counts struct{ targets, failed, resources int }
	byAccount := map[string]counts{}
	failures := map[record.Reason]*failure{}
	for t := range board.Targets() {
		n := byAccount[t.Account]
		n.targets++
		n.resources += t.Resources
		if t.Failed() && t.Reason != record.Interrupted { // the end of the demo is not a problem
			n.failed++
			addFailure(failures, t.Outcome)
		}
		byAccount[t.Account] = n
	}
	var s Summary
	var organizations []Row
	var notes []Problem
	states := map[string]string{}
	for a := range board.Accounts() {
		n := byAccount[a.Name]
		row := Row{
			account: printable.Text(a.Name), state: accountState(a, n.targets, n.failed), resources: "-", targets: "-",
			last: lastRun(a, now), next: nextRun(a, now), identity: cmp.Or(printable.Text(a.Identity.AccountID), "-"),
		}
		states[a.Name] = row.state
		if n.targets > 0 {
			row.resources = strconv.Itoa(n.resources)
			row.targets = fmt.Sprintf("%d of %d ok", n.targets-n.failed, n.targets)
		}
		s.Resources += n.resources
		if a.Warning != nil {
			text := printable.Text(a.Name + ": " + a.Warning.Error())
			notes = append(notes, Problem{"waiting", text, printable.Text(record.HintOf(a.Warning))})
		}
		if a.Task { // not an account, so it comes last
			organizations = append(organizations, row)
			continue
		}
		s.Accounts++
		s.Rows = append(s.Rows, row)
	}
	s.Rows = append(s.Rows, organizations...)
	for _, f := range slices.SortedFunc(maps.Values(failures), func(a, b *failure) int {
		return cmp.Or(cmp.Compare(b.targets, a.targets), cmp.Compare(a.reason, b.reason))
	}) {
		s.Problems = append(s.Problems, f.problem(states, onPurpose))
	}
	s.Problems = append(s.Problems, notes...)
	return s
}

func addFailure(failures map[record.Reason]*failure, o record.Outcome) {
	reason := cmp.Or(o.Reason, record.Reason(o.State))
	f := failures[reason]
	if f == nil {
		f = &failure{state: o.State, reason: reason, hint: o.Hint}
		failures[reason] = f
	}
	f.targets++
	if !slices.Contains(f.accounts, o.Account) {
		f.accounts = append(f.accounts, o.Account)
	}
}

// problem formats "prod, test and 3 more: access_denied, 65 targets". It names what is meant to fail.
func (f *failure) problem(states, onPurpose map[string]string) Problem {
	state, why := "failed", onPurpose[f.accounts[0]]
	for _, name := range f.accounts {
		if states[name] != "failed" {
			state = "partial"
		}
		if onPurpose[name] == "" {
			why = ""
		}
	}
	text := strings.Join(f.accounts[:min(2, len(f.accounts))], ", ")
	if more := len(f.accounts) - 2; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	text += fmt.Sprintf(": %s, %d targets", f.reason, f.targets)
	if why != "" {
		text += "; on purpose: " + why
	}
	return Problem{state, printable.Text(text), printable.Text(f.hint)}
}

// accountState is the state of an account over all its targets: a run lists only the kinds of its schedule.
func accountState(a board.AccountInfo, targets, failed int) string {
	switch {
	case a.Last.Run == "" && len(a.Running) > 0:
		return "running" // the first run: what it has not listed yet may fail
	case targets == 0 && a.Last.Run == "":
		return "waiting"
	case failed == 0 && (targets > 0 || a.Last.Status == record.Success):
		return "ok"
	case failed < targets:
		return "partial"
	}
	return "failed"
}

func lastRun(a board.AccountInfo, now time.Time) string {
	switch {
	case len(a.Running) > 0:
		return "running"
	case a.Last.Run == "":
		return "-"
	}
	return Countdown(now.Sub(a.Last.Ended())) + " ago"
}

func nextRun(a board.AccountInfo, now time.Time) string {
	switch {
	case a.Next.IsZero():
		return "-"
	case a.Next.Sub(now) < time.Second:
		return "now"
	}
	return "in " + Countdown(a.Next.Sub(now))
}

// Countdown formats a duration that changes each second: in its two largest units, in whole seconds.
func Countdown(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
}
