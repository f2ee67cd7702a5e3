package printer

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner/board"
	"github.com/aws-collector/collector/runner/runlog"
)

// Summary prints the result of each account's run, then its failures with their hints.
func Summary(w io.Writer, board *board.Board) error {
	failures := map[string]runlog.Failures{}
	for t := range board.Targets() {
		if !t.Failed() {
			continue // most accounts have none
		}
		if failures[t.Account] == nil {
			failures[t.Account] = runlog.Failures{}
		}
		failures[t.Account].Add(t.Outcome)
	}
	out := bufio.NewWriter(w)
	columns := []string{
		"account", "status", "identity", "regions", "records", "api_calls", "throttles", "failed", "took",
	}
	rows, err := printRows(out, columns, 3, summaryRows(board))
	if err != nil || rows == 0 {
		return err
	}
	for a := range board.Accounts() {
		if a.Last.Run != "" {
			Failures(out, a, failures[a.Name].Sorted())
		}
	}
	if _, err := printRows(out, []string{"kind", "resources"}, 1, kindRows(board)); err != nil {
		return err
	}
	return out.Flush()
}

// kindRows has the number of resources of each kind, the largest first.
func kindRows(board *board.Board) iter.Seq[[]string] {
	counts := map[string]int{}
	for t := range board.Targets() {
		if t.Records > 0 {
			counts[t.Kind] += t.Records
		}
	}
	kinds := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	return func(yield func([]string) bool) {
		for _, kind := range kinds {
			if !yield([]string{kind, strconv.Itoa(counts[kind])}) {
				return
			}
		}
	}
}

func summaryRows(board *board.Board) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for a := range board.Accounts() {
			last := a.Last
			if last.Run == "" || a.Task && last.Status == record.Success {
				continue
			}
			identity := a.Identity.AccountID
			if identity == "" {
				identity = "-"
			} else if a.Identity.Partition != "aws" {
				identity += " (" + a.Identity.Partition + ")"
			}
			row := []string{
				a.Name, string(last.Status), identity, strconv.Itoa(len(a.Regions)), strconv.Itoa(last.Records),
				strconv.Itoa(last.Calls), strconv.Itoa(last.Throttles), strconv.Itoa(last.Failed),
				last.Took.Round(time.Millisecond).String(),
			}
			if !yield(row) {
				return
			}
		}
	}
}

func Failures(w io.Writer, a board.AccountInfo, fs []*runlog.Failure) {
	if as := new(accounts.InactiveError); errors.As(a.Warning, &as) {
		_ = Fprintf(w, "\n%s: %v\n", a.Name, as)
	} else if a.Warning != nil {
		_ = Fprintf(w, "\n%s: AWS did not list the account's regions, so the built-in list was used\n  %v\n",
			a.Name, a.Warning)
		Hint(w, record.HintOf(a.Warning))
	}
	for _, f := range fs {
		Cause(w, a.Name, inventory.Cause{
			State: f.Example.State, Reason: f.Example.Reason, Error: f.Example.Error, Hint: f.Example.Hint, Targets: f.Targets,
		}, f.Where())
	}
}

// Cause prints why targets of an account failed, and where.
func Cause(w io.Writer, account string, c inventory.Cause, location string) {
	_ = Fprintf(w, "\n%s: %s", account, c.State)
	if c.Reason != "" && string(c.Reason) != string(c.State) {
		_ = Fprintf(w, " (%s)", c.Reason)
	}
	if c.Targets > 1 {
		_ = Fprintf(w, ", %d targets", c.Targets)
	}
	if location != "" {
		_ = Fprintf(w, ", %s", location)
	}
	_ = Fprintf(w, "\n  %s\n", c.Error)
	Hint(w, c.Hint)
}

func Hint(w io.Writer, h string) {
	if h != "" {
		_ = Fprintf(w, "  hint: %s\n", h)
	}
}
