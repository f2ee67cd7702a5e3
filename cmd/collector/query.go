package main

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/cmd/collector/internal/store"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
)

// queryFlags are the flags of the commands that read the store.
type queryFlags struct {
	values       url.Values // of the parameters, as a URL has them
	parameters   []query.Parameter
	format       string
	extraFormats []string // formats besides those of every such command
	server       string   // the collector to ask; "": see cli.serverURL
	now          time.Time
}

// addFlags adds a flag for each parameter, and the format of the output.
func (q *queryFlags) addFlags(cmd *cobra.Command, parameters ...query.Parameter) {
	q.values, q.parameters, q.now = url.Values{}, parameters, time.Now()
	for i := range parameters {
		p := &parameters[i]
		short := ""
		if p.Name == query.Where.Name {
			short = "w"
		}
		f := cmd.Flags().VarPF(parameterValue{p, q.values}, p.FlagName(), short, p.Usage)
		if p.Value == "" {
			f.NoOptDefVal = "true"
		}
	}
	outputFlag(cmd, &q.format)
}

// resourceParameters select resources.
func resourceParameters(more ...query.Parameter) []query.Parameter {
	return append([]query.Parameter{query.Kind, query.Account, query.Region}, more...)
}

// parameterValue is a flag that sets a parameter.
type parameterValue struct {
	parameter *query.Parameter
	values    url.Values
}

func (v parameterValue) Type() string {
	switch {
	case v.parameter.Value == "":
		return "bool"
	case v.parameter.List:
		return "list"
	}
	return "string"
}

func (v parameterValue) String() string {
	if v.parameter == nil { // the zero value, with which help compares
		return ""
	}
	return strings.Join(v.values[v.parameter.Name], ",")
}

// Set replaces the value, or adds to those of a list.
func (v parameterValue) Set(s string) error {
	if v.parameter.List {
		v.values.Add(v.parameter.Name, s)
	} else {
		v.values.Set(v.parameter.Name, s)
	}
	return nil
}

const whereHelp = `--where takes a condition. It compares fields with values (= != ~ !~ < <= > >= in). Join comparisons
with and, or, not and parentheses. The fields are kind, id, name, state, type, account, account_id, partition, region,
run, first_seen, state_since, valid_from, valid_to, ended, last_seen, tags.KEY, extra_tags.KEY and
data.MEMBER.MEMBER. A field without a comparison means: the field has a value. ~ compares with a glob. An age such
as 30d means: that long ago; "older than 30d" and "newer than 7d" compare with it. Examples:

  state=running and tags.team=platform
  state=stopped and state_since older than 30d
  kind=ec2_volume and newer than 7d
  not tags.owner
  type in (t2.micro, t2.small) or name~'*test*'`

// question parses the flags. Its errors are usage errors.
func (q *queryFlags) question() (query.Question, error) {
	out, err := query.Parse(q.values, q.parameters, query.Options{Now: q.now, Kinds: account.Catalogue()})
	if err != nil {
		return out, usageError(query.FlagErrors(err))
	}
	if slices.Contains(q.extraFormats, q.format) {
		return out, nil
	}
	return out, validateFormat(q.format)
}

// outputFlag adds the flags of the output's format.
func outputFlag(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVarP(format, "output", "o", "table", "`FORMAT`: table, json, jsonl or csv")
	cmd.Flags().Bool("raw", false, "with csv: exact text for programs; unsafe in a spreadsheet, which runs formulas")
}

// validateFormat rejects a format before any other work is done.
func validateFormat(format string) error { return usageError(printer.ValidateFormat(format)) }

// withAnswers asks the store, or a running collector if the flags or the environment name one.
func (c *cli) withAnswers(ctx context.Context, q *queryFlags, ask func(query.Answers) error) error {
	server := c.serverURL(q.server)
	if server == "" {
		return c.withStore(ctx, func(r inventory.Store) error { return ask(query.Stored{Store: r}) })
	}
	remote, err := c.remote(ctx, server)
	if err != nil {
		return usageError(err)
	}
	if err := ask(remote); !errors.Is(err, syscall.EPIPE) { // as in "| head"
		return refusalError(err)
	}
	return nil
}

// withStore opens the store for reading, also while a collector runs.
func (c *cli) withStore(ctx context.Context, read func(inventory.Store) error) error {
	l, err := store.Locate(ctx, c.config)
	if err != nil {
		return usageError(err)
	}
	return l.Read(ctx, read)
}

// printNotes says on standard error why an answer is empty, and what it may lack.
func (c *cli) printNotes(ctx context.Context, from query.Answers, q *query.Question, isEmpty bool) error {
	notes, err := from.Notes(ctx, q, isEmpty)
	if err != nil {
		return err
	}
	var errs []error
	for _, note := range notes {
		errs = append(errs, printer.Fprintf(c.stderr, "note: %s\n", note))
	}
	return errors.Join(errs...)
}
