package printer

import (
	"encoding/json"
	"io"
	"iter"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
)

// Resources prints versions. JSON has the given columns, or with records the full record. JSON lines and CSV are
// written while rows arrive.
func Resources(
	w io.Writer, format string, columns []query.Column, records bool, rows iter.Seq2[*inventory.Resource, error],
) (n int, err error) {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	table := Table{Columns: names}
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
		if records && IsStructured(format) {
			if format != "jsonl" {
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
			table.Rows = append(table.Rows, row)
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
		return n, JSON(w, array)
	case "yaml":
		return n, YAML(w, array)
	case "table":
		return n, table.Print(w, format)
	}
	return n, nil
}

// IsStructured reports whether a format can have full records.
func IsStructured(format string) bool {
	return format == "json" || format == "jsonl" || format == "yaml"
}

// IDs prints the id of each resource on a line.
func IDs(w io.Writer, rows iter.Seq2[*inventory.Resource, error]) (n int, err error) {
	for r, err := range rows {
		if err == nil {
			err = Fprintf(w, "%s\n", r.ID)
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// YAML prints a value with the members that its JSON has, in their order.
func YAML(w io.Writer, v any) error {
	if array, ok := v.([]any); ok && array == nil {
		v = []any{} // as in JSON
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	out, err := config.YAMLFromJSON(text)
	if err != nil {
		return err
	}
	_, err = w.Write(out)
	return err
}

// JSON prints a value, indented.
func JSON(w io.Writer, v any) error {
	if array, ok := v.([]any); ok && array == nil {
		v = []any{} // no rows are an empty list instead of null
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
