package ec2xml

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/aws-collector/collector/record"
)

const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

// notPlain marks, by the top bit, the first byte of a text that cannot stand in a JSON string as it is, or that may end
// the text: control characters, ", &, <, \ and what is not ASCII. Bytes behind the first may be marked wrongly.
//
// To take a number from a byte that is less than it sets the top bit: so space finds what is below it, and 1 finds zero.
func notPlain(x uint64) uint64 {
	qa, l, s := (x|ones*('"'^'&'))^(ones*'&'), x^(ones*'<'), x^(ones*'\\') // " and & differ in one bit
	return (x | (x - ones*' ') | (qa - ones) | (l - ones) | (s - ones)) & tops
}

// members reads the members of a structure up to its end, each as `,"Key":value` behind start, where the structure
// begins in the draft. What EC2 sends all the time is done here, with the help of what came next the last time; the rest
// is left to member, odd and again.
func (d *Decoder) members(n *node, name string, start int, seen *met) error {
	if err := d.enter(name); err != nil {
		return err
	}
	slot := n.slot
	for {
		d.look()
		w := d.w
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
			i = d.space()
			h.indent = uint8(min(i-d.pos, 255)) // longer ones are never found in this way
		}
		if b[i] != '<' {
			if err := d.other(n, name, start, seen, &slot, i); err != nil {
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
		if f == nil || !f.wire.begins(b[i+1:]) {
			if e := i + 2 + len(name); b[i+1] == '/' && string(b[i+2:e]) == name && b[e] == '>' {
				h.next = atEnd
				d.pos = e + 1
				d.leave()
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
			if x < 0 { // a comment, attributes, an unknown member, the window's end
				if err := d.other(n, name, start, seen, &slot, i); err != nil {
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
		if seen.has(x) || empty || f.typ >= Struct || f.role&^noted != 0 || f.long != "" {
			if err := d.member(n, x, f.wire.name, empty, start, seen); err != nil {
				return err
			}
			continue
		}
		seen.add(x)

		// A text: copied as it is looked at.
		o := w.Buf[:cap(w.Buf)]
		k := len(w.Buf)
		*(*[len(f.key)]byte)(o[k:]) = f.key
		k += int(f.keyLen)
		from := k
		for {
			word := binary.LittleEndian.Uint64(b[j:])
			binary.LittleEndian.PutUint64(o[k:], word)
			if m := notPlain(word); m != 0 {
				step := bits.TrailingZeros64(m) >> 3
				j, k = j+step, k+step
				break
			}
			j, k = j+8, k+8
		}
		if b[j] != '<' || b[j+1] != '/' || !f.wire.begins(b[j+2:]) {
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
		if f.role != 0 || f.id != 0 {
			d.note(f, record.SpanOf(from, k))
		}
	}
}

// nameByte is what a name is made of, as far as the quick way goes.
var nameByte = func() (t [256]bool) {
	for c := range t {
		t[c] = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.'
	}
	return t
}()

// isNumber reports whether t is a number of JSON.
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

// note keeps where the id, the name and the tags stand.
func (d *Decoder) note(f *field, s record.Span) {
	if f.id != 0 {
		d.p.ID(int(f.id)-1, s)
	}
	switch {
	case f.role&isName != 0:
		d.p.Name(s)
	case f.role&isTagKey != 0:
		d.key = s
	case f.role&isTagValue != 0:
		d.val = s
	}
}

// grow makes place in the draft for what the window may bring, within the limits.
func (d *Decoder) grow() error {
	if err := d.limits(); err != nil {
		return err
	}
	d.w.Buf = slices.Grow(d.w.Buf, d.size+2*slack)
	return nil
}

// member reads a member whose start has been read: all that the quick way in members leaves.
func (d *Decoder) member(n *node, x int, name string, empty bool, start int, seen *met) (err error) {
	f := &n.fields[x]
	if f.role&(isItems|isToken|isSkip) != 0 {
		return d.special(f, name, empty, n)
	}
	if seen.has(x) {
		if done, err := d.again(f, name, empty, start); done || err != nil {
			return err
		}
	}
	seen.add(x)
	if f.typ < Struct && !empty {
		return d.slowMember(f, name)
	}
	w := d.w
	at := len(w.Buf)
	cut := d.cut(f, at)
	w.Buf = f.appendKey(w.Buf)
	from := len(w.Buf)
	if f.typ < Struct {
		w.Buf = w.Buf[:from-f.quote()]
		from = len(w.Buf)
		d.text = d.text[:0]
		d.scalar(f.typ)
	} else if f.role&isTags != 0 {
		err = d.tags(f.n, name, empty, from)
	} else {
		err = d.value(f.n, name, empty)
	}
	if err != nil {
		return err
	}
	d.close(f, at, from, cut)
	return nil
}

// slowMember reads a text with anything in it.
func (d *Decoder) slowMember(f *field, name string) error {
	if err := d.plain(name); err != nil {
		return err
	}
	w := d.w
	at := len(w.Buf)
	cut := d.cut(f, at)
	w.Buf = f.appendKey(w.Buf)
	w.Buf = w.Buf[:len(w.Buf)-f.quote()]
	from := len(w.Buf)
	d.scalar(f.typ)
	d.close(f, at, from, cut)
	return nil
}

func (d *Decoder) cut(f *field, at int) int {
	if f.role&isVolatile == 0 {
		return -1
	}
	return d.w.Open(record.Cut, at+1) // not the comma
}

// close ends a member that begins at at and whose value begins at from.
func (d *Decoder) close(f *field, at, from, cut int) {
	if f.role&isSensitive != 0 && d.o.Sensitive != Clear {
		if d.o.Sensitive == Drop {
			d.w.Truncate(at, d.w.MarkAt(at+1))
			return
		}
		d.digest(f, from)
	}
	if cut >= 0 {
		d.w.Close(cut, len(d.w.Buf))
	}
	if f.typ < Struct {
		d.note(f, record.SpanOf(from, len(d.w.Buf)))
	}
}

func (f *field) appendKey(b []byte) []byte {
	if f.long != "" {
		return append(b, f.long...)
	}
	return append(b, f.key[:f.keyLen]...)
}

// quote is 1 where the key ends with the value's first quote.
func (f *field) quote() int {
	switch f.typ {
	case String, Timestamp, Blob:
		return 1
	}
	return 0
}

// errEnd says that a structure ended.
var errEnd = errors.New("end")

// other reads what is not the quick way's: it begins at i.
func (d *Decoder) other(n *node, name string, start int, seen *met, slot *int, i int) error {
	d.pos = i
	raw, k, err := d.tag()
	if err != nil {
		return err
	}
	if k == endTag {
		if err := d.ends(raw, name); err != nil {
			return err
		}
		return errEnd
	}
	x := n.find(raw)
	if x < 0 {
		if n == d.g.root && d.g.spec.Items != "" { // beside the items, where no record is
			d.p.Odd(1)
			if k == emptyTag {
				return nil
			}
			return d.skip(string(raw))
		}
		return d.unknown(n, string(raw), k == emptyTag, start, seen)
	}
	d.hints[*slot].next = uint8(x)
	*slot = n.slot + 1 + x
	f := &n.fields[x]
	elem := f.wire.name
	if elem != string(raw) { // written in another case
		elem = string(raw)
	}
	return d.member(n, x, elem, k == emptyTag, start, seen)
}

// ends checks an end tag against the element that is open, and closes it.
func (d *Decoder) ends(raw []byte, name string) error {
	if string(raw) != name {
		return fmt.Errorf("%w: <%s> ends with </%.40s>", ErrSyntax, name, raw)
	}
	d.leave()
	return nil
}

// value reads what is behind a start tag, and writes it.
func (d *Decoder) value(n *node, name string, empty bool) error {
	start := len(d.w.Buf)
	switch n.typ {
	case Struct:
		if !empty {
			var seen met
			if err := d.members(n, name, start, &seen); err != nil {
				return err
			}
		}
		d.brackets(start, '{', '}')
		return nil
	case List:
		return d.list(n, name, empty, start)
	}
	if !empty {
		if err := d.plain(name); err != nil {
			return err
		}
	} else {
		d.text = d.text[:0]
	}
	d.scalar(n.typ)
	return nil
}

// brackets ends a structure or a list: what was written for its first comma becomes its opening bracket.
func (d *Decoder) brackets(start int, open, shut byte) {
	if b := d.w.Buf; len(b) == start {
		d.w.Buf = append(b, open, shut)
	} else {
		b[start] = open
		d.w.Buf = append(b, shut)
	}
}

// list reads a list, or more elements of one, which begins in the draft at start.
func (d *Decoder) list(n *node, name string, empty bool, start int) error {
	w := d.w
	set := -1
	if !n.ordered {
		set = d.openSet(start)
	}
	if !empty {
		if err := d.enter(name); err != nil {
			return err
		}
		for {
			elem, empty, end, err := d.element(n, name)
			if err != nil {
				return err
			}
			if end {
				break
			}
			if err := d.listed(n, elem, empty, set); err != nil {
				return err
			}
		}
	}
	d.brackets(start, '[', ']')
	if set >= 0 {
		w.Close(set, len(w.Buf))
	}
	return nil
}

// openSet is the mark of a list that begins at start: a new one, unless the list has begun before.
func (d *Decoder) openSet(start int) int {
	if len(d.w.Buf) == start {
		return d.w.Open(record.Set, start)
	}
	return d.w.MarkAt(start)
}

// listed reads an element of a list.
func (d *Decoder) listed(n *node, name string, empty bool, set int) error {
	w := d.w
	if cap(w.Buf)-len(w.Buf) < slack {
		if err := d.grow(); err != nil {
			return err
		}
	}
	w.Buf = append(w.Buf, ',')
	mark := -1
	if set >= 0 {
		mark = w.Open(record.Elem, len(w.Buf))
	}
	if err := d.value(n.elem, name, empty); err != nil {
		return err
	}
	if mark >= 0 {
		w.Close(mark, len(w.Buf))
	}
	return nil
}

// tags reads the item's tags, which the record also has in its envelope.
func (d *Decoder) tags(n *node, name string, empty bool, start int) error {
	w := d.w
	set := d.openSet(start)
	if !empty {
		if err := d.each(n, name, func(elem string, empty bool) error {
			d.key, d.val = record.Span{}, record.Span{}
			if err := d.listed(n, elem, empty, set); err != nil {
				return err
			}
			if d.key.Present() {
				d.p.Tag(d.key, d.val)
				if d.g.spec.Name == "" && string(d.key.In(w.Buf)) == `"Name"` {
					d.p.Name(d.val)
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	d.brackets(start, '[', ']')
	w.Close(set, len(w.Buf))
	return nil
}
