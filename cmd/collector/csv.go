package main

import (
	"encoding/csv"
	"io"

	"github.com/aws-collector/collector/internal/printable"
)

// rawCSV is a writer that a program reads as CSV: cells are exact. Without it CSV is for spreadsheets, which run cells
// that look like formulas, also those that come from a tag.
type rawCSV struct{ io.Writer }

// forCSV marks a writer as the option --raw says.
func (c *cli) forCSV(w io.Writer) io.Writer {
	if c.raw {
		return rawCSV{w}
	}
	return w
}

// A csvWriter writes rows of CSV.
type csvWriter struct {
	*csv.Writer
	raw bool
}

func newCSVWriter(w io.Writer) csvWriter {
	_, raw := w.(rawCSV)
	return csvWriter{csv.NewWriter(w), raw}
}

func (w csvWriter) Write(row []string) error {
	if w.raw {
		return w.Writer.Write(row)
	}
	safe := make([]string, len(row))
	for i, text := range row {
		safe[i] = printable.SpreadsheetCell(text)
	}
	return w.Writer.Write(safe)
}
