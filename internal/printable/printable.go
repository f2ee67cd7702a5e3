// Package printable makes foreign text safe to show. A name, a tag or an AWS error may hold characters that a terminal
// interprets or that are invisible: escape sequences, bidirectional overrides, line breaks that fake a new line,
// invisible letters that make two names look alike. This package replaces them with visible escapes.
//
// [Text] is for text within a line, such as a table cell. [Lines] and [Writer] keep line breaks and tabs.
// [NewJSONWriter] is for JSON on a terminal; its escapes keep the JSON equal.
// [SpreadsheetCell] is for a cell of CSV, which a spreadsheet may run as a formula.
package printable

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// A style defines how a character is escaped, and which control characters are kept.
type style struct {
	kept   string
	escape func(b *strings.Builder, r rune, raw byte)
}

var (
	textStyle  = style{"", escapeText}
	linesStyle = style{"\n\t", escapeText}
	jsonStyle  = style{"\n\t", escapeJSON}
)

// Text returns s in one line, with visible escapes as in Go: \n, \x1b, \u202e, \U000e0041, and \x9b for a byte that is
// not UTF-8.
func Text(s string) string { return escapeString(s, textStyle) }

// Lines returns s with its line breaks and tabs; other characters are escaped as in [Text].
func Lines(s string) string { return escapeString(s, linesStyle) }

// IsPrintable reports whether a character is shown as it is. Letters, marks, digits, punctuation, symbols and spaces
// are. These are not: controls (C0, DEL, C1), line and paragraph separators, formats (bidirectional controls,
// zero-width characters, tags), private and unassigned characters, and invisible letters.
func IsPrintable(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= ' ' && r != 0x7f
	}
	return unicode.IsGraphic(r) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) &&
		(r < 0xe0100 || r > 0xe01ef) // variation selectors that can carry hidden text; those of emoji are elsewhere
}

func (st style) isShown(r rune, size int) bool {
	return IsPrintable(r) && (r != utf8.RuneError || size > 1) || r < ' ' && strings.ContainsRune(st.kept, r)
}

func escapeString(s string, st style) string {
	for i := 0; ; {
		if i == len(s) {
			return s
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if !st.isShown(r, size) {
			break
		}
		i += size
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case st.isShown(r, size):
			b.WriteString(s[i : i+size])
		case r == utf8.RuneError && size == 1:
			st.escape(&b, r, s[i])
		default:
			st.escape(&b, r, 0)
		}
		i += size
	}
	return b.String()
}

func escapeText(b *strings.Builder, r rune, raw byte) {
	switch {
	case r == utf8.RuneError:
		fmt.Fprintf(b, `\x%02x`, raw)
	case r == '\n':
		b.WriteString(`\n`)
	case r == '\r':
		b.WriteString(`\r`)
	case r == '\t':
		b.WriteString(`\t`)
	case r < utf8.RuneSelf:
		fmt.Fprintf(b, `\x%02x`, r)
	case r <= 0xffff:
		fmt.Fprintf(b, `\u%04x`, r)
	default:
		fmt.Fprintf(b, `\U%08x`, r)
	}
}

// escapeJSON writes the escape that decodes to the same character. For a byte that is not UTF-8 that is U+FFFD, as
// decoders do.
func escapeJSON(b *strings.Builder, r rune, _ byte) {
	if r > 0xffff {
		high, low := utf16.EncodeRune(r)
		fmt.Fprintf(b, `\u%04x\u%04x`, high, low)
		return
	}
	fmt.Fprintf(b, `\u%04x`, r)
}

// A Writer escapes what is written to it as [Text] does, but keeps line breaks and tabs. Several goroutines may use it.
type Writer struct {
	dest  io.Writer
	style style

	mu      sync.Mutex
	partial []byte // the first bytes of an incomplete character
}

// NewWriter returns a Writer for text. If w is a Writer, the new one writes to the target of w.
func NewWriter(w io.Writer) *Writer { return &Writer{dest: Unwrap(w), style: linesStyle} }

// NewJSONWriter returns a Writer for JSON. In strings it writes \u escapes for what is not printable.
func NewJSONWriter(w io.Writer) *Writer { return &Writer{dest: Unwrap(w), style: jsonStyle} }

// Unwrap returns the target of a Writer; any other writer is returned unchanged.
func Unwrap(w io.Writer) io.Writer {
	if p, ok := w.(*Writer); ok {
		return p.dest
	}
	return w
}

func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := string(w.partial) + string(p)
	end := completeLen(text)
	w.partial = append(w.partial[:0], text[end:]...)
	if end == 0 {
		return len(p), nil
	}
	if _, err := io.WriteString(w.dest, escapeString(text[:end], w.style)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes a character that is still incomplete.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := string(w.partial)
	if w.partial = w.partial[:0]; text == "" {
		return nil
	}
	_, err := io.WriteString(w.dest, escapeString(text, w.style))
	return err
}

// completeLen returns the length of s without an incomplete character at its end.
func completeLen(s string) int {
	for i := len(s) - 1; i >= max(0, len(s)-utf8.UTFMax); i-- {
		if utf8.RuneStart(s[i]) {
			if !utf8.FullRuneInString(s[i:]) {
				return i
			}
			break
		}
	}
	return len(s)
}
