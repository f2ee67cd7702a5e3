package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
)

func (c *cli) getCommand() *cobra.Command {
	var q queryFlags
	cmd := &cobra.Command{
		Use:   "get ID",
		Short: "Show one resource in full, as it is now or was at an earlier time",
		Long: `Shows everything that the store has about the resource with this id. Several accounts or regions can have
the same id, for example of a public image: then use --account, --region and --kind to select one. The JSON output is
a list. CSV has the data in one column, as JSON.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.get(cmd, &q, args[0])
		},
	}
	q.extraFormats = []string{"yaml"}
	q.addFlags(cmd, resourceParameters(query.At)...)
	serverFlag(cmd, &q.server)
	cmd.Flags().Lookup("output").Usage = "`FORMAT`: table, json, jsonl, csv or yaml"
	return cmd
}

// get prints the resources with an id.
func (c *cli) get(cmd *cobra.Command, q *queryFlags, id string) error {
	question, err := q.question()
	if err != nil {
		return err
	}
	question.ID, question.Data = id, true
	return c.withAnswers(cmd.Context(), q, func(from query.Answers) error {
		var found []*inventory.Resource
		for res, err := range from.Find(cmd.Context(), question.Query) {
			if err != nil {
				return err
			}
			found = append(found, res)
		}
		if len(found) == 0 {
			return errors.Join(c.printNotes(cmd.Context(), from, &question, true), notFound(cmd.Context(), from, question))
		}
		return printFull(c.out(q.format), q.format, found)
	})
}

// notFound says when and why the resource ended, if it ever existed.
func notFound(ctx context.Context, from query.Answers, q query.Question) error {
	at := q.At
	q.At = time.Time{}
	var last *query.VersionLine
	for v, err := range from.History(ctx, &q) {
		if err != nil {
			return err
		}
		last = &v
	}
	fault := &record.Fault{Reason: record.Other, Err: fmt.Errorf("no resource has the id %s", q.ID)}
	switch {
	case last == nil:
		return fault
	case !at.IsZero():
		fault.Err = fmt.Errorf("no resource had the id %s at %s", q.ID, at.Format(time.RFC3339))
	case last.ValidTo != nil && last.Ended != nil:
		fault.Err = fmt.Errorf("%s is gone since %s: %s", q.ID, last.ValidTo.Format(time.RFC3339), *last.Ended)
	}
	fault.Hint = fmt.Sprintf("Run `collector history %s`.", q.ID)
	return fault
}

func printFull(w io.Writer, format string, found []*inventory.Resource) error {
	switch format {
	case "table", "wide":
		for i, r := range found {
			if i > 0 {
				fmt.Fprintln(w)
			}
			if err := printDetails(w, r); err != nil {
				return err
			}
		}
		return nil
	case "csv":
		columns, err := query.ParseColumns(query.AllFields())
		if err != nil {
			return err
		}
		_, err = printer.Resources(w, format, columns, false, resourceSeq(found))
		return err
	}
	_, err := printer.Resources(w, format, nil, true, resourceSeq(found))
	return err
}

func resourceSeq(found []*inventory.Resource) iter.Seq2[*inventory.Resource, error] {
	return func(yield func(*inventory.Resource, error) bool) {
		for _, r := range found {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// printDetails prints the fields of a resource, then its data, a line for each value.
func printDetails(w io.Writer, r *inventory.Resource) error {
	var errs []error
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name string, value any) {
		if s := query.CellText(value); s != "" {
			errs = append(errs, printer.Fprintf(t, "%s\t%s\n", name, s))
		}
	}
	for _, name := range inventory.Fields {
		f, err := inventory.ParseField(name)
		if err != nil {
			return err
		}
		v, err := f.Value(r)
		if err != nil {
			return err
		}
		line(name, v)
	}
	for _, tags := range []struct {
		name string
		tags map[string]string
	}{{"tags", r.Tags}, {"extra_tags", r.ExtraTags}} {
		for _, k := range slices.Sorted(maps.Keys(tags.tags)) {
			line(tags.name+"."+k, tags.tags[k])
		}
	}
	var data any
	dec := json.NewDecoder(strings.NewReader(string(r.Data)))
	dec.UseNumber()
	if err := dec.Decode(&data); err != nil {
		return fmt.Errorf("data of %s: %w", r.ID, err)
	}
	walkScalars("data", data, line)
	return errors.Join(append(errs, t.Flush())...)
}

// walkScalars calls line with the path and value of every scalar in v.
func walkScalars(path string, v any, line func(string, any)) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			walkScalars(path+"."+k, v[k], line)
		}
	case []any:
		for i, e := range v {
			walkScalars(fmt.Sprintf("%s[%d]", path, i), e, line)
		}
	default:
		line(path, v)
	}
}
