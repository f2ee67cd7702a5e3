package record

import "slices"

// Span is bytes of a buffer, by place: it survives the buffer's growth, which a slice does not. The zero value is absent: it is
// of no bytes and at no place, so moving it does nothing. An empty span has a place.
type Span struct{ at, end int } // one more than the offsets, so that 0 is none of them

// SpanOf is the bytes of a buffer from an offset up to another.
func SpanOf(from, to int) Span { return Span{from + 1, to + 1} }

// Present reports whether the span was set.
func (s Span) Present() bool { return s.at > 0 }

// In is the span's bytes; nil where it is absent. They are capped: an append to them cannot reach what follows.
func (s Span) In(b []byte) []byte {
	if s.at == 0 {
		return nil
	}
	return b[s.at-1 : s.end-1 : s.end-1]
}

func (s Span) len() int  { return s.end - s.at }
func (s Span) from() int { return s.at - 1 }
func (s Span) to() int   { return s.end - 1 }

// moved is the span where its bytes stand d further on.
func (s Span) moved(d int) Span {
	if s.at == 0 {
		return s
	}
	return Span{s.at + d, s.end + d}
}

// A Draft is JSON that is being written, with marks on it: what the content hash leaves out, and where lists are.
// The decoder appends to Buf and to nothing else; offsets that it hands in are offsets of Buf.
type Draft struct {
	Buf   []byte
	marks []mark
}

// A mark is a place in the JSON that the content hash treats by a rule. Marks stand in the order in which their places
// begin, each before the marks inside it, so that one walk from left to right meets them all.
type mark struct {
	from, to uint32
	inside   uint32 // how many marks follow that lie inside this one
	kind     MarkKind
}

// A MarkKind is the rule of a mark.
type MarkKind uint8

// The kinds of marks. A cut is a member, `"Key":value`, that does not say whether a resource changed. A set is a list
// whose elements have no order; an elem is one of them.
const (
	Cut MarkKind = iota + 1
	Set
	Elem
)

// Open begins a mark at an offset. It returns the mark's number for Close; marks close in the reverse order.
func (d *Draft) Open(k MarkKind, at int) int {
	d.marks = append(d.marks, mark{from: uint32(at), kind: k})
	return len(d.marks) - 1
}

// Close ends a mark at an offset.
func (d *Draft) Close(m, at int) {
	d.marks[m].to, d.marks[m].inside = uint32(at), uint32(len(d.marks)-m-1)
}

// Truncate takes back what was written from an offset on, and all marks but the first so many.
func (d *Draft) Truncate(at, marks int) { d.Buf, d.marks = d.Buf[:at], d.marks[:marks] }

// Canonical appends the canonical form of what was written from an offset on: see [View.Sum].
func (d *Draft) Canonical(c *Canon, dst []byte, from int) []byte {
	return c.append(dst, d.Buf, from, len(d.Buf), d.marks[d.MarkAt(from):])
}

// ToEnd moves a member, from its comma to its end, and the marks in it behind all that follows it. It returns where the
// member is now. A mark that begins where the comma stands is not the member's but of what encloses it.
func (d *Draft) ToEnd(from, to int) int {
	if to == len(d.Buf) {
		return from
	}
	rotate(d.Buf[from:], to-from)
	a, b := d.MarkAt(from+1), d.MarkAt(to+1)
	for i := a; i < len(d.marks); i++ {
		delta := uint32(len(d.Buf) - to)
		if i >= b {
			delta = -uint32(to - from)
		}
		d.marks[i].from += delta
		d.marks[i].to += delta
	}
	rotate(d.marks[a:], b-a)
	return len(d.Buf) - (to - from)
}

// MarkAt is the number of the first mark that begins at or after an offset. By it a closed list can go on: its mark is
// closed again when it ends.
func (d *Draft) MarkAt(at int) int {
	i := len(d.marks)
	for i > 0 && int(d.marks[i-1].from) >= at {
		i--
	}
	return i
}

// Size is how many bytes were written, the marks included.
func (d *Draft) Size() int { return len(d.Buf) + markSize*len(d.marks) }

func (d *Draft) reset() { d.Buf, d.marks = d.Buf[:0], d.marks[:0] }

// rotate moves the first n elements of s to its end.
func rotate[T any](s []T, n int) {
	slices.Reverse(s[:n])
	slices.Reverse(s[n:])
	slices.Reverse(s)
}
