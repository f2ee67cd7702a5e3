package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// summary is the table at the end: who each account turned out to be, what was found there, what failed and why.
func (c *cli) summary(w io.Writer, board *runner.Board) error {
	failures := map[string]map[failureKey]*failure{}
	for t := range board.Targets() {
		if failures[t.Account] == nil {
			failures[t.Account] = map[failureKey]*failure{}
		}
		addFailure(failures[t.Account], t.Outcome)
	}
	t := newTable([]string{"account", "status", "identity", "regions", "records", "api_calls", "throttles", "failed", "took"})
	var why strings.Builder
	for _, a := range board.Accounts() {
		last := a.Last
		if last.Run == "" {
			continue
		}
		if listed := strings.HasPrefix(a.Name, config.OrganizationPrefix) && last.Status == record.Success; listed {
			explain(&why, a, nil) // it collects nothing, so it is no row among those that do
			continue
		}
		identity := a.Identity.AccountID
		if identity == "" {
			identity = "-"
		} else if a.Identity.Partition != "aws" {
			identity += " (" + a.Identity.Partition + ")"
		}
		t.AppendRow(table.Row{a.Name, last.Status, identity, len(a.Regions), last.Records, last.Calls, last.Throttles, last.Failed, last.Took.Round(time.Millisecond)})
		explain(&why, a, sortedFailures(failures[a.Name]))
	}
	if t.Length() == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "\n%s\n%s", t.Render(), why.String())
	return err
}

func explain(w io.Writer, a runner.AccountInfo, fs []*failure) {
	if as := new(asleepError); errors.As(a.Warning, &as) {
		fmt.Fprintf(w, "\n%s: %v\n", a.Name, as)
	} else if a.Warning != nil {
		fmt.Fprintf(w, "\n%s: regions: those that this version knows were used, because AWS did not say which the account has\n  %v\n", a.Name, a.Warning)
		hint(w, record.HintOf(a.Warning))
	}
	for _, f := range fs {
		fmt.Fprintf(w, "\n%s: %s", a.Name, f.state)
		if f.reason != "" && string(f.reason) != string(f.state) {
			fmt.Fprintf(w, " (%s)", f.reason)
		}
		if f.n > 1 {
			fmt.Fprintf(w, ", %d targets", f.n)
		}
		if where := f.where(); where != "" {
			fmt.Fprintf(w, ", %s", where)
		}
		fmt.Fprintf(w, "\n  %s\n", f.example.Error)
		hint(w, f.example.Hint)
	}
}

func hint(w io.Writer, h string) {
	if h != "" {
		fmt.Fprintf(w, "  hint: %s\n", h)
	}
}
