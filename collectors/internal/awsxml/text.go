package awsxml

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"unicode/utf8"

	"github.com/aws-collector/collector/record"
)

// readText reads the text of an element, up to its end tag, into d.text. Child elements are an error.
func (d *Decoder) readText(name string) error {
	if err := d.openElement(name); err != nil {
		return err
	}
	if err := d.readChars(); err != nil {
		return err
	}
	raw, k, err := d.window.readTag()
	if err != nil {
		return err
	}
	if k != endTag {
		return fmt.Errorf("%w: an element <%.40s> in place of text", ErrMarkup, raw)
	}
	return d.endElement(raw, name)
}

// readChars reads text into d.text up to the next tag. Like encoding/xml, it resolves entities, normalizes line ends to
// \n and omits comments.
func (d *Decoder) readChars() error {
	d.text, d.textErr = d.text[:0], nil
	for {
		if !d.ensure(1) {
			return d.endError()
		}
		b := d.buf[d.pos:d.end]
		i := 0
		for i < len(b) && b[i] != '<' && b[i] != '&' && b[i] != '\r' {
			i++
		}
		if err := d.takeText(i); err != nil {
			return err
		}
		if i == len(b) {
			continue
		}
		switch b[i] {
		case '\r':
			d.readLineEnd()
		case '&':
			if err := d.readEntity(); err != nil {
				return err
			}
		default:
			if !d.ensure(2) {
				return d.endError()
			}
			if c := d.buf[d.pos+1]; c != '!' && c != '?' {
				return d.noteBadText(checkText(d.text))
			}
			d.ensure(len(cdata))
			if !bytes.HasPrefix(d.buf[d.pos:d.end], []byte(cdata)) {
				if err := d.skipMisc(); err != nil {
					return err
				}
				continue
			}
			d.pos += len(cdata)
			if err := d.readCDATA(); err != nil {
				return err
			}
		}
	}
}

// noteBadText notes a text that only the current item, or the items of the current group, suffer from. Elsewhere it
// returns the error.
func (d *Decoder) noteBadText(err error) error {
	switch {
	case err == nil:
		return nil
	case d.itemOpen:
		if d.itemErr == nil {
			d.itemErr = d.errorHere(err)
		}
	case d.groupOpen:
		if d.groupErr == nil {
			d.groupErr = d.errorHere(err)
		}
	default:
		return err
	}
	d.textErr = err
	return nil
}

// takeText moves n bytes from the window to d.text.
func (d *Decoder) takeText(n int) error {
	d.text = append(d.text, d.buf[d.pos:d.pos+n]...)
	d.pos += n
	if len(d.text) > d.options.Limits.Item {
		return fmt.Errorf("%w: a text has more than %d bytes", ErrLimit, d.options.Limits.Item)
	}
	return nil
}

// readLineEnd reads \r or \r\n as one \n.
func (d *Decoder) readLineEnd() {
	d.text = append(d.text, '\n')
	d.pos++
	if d.ensure(1) && d.buf[d.pos] == '\n' {
		d.pos++
	}
}

func (d *Decoder) readCDATA() error {
	for {
		if !d.ensure(3) {
			return d.endError()
		}
		b := d.buf[d.pos:d.end]
		i := 0
		for i < len(b) && b[i] != ']' && b[i] != '\r' {
			i++
		}
		if err := d.takeText(i); err != nil {
			return err
		}
		switch {
		case i == len(b):
		case b[i] == '\r':
			d.readLineEnd()
		case !d.ensure(3):
			return d.endError()
		case string(d.buf[d.pos:d.pos+3]) == "]]>":
			d.pos += 3
			return nil
		default:
			if err := d.takeText(1); err != nil {
				return err
			}
		}
	}
}

// readEntity reads one of the five named entities or a character reference.
func (d *Decoder) readEntity() error {
	const longest = 12
	d.ensure(longest)
	b := d.buf[d.pos:d.end]
	i := bytes.IndexByte(b[:min(len(b), longest)], ';')
	if i < 0 {
		if len(b) < longest && bytes.IndexByte(b, '<') < 0 {
			return d.endError()
		}
		return fmt.Errorf("%w: & without an entity", ErrSyntax)
	}
	name := b[1:i] // in the window, which does not move here
	d.pos += i + 1
	switch string(name) {
	case "lt":
		d.text = append(d.text, '<')
	case "gt":
		d.text = append(d.text, '>')
	case "amp":
		d.text = append(d.text, '&')
	case "apos":
		d.text = append(d.text, '\'')
	case "quot":
		d.text = append(d.text, '"')
	default:
		digits, base := name, 10
		if len(name) < 2 || name[0] != '#' {
			return fmt.Errorf("%w: the entity &%s;", ErrSyntax, name)
		}
		if digits = name[1:]; digits[0] == 'x' {
			digits, base = digits[1:], 16
		}
		n, err := strconv.ParseUint(string(digits), base, 32)
		if err != nil || n > utf8.MaxRune {
			return fmt.Errorf("%w: the entity &%s;", ErrSyntax, name)
		}
		d.text = utf8.AppendRune(d.text, rune(n))
	}
	return nil
}

// checkText returns an error for characters that XML does not allow.
func checkText(t []byte) error {
	for i := 0; i < len(t); {
		c := t[i]
		if c < utf8.RuneSelf {
			if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
				return fmt.Errorf("%w: the character U+%04X", ErrSyntax, c)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(t[i:])
		if r == utf8.RuneError && n == 1 {
			return fmt.Errorf("%w: the byte 0x%02x", ErrEncoding, c)
		}
		if r == 0xfffe || r == 0xffff {
			return fmt.Errorf("%w: the character %U", ErrSyntax, r)
		}
		i += n
	}
	return nil
}

// scalar writes d.text as a value of the type.
func (d *Decoder) scalar(t Type) {
	w := d.draft
	switch text := d.text; {
	case t == Boolean:
		if string(text) != "true" && string(text) != "false" {
			d.page.AddUnknown(1)
		}
		w.Buf = strconv.AppendBool(w.Buf, string(text) == "true")
	case t == Integer || t == Float:
		text = normalizeNumber(text)
		switch {
		case isNumber(text):
			w.Buf = append(w.Buf, text...)
		case len(text) == 0:
			d.page.AddUnknown(1)
			w.Buf = append(w.Buf, "null"...)
		default:
			d.page.AddUnknown(1)
			w.Buf = record.AppendQuote(w.Buf, d.text)
		}
	default:
		w.Buf = record.AppendQuote(w.Buf, text)
	}
}

// document replaces the text that begins at from by the JSON that it contains in URL encoding. As in the AWS CLI, any
// other text stays a text.
func (d *Decoder) document(from int) {
	decoded, err := url.PathUnescape(string(d.text))
	if err != nil || !utf8.ValidString(decoded) {
		return
	}
	var b bytes.Buffer
	if json.Compact(&b, []byte(decoded)) == nil {
		d.draft.Buf = append(d.draft.Buf[:from], b.Bytes()...)
	}
}

// normalizeNumber removes what Go's and Python's parsers accept in a number and JSON does not: surrounding white space,
// a plus sign, leading zeros.
func normalizeNumber(t []byte) []byte {
	t = bytes.Trim(t, " \t\r\n")
	t, plus := bytes.CutPrefix(t, []byte{'+'})
	if plus && len(t) > 0 && t[0] == '-' {
		return []byte{'+'}
	}
	for len(t) > 1 && t[0] == '0' && t[1]-'0' <= 9 {
		t = t[1:]
	}
	return t
}

// skip reads an element to its end and discards it.
func (d *Decoder) skip(name string) error {
	if err := d.openElement(name); err != nil {
		return err
	}
	for {
		if err := d.readChars(); err != nil {
			return err
		}
		raw, k, err := d.window.readTag()
		switch {
		case err != nil:
			return err
		case k == endTag:
			return d.endElement(raw, name)
		case k == startTag:
			if err := d.skip(string(raw)); err != nil {
				return err
			}
		}
	}
}

// setDigestKey sets the key of the digests.
func (d *Decoder) setDigestKey(key []byte) {
	if d.mac == nil || !bytes.Equal(d.macKey, key) {
		d.mac, d.macKey = hmac.New(sha256.New, key), bytes.Clone(key)
	}
}

// digestBytes is the length of a digest: 128 bits of the HMAC suffice to distinguish values.
const digestBytes = 16

// digest replaces the value that begins at from by its digest.
func (d *Decoder) digest(f *field, from int) {
	w := d.draft
	value := d.text
	if f.typ >= Struct {
		d.scratch = w.AppendCanonical(&d.canonical, d.scratch[:0], from)
		value = d.scratch
	}
	w.Truncate(from, w.FirstMarkAt(from))
	if len(value) == 0 {
		w.Buf = append(w.Buf, `""`...)
		return
	}
	d.mac.Reset()
	d.mac.Write(value)
	d.scratch = d.mac.Sum(d.scratch[:0])
	w.Buf = append(w.Buf, `"hmac:`...)
	w.Buf = hex.AppendEncode(w.Buf, d.scratch[:digestBytes])
	w.Buf = append(w.Buf, '"')
}
