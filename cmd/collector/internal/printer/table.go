package printer

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/mattn/go-runewidth"

	"github.com/aws-collector/collector/internal/printable"
)

// Table has the rows that a command prints as table, json, jsonl or csv.
type Table struct {
	Columns  []string
	Rows     []map[string]any
	NoHeader bool // the rows continue a table whose header was printed before
}

func (l Table) Print(w io.Writer, format string) error {
	switch format {
	case "table":
		t := newTable(l.Columns)
		if l.NoHeader {
			t.ResetHeaders()
		}
		for _, r := range l.Rows {
			row := make(table.Row, len(l.Columns))
			for i, c := range l.Columns {
				row[i] = cell(r[c])
			}
			t.AppendRow(row)
		}
		_, err := fmt.Fprintln(w, t.Render())
		return err
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		if l.Rows == nil {
			return e.Encode([]any{}) // no rows are an empty list, not null
		}
		return e.Encode(l.Rows)
	case "jsonl":
		e := json.NewEncoder(w)
		for _, r := range l.Rows {
			if err := e.Encode(r); err != nil {
				return err
			}
		}
		return nil
	case "csv":
		out := newCSVWriter(w)
		if !l.NoHeader {
			if err := out.Write(l.Columns); err != nil {
				return err
			}
		}
		for _, r := range l.Rows {
			row := make([]string, len(l.Columns))
			for i, c := range l.Columns {
				if v, ok := r[c]; ok && v != nil {
					row[i] = fmt.Sprint(v)
				}
			}
			if err := out.Write(row); err != nil {
				return err
			}
		}
		out.Flush()
		return out.Error()
	}
	return ValidateFormat(format)
}

// ValidateFormat rejects a format before any other work is done.
func ValidateFormat(format string) error {
	switch format {
	case "table", "json", "jsonl", "csv":
		return nil
	}
	return fmt.Errorf("-o %q is not table, json, jsonl or csv", format)
}

// newTable returns a table with the style of all tables: no frame, and columns that are two spaces apart, so that a
// line can be copied.
func newTable(columns []string) table.Writer {
	t := table.NewWriter()
	s := table.StyleDefault
	s.Box.MiddleVertical, s.Box.PaddingLeft, s.Box.PaddingRight = " ", "", " "
	s.Options = table.Options{SeparateColumns: true}
	t.SetStyle(s)
	head := make(table.Row, len(columns))
	for i, c := range columns {
		head[i] = printable.Text(strings.ToUpper(strings.ReplaceAll(c, "_", " ")))
	}
	t.AppendHeader(head)
	t.SuppressTrailingSpaces()
	return t
}

// printRows prints a table in the style of newTable without holding the rows in memory: it iterates over rows twice,
// first for the widths. Columns from index right on are right-aligned. It returns the number of rows, and prints
// nothing for none.
func printRows(w io.Writer, columns []string, right int, rows iter.Seq[[]string]) (n int, err error) {
	head := make([]string, len(columns))
	widths := make([]int, len(columns))
	for i, c := range columns {
		head[i] = strings.ToUpper(strings.ReplaceAll(c, "_", " "))
		widths[i] = len(head[i])
	}
	for row := range rows {
		n++
		for i, text := range row {
			widths[i] = max(widths[i], runewidth.StringWidth(printable.Text(text)))
		}
	}
	if n == 0 {
		return 0, nil
	}
	var line strings.Builder
	write := func(row []string) error {
		line.Reset()
		for i, text := range row {
			text = printable.Text(text)
			space := strings.Repeat(" ", max(0, widths[i]-runewidth.StringWidth(text))) // the second pass may be wider
			if i < right {
				line.WriteString(text + space + "  ")
			} else {
				line.WriteString(space + text + "  ")
			}
		}
		_, err := fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
		return err
	}
	if _, err = fmt.Fprintln(w); err == nil {
		err = write(head)
	}
	for row := range rows {
		if err != nil {
			break
		}
		err = write(row)
	}
	return n, err
}
