package main

import (
	"encoding/json"
	"io"
	"iter"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
)

// queryFlags are the flags of the commands that read the store.
type queryFlags struct {
	values       url.Values // of the parameters, as a URL has them
	parameters   []query.Parameter
	format       string
	extraFormats []string // formats besides those of every such command
	now          time.Time
}

// addFlags adds a flag for each parameter, and the format of the output.
func (q *queryFlags) addFlags(cmd *cobra.Command, parameters ...query.Parameter) {
	q.values, q.parameters, q.now = url.Values{}, parameters, time.Now()
	for i := range parameters {
		p := &parameters[i]
		f := cmd.Flags().VarPF(parameterValue{p, q.values}, p.FlagName(), "", p.Usage)
		if p.Value == "" {
			f.NoOptDefVal = "true"
		}
		if p.Name == query.Where.Name {
			f.Shorthand = "w"
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
as 30d means: that long ago. Examples:

  state=running and tags.team=platform
  state=stopped and state_since<30d
  not tags.owner
  type in (t2.micro, t2.small) or name~'*test*'`

// question parses the flags. Its errors are usage errors.
func (q *queryFlags) question() (query.Question, error) {
	out, err := query.Parse(q.values, q.parameters, query.Options{Now: q.now, Kinds: catalogue()})
	if err != nil {
		return out, usageError(query.FlagErrors(err))
	}
	if slices.Contains(q.extraFormats, q.format) {
		return out, nil
	}
	return out, validateFormat(q.format)
}

// printResources prints versions. JSON has the given columns, or with whole the whole record. JSON lines and CSV are
// written while rows arrive.
func printResources(
	w io.Writer, format string, columns []query.Column, whole bool, rows iter.Seq2[*inventory.Resource, error],
) (n int, err error) {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	table := resultTable{columns: names}
	cells := newCSVWriter(w)
	if format == "csv" {
		if err := cells.Write(names); err != nil {
			return 0, err
		}
	}
	var array []any
	for r, err := range rows {
		if err != nil {
			return n, err
		}
		n++
		if whole && (format == "json" || format == "jsonl") {
			if format == "json" {
				array = append(array, query.NewResourceLine(r))
			} else if _, err := w.Write(query.JSONLine(query.NewResourceLine(r))); err != nil {
				return n, err
			}
			continue
		}
		row, err := query.Row(r, columns)
		if err != nil {
			return n, err
		}
		line := make([]string, len(columns))
		for i, c := range columns {
			if line[i] = query.CellText(row[c.Name]); format == "table" {
				row[c.Name] = line[i]
			}
		}
		switch format {
		case "csv":
			err = cells.Write(line)
		case "jsonl":
			_, err = w.Write(query.JSONLine(row))
		default:
			table.rows = append(table.rows, row)
			array = append(array, row)
		}
		if err != nil {
			return n, err
		}
	}
	switch format {
	case "csv":
		cells.Flush()
		return n, cells.Error()
	case "json":
		return n, printJSON(w, array)
	case "table":
		return n, table.print(w, format)
	}
	return n, nil
}

func printJSON(w io.Writer, array []any) error {
	if array == nil {
		array = []any{} // no rows are an empty list instead of null
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(array)
}
