package printer

import (
	"encoding/json"
	"io"
	"iter"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
)

// Resources prints versions. JSON has the given columns, or with whole the whole record. JSON lines and CSV are
// written while rows arrive.
func Resources(
	w io.Writer, format string, columns []query.Column, whole bool, rows iter.Seq2[*inventory.Resource, error],
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
	case "table":
		return n, table.Print(w, format)
	}
	return n, nil
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
