package main

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

// What people read goes through cli.stdout and cli.stderr, which escape what a terminal would obey: a verb cannot
// forget it. They keep line breaks and tabs, as layout; where text of others stands within a line, sayf, tables and
// sheets escape these, too. What programs read goes to cli.out, and is exact.

// out is where a verb writes in the format that was asked for. What programs read is exact, but on a terminal it is
// JSON of the same meaning, with \u escapes: there, a name in a JSON string is obeyed as well as in a table.
func (c *cli) out(format string) io.Writer {
	switch {
	case format == "table":
		return c.stdout
	case isTerminal(printable.Unwrap(c.stdout)):
		return printable.NewJSONWriter(c.stdout)
	}
	return printable.Unwrap(c.stdout)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// safeFprintf is Fprintf for people: text among the arguments stays within its line.
func safeFprintf(w io.Writer, format string, args ...any) error {
	safe := make([]any, len(args))
	for i, a := range args {
		safe[i] = cell(a)
	}
	_, err := fmt.Fprintf(w, format, safe...)
	return err
}

// multiline is a cell of several lines, whose breaks are ours.
type multiline []string

func (m multiline) String() string { return strings.Join(m, "\n") }

// cell is a value as people may see it: numbers and truth values as they are, text in one line.
func cell(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case multiline:
		out := make([]string, len(v))
		for i, s := range v {
			out[i] = printable.Text(s)
		}
		return strings.Join(out, "\n")
	case fmt.Stringer, error:
		return printable.Text(fmt.Sprint(v))
	}
	switch reflect.TypeOf(v).Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Float32, reflect.Float64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return v
	}
	return printable.Text(fmt.Sprint(v))
}

// errorText is an error for people: each error of a joined one begins a line, and no other text does.
func errorText(err error) string {
	return strings.Join(errorLines(err), "\n")
}

func errorLines(err error) []string {
	text := err.Error()
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // this layer of it
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
	if one, ok := err.(interface{ Unwrap() error }); ok { //nolint:errorlint // this layer of it
		return wrappedLines(text, one.Unwrap())
	}
	return []string{printable.Text(text)}
}

// wrappedLines is the lines of a text that holds those of other errors, the longest of which may be joined.
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
