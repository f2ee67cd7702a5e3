package awsxml

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
	// lookahead is the least number of bytes in the window at the start of a member, unless the stream ends: enough for
	// all names of the tables and for most texts, so that the decoder need not check for the window's end at each byte.
	lookahead = 1 << 10
	// slack is the space after the window, so that names can be compared without a check for the window's end. Its first
	// byte is 0, which occurs in no name and no text.
	slack = 1 << 10
	// longestName limits element names, so that two fit into the slack. EC2's longest name has a tenth of it.
	longestName = slack/2 - 16
	minWindow   = 64 << 10
)

// A window is the part of the response in memory.
type window struct {
	r        io.Reader
	buf      []byte // size + slack
	size     int
	pos, end int
	consumed int64 // bytes before the window
	maxTag   int   // limit of a tag's length
	err      error // error of the reader, io.EOF at its end
}

func (w *window) reset(r io.Reader, token int) {
	if size := max(minWindow, 2*token); w.size < size {
		w.buf, w.size = make([]byte, size+slack), size
	}
	w.r, w.pos, w.end, w.consumed, w.maxTag, w.err = r, 0, 0, 0, token, nil
	w.buf[0] = 0
}

func (w *window) offset() int64 { return w.consumed + int64(w.pos) }

// ensureLookahead fills the window if it has less than lookahead bytes.
func (w *window) ensureLookahead() {
	if w.end-w.pos < lookahead {
		w.fillLookahead()
	}
}

// fillLookahead is a separate function, so that ensureLookahead can be inlined.
//
//go:noinline
func (w *window) fillLookahead() { w.ensure(lookahead) }

// ensure reports whether the window has n bytes, and reads more if needed.
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

// endError is the error for a stream that ends too early.
func (w *window) endError() error {
	if w.err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return w.err
}

const blanks = 0x2020202020202020

// spaceEnd returns the end of the white space at the window's start. Half of the bytes of EC2's responses are
// indentation.
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

// isIndent reports whether b is a line feed and eight or more spaces. Checking a guessed indentation takes less time
// than searching for its end.
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

// checkEncoding checks the first bytes for byte order marks.
func (w *window) checkEncoding() error {
	w.ensure(4)
	b := w.buf[w.pos:w.end]
	switch {
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		w.pos += 3
	case bytes.HasPrefix(b, []byte("\xfe\xff")),
		bytes.HasPrefix(b, []byte("\xff\xfe")),
		len(b) > 1 && (b[0] == 0 || b[1] == 0):
		return ErrEncoding
	}
	return nil
}

// finish reads to the end of the stream. Only white space and comments may follow the response.
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

// nextTag reads the next tag. Only white space, comments and processing instructions may precede it. name is without
// its namespace prefix and valid until the window moves.
func (w *window) nextTag() (name []byte, k tagKind, err error) {
	for {
		if w.pos = w.spaceEnd(); w.pos == w.end {
			if !w.ensure(1) {
				return nil, 0, w.endError()
			}
			continue
		}
		if w.buf[w.pos] != '<' {
			return nil, 0, fmt.Errorf("%w: text next to elements", ErrMarkup)
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

// readTag reads the tag at the window's start.
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
		return nil, 0, fmt.Errorf("%w: a name has more than %d bytes", ErrLimit, longestName)
	}
	if !validName(name) {
		return nil, 0, fmt.Errorf("%w: invalid name %.40q of a tag", ErrSyntax, name)
	}
	if k == endTag && len(b) > 0 || !validAttributes(b) {
		return nil, 0, fmt.Errorf("%w: invalid tag %s", ErrSyntax, name)
	}
	return name, k, nil
}

// tagLength returns the length of the tag at the window's start, up to the first > outside quotes.
func (w *window) tagLength() (int, error) {
	quote := byte(0)
	for i := 1; ; i++ {
		if w.pos+i >= w.end {
			if i > w.maxTag {
				return 0, fmt.Errorf("%w: a tag has more than %d bytes", ErrLimit, w.maxTag)
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

// validAttributes reports whether b is a list of attributes, name="value", separated by white space. Their values are
// ignored.
func validAttributes(b []byte) bool {
	for len(b) > 0 {
		name, rest, ok := bytes.Cut(b, []byte{'='})
		rest = bytes.TrimLeft(rest, " \t\r\n")
		if name = bytes.TrimRight(name, " \t\r\n"); !ok || !validName(name) || len(rest) < 2 ||
			rest[0] != '"' && rest[0] != '\'' {
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

// skipMisc skips a comment or a processing instruction at the window's start. It refuses a DOCTYPE, and CDATA where
// text is not allowed.
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
		return fmt.Errorf("%w: CDATA next to elements", ErrMarkup)
	}
	return fmt.Errorf("%w: a DOCTYPE or another declaration", ErrMarkup)
}

const cdata = "<![CDATA["

// checkDeclaration checks the version and the encoding of the XML declaration.
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
		return fmt.Errorf("%w: the declared encoding is %.40q", ErrEncoding, e)
	}
	if v := value("version"); v != "" && v != "1.0" {
		return fmt.Errorf("%w: the declared XML version is %.40q", ErrSyntax, v)
	}
	return nil
}

// skipPast moves the window past the next occurrence of end. If text is not nil, it appends what precedes the end to
// it, limited to the length of a tag.
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
				return fmt.Errorf("%w: a processing instruction has more than %d bytes", ErrLimit, w.maxTag)
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
