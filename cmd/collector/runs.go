package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
)

// shownRuns is the default of --limit.
const shownRuns = 100

func (c *cli) runsCommand() *cobra.Command {
	var q queryFlags
	cmd := &cobra.Command{
		Use:   "runs [RUN]",
		Short: "Show the runs of each account, and what one run could not list",
		Long: `Shows the stored runs, newest first. A run is one account at one tick of its schedule. A tick without a run
has a row, too, which says why the run is missing: overlap (an earlier run was still running), downtime (the collector
was not running), suspended (the machine slept), drain (the collector was stopping), paused (the account was paused) or
cancelled (by a person). After a downtime, one row stands for all missed ticks of a schedule.

With RUN, the id of a run, the command shows that run and why its targets failed. Targets that failed for the same
reason are one cause, with the region and kind of one of them. The formats json and jsonl always have the causes; csv
has them, and only them, with RUN.

The statuses are success, partial, failed, timeout, skipped, expired (it waited too long for an earlier run), running
and interrupted (the collector ended before the run did). store.keep_runs says how long runs are kept. The command also
works while a collector runs.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			question, err := q.question()
			if err != nil {
				return err
			}
			return c.withAnswers(cmd.Context(), &q, func(from query.Answers) error {
				if len(args) > 0 {
					return c.printRun(q, args[0], from.Runs(cmd.Context(), &question, args[0]))
				}
				limit := question.Limit
				if limit > 0 {
					question.Limit++ // to know whether there are more
				}
				return c.printRuns(q, limit, from.Runs(cmd.Context(), &question))
			})
		},
	}
	q.addFlags(cmd, query.Account, query.RunsSince, query.Status, query.Limit)
	serverFlag(cmd, &q.server)
	limit := cmd.Flags().Lookup(query.Limit.FlagName())
	limit.DefValue, limit.Usage = strconv.Itoa(shownRuns), limit.Usage+"; 0: all"
	q.values.Set(query.Limit.Name, limit.DefValue)
	return cmd
}

// printRuns prints runs, at most the limit; 0: all. JSON lines and CSV are written while rows arrive.
func (c *cli) printRuns(q queryFlags, limit int, runs iter.Seq2[inventory.Run, error]) error {
	l := printer.Table{Columns: runColumns(q.format)}
	var array []any
	n := 0
	for run, err := range runs {
		if err != nil {
			return err
		}
		if n++; limit > 0 && n > limit {
			break
		}
		switch q.format {
		case "jsonl":
			if _, err := c.out(q.format).Write(query.JSONLine(query.NewRunLine(run, q.now))); err != nil {
				return err
			}
			continue
		case "json":
			array = append(array, query.NewRunLine(run, q.now))
			continue
		}
		l.Rows = append(l.Rows, runRow(run, q))
		if q.format == "csv" && len(l.Rows) == 1000 {
			if err := l.Print(c.out(q.format), q.format); err != nil {
				return err
			}
			l.Rows, l.NoHeader = nil, true
		}
	}
	switch {
	case n == 0:
		fmt.Fprintln(c.stderr, "no run matches")
	case limit > 0 && n > limit:
		fmt.Fprintf(c.stderr, "there are more than %d runs; set --limit to show more\n", limit)
	}
	switch q.format {
	case "jsonl":
		return nil
	case "json":
		return printer.JSON(c.out(q.format), array)
	}
	return l.Print(c.out(q.format), q.format)
}

func runColumns(format string) []string {
	if format == "csv" {
		return []string{
			"run", "account", "tick", "started", "ended", "took_seconds", "status", "ok", "failed", "other", "records",
			"calls", "throttles", "missed", "ticks", "replica", "version",
		}
	}
	return []string{
		"run", "account", "tick", "started", "took", "status", "ok", "failed", "other", "records", "calls", "throttles",
		"missed",
	}
}

// runRow is a row of a table or of CSV.
func runRow(r inventory.Run, q queryFlags) map[string]any {
	counts := query.CountTargets(r)
	row := map[string]any{
		"run": r.ID, "account": r.Account, "tick": printer.Time(r.Tick), "started": printer.Time(r.Started),
		"ended": printer.Time(r.Ended), "status": string(r.Status), "ok": counts.OK, "failed": counts.Failed,
		"other": counts.Other, "records": r.Records, "calls": r.Calls, "throttles": r.Throttles, "ticks": r.Ticks,
		"replica": r.Process.Replica, "version": r.Process.Version, "missed": r.Missed,
		"took": "",
	}
	if took, began := query.TookOf(r, q.now); began {
		row["took"], row["took_seconds"] = printer.Duration(took), took.Seconds()
	}
	if r.Ended.IsZero() { // the store gets the counts at the end
		for _, column := range []string{"ok", "failed", "other", "records", "calls", "throttles"} {
			row[column] = ""
		}
	}
	if r.Ticks > 1 && q.format == "table" {
		row["missed"] = fmt.Sprintf("%s × %d", r.Missed, r.Ticks)
	}
	return row
}

// printRun prints one run with its causes.
func (c *cli) printRun(q queryFlags, id string, runs iter.Seq2[inventory.Run, error]) error {
	for run, err := range runs {
		if err != nil {
			return err
		}
		switch w := c.out(q.format); q.format {
		case "json":
			return printer.JSON(w, []any{query.NewRunLine(run, q.now)})
		case "jsonl":
			_, err := w.Write(query.JSONLine(query.NewRunLine(run, q.now)))
			return err
		case "csv":
			return printCauses(w, run)
		default:
			return printRunDetails(w, run, q.now)
		}
	}
	return &record.Fault{
		Reason: record.Other, Hint: "Run `collector runs` to list the stored runs.",
		Err: fmt.Errorf("no run with the id %s is stored", id),
	}
}

// printCauses prints the causes of a run as CSV.
func printCauses(w io.Writer, r inventory.Run) error {
	l := printer.Table{Columns: []string{"state", "reason", "targets", "region", "kind", "error", "hint"}}
	for _, c := range r.Causes {
		l.Rows = append(l.Rows, map[string]any{
			"state": c.State, "reason": c.Reason, "targets": c.Targets, "region": c.Region, "kind": c.Kind,
			"error": c.Error, "hint": c.Hint,
		})
	}
	return l.Print(w, "csv")
}

// printRunDetails prints a run for people: a line for each field, then its causes.
func printRunDetails(w io.Writer, r inventory.Run, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var errs []error
	line := func(name, value string) {
		if value != "" {
			errs = append(errs, printer.Fprintf(t, "%s\t%s\n", name, value))
		}
	}
	line("run", r.ID)
	line("account", r.Account)
	line("status", string(r.Status))
	line("tick", printer.Time(r.Tick))
	line("started", printer.Time(r.Started))
	line("ended", printer.Time(r.Ended))
	if took, began := query.TookOf(r, now); began {
		line("took", printer.Duration(took))
	}
	line("missed", r.Missed)
	if r.Ticks > 1 {
		line("ticks", fmt.Sprint(r.Ticks))
	}
	if !r.Started.IsZero() && !r.Ended.IsZero() {
		line("targets", cmp.Or(stateCounts(r.Targets), "none"))
		line("failed", fmt.Sprint(r.Failed))
		line("records", fmt.Sprint(r.Records))
		line("calls", fmt.Sprint(r.Calls))
		line("throttles", fmt.Sprint(r.Throttles))
	}
	line("replica", r.Process.Replica)
	line("version", r.Process.Version)
	errs = append(errs, t.Flush())
	for _, cause := range r.Causes {
		if cause.State == inventory.OtherCauses {
			errs = append(errs, printer.Fprintf(w, "\n%s: %d more targets, for other reasons\n", r.Account, cause.Targets))
			continue
		}
		location := strings.Trim(cause.Region+": "+cause.Kind, ": ")
		if cause.Targets > 1 && location != "" {
			location = "one of them " + location
		}
		printer.Cause(w, r.Account, cause, location)
	}
	return errors.Join(errs...)
}

// stateCounts formats the number of targets in each state.
func stateCounts(targets map[record.State]int) string {
	var parts []string
	for _, state := range record.States {
		if n := targets[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	return strings.Join(parts, ", ")
}
