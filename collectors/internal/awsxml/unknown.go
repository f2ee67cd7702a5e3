package awsxml

import (
	"bytes"
	"fmt"

	"github.com/aws-collector/collector/record"
)

// This file handles unknown and repeated members. EC2 sends neither while the SDK is up to date, so the code is
// optimized for correctness and not for speed. Its work is bounded.

// unknownMember writes a member that the tables do not contain, under its wire name.
func (d *Decoder) unknownMember(n *node, name string, empty bool, start int, seen *seenMembers) error {
	d.page.AddUnknown(1)
	key := []byte(name)
	if n != nil && n.byName(key) >= 0 {
		key = append(key, '#') // the CLI uses this name for another element
	}
	w := d.draft
	bit := uint64(1) << (hashName(name) & 63)
	if seen.unknown&bit != 0 {
		from, to, value, err := d.findMember(start, key)
		if err != nil {
			return err
		}
		if to > from {
			return d.mergeUnknown(name, empty, start, from, to, value)
		}
	}
	seen.unknown |= bit
	w.Buf = append(w.Buf, ',')
	w.Buf = append(record.AppendQuote(w.Buf, key), ':')
	return d.untypedElement(name, empty)
}

// mergeUnknown adds an unknown element to an earlier one of the same name: they become a list.
func (d *Decoder) mergeUnknown(name string, empty bool, start, from, to, value int) error {
	w := d.draft
	value += d.moveToEnd(start, from, to) - from
	if w.Buf[value] == '[' {
		w.Buf = w.Buf[:len(w.Buf)-1]
	} else {
		w.Buf = append(w.Buf, 0)
		copy(w.Buf[value+1:], w.Buf[value:])
		w.Buf[value] = '['
	}
	w.Buf = append(w.Buf, ',')
	at := len(w.Buf)
	if err := d.untypedElement(name, empty); err != nil {
		return err
	}
	if w.Buf[at] == '[' { // a list of items: append its elements to the others
		inner := w.Buf[at+1 : len(w.Buf)-1]
		if len(inner) == 0 {
			w.Buf = w.Buf[:at-1]
		} else {
			w.Buf = append(w.Buf[:at], inner...)
		}
	}
	if w.Buf[value+1] == ',' { // the first one was empty
		w.Buf = append(w.Buf[:value+1], w.Buf[value+2:]...)
	}
	w.Buf = append(w.Buf, ']')
	return nil
}

// untypedElement reads an element that the tables do not contain, after its start tag.
func (d *Decoder) untypedElement(name string, empty bool) error {
	w := d.draft
	if empty {
		w.Buf = append(w.Buf, '"', '"')
		return nil
	}
	if err := d.openElement(name); err != nil {
		return err
	}
	if err := d.checkLimits(); err != nil {
		return err
	}
	if err := d.readChars(); err != nil {
		return err
	}
	raw, k, err := d.window.readTag()
	if err != nil {
		return err
	}
	if k == endTag {
		w.Buf = record.AppendQuote(w.Buf, d.text)
		return d.endElement(raw, name)
	}
	if len(bytes.Trim(d.text, " \t\r\n")) > 0 {
		return fmt.Errorf("%w: text next to elements", ErrMarkup)
	}
	start := len(w.Buf)
	element := d.program.format.Element
	listed := string(raw) == element
	var seen seenMembers
	for {
		child := string(raw)
		switch {
		case listed && child == element:
			w.Buf = append(w.Buf, ',')
			err = d.untypedElement(child, k == emptyTag)
		case listed: // an element of another name between items keeps its name
			w.Buf = append(w.Buf, ',', '{')
			w.Buf = append(record.AppendQuote(w.Buf, child), ':')
			if err = d.untypedElement(child, k == emptyTag); err == nil {
				w.Buf = append(w.Buf, '}')
			}
		default:
			err = d.unknownMember(nil, child, k == emptyTag, start, &seen)
		}
		if err != nil {
			return err
		}
		if raw, k, err = d.nextTag(); err != nil {
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
	return d.endElement(raw, name)
}

// mergeMember handles a known member that was sent before. It removes an earlier scalar, digest or dropped value, so
// that the caller writes the new one, and extends an earlier structure or list.
func (d *Decoder) mergeMember(f *field, name string, empty bool, start int) (done bool, err error) {
	w := d.draft
	from, to, value, err := d.findMember(start, []byte(f.name))
	if err != nil || to == from { // dropped
		return false, err
	}
	hidden := f.role&isSensitive != 0 && d.options.Sensitive != Clear
	at := d.moveToEnd(start, from, to)
	if value += at - from; f.typ < Struct || hidden {
		w.Truncate(at, w.FirstMarkAt(at+1))
		return false, nil
	}
	cut := -1
	if f.role&isVolatile != 0 {
		cut = w.FirstMarkAt(at + 1)
	}
	if w.Buf = w.Buf[:len(w.Buf)-1]; len(w.Buf) == value+1 {
		w.Truncate(value, w.FirstMarkAt(value)) // it was empty: start again
	}
	switch {
	case f.typ == Struct:
		if seen := d.writtenMembers(f.node, value); !empty {
			if err := d.members(f.node, name, value, &seen); err != nil {
				return true, err
			}
		}
		d.brackets(value, '{', '}')
	case f.role&isTags != 0:
		err = d.tags(f.node, name, empty, value)
	default:
		err = d.collection(f.node, name, empty, value)
	}
	if cut >= 0 && err == nil {
		w.CloseMark(cut, len(w.Buf))
	}
	return true, err
}

// moveToEnd moves a member to the end of its structure.
func (d *Decoder) moveToEnd(start, from, to int) int {
	w := d.draft
	if w == &d.page.Items {
		d.page.ShiftSpans(from, to, &d.tagKey, &d.tagValue, &d.tagsBy)
	}
	at := w.MoveToEnd(from, to)
	if len(w.Buf) > start { // the first remaining member
		w.Buf[start], w.Buf[at] = ',', ','
	}
	return at
}

// findMember finds a written member of the structure at start by its key: from its comma to its end.
func (d *Decoder) findMember(start int, key []byte) (from, to, value int, err error) {
	b := d.draft.Buf
	if d.work += len(b) - start; d.work > d.options.Limits.Page {
		return 0, 0, 0, fmt.Errorf("%w: too many repeated members", ErrLimit)
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

// writtenMembers returns the members written after start. It assumes that any unknown member may be among them.
func (d *Decoder) writtenMembers(n *node, start int) (seen seenMembers) {
	b := d.draft.Buf
	seen.unknown = ^uint64(0)
	for i := start; i < len(b); {
		k := skipJSON(b, i+1)
		if x := n.byName(b[i+2 : k-1]); x >= 0 {
			seen.add(x)
		}
		i = skipJSON(b, k+1)
	}
	return seen
}

// skipJSON returns the end of the value at i, which this package wrote.
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
