package ec2xml

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"strings"
	"unicode/utf8"
)

const (
	// lookahead is what is in the window at the start of a member, unless the stream ends: enough for any name of the
	// tables and for most texts, so that the walk does not ask at each byte whether there is one.
	lookahead = 1 << 10
	// slack is behind the window, so that a name can be compared without asking where the window ends. Its first byte
	// is 0, which no name and no text has.
	slack = 1 << 10
	// longestName is of an element, so that two fit into the slack. EC2's longest has a tenth of it.
	longestName = slack/2 - 16
	minWindow   = 64 << 10
)

// A window is the part of the answer that is in memory.
type window struct {
	r        io.Reader
	buf      []byte // size + slack
	size     int
	pos, end int
	consumed int64 // bytes that have left the window
	maxTag   int   // the longest tag
	err      error // why there is no more: io.EOF, or the reader's
}

func (w *window) reset(r io.Reader, token int) {
	if size := max(minWindow, 2*token); w.size < size {
		w.buf, w.size = make([]byte, size+slack), size
	}
	w.r, w.pos, w.end, w.consumed, w.maxTag, w.err = r, 0, 0, 0, token, nil
	w.buf[0] = 0
}

func (w *window) offset() int64 { return w.consumed + int64(w.pos) }

// ensureLookahead fills the window if there is less than lookahead in it.
func (w *window) ensureLookahead() {
	if w.end-w.pos < lookahead {
		w.fillLookahead()
	}
}

// fillLookahead is apart from look, so that look costs no call.
//
//go:noinline
func (w *window) fillLookahead() { w.ensure(lookahead) }

// ensure fills the window up to n bytes, if the stream has them, and reports whether it did.
func (w *window) ensure(n int) bool {
	for w.end-w.pos < n {
		if w.err != nil {
			return false
		}
		w.fill()
	}
	return true
}

func (w *window) fill() {
	if w.pos > 0 {
		copy(w.buf, w.buf[w.pos:w.end])
		w.consumed += int64(w.pos)
		w.end, w.pos = w.end-w.pos, 0
	}
	for range 100 {
		n, err := w.r.Read(w.buf[w.end:w.size])
		w.end += n
		w.buf[w.end] = 0
		if w.err = err; n > 0 || err != nil {
			return
		}
	}
	w.err = io.ErrNoProgress
}

// endError is why the stream ended where more was needed.
func (w *window) endError() error {
	if w.err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return w.err
}

const blanks = 0x2020202020202020

// spaceEnd is where the white space at the window's start ends. The indentation of EC2's answers is half of their bytes.
func (w *window) spaceEnd() int {
	b, i := w.buf, w.pos
	for isSpace(b[i]) {
		i++
		other := binary.LittleEndian.Uint64(b[i:]) ^ blanks
		for other == 0 {
			i += 8
			other = binary.LittleEndian.Uint64(b[i:]) ^ blanks
		}
		i += bits.TrailingZeros64(other) >> 3
	}
	return min(i, w.end)
}

// isIndent reports whether b is a line feed and eight spaces or more. To look whether a guess of the indentation is right takes
// less time than to find its end.
func isIndent(b []byte) bool {
	if len(b) < 9 || b[0] != '\n' || binary.LittleEndian.Uint64(b[len(b)-8:]) != blanks {
		return false
	}
	for b = b[1:]; len(b) > 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b) != blanks {
			return false
		}
	}
	return true
}

func isSpace(c byte) bool { return c <= ' ' && (c == ' ' || c == '\n' || c == '\t' || c == '\r') }

type tagKind uint8

const (
	startTag tagKind = iota
	endTag
	emptyTag // <a/>
)

// checkEncoding looks at the first bytes for marks of an encoding.
func (w *window) checkEncoding() error {
	w.ensure(4)
	b := w.buf[w.pos:w.end]
	switch {
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		w.pos += 3
	case bytes.HasPrefix(b, []byte("\xfe\xff")), bytes.HasPrefix(b, []byte("\xff\xfe")), len(b) > 1 && (b[0] == 0 || b[1] == 0):
		return ErrEncoding
	}
	return nil
}

// finish reads on to the end of the stream: after the answer there is nothing but white space and comments.
func (w *window) finish() error {
	for {
		if w.pos = w.spaceEnd(); w.pos < w.end {
			if w.buf[w.pos] != '<' {
				return fmt.Errorf("%w: text after the end", ErrSyntax)
			}
			w.ensure(2)
			if c := w.buf[w.pos+1]; c != '!' && c != '?' {
				return fmt.Errorf("%w: an element after the end", ErrSyntax)
			}
			if err := w.skipMisc(); err != nil {
				return err
			}
			continue
		}
		if w.err == io.EOF {
			return nil
		}
		if w.err != nil {
			return w.err
		}
		w.fill()
	}
}

// nextTag reads the next tag. Between it and what is before there may be white space, comments and processing
// instructions, and nothing else. name is without its prefix and valid until the window moves.
func (w *window) nextTag() (name []byte, k tagKind, err error) {
	for {
		if w.pos = w.spaceEnd(); w.pos == w.end {
			if !w.ensure(1) {
				return nil, 0, w.endError()
			}
			continue
		}
		if w.buf[w.pos] != '<' {
			return nil, 0, fmt.Errorf("%w: text beside elements", ErrMarkup)
		}
		if !w.ensure(2) {
			return nil, 0, w.endError()
		}
		if c := w.buf[w.pos+1]; c != '!' && c != '?' {
			return w.readTag()
		}
		if err := w.skipMisc(); err != nil {
			return nil, 0, err
		}
	}
}

// readTag reads a tag at the window's start.
func (w *window) readTag() (name []byte, k tagKind, err error) {
	n, err := w.tagLength()
	if err != nil {
		return nil, 0, err
	}
	b := w.buf[w.pos+1 : w.pos+n-1]
	w.pos += n
	if len(b) > 0 && b[0] == '/' {
		k, b = endTag, b[1:]
	} else if len(b) > 0 && b[len(b)-1] == '/' {
		k, b = emptyTag, b[:len(b)-1]
	}
	i := 0
	for i < len(b) && !isSpace(b[i]) {
		i++
	}
	name, b = b[:i], bytes.TrimLeft(b[i:], " \t\r\n")
	if _, local, ok := bytes.Cut(name, []byte{':'}); ok && len(local) > 0 {
		name = local
	}
	if len(name) > longestName {
		return nil, 0, fmt.Errorf("%w: a name of more than %d bytes", ErrLimit, longestName)
	}
	if !validName(name) {
		return nil, 0, fmt.Errorf("%w: a tag with the name %.40q", ErrSyntax, name)
	}
	if k == endTag && len(b) > 0 || !validAttributes(b) {
		return nil, 0, fmt.Errorf("%w: the tag %s", ErrSyntax, name)
	}
	return name, k, nil
}

// tagLength is the length of the tag at the window's start, up to the > that stands outside quotes.
func (w *window) tagLength() (int, error) {
	quote := byte(0)
	for i := 1; ; i++ {
		if w.pos+i >= w.end {
			if i > w.maxTag {
				return 0, fmt.Errorf("%w: a tag of more than %d bytes", ErrLimit, w.maxTag)
			}
			if !w.ensure(i + 1) {
				return 0, w.endError()
			}
		}
		switch c := w.buf[w.pos+i]; {
		case c == quote:
			quote = 0
		case quote != 0:
		case c == '"' || c == '\'':
			quote = c
		case c == '<':
			return 0, fmt.Errorf("%w: < in a tag", ErrSyntax)
		case c == '>':
			return i + 1, nil
		}
	}
}

// validAttributes reports whether b is attributes: name="value", with white space between them. They mean nothing here.
func validAttributes(b []byte) bool {
	for len(b) > 0 {
		name, rest, ok := bytes.Cut(b, []byte{'='})
		rest = bytes.TrimLeft(rest, " \t\r\n")
		if name = bytes.TrimRight(name, " \t\r\n"); !ok || !validName(name) || len(rest) < 2 || rest[0] != '"' && rest[0] != '\'' {
			return false
		}
		end := bytes.IndexByte(rest[1:], rest[0])
		if end < 0 || bytes.IndexByte(rest[1:1+end], '<') >= 0 {
			return false
		}
		b = bytes.TrimLeft(rest[end+2:], " \t\r\n")
	}
	return true
}

func validName(b []byte) bool {
	for i, c := range b {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', c == ':', c >= utf8.RuneSelf:
		case i > 0 && ('0' <= c && c <= '9' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return len(b) > 0 && utf8.Valid(b)
}

// skipMisc skips a comment or a processing instruction at the window's start. Anything else that begins so is refused:
// a DOCTYPE, and CDATA where no text may be.
func (w *window) skipMisc() error {
	w.ensure(9)
	b := w.buf[w.pos:w.end]
	switch {
	case bytes.HasPrefix(b, []byte("<!--")):
		w.pos += 4
		if err := w.skipPast("--", nil); err != nil {
			return err
		}
		if !w.ensure(1) {
			return w.endError()
		}
		if w.buf[w.pos] != '>' {
			return fmt.Errorf("%w: -- in a comment", ErrSyntax)
		}
		w.pos++
		return nil
	case bytes.HasPrefix(b, []byte("<?")):
		w.pos += 2
		var text []byte
		if err := w.skipPast("?>", &text); err != nil {
			return err
		}
		target, rest, _ := strings.Cut(string(text), " ")
		if target == "xml" {
			return checkDeclaration(rest)
		}
		return nil
	case w.err != nil && len(b) < 9 && (strings.HasPrefix("<!--", string(b)) || strings.HasPrefix(cdata, string(b))):
		return w.endError()
	case bytes.HasPrefix(b, []byte(cdata)):
		return fmt.Errorf("%w: CDATA beside elements", ErrMarkup)
	}
	return fmt.Errorf("%w: a DOCTYPE or the like", ErrMarkup)
}

const cdata = "<![CDATA["

// checkDeclaration checks what the XML declaration says of version and encoding.
func checkDeclaration(s string) error {
	value := func(key string) string {
		_, v, ok := strings.Cut(s, key)
		if v = strings.TrimLeft(v, " \t\r\n"); !ok || v == "" || v[0] != '=' {
			return ""
		}
		if v = strings.TrimLeft(v[1:], " \t\r\n"); v == "" {
			return ""
		}
		v, _, _ = strings.Cut(v[1:], v[:1])
		return v
	}
	if e := value("encoding"); e != "" && !strings.EqualFold(e, "utf-8") {
		return fmt.Errorf("%w: the encoding is declared as %.40q", ErrEncoding, e)
	}
	if v := value("version"); v != "" && v != "1.0" {
		return fmt.Errorf("%w: XML %.40q", ErrSyntax, v)
	}
	return nil
}

// skipPast moves behind the next end, over as many windows as it takes. It gives what is before the end to text, as far
// as a tag may be long, if asked.
func (w *window) skipPast(end string, text *[]byte) error {
	for {
		b := w.buf[w.pos:w.end]
		i := bytes.Index(b, []byte(end))
		n := i
		if i < 0 {
			n = max(0, len(b)-len(end)+1)
		}
		if text != nil {
			if *text = append(*text, b[:n]...); len(*text) > w.maxTag {
				return fmt.Errorf("%w: a processing instruction of more than %d bytes", ErrLimit, w.maxTag)
			}
		}
		w.pos += n
		if i >= 0 {
			w.pos += len(end)
			return nil
		}
		if !w.ensure(len(b) - n + 1) {
			return w.endError()
		}
	}
}
