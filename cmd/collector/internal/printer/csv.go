package printer

import (
	"encoding/csv"
	"io"

	"github.com/aws-collector/collector/internal/printable"
)

// RawCSV is a writer that a program reads as CSV: cells are exact. Without it CSV is for spreadsheets, which run cells
// that look like formulas, also those that come from a tag.
type RawCSV struct{ io.Writer }

// A csvWriter writes rows of CSV.
type csvWriter struct {
	*csv.Writer
	raw bool
}

func newCSVWriter(w io.Writer) csvWriter {
	_, raw := w.(RawCSV)
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
