// Package printer prints what commands answer: tables, JSON, JSON lines and CSV, and causes with their hints. Text for
// people goes through a [printable.Writer], which escapes control sequences, so no command can forget it. It keeps line
// breaks and tabs, which are layout. Where text from elsewhere stands within a line, [Fprintf] and tables escape these,
// too. Data for programs is exact. Begin at [Table].
package printer

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"golang.org/x/term"

	"github.com/aws-collector/collector/internal/printable"
)

// For returns the writer for a format: stdout for people. Data for programs is exact. On a terminal, JSON has \u
// escapes in place of control characters: its meaning is the same, and the terminal does not interpret them. With raw,
// CSV is exact, too; else it is for spreadsheets.
func For(format string, stdout io.Writer, raw bool) io.Writer {
	if format == "table" {
		return stdout
	}
	w := printable.Unwrap(stdout)
	if IsTerminal(w) {
		w = printable.NewJSONWriter(stdout)
	}
	if raw {
		return RawCSV{w}
	}
	return w
}

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Fprintf is Fprintf for text that people read: an argument cannot begin a new line.
func Fprintf(w io.Writer, format string, args ...any) error {
	safe := make([]any, len(args))
	for i, a := range args {
		safe[i] = cell(a)
	}
	_, err := fmt.Fprintf(w, format, safe...)
	return err
}

// Multiline is a table cell with several lines.
type Multiline []string

func (m Multiline) String() string { return strings.Join(m, "\n") }

// cell makes a value safe to print: numbers and booleans stay, text becomes one line.
func cell(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case Multiline:
		out := make([]string, len(v))
		for i, s := range v {
			out[i] = printable.Text(s)
		}
		return strings.Join(out, "\n")
	case fmt.Stringer, error:
		return printable.Text(fmt.Sprint(v))
	}
	switch reflect.TypeOf(v).Kind() {
	case reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return v
	}
	return printable.Text(fmt.Sprint(v))
}

// ErrorText formats an error for people. Each of several joined errors begins a line, and no other text does.
func ErrorText(err error) string {
	return strings.Join(errorLines(err), "\n")
}

func errorLines(err error) []string {
	text := err.Error()
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // only the outermost error
		var lines, parts []string
		for _, e := range joined.Unwrap() {
			parts = append(parts, e.Error())
			lines = append(lines, errorLines(e)...)
		}
		if strings.Join(parts, "\n") == text {
			return lines
		}
		return wrappedLines(text, joined.Unwrap()...)
	}
	if one, ok := err.(interface{ Unwrap() error }); ok { //nolint:errorlint // only the outermost error
		return wrappedLines(text, one.Unwrap())
	}
	return []string{printable.Text(text)}
}

// wrappedLines splits a text that contains the texts of inner errors. The longest of these may be a joined error.
func wrappedLines(text string, inner ...error) []string {
	var longest error
	for _, e := range inner {
		if e != nil && e.Error() != "" && (longest == nil || cmp.Less(len(longest.Error()), len(e.Error()))) {
			longest = e
		}
	}
	if longest == nil {
		return []string{printable.Text(text)}
	}
	before, after, found := strings.Cut(text, longest.Error())
	if !found {
		return []string{printable.Text(text)}
	}
	lines := errorLines(longest)
	lines[0] = printable.Text(before) + lines[0]
	lines[len(lines)-1] += printable.Text(after)
	return lines
}
