package main

import (
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

// queryFlags are the flags of the commands that read the store.
type queryFlags struct {
	kinds, accounts, regions []string
	where, at                string
	format                   string
	extraFormats             []string // formats besides those of every such command
	columns                  []string
	now                      time.Time
}

// addFlags adds the flags that all of these commands have.
func (q *queryFlags) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&q.kinds, "kind", nil, "only kinds that match this `GLOB`; can be repeated")
	q.addAccountFlags(cmd)
	q.addRegionFlag(cmd)
}

// addAccountFlags adds the flags of every question about accounts.
func (q *queryFlags) addAccountFlags(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&q.accounts, "account", nil,
		"only accounts whose name or id matches this `GLOB`; can be repeated")
	outputFlag(cmd, &q.format)
	q.now = time.Now()
}

func (q *queryFlags) addRegionFlag(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&q.regions, "region", nil, "only regions that match this `GLOB`; can be repeated")
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

func (q *queryFlags) addWhereFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&q.where, "where", "w", "", "only resources that meet this `CONDITION`")
}

func (q *queryFlags) addAtFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&q.at, "at", "",
		"show the state at this `TIME`: 2026-11-01, 2026-11-01T08:00Z, or 3d for three days ago")
}

// query converts the flags to a query of the store. Its errors are usage errors.
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
	return out, validateFormat(q.format)
}

func (q *queryFlags) parseTime(flag, s string) (time.Time, error) {
	t, err := inventory.ParseTime(s, q.now)
	if err != nil {
		return t, fmt.Errorf("%s: %q %w", flag, s, err)
	}
	return t, nil
}

// storedResource is a version as JSON: the record as outputs get it, and what the store knows about the version.
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
	return storedResource{
		Record: &r.Record, State: r.State, Type: r.Type, FirstSeen: r.FirstSeen, StateSince: r.StateSince,
		ValidFrom: r.ValidFrom, ValidTo: nullIfZero(r.ValidTo), Ended: r.Ended, LastSeen: nullIfZero(r.LastSeen),
	}
}

func nullIfZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// column is a field and the name under which the user asked for it.
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

// cellText formats a value for a table cell.
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

// jsonLine encodes v as a line of JSON, without escapes for < and &.
func jsonLine(v any) []byte {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte("null\n") // v was decoded from JSON
	}
	return []byte(b.String())
}

// printResources prints versions. JSON has the given columns, or with whole the whole record. JSON lines and CSV are
// written while rows arrive.
func printResources(
	w io.Writer, format string, columns []column, whole bool, rows iter.Seq2[*inventory.Resource, error],
) (n int, err error) {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
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
		array = []any{} // no rows are an empty list instead of null
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(array)
}
