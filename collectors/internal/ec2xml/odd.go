package ec2xml

import (
	"bytes"
	"fmt"

	"github.com/aws-collector/collector/record"
)

// What the tables do not know, and what is sent twice. EC2 does neither as long as the SDK is of its day; so this is
// written to be right, not to be quick, and within a bound of work.

// unknown carries a member that the tables do not know, under its wire name.
func (d *Decoder) unknown(n *node, name string, empty bool, start int, seen *met) error {
	d.p.Odd(1)
	key := []byte(name)
	if n != nil && n.byName(key) >= 0 {
		key = append(key, '#') // what the CLI calls so is another element
	}
	w := d.w
	bit := uint64(1) << (hashName(name) & 63)
	if seen.strange&bit != 0 {
		from, to, value, err := d.written(start, key)
		if err != nil {
			return err
		}
		if to > from {
			return d.repeat(name, empty, start, from, to, value)
		}
	}
	seen.strange |= bit
	w.Buf = append(w.Buf, ',')
	w.Buf = append(record.AppendQuote(w.Buf, key), ':')
	return d.generic(name, empty)
}

// repeat adds an unknown element to the one of the same name before it: the two become a list.
func (d *Decoder) repeat(name string, empty bool, start, from, to, value int) error {
	w := d.w
	value += d.toEnd(start, from, to) - from
	if w.Buf[value] == '[' {
		w.Buf = w.Buf[:len(w.Buf)-1]
	} else {
		w.Buf = append(w.Buf, 0)
		copy(w.Buf[value+1:], w.Buf[value:])
		w.Buf[value] = '['
	}
	w.Buf = append(w.Buf, ',')
	at := len(w.Buf)
	if err := d.generic(name, empty); err != nil {
		return err
	}
	if w.Buf[at] == '[' { // a list of items: its elements join the others
		inner := w.Buf[at+1 : len(w.Buf)-1]
		if len(inner) == 0 {
			w.Buf = w.Buf[:at-1]
		} else {
			w.Buf = append(w.Buf[:at], inner...)
		}
	}
	if w.Buf[value+1] == ',' { // the first of them was empty
		w.Buf = append(w.Buf[:value+1], w.Buf[value+2:]...)
	}
	w.Buf = append(w.Buf, ']')
	return nil
}

// generic reads an element without a table, behind its start tag.
func (d *Decoder) generic(name string, empty bool) error {
	w := d.w
	if empty {
		w.Buf = append(w.Buf, '"', '"')
		return nil
	}
	if err := d.enter(name); err != nil {
		return err
	}
	if err := d.limits(); err != nil {
		return err
	}
	if err := d.chars(); err != nil {
		return err
	}
	raw, k, err := d.window.element()
	if err != nil {
		return err
	}
	if k == endTag {
		w.Buf = record.AppendQuote(w.Buf, d.text)
		return d.ends(raw, name)
	}
	if len(bytes.Trim(d.text, " \t\r\n")) > 0 {
		return fmt.Errorf("%w: text beside elements", ErrMarkup)
	}
	start := len(w.Buf)
	listed := string(raw) == "item"
	var seen met
	for {
		child := string(raw)
		switch {
		case listed && child == "item":
			w.Buf = append(w.Buf, ',')
			err = d.generic(child, k == emptyTag)
		case listed: // a stranger among items keeps its name
			w.Buf = append(w.Buf, ',', '{')
			w.Buf = append(record.AppendQuote(w.Buf, child), ':')
			if err = d.generic(child, k == emptyTag); err == nil {
				w.Buf = append(w.Buf, '}')
			}
		default:
			err = d.unknown(nil, child, k == emptyTag, start, &seen)
		}
		if err != nil {
			return err
		}
		if raw, k, err = d.tag(); err != nil {
			return err
		}
		if k == endTag {
			break
		}
	}
	if listed {
		d.brackets(start, '[', ']')
	} else {
		d.brackets(start, '{', '}')
	}
	return d.ends(raw, name)
}

// again goes on with a known member that was sent before. A text, a digest and what was dropped are taken back, so that
// the caller writes them anew; to a structure or a list is added.
func (d *Decoder) again(f *field, name string, empty bool, start int) (done bool, err error) {
	w := d.w
	from, to, value, err := d.written(start, []byte(f.name))
	if err != nil || to == from { // dropped
		return false, err
	}
	hidden := f.role&isSensitive != 0 && d.o.Sensitive != Clear
	at := d.toEnd(start, from, to)
	if value += at - from; f.typ < Struct || hidden {
		w.Truncate(at, w.MarkAt(at+1))
		return false, nil
	}
	cut := -1
	if f.role&isVolatile != 0 {
		cut = w.MarkAt(at + 1)
	}
	if w.Buf = w.Buf[:len(w.Buf)-1]; len(w.Buf) == value+1 {
		w.Truncate(value, w.MarkAt(value)) // it was empty, so nothing is there to go on with
	}
	switch {
	case f.typ == Struct:
		if seen := d.keys(f.n, value); !empty {
			if err := d.members(f.n, name, value, &seen); err != nil {
				return true, err
			}
		}
		d.brackets(value, '{', '}')
	case f.role&isTags != 0:
		err = d.tags(f.n, name, empty, value)
	default:
		err = d.list(f.n, name, empty, value)
	}
	if cut >= 0 && err == nil {
		w.Close(cut, len(w.Buf))
	}
	return true, err
}

// toEnd moves a member behind all others of its structure.
func (d *Decoder) toEnd(start, from, to int) int {
	w := d.w
	if w == &d.p.Items {
		d.p.Moved(from, to, &d.key, &d.val)
	}
	at := w.ToEnd(from, to)
	if len(w.Buf) > start { // whichever comes first now
		w.Buf[start], w.Buf[at] = ',', ','
	}
	return at
}

// written finds a member by its key among those written behind start: from its comma to its end.
func (d *Decoder) written(start int, key []byte) (from, to, value int, err error) {
	b := d.w.Buf
	if d.work += len(b) - start; d.work > d.o.Limits.Page {
		return 0, 0, 0, fmt.Errorf("%w: too many members that were sent before", ErrLimit)
	}
	quoted := record.AppendQuote(nil, key)
	for i := start; i < len(b); i = to {
		k := skipJSON(b, i+1)
		to = skipJSON(b, k+1)
		if bytes.Equal(b[i+1:k], quoted) {
			return i, to, k + 1, nil
		}
	}
	return 0, 0, 0, nil
}

// keys is which members were written behind start. Of the unknown ones it only says that any may have been.
func (d *Decoder) keys(n *node, start int) (seen met) {
	b := d.w.Buf
	seen.strange = ^uint64(0)
	for i := start; i < len(b); {
		k := skipJSON(b, i+1)
		if x := n.byName(b[i+2 : k-1]); x >= 0 {
			seen.add(x)
		}
		i = skipJSON(b, k+1)
	}
	return seen
}

// skipJSON is where the value at i ends. The value is one that this package wrote.
func skipJSON(b []byte, i int) int {
	for depth := 0; ; {
		switch c := b[i]; c {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			i++
		case '{', '[':
			depth++
			i++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
			i++
		default:
			for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ']' && b[i] != '"' && b[i] != '{' && b[i] != '[' {
				i++
			}
			if depth > 0 && b[i] == ',' {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
}
