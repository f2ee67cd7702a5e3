package awsxml

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/aws-collector/collector/record"
)

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// specialBytes sets the top bit of the first byte that must be escaped in a JSON string or may end the text: control
// characters, ", &, <, \ and what is not ASCII. The top bits of later bytes may be wrong.
//
// Subtracting a larger number from a byte sets its top bit: subtracting a space finds the bytes below it, subtracting 1
// finds zeros.
func specialBytes(x uint64) uint64 {
	qa, l, s := (x|lowBits*('"'^'&'))^(lowBits*'&'), x^(lowBits*'<'), x^(lowBits*'\\') // " and & differ in one bit
	return (x | (x - lowBits*' ') | (qa - lowBits) | (l - lowBits) | (s - lowBits)) & highBits
}

// members reads the members of a structure up to its end and appends each as `,"Key":value`. start is where the
// structure begins in the draft. It handles the common cases itself, with the help of the hints, and leaves the others
// to uncommonTag and member.
func (d *Decoder) members(n *node, name string, start int, seen *seenMembers) error {
	if err := d.openElement(name); err != nil {
		return err
	}
	slot := n.slot
	for {
		d.ensureLookahead()
		w := d.draft
		if cap(w.Buf)-len(w.Buf) < d.end-d.pos+slack {
			if err := d.grow(); err != nil {
				return err
			}
		}
		h := &d.hints[slot]
		b, i := d.buf, d.pos
		if to := i + int(h.indent); b[to] == '<' && isIndent(b[i:to]) {
			i = to
		} else {
			i = d.spaceEnd()
			h.indent = uint8(min(i-d.pos, 255)) // a longer indentation never matches
		}
		if b[i] != '<' {
			if err := d.uncommonTag(n, name, start, seen, &slot, i); err != nil {
				if err == errEnd {
					return nil
				}
				return err
			}
			continue
		}
		var f *field
		var empty bool
		x, j := int(h.next), 0
		if x < len(n.fields) {
			f = &n.fields[x]
			j = i + 1 + int(f.wire.size)
		}
		if f == nil || !f.wire.matches(b[i+1:]) {
			if e := i + 2 + len(name); b[i+1] == '/' && string(b[i+2:e]) == name && b[e] == '>' {
				h.next = atEnd
				d.pos = e + 1
				d.closeElement()
				return nil
			}
			j = i + 1
			for nameByte[b[j]] {
				j++
			}
			end := j
			if empty = b[j] == '/'; empty {
				j++
			}
			if x = -1; b[j] == '>' && end > i+1 {
				x = n.exact(b[i+1 : end])
			}
			if x < 0 { // a comment, attributes, an unknown member or the end of the window
				if err := d.uncommonTag(n, name, start, seen, &slot, i); err != nil {
					if err == errEnd {
						return nil
					}
					return err
				}
				continue
			}
			h.next = uint8(x)
			f = &n.fields[x]
			j++
		}
		slot = n.slot + 1 + x
		d.pos = j
		if seen.has(x) || empty || f.typ >= Struct || f.role&^spanRoles != 0 || f.longKey != "" {
			if err := d.member(n, x, f.wire.name, empty, start, seen); err != nil {
				return err
			}
			continue
		}
		seen.add(x)

		// A scalar: copied while it is searched for special bytes.
		o := w.Buf[:cap(w.Buf)]
		k := len(w.Buf)
		*(*[len(f.key)]byte)(o[k:]) = f.key
		k += int(f.keyLen)
		from := k
		for {
			word := binary.LittleEndian.Uint64(b[j:])
			binary.LittleEndian.PutUint64(o[k:], word)
			if m := specialBytes(word); m != 0 {
				step := bits.TrailingZeros64(m) >> 3
				j, k = j+step, k+step
				break
			}
			j, k = j+8, k+8
		}
		if b[j] != '<' || b[j+1] != '/' || !f.wire.matches(b[j+2:]) {
			if err := d.slowMember(f, f.wire.name); err != nil {
				return err
			}
			continue
		}
		switch f.typ {
		case Integer, Float:
			if !isNumber(o[from:k]) {
				if err := d.slowMember(f, f.wire.name); err != nil {
					return err
				}
				continue
			}
		case Boolean:
			if t := o[from:k]; string(t) != "true" && string(t) != "false" {
				if err := d.slowMember(f, f.wire.name); err != nil {
					return err
				}
				continue
			}
		default:
			o[k] = '"'
			k++
			from--
		}
		w.Buf, d.pos = o[:k], j+2+int(f.wire.size)
		if f.role != 0 || f.idPart != 0 {
			d.noteSpan(f, record.SpanOf(from, k))
		}
	}
}

// nameByte are the bytes of names that the fast path accepts.
var nameByte = func() (t [256]bool) {
	for c := range t {
		t[c] = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.'
	}
	return t
}()

// isNumber reports whether t is a JSON number.
func isNumber(t []byte) bool {
	i := 0
	digits := func() bool {
		from := i
		for i < len(t) && t[i]-'0' <= 9 {
			i++
		}
		return i > from
	}
	if i < len(t) && t[i] == '-' {
		i++
	}
	if i < len(t) && t[i] == '0' {
		i++
	} else if !digits() {
		return false
	}
	if i < len(t) && t[i] == '.' {
		i++
		if !digits() {
			return false
		}
	}
	if i < len(t) && t[i]|0x20 == 'e' {
		i++
		if i < len(t) && (t[i] == '+' || t[i] == '-') {
			i++
		}
		if !digits() {
			return false
		}
	}
	return i == len(t)
}

// noteSpan records the positions of the id, the name, the state, the type and the tags.
func (d *Decoder) noteSpan(f *field, s record.Span) {
	if f.idPart != 0 {
		d.page.SetID(int(f.idPart)-1, s)
	}
	if f.role&isState != 0 {
		d.page.SetState(int(f.rank), s)
	}
	if f.role&isType != 0 {
		d.page.SetType(int(f.rank), s)
	}
	switch {
	case f.role&isName != 0:
		d.page.SetName(s)
	case f.role&isTagKey != 0:
		d.tagKey = s
	case f.role&isTagValue != 0:
		d.tagValue = s
	}
	if f.role&isTagsBy != 0 {
		d.tagsBy = s
	}
}

// grow enlarges the draft for the content of a full window, within the limits.
func (d *Decoder) grow() error {
	if err := d.checkLimits(); err != nil {
		return err
	}
	d.draft.Buf = slices.Grow(d.draft.Buf, d.size+2*slack)
	return nil
}

// member reads a member after its start tag: the cases that the fast path in members does not handle.
func (d *Decoder) member(n *node, x int, name string, empty bool, start int, seen *seenMembers) (err error) {
	f := &n.fields[x]
	if f.role&(isItems|isToken|isSkip) != 0 {
		return d.responseMember(f, name, empty, n)
	}
	if seen.has(x) {
		if done, err := d.mergeMember(f, name, empty, start); done || err != nil {
			return err
		}
	}
	seen.add(x)
	if f.typ < Struct && !empty {
		return d.slowMember(f, name)
	}
	w := d.draft
	at := len(w.Buf)
	cut := d.openVolatile(f, at)
	w.Buf = f.appendKey(w.Buf)
	from := len(w.Buf)
	if f.typ < Struct {
		w.Buf = w.Buf[:from-f.quote()]
		from = len(w.Buf)
		d.text = d.text[:0]
		d.scalar(f.typ)
	} else if f.role&isTags != 0 {
		err = d.tags(f.node, name, empty, from)
	} else {
		err = d.value(f.node, name, empty)
	}
	if err != nil {
		return err
	}
	d.closeMember(f, at, from, cut)
	return nil
}

// slowMember reads a scalar with any content.
func (d *Decoder) slowMember(f *field, name string) error {
	if err := d.readText(name); err != nil {
		return err
	}
	d.idUnread = d.idUnread || d.textErr != nil && f.idPart != 0
	w := d.draft
	at := len(w.Buf)
	cut := d.openVolatile(f, at)
	w.Buf = f.appendKey(w.Buf)
	w.Buf = w.Buf[:len(w.Buf)-f.quote()]
	from := len(w.Buf)
	d.scalar(f.typ)
	if f.role&isDocument != 0 {
		d.document(from)
	}
	d.closeMember(f, at, from, cut)
	return nil
}

func (d *Decoder) openVolatile(f *field, at int) int {
	if f.role&isVolatile == 0 {
		return -1
	}
	return d.draft.OpenMark(record.VolatileMark, at+1) // without the comma
}

// closeMember ends the member at at, whose value begins at from.
func (d *Decoder) closeMember(f *field, at, from, cut int) {
	if f.role&isSensitive != 0 && d.options.Sensitive != Clear {
		if d.options.Sensitive == Drop {
			d.draft.Truncate(at, d.draft.FirstMarkAt(at+1))
			return
		}
		d.digest(f, from)
	}
	if cut >= 0 {
		d.draft.CloseMark(cut, len(d.draft.Buf))
	}
	if f.typ < Struct {
		d.noteSpan(f, record.SpanOf(from, len(d.draft.Buf)))
	}
}

func (f *field) appendKey(b []byte) []byte {
	if f.longKey != "" {
		return append(b, f.longKey...)
	}
	return append(b, f.key[:f.keyLen]...)
}

// quote is 1 if the key ends with the opening quote of the value, else 0.
func (f *field) quote() int {
	switch f.typ {
	case String, Timestamp, Blob:
		return 1
	}
	return 0
}

// errEnd means that a structure ended.
var errEnd = errors.New("end")

// uncommonTag reads the tag at i, which the fast path does not handle.
func (d *Decoder) uncommonTag(n *node, name string, start int, seen *seenMembers, slot *int, i int) error {
	d.pos = i
	raw, k, err := d.nextTag()
	if err != nil {
		return err
	}
	if k == endTag {
		if err := d.endElement(raw, name); err != nil {
			return err
		}
		return errEnd
	}
	x := n.find(raw)
	if x < 0 {
		if n == d.program.root && d.program.spec.Items != "" { // next to the items, where there is no record
			d.page.AddUnknown(1)
			if k == emptyTag {
				return nil
			}
			return d.skip(string(raw))
		}
		return d.unknownMember(n, string(raw), k == emptyTag, start, seen)
	}
	d.hints[*slot].next = uint8(x)
	*slot = n.slot + 1 + x
	f := &n.fields[x]
	elem := f.wire.name
	if elem != string(raw) { // different case
		elem = string(raw)
	}
	return d.member(n, x, elem, k == emptyTag, start, seen)
}

// endElement checks that an end tag matches the open element, and closes the element.
func (d *Decoder) endElement(raw []byte, name string) error {
	if string(raw) != name {
		return fmt.Errorf("%w: <%s> ends with </%.40s>", ErrSyntax, name, raw)
	}
	d.closeElement()
	return nil
}

// value reads the content of an element after its start tag, and writes it.
func (d *Decoder) value(n *node, name string, empty bool) error {
	start := len(d.draft.Buf)
	switch n.typ {
	case Struct:
		if !empty {
			var seen seenMembers
			if err := d.members(n, name, start, &seen); err != nil {
				return err
			}
		}
		d.brackets(start, '{', '}')
		return nil
	case List, Map:
		return d.collection(n, name, empty, start)
	}
	if !empty {
		if err := d.readText(name); err != nil {
			return err
		}
	} else {
		d.text = d.text[:0]
	}
	d.scalar(n.typ)
	return nil
}

// brackets ends a structure, a list or a map: its opening bracket replaces the comma before its first member.
func (d *Decoder) brackets(start int, open, shut byte) {
	if b := d.draft.Buf; len(b) == start {
		d.draft.Buf = append(b, open, shut)
	} else {
		b[start] = open
		d.draft.Buf = append(b, shut)
	}
}

// collection reads a list or a map that begins at start in the draft, or further elements of one.
func (d *Decoder) collection(n *node, name string, empty bool, start int) error {
	set := -1
	if !n.ordered {
		set = d.openMultiset(start)
	}
	var err error
	if n.typ == Map {
		if err = d.entries(n, name, empty, start); err == nil {
			d.brackets(start, '{', '}')
		}
	} else if err = d.elements(n, name, empty, set); err == nil {
		d.brackets(start, '[', ']')
	}
	if err == nil && set >= 0 {
		d.draft.CloseMark(set, len(d.draft.Buf))
	}
	return err
}

// elements reads the elements of a list, or adjacent elements that are the list themselves.
func (d *Decoder) elements(n *node, name string, empty bool, set int) error {
	switch {
	case n.flat:
		for more := true; more; more, name, empty = d.another(n), n.itemName.name, false {
			if err := d.listElement(n, name, empty, set); err != nil {
				return err
			}
		}
		return nil
	case empty:
		return nil
	}
	if err := d.openElement(name); err != nil {
		return err
	}
	for {
		elem, empty, end, err := d.element(n, name)
		if err != nil || end {
			return err
		}
		if err := d.listElement(n, elem, empty, set); err != nil {
			return err
		}
	}
}

// another reads the start tag of a further element of a flat list or map, if it is next.
func (d *Decoder) another(n *node) bool {
	d.ensureLookahead()
	i := d.spaceEnd()
	if d.buf[i] != '<' || !n.itemName.matches(d.buf[i+1:]) {
		return false
	}
	d.pos = i + 1 + int(n.itemName.size)
	return true
}

// openMultiset returns the mark of the list or map that begins at start: a new mark, unless the list was begun before.
func (d *Decoder) openMultiset(start int) int {
	if len(d.draft.Buf) == start {
		return d.draft.OpenMark(record.SetMark, start)
	}
	return d.draft.FirstMarkAt(start)
}

// listElement reads one element of a list.
func (d *Decoder) listElement(n *node, name string, empty bool, set int) error {
	w := d.draft
	if cap(w.Buf)-len(w.Buf) < slack {
		if err := d.grow(); err != nil {
			return err
		}
	}
	w.Buf = append(w.Buf, ',')
	mark := -1
	if set >= 0 {
		mark = w.OpenMark(record.ElementMark, len(w.Buf))
	}
	if err := d.value(n.elem, name, empty); err != nil {
		return err
	}
	if mark >= 0 {
		w.CloseMark(mark, len(w.Buf))
	}
	return nil
}

// tags reads the item's tags, which are also part of the envelope.
func (d *Decoder) tags(n *node, name string, empty bool, start int) error {
	w := d.draft
	set := d.openMultiset(start)
	if !empty {
		if err := d.eachElement(n, name, func(elem string, empty bool) error {
			d.tagKey, d.tagValue = record.Span{}, record.Span{}
			if err := d.listElement(n, elem, empty, set); err != nil {
				return err
			}
			if d.tagKey.Present() {
				d.page.AddTag(d.tagKey, d.tagValue)
				if d.program.spec.Name == "" && string(d.tagKey.Slice(w.Buf)) == `"Name"` {
					d.page.SetName(d.tagValue)
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	d.brackets(start, '[', ']')
	w.CloseMark(set, len(w.Buf))
	return nil
}
