package printer

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/aws-collector/collector/internal/printable"
)

// printRows prints the same table as newTable.
func TestPrintRowsMatchesTable(t *testing.T) {
	columns := []string{"account", "status", "api_calls"}
	kept := newTable(columns)
	var rows [][]string
	for i, name := range []string{"prod", "a-longer-name", "大阪", "x", "\x1b[31m\u202ered", "two\nlines"} {
		calls := i * i * i * 1000
		kept.AppendRow(table.Row{cell(name), "ok", calls}) // as Table does
		rows = append(rows, []string{name, "ok", strconv.Itoa(calls)})
	}
	var out bytes.Buffer
	n, err := printRows(&out, columns, 2, slices.Values(rows))
	if want := "\n" + kept.Render() + "\n"; err != nil || n != len(rows) || out.String() != want {
		t.Errorf("%d rows, %v, got:\n%s\nwant:\n%s", n, err, out.String(), want)
	}
	if safe := printable.Lines(out.String()); safe != out.String() || strings.Count(safe, "\n") != len(rows)+2 {
		t.Errorf("cells are not escaped:\n%q", out.String())
	}
	out.Reset()
	if n, err := printRows(&out, columns, 2, slices.Values([][]string{})); n != 0 || err != nil || out.Len() > 0 {
		t.Errorf("of no rows %d were printed, %v: %q", n, err, out.String())
	}
	if _, err := printRows(brokenWriter{}, columns, 2, slices.Values(rows)); !errors.Is(err, errBroken) {
		t.Errorf("a writer that is broken: %v", err)
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }
