// Package printable makes the text of others safe to show to people. A name, a tag or an error of AWS may hold what
// a terminal obeys or what the eye does not see: escape sequences, bidirectional overrides, line breaks that begin a
// line of their own, invisible letters that make two names look alike. Such characters become escapes that can be
// read.
//
// [Text] is for a piece of text within a line, as a cell of a table; [Lines] and [Writer] keep the line breaks and
// tabs of a layout. [NewJSONWriter] is for JSON on a terminal, which stays the same JSON.
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

// A style is how a character is escaped, and which are kept beside the printable ones.
type style struct {
	kept   string
	escape func(b *strings.Builder, r rune, raw byte)
}

var (
	textStyle  = style{"", escapeText}
	linesStyle = style{"\n\t", escapeText}
	jsonStyle  = style{"\n\t", escapeJSON}
)

// Text is s in one line, with visible escapes as Go writes them: \n, \x1b, \u202e, \U000e0041, and \x9b of a byte
// that is not UTF-8.
func Text(s string) string { return escapeString(s, textStyle) }

// Lines is s with its line breaks and tabs as they are, and the rest as [Text] has it.
func Lines(s string) string { return escapeString(s, linesStyle) }

// IsPrintable reports whether a character is shown as itself. Letters, marks, digits, punctuation, symbols and spaces
// are; controls are not (C0, DEL, C1), nor are line and paragraph separators, formats (bidirectional controls,
// zero-width characters, tags), private and unassigned characters, nor letters that show nothing.
func IsPrintable(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= ' ' && r != 0x7f
	}
	return unicode.IsGraphic(r) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) &&
		(r < 0xe0100 || r > 0xe01ef) // variation selectors that carry text nobody sees; those of emoji are elsewhere
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

// escapeJSON has what a decoder makes of the raw character, also of a byte that is not UTF-8.
func escapeJSON(b *strings.Builder, r rune, _ byte) {
	if r > 0xffff {
		high, low := utf16.EncodeRune(r)
		fmt.Fprintf(b, `\u%04x\u%04x`, high, low)
		return
	}
	fmt.Fprintf(b, `\u%04x`, r)
}

// A Writer passes text on, line breaks and tabs as they are and the rest as [Text] has it. Several goroutines may
// write.
type Writer struct {
	dest  io.Writer
	style style

	mu      sync.Mutex
	partial []byte // the beginning of a character whose end has not come yet
}

// NewWriter writes for people. Where w is a Writer itself, its target is written to.
func NewWriter(w io.Writer) *Writer { return &Writer{dest: Unwrap(w), style: linesStyle} }

// NewJSONWriter writes JSON, whose strings have \u escapes in place of what is not printable.
func NewJSONWriter(w io.Writer) *Writer { return &Writer{dest: Unwrap(w), style: jsonStyle} }

// Unwrap is what a Writer writes to; any other writer is itself.
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

// Flush writes a character that has no end.
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

// completeLen is how much of s ends with a whole character, or with bytes that will not become one.
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
