package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// runLine is a run in the formats json and jsonl. Programs rely on its format.
type runLine struct {
	Run       string               `json:"run"`
	Account   string               `json:"account"`
	Tick      *time.Time           `json:"tick"`
	Started   *time.Time           `json:"started"`      // null: it never began
	Ended     *time.Time           `json:"ended"`        // null: it is running
	Took      *float64             `json:"took_seconds"` // so far, while it is running
	Status    record.Status        `json:"status"`
	Missed    string               `json:"missed"`
	Ticks     int                  `json:"ticks"`
	Targets   map[record.State]int `json:"targets"`
	Failed    int                  `json:"failed"` // of the targets: failed, and not expected to
	Records   int                  `json:"records"`
	Calls     int                  `json:"calls"`
	Throttles int                  `json:"throttles"`
	Causes    []causeLine          `json:"causes"`
	Replica   string               `json:"replica"`
	Version   string               `json:"version"`
}

type causeLine struct {
	State   record.State  `json:"state"`
	Reason  record.Reason `json:"reason"`
	Targets int           `json:"targets"`
	Region  string        `json:"region"`
	Kind    string        `json:"kind"`
	Error   string        `json:"error"`
	Hint    string        `json:"hint"`
}

// shownRuns is the default of --limit.
const shownRuns = 100

func (c *cli) runsCommand() *cobra.Command {
	var q queryFlags
	var since string
	var statuses []string
	var limit int
	cmd := &cobra.Command{
		Use:   "runs [RUN]",
		Short: "Show the runs of each account, and what one run could not list",
		Long: `Shows the stored runs, newest first. A run is one account at one tick of its schedule. A tick without a run
has a row, too, which says why the run is missing: overlap (an earlier run was still running), downtime (the collector
was not running), suspended (the machine slept) or drain (the collector was stopping). After a downtime, one row stands
for all missed ticks of a schedule.

With RUN, the id of a run, the command shows that run and why its targets failed. Targets that failed for the same
reason are one cause, with the region and kind of one of them. The formats json and jsonl always have the causes; csv
has them, and only them, with RUN.

The statuses are success, partial, failed, timeout, skipped, expired (it waited too long for an earlier run), running
and interrupted (the collector ended before the run did). store.keep_runs says how long runs are kept. The command also
works while a collector runs.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := inventory.RunQuery{IDs: args, Limit: limit}
			var errs []error
			for _, s := range statuses {
				if !slices.Contains(record.Statuses[:], record.Status(s)) {
					errs = append(errs, fmt.Errorf("--status: %q is not %s", s, joinStatuses()))
				}
				query.Statuses = append(query.Statuses, record.Status(s))
			}
			if since != "" {
				at, err := q.parseTime("--since", since)
				errs = append(errs, err)
				query.Since = at
			}
			if limit < 0 {
				errs = append(errs, errors.New("--limit is negative"))
			}
			if err := errors.Join(errs...); err != nil {
				return usageError(err)
			}
			if err := validateFormat(q.format); err != nil {
				return err
			}
			return c.withStore(cmd.Context(), func(r inventory.Store) error {
				err := addAccountNames(cmd.Context(), r, &query, q.accounts)
				switch {
				case err != nil:
					return err
				case len(args) > 0:
					return c.printRun(cmd.Context(), r, q, query)
				}
				return c.printRuns(cmd.Context(), r, q, query)
			})
		},
	}
	q.addAccountFlags(cmd)
	cmd.Flags().StringVar(&since, "since", "",
		"only runs since this `TIME`: 2026-11-01, 2026-11-01T08:00Z, or 3d for three days ago")
	cmd.Flags().StringSliceVar(&statuses, "status", nil, "only runs with this `STATUS`; can be repeated")
	cmd.Flags().IntVar(&limit, "limit", shownRuns, "show at most this `NUMBER` of runs; 0: all")
	return cmd
}

func joinStatuses() string {
	var names []string
	for _, s := range record.Statuses {
		names = append(names, string(s))
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// addAccountNames sets the accounts of a query. Runs have the account's name only, so a pattern that matches the id of
// an account is completed by the name with which that account signed in last.
func addAccountNames(ctx context.Context, r inventory.Store, q *inventory.RunQuery, globs []string) error {
	if q.Accounts = slices.Clone(globs); len(globs) == 0 {
		return nil
	}
	for s, err := range r.SignIns(ctx) {
		if err != nil {
			return err
		}
		if config.Matches(globs, s.AccountID) {
			q.Accounts = append(q.Accounts, s.Account)
		}
	}
	return nil
}

// printRuns prints runs. JSON lines and CSV are written while rows arrive.
func (c *cli) printRuns(ctx context.Context, r inventory.Store, q queryFlags, query inventory.RunQuery) error {
	limit := query.Limit
	if limit > 0 {
		query.Limit++ // to know whether there are more
	}
	l := resultTable{columns: runColumns(q.format)}
	var array []any
	n := 0
	for run, err := range r.Runs(ctx, query) {
		if err != nil {
			return err
		}
		if n++; limit > 0 && n > limit {
			break
		}
		switch q.format {
		case "jsonl":
			if _, err := c.out(q.format).Write(jsonLine(newRunLine(run, q.now))); err != nil {
				return err
			}
			continue
		case "json":
			array = append(array, newRunLine(run, q.now))
			continue
		}
		l.rows = append(l.rows, runRow(run, q))
		if q.format == "csv" && len(l.rows) == 1000 {
			if err := l.print(c.out(q.format), q.format); err != nil {
				return err
			}
			l.rows, l.noHeader = nil, true
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
		return printJSON(c.out(q.format), array)
	}
	return l.print(c.out(q.format), q.format)
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
	counts := countTargets(r)
	row := map[string]any{
		"run": r.ID, "account": r.Account, "tick": timeText(r.Tick), "started": timeText(r.Started),
		"ended": timeText(r.Ended), "status": string(r.Status), "ok": counts.OK, "failed": counts.Failed,
		"other": counts.Other, "records": r.Records, "calls": r.Calls, "throttles": r.Throttles, "ticks": r.Ticks,
		"replica": r.Process.Replica, "version": r.Process.Version, "missed": r.Missed,
		"took": "",
	}
	if took, began := tookOf(r, q.now); began {
		row["took"], row["took_seconds"] = shortDuration(took), took.Seconds()
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

// targetCounts is the number of targets by what their states mean.
type targetCounts struct {
	OK     int `json:"ok"`
	Failed int `json:"failed"`
	Other  int `json:"other"` // no failure and not listed, such as an expected denial
}

func countTargets(r inventory.Run) targetCounts {
	n := targetCounts{OK: r.Targets[record.OK], Failed: r.Failed, Other: -r.Targets[record.OK] - r.Failed}
	for _, targets := range r.Targets {
		n.Other += targets
	}
	return n
}

// tookOf is how long a run took, or takes so far. That of a run that was interrupted is not known.
func tookOf(r inventory.Run, now time.Time) (took time.Duration, known bool) {
	switch {
	case r.Started.IsZero(), r.Status == record.RunInterrupted:
		return 0, false
	case r.Ended.IsZero():
		return max(now.Sub(r.Started), 0), true
	}
	return r.Took(), true
}

// shortDuration formats a duration with the units that matter for its length.
func shortDuration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return d.Round(time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return roundedDuration(d)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// timeText formats an instant for a cell; "" if there is none.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return cellText(t.UTC())
}

func newRunLine(r inventory.Run, now time.Time) runLine {
	l := runLine{
		Run: r.ID, Account: r.Account, Tick: nullIfZero(r.Tick), Started: nullIfZero(r.Started),
		Ended: nullIfZero(r.Ended), Status: r.Status, Missed: r.Missed, Ticks: r.Ticks, Targets: r.Targets,
		Failed: r.Failed, Records: r.Records, Calls: r.Calls, Throttles: r.Throttles, Causes: []causeLine{},
		Replica: r.Process.Replica, Version: r.Process.Version,
	}
	if took, began := tookOf(r, now); began {
		seconds := took.Seconds()
		l.Took = &seconds
	}
	for _, c := range r.Causes {
		l.Causes = append(l.Causes, causeLine{
			State: c.State, Reason: c.Reason, Targets: c.Targets, Region: c.Region, Kind: c.Kind, Error: c.Error, Hint: c.Hint,
		})
	}
	return l
}

// printRun prints one run with its causes.
func (c *cli) printRun(ctx context.Context, r inventory.Store, q queryFlags, query inventory.RunQuery) error {
	for run, err := range r.Runs(ctx, query) {
		if err != nil {
			return err
		}
		switch w := c.out(q.format); q.format {
		case "json":
			return printJSON(w, []any{newRunLine(run, q.now)})
		case "jsonl":
			_, err := w.Write(jsonLine(newRunLine(run, q.now)))
			return err
		case "csv":
			return printCauses(w, run)
		default:
			return printRunDetails(w, run, q.now)
		}
	}
	return &record.Fault{
		Reason: record.Other, Hint: "Run `collector runs` to list the stored runs.",
		Err: fmt.Errorf("no run with the id %s is stored", query.IDs[0]),
	}
}

// printCauses prints the causes of a run as CSV.
func printCauses(w io.Writer, r inventory.Run) error {
	l := resultTable{columns: []string{"state", "reason", "targets", "region", "kind", "error", "hint"}}
	for _, c := range r.Causes {
		l.rows = append(l.rows, map[string]any{
			"state": c.State, "reason": c.Reason, "targets": c.Targets, "region": c.Region, "kind": c.Kind,
			"error": c.Error, "hint": c.Hint,
		})
	}
	return l.print(w, "csv")
}

// printRunDetails prints a run for people: a line for each field, then its causes.
func printRunDetails(w io.Writer, r inventory.Run, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var errs []error
	line := func(name, value string) {
		if value != "" {
			errs = append(errs, safeFprintf(t, "%s\t%s\n", name, value))
		}
	}
	line("run", r.ID)
	line("account", r.Account)
	line("status", string(r.Status))
	line("tick", timeText(r.Tick))
	line("started", timeText(r.Started))
	line("ended", timeText(r.Ended))
	if took, began := tookOf(r, now); began {
		line("took", shortDuration(took))
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
			errs = append(errs, safeFprintf(w, "\n%s: %d more targets, for other reasons\n", r.Account, cause.Targets))
			continue
		}
		location := strings.Trim(cause.Region+": "+cause.Kind, ": ")
		if cause.Targets > 1 && location != "" {
			location = "one of them " + location
		}
		printCause(w, r.Account, cause, location)
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
