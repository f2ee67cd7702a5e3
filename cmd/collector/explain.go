package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/cmd/collector/internal/store"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner/local"
)

func (c *cli) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain ACCOUNT",
		Short: "Show how an account signs in, when it runs next, and what is not listed and why",
		Long: `Shows what the configuration and the store know about an account: the steps of its sign-in, how the last one
ended, its schedules and when each is due next, its last run with what failed and how to fix it, and what is not
listed. ACCOUNT is the name or the id of an account. The command makes no AWS calls, and it also works while a
collector runs.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := store.Locate(cmd.Context(), c.config)
			if err != nil {
				return usageError(err)
			}
			explain := func(r inventory.Store) error { return c.explain(cmd.Context(), r, l.DataDir, args[0]) }
			err = l.Read(cmd.Context(), explain)
			if errors.Is(err, fs.ErrNotExist) { // nothing is stored yet
				return explain(nil)
			}
			return err
		},
	}
}

// An explanation is what is known about an account.
type explanation struct {
	name     string
	block    *config.Account // nil: the configuration does not name it
	path     []string        // of the sign-in, as the configuration has it
	pathErr  error
	signIn   *inventory.SignIn // nil: it never tried
	kinds    []string
	next     []local.NextRun
	lines    []query.CoverageLine
	missing  []query.Uncovered
	lastRun  *inventory.Run
	isStored bool
}

// explain prints what is known about an account. r is nil if nothing is stored yet.
func (c *cli) explain(ctx context.Context, r inventory.Store, dataDir, name string) error {
	now := time.Now()
	coverage := &query.Coverage{}
	if r != nil {
		var err error
		if coverage, err = query.NewCoverage(ctx, r, now, account.Catalogue()); err != nil {
			return err
		}
	}
	conf, err := c.readConfigured(ctx, coverage.SignIns, dataDir)
	if err != nil {
		return usageError(err)
	}
	if err := conf.warning(); err != nil {
		fmt.Fprintf(c.stderr, "warning: %s\n", printer.ErrorText(err))
	}
	name, err = accountNamed(name, conf, coverage.SignIns)
	if err != nil {
		return usageError(err)
	}
	e := &explanation{name: name, isStored: r != nil}
	if i := slices.IndexFunc(conf.set.Accounts, func(a config.Account) bool { return a.Name == name }); i >= 0 {
		e.block = &conf.set.Accounts[i]
		e.kinds = account.Kinds(conf.set.Accounts[i : i+1])
		e.path, e.pathErr = c.plannedPath(ctx, *e.block)
		e.next = local.NextRuns(conf.built, name, filepath.Join(dataDir, ticksFile), now)
	}
	if in, ok := coverage.SignIns[name]; ok {
		e.signIn = &in
	}
	if r != nil {
		if err := e.readStored(ctx, r, coverage, conf); err != nil {
			return err
		}
	}
	return e.print(c.stdout, now)
}

// accountNamed finds an account by its name or id, among those of the configuration and those that signed in.
func accountNamed(name string, conf *configured, signIns map[string]inventory.SignIn) (string, error) {
	ids := map[string]string{}
	for _, in := range signIns {
		ids[in.Account] = in.AccountID
	}
	for i := range conf.set.Accounts {
		a := &conf.set.Accounts[i]
		ids[a.Name] = cmp.Or(a.KnownAccountID(), ids[a.Name])
	}
	if _, ok := ids[name]; ok {
		return name, nil
	}
	names := slices.Sorted(maps.Keys(ids))
	for _, n := range names {
		if ids[n] != "" && ids[n] == name {
			return n, nil
		}
	}
	fault := &record.Fault{Reason: record.Other, Err: fmt.Errorf("no account has the name or id %q", name),
		Hint: "Run `collector status` to list the accounts."}
	if near := query.Nearest(name, names); near != "" {
		fault.Hint = fmt.Sprintf("Run `collector explain %s`, or `collector status` to list the accounts.", near)
	}
	return "", fault
}

// plannedPath is the path by which a block signs in. It makes no calls.
func (c *cli) plannedPath(ctx context.Context, a config.Account) ([]string, error) {
	awsConfig, err := auth.LoadAWS(ctx, auth.LoadOptions{Getenv: c.getenv})
	if err != nil {
		return nil, err
	}
	s := auth.NewSessions(auth.Options{AWS: awsConfig, Getenv: c.getenv, Log: slog.New(slog.DiscardHandler)})
	defer s.Close()
	return s.PlannedPath(ctx, a)
}

// readStored reads what the store knows about the account.
func (e *explanation) readStored(
	ctx context.Context, r inventory.Store, coverage *query.Coverage, conf *configured,
) error {
	lines, err := coverage.Lines(ctx, conf.accounts())
	if err != nil {
		return err
	}
	for i := range lines {
		if lines[i].Account == e.name {
			e.lines = append(e.lines, lines[i])
		}
	}
	if e.missing, err = query.UncoveredTargets(ctx, r, e.name); err != nil {
		return err
	}
	for run, err := range r.LastRuns(ctx, []string{e.name}) {
		if err != nil {
			return err
		}
		e.lastRun = &run
	}
	return nil
}

func (e *explanation) print(w io.Writer, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		_ = printer.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	line("account", "%s", e.name)
	switch {
	case e.block == nil:
		line("configuration", "does not name this account")
	case e.pathErr != nil:
		line("signs in by", "%v", e.pathErr)
	default:
		line("signs in by", "%s", strings.Join(e.path, " → "))
	}
	e.printSignIn(line)
	if e.block != nil {
		line("regions", "%s", strings.Join(e.block.Collect.Regions, ", "))
		line("kinds", "%d of %d", len(e.kinds), len(account.Catalogue()))
		for _, n := range e.next {
			line("schedule", "%s: %d kinds, %s", n.Spec, len(n.Kinds), nextText(n, now))
		}
	}
	if e.lastRun != nil {
		took := ""
		if d, ok := query.TookOf(*e.lastRun, now); ok {
			took = ", took " + printer.Duration(d)
		}
		line("last run", "%s, started %s%s: collector runs %s", e.lastRun.Status, printer.Time(e.lastRun.Started), took,
			e.lastRun.ID)
	}
	if !e.isStored {
		line("store", "nothing is stored yet")
	}
	return errors.Join(t.Flush(), e.printFailures(w), e.printMissing(w))
}

func (e *explanation) printSignIn(line func(name, format string, args ...any)) {
	in := e.signIn
	if in == nil {
		line("last sign-in", "none yet")
		return
	}
	if in.Error != "" {
		line("last sign-in", "failed at %s: %s", printer.Time(in.Checked), in.Error)
		if in.Hint != "" {
			line("", "hint: %s", in.Hint)
		}
	} else {
		line("last sign-in", "ok at %s", printer.Time(in.Checked))
	}
	if in.ARN != "" {
		line("identity", "%s", in.ARN)
	}
	if !in.Expires.IsZero() {
		line("session expires", "%s: then run collector login", printer.Time(in.Expires))
	}
}

func nextText(n local.NextRun, now time.Time) string {
	switch {
	case n.At.IsZero():
		return "never due"
	case n.Missed:
		return "missed while no collector ran: due when one starts"
	}
	return fmt.Sprintf("next at %s, in %s", printer.Time(n.At), printer.Duration(n.At.Sub(now).Round(time.Second)))
}

// printFailures prints why targets of the last run failed.
func (e *explanation) printFailures(w io.Writer) error {
	if e.lastRun == nil {
		return nil
	}
	for _, cause := range e.lastRun.Causes {
		if cause.State != inventory.OtherCauses {
			printer.Cause(w, e.name, cause, strings.Trim(cause.Region+": "+cause.Kind, ": "))
		}
	}
	return nil
}

// shownNames is how many regions or kinds a line names.
const shownNames = 6

// printMissing prints what is not listed.
func (e *explanation) printMissing(w io.Writer) error {
	var errs []error
	title := "\nnot listed:\n"
	say := func(format string, args ...any) {
		_, err := io.WriteString(w, title)
		title = ""
		errs = append(errs, err, printer.Fprintf(w, "  "+format+"\n", args...))
	}
	for _, m := range e.missing {
		why := string(m.State)
		if m.Reason != "" && string(m.Reason) != why {
			why += " (" + string(m.Reason) + ")"
		}
		if m.Expected {
			why += ", as expect_denied names it"
		}
		if !m.Since.IsZero() {
			why += " since " + printer.Time(m.Since)
		}
		say("%s: %s in %s", why, firstNames(m.Kinds), firstNames(m.Regions))
	}
	for i := range e.lines {
		l := &e.lines[i]
		region := cmp.Or(l.Region, "every region")
		switch {
		case l.State == query.NeverListed:
			say("never listed: %s", region)
		case l.Overdue > 0:
			say("overdue for %s: %s", printer.Duration(time.Duration(l.Overdue)*time.Second), region)
		}
	}
	if e.block != nil {
		var out []string
		for _, k := range account.Catalogue() {
			if !slices.Contains(e.kinds, k.Kind) {
				out = append(out, k.Kind)
			}
		}
		if len(out) > 0 {
			say("the configuration does not name: %s", firstNames(out))
		}
	}
	return errors.Join(errs...)
}

// firstNames names the first of a list and counts the others.
func firstNames(names []string) string {
	text := strings.Join(names[:min(len(names), shownNames)], ", ")
	if more := len(names) - shownNames; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
