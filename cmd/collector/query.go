package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A question is what the flags of the verbs that ask the store say.
type queryFlags struct {
	kinds, accounts, regions []string
	where, at                string
	format                   string
	extraFormats             []string // beside those that every verb has
	columns                  []string
	now                      time.Time
}

// addFlags adds those that every such verb has.
func (q *queryFlags) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&q.kinds, "kind", nil, "only kinds that match this `GLOB`; repeatable")
	f.StringSliceVar(&q.accounts, "account", nil, "only accounts whose name or id matches this `GLOB`; repeatable")
	f.StringSliceVar(&q.regions, "region", nil, "only regions that match this `GLOB`; repeatable")
	outputFlag(cmd, &q.format)
	q.now = time.Now()
}

const whereHelp = `--where takes a condition: comparisons of a field and a value (= != ~ !~ < <= > >= in), joined by and, or, not and parentheses.
Fields are kind, id, name, state, type, account, account_id, partition, region, run, first_seen, state_since, valid_from, valid_to, ended,
last_seen, tags.KEY, extra_tags.KEY and data.MEMBER.MEMBER. A field alone asks whether it is there; ~ is a glob; an age such as 30d is an
instant that long ago:

  state=running and tags.team=platform
  state=stopped and state_since<30d
  not tags.owner
  type in (t2.micro, t2.small) or name~'*test*'`

func (q *queryFlags) addWhereFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&q.where, "where", "w", "", "only what satisfies this `CONDITION`")
}

func (q *queryFlags) addAtFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&q.at, "at", "", "as of this `TIME`: 2026-11-01, 2026-11-01T08:00Z, or 3d for three days ago")
}

// query is the question in the store's words. Its errors are usage.
func (q *queryFlags) query() (inventory.Query, error) {
	out := inventory.Query{Kinds: q.kinds, Accounts: q.accounts, Regions: q.regions}
	var errs []error
	if q.where != "" {
		w, err := inventory.ParseWhere(q.where, q.now)
		if err != nil {
			errs = append(errs, fmt.Errorf("--where: %w", err))
		}
		out.Where = w
	}
	if q.at != "" {
		at, err := q.parseTime("--at", q.at)
		errs = append(errs, err)
		out.At = at
	}
	if err := errors.Join(errs...); err != nil {
		return out, usageError(err)
	}
	if slices.Contains(q.extraFormats, q.format) {
		return out, nil
	}
	return out, checkFormat(q.format)
}

func (q *queryFlags) parseTime(flag, s string) (time.Time, error) {
	t, err := inventory.ParseTime(s, q.now)
	if err != nil {
		return t, fmt.Errorf("%s: %q %w", flag, s, err)
	}
	return t, nil
}

// storedResource is a version as JSON: the record as an output gets it, and what is remembered besides.
type storedResource struct {
	*record.Record
	State      string     `json:"state,omitempty"`
	Type       string     `json:"type,omitempty"`
	FirstSeen  time.Time  `json:"first_seen"`
	StateSince time.Time  `json:"state_since"`
	ValidFrom  time.Time  `json:"valid_from"`
	ValidTo    *time.Time `json:"valid_to"`
	Ended      string     `json:"ended,omitempty"`
	LastSeen   *time.Time `json:"last_seen"`
}

func newStoredResource(r *inventory.Resource) storedResource {
	return storedResource{Record: &r.Record, State: r.State, Type: r.Type, FirstSeen: r.FirstSeen, StateSince: r.StateSince,
		ValidFrom: r.ValidFrom, ValidTo: nullIfZero(r.ValidTo), Ended: r.Ended, LastSeen: nullIfZero(r.LastSeen)}
}

func nullIfZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// A column is a field under the name that was asked for.
type column struct {
	name  string
	field inventory.Field
}

func parseColumns(names []string) (cs []column, data bool, err error) {
	var errs []error
	for _, n := range names {
		f, err := inventory.ParseField(strings.TrimSpace(n))
		errs = append(errs, err)
		cs = append(cs, column{strings.TrimSpace(n), f})
		data = data || f.NeedsData()
	}
	if err := errors.Join(errs...); err != nil {
		return nil, false, usageError(fmt.Errorf("--columns: %w", err))
	}
	return cs, data, nil
}

// cellText is a value as a cell shows it.
func cellText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case time.Time:
		return v.Format(time.RFC3339)
	case json.Number:
		return v.String()
	}
	return strings.TrimSpace(string(jsonLine(v)))
}

// jsonLine is v as JSON, with < and & as they are.
func jsonLine(v any) []byte {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte("null\n") // v was decoded from JSON
	}
	return []byte(b.String())
}

// printResources writes versions: with columns those, without the whole record where the format is JSON. JSON lines and CSV are
// written as they come.
func printResources(w io.Writer, format string, columns []column, whole bool, seq iter.Seq2[*inventory.Resource, error]) (n int, err error) {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	table := resultTable{columns: names}
	cells := csv.NewWriter(w)
	if format == "csv" {
		if err := cells.Write(names); err != nil {
			return 0, err
		}
	}
	var array []any
	for r, err := range seq {
		if err != nil {
			return n, err
		}
		n++
		if whole && (format == "json" || format == "jsonl") {
			if format == "json" {
				array = append(array, newStoredResource(r))
			} else if _, err := w.Write(jsonLine(newStoredResource(r))); err != nil {
				return n, err
			}
			continue
		}
		row, line := make(map[string]any, len(columns)), make([]string, len(columns))
		for i, c := range columns {
			v, err := c.field.Value(r)
			if err != nil {
				return n, err
			}
			if row[c.name], line[i] = v, cellText(v); format == "table" {
				row[c.name] = line[i]
			}
		}
		switch format {
		case "csv":
			err = cells.Write(line)
		case "jsonl":
			_, err = w.Write(jsonLine(row))
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
		array = []any{} // no rows are an empty list, not null
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(array)
}

func checkFormat(format string) error {
	switch format {
	case "table", "json", "jsonl", "csv":
		return nil
	}
	return usageError(fmt.Errorf("-o %q is not table, json, jsonl or csv", format))
}
