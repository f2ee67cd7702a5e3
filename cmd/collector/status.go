package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/cmd/collector/internal/store"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

func (c *cli) statusCommand() *cobra.Command {
	var q queryFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the state of every account and region, and what is overdue",
		Long: `Shows each account and region: the worst state of its kinds and since when, how long ago the kind that waits
longest was listed completely, for how long a kind is overdue by its own schedule, how many targets are ok and failed,
and why. Accounts and regions that the configuration names and no run has tried are never_listed. Accounts that the
configuration no longer names are shown until their resources have ended.

Regions that are not enabled, and denials that expect_denied names, are no failures and never overdue. A kind is not
overdue while a run of its account is in progress, up to the account's timeout.

The formats json, jsonl and csv also have the error. The command makes no AWS calls, and it also works while a collector
runs.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.status(cmd.Context(), q)
		},
	}
	q.addFlags(cmd, query.Account, query.Region, query.Problems)
	serverFlag(cmd, &q.server)
	return cmd
}

func (c *cli) status(ctx context.Context, q queryFlags) error {
	question, err := q.question()
	if err != nil {
		return err
	}
	if server := c.serverURL(q.server); server != "" {
		remote, err := c.remote(ctx, server)
		if err != nil {
			return usageError(err)
		}
		lines, err := remote.Coverage(ctx, &question)
		if err != nil {
			return refusalError(err)
		}
		return c.printCoverage(q.format, &question, lines)
	}
	l, err := store.Locate(ctx, c.config)
	if err != nil {
		return usageError(err)
	}
	return l.Read(ctx, func(r inventory.Store) error {
		coverage, err := query.NewCoverage(ctx, r, question.Now, account.Catalogue())
		if err != nil {
			return err
		}
		configured, err := c.configuredAccounts(ctx, coverage.SignIns, l.DataDir)
		if err != nil {
			fmt.Fprintf(c.stderr, "warning: %s\n", printer.ErrorText(err))
		}
		lines, err := coverage.Lines(ctx, configured)
		if err != nil {
			return err
		}
		return c.printCoverage(q.format, &question, lines)
	})
}

// printCoverage prints the accounts and regions that the question selects.
func (c *cli) printCoverage(format string, q *query.Question, lines []query.CoverageLine) error {
	lines, all := q.Select(lines)
	switch {
	case all == 0:
		fmt.Fprintln(c.stderr, "no account and region matches")
	case len(lines) == 0:
		fmt.Fprintf(c.stderr, "no problem in %d accounts and regions\n", all)
	}
	return printStatus(c.out(format), format, lines)
}

// configuredAccounts is what the configuration says about accounts. Its error is a warning: the command also answers
// where the secrets of the collector are not at hand.
func (c *cli) configuredAccounts(
	ctx context.Context, signIns map[string]inventory.SignIn, dataDir string,
) (query.Accounts, error) {
	conf, err := c.readConfigured(ctx, signIns, dataDir)
	if err != nil {
		return query.Accounts{}, fmt.Errorf("what is overdue or was never listed is not known: %w", err)
	}
	return conf.accounts(), conf.warning()
}

// configured is what the configuration says, with the members of organizations as the collector saved them.
type configured struct {
	file       *config.File
	set        *accounts.Set
	built      *runner.Configuration
	unresolved error // references without a value
	undecided  error // which accounts are paused is not known
}

// readConfigured reads the configuration, which has the schedules. It works where references have no value.
func (c *cli) readConfigured(
	ctx context.Context, signIns map[string]inventory.SignIn, dataDir string,
) (*configured, error) {
	f, err := c.config.Parse(ctx)
	if err != nil {
		return nil, err
	}
	unresolved := c.config.Resolve(ctx, f)
	members := accounts.NewDirectory(nil, accounts.MembersPath(dataDir), slog.New(slog.DiscardHandler))
	defer members.Close()
	identities := map[string]record.Identity{}
	for name, in := range signIns {
		if in.AccountID != "" {
			identities[name] = record.Identity{AccountID: in.AccountID, Partition: in.Partition}
		}
	}
	set := members.Resolve(f, identities)
	parts, err := new(account.Opener).Configuration(f, set, members, nil)
	if err != nil {
		return nil, errors.Join(unresolved, err)
	}
	directives, undecided := runner.ReadDirectives(directivesPath(dataDir))
	parts.Directives = directives
	built, err := runner.NewConfiguration(parts)
	if err != nil {
		return nil, errors.Join(unresolved, err)
	}
	return &configured{f, set, built, unresolved, undecided}, nil
}

func (c *configured) accounts() query.Accounts {
	out := query.Accounts{Configuration: c.built, Members: c.set.Identities}
	if c.unresolved == nil {
		out.Unlisted = c.set.Unlisted
	}
	return out
}

// warning says what the command does not know.
func (c *configured) warning() error {
	if c.unresolved == nil {
		return c.undecided
	}
	return errors.Join(unresolvedWarning(c.file, c.unresolved), c.undecided)
}

// unresolvedWarning is the warning about references without a value, or nil if the names of all accounts are written in
// the file. Names that the program makes, and organizations, depend on how a block signs in.
func unresolvedWarning(f *config.File, err error) error {
	if len(f.FormerNames)+len(f.Organizations) == 0 {
		return nil
	}
	if ps := config.Problems(nil); errors.As(err, &ps) && len(ps) > 1 {
		err = fmt.Errorf("%w; and %d more", ps[0], len(ps)-1)
	}
	return fmt.Errorf("names and members may be wrong, because references have no value here: %w", err)
}

func printStatus(w io.Writer, format string, lines []query.CoverageLine) error {
	switch format {
	case "json":
		var array []any
		for _, r := range lines {
			array = append(array, r)
		}
		return printer.JSON(w, array)
	case "jsonl":
		for _, r := range lines {
			if _, err := w.Write(query.JSONLine(r)); err != nil {
				return err
			}
		}
		return nil
	}
	l := printer.Table{Columns: []string{
		"account", "region", "state", "since", "last_complete", "overdue", "ok", "failed", "reason", "hint",
	}}
	if format == "csv" {
		l.Columns = []string{
			"account", "account_id", "region", "state", "since", "last_complete", "age_seconds", "never_complete",
			"overdue_seconds", "ok", "failed", "other", "resources", "kind", "reason", "error", "hint", "sign_in_error",
			"sign_in_hint",
		}
	}
	for _, r := range lines {
		row := statusRow(&r)
		if format == "table" {
			row["last_complete"] = lastComplete(&r)
		}
		l.Rows = append(l.Rows, row)
	}
	if err := l.Print(w, format); err != nil || format == "csv" {
		return err
	}
	return printSignIns(w, lines)
}

// statusRow is a row of a table or of CSV.
func statusRow(r *query.CoverageLine) map[string]any {
	row := map[string]any{
		"account": r.Account, "account_id": r.AccountID, "region": r.Region, "state": string(r.State),
		"since": query.CellText(timeOrNil(r.Since)), "last_complete": query.CellText(timeOrNil(r.LastComplete)),
		"never_complete": r.NeverComplete, "overdue_seconds": r.Overdue, "ok": r.Targets.OK, "failed": r.Targets.Failed,
		"other": r.Targets.Other, "resources": r.Resources, "kind": r.Kind, "reason": string(r.Reason), "error": r.Error,
		"hint": r.Hint, "overdue": "",
	}
	if r.Age != nil {
		row["age_seconds"] = *r.Age
	}
	switch {
	case r.Paused:
		row["overdue"] = "paused"
	case r.Overdue > 0:
		row["overdue"] = printer.Duration(time.Duration(r.Overdue) * time.Second)
	}
	if r.SignIn != nil {
		row["sign_in_error"], row["sign_in_hint"] = r.SignIn.Error, r.SignIn.Hint
	}
	return row
}

// lastComplete says for people how long ago the region was listed completely.
func lastComplete(r *query.CoverageLine) string {
	if r.Age == nil {
		if r.NeverComplete > 0 || r.State == query.NeverListed {
			return "never"
		}
		return ""
	}
	text := printer.Duration(time.Duration(*r.Age)*time.Second) + " ago"
	if r.NeverComplete > 0 {
		text += fmt.Sprintf(", %d never", r.NeverComplete)
	}
	return text
}

// printSignIns prints why accounts could not sign in, once for each.
func printSignIns(w io.Writer, lines []query.CoverageLine) error {
	var errs []error
	last := ""
	for _, r := range lines {
		in := r.SignIn
		if in == nil || r.Account == last {
			continue
		}
		last = r.Account
		errs = append(errs, printer.Fprintf(w, "\n%s: sign-in failed", r.Account))
		if in.Checked != nil {
			errs = append(errs, printer.Fprintf(w, " at %s", query.CellText(*in.Checked)))
		}
		if identity := cmp.Or(in.ARN, r.AccountID); identity != "" {
			errs = append(errs, printer.Fprintf(w, ", last identity %s", identity))
		}
		if in.Expires != nil {
			errs = append(errs, printer.Fprintf(w, ", session expires %s", query.CellText(*in.Expires)))
		}
		errs = append(errs, printer.Fprintf(w, "\n  %s\n", in.Error))
		printer.Hint(w, in.Hint)
	}
	return errors.Join(errs...)
}
