package record

import "slices"

// Span is a range of a buffer, by offsets: unlike a slice it stays valid when the buffer grows. The zero value is
// absent: it has no offset, so shifting it does nothing. An empty span has an offset.
type Span struct{ start, end int } // offsets plus one, so that 0 means absent

// SpanOf returns the span of a buffer between two offsets.
func SpanOf(from, to int) Span { return Span{from + 1, to + 1} }

// Present reports whether the span was set.
func (s Span) Present() bool { return s.start > 0 }

// Slice returns the span's bytes; nil if the span is absent. The slice is capped, so appending to it cannot overwrite
// what follows.
func (s Span) Slice(b []byte) []byte {
	if s.start == 0 {
		return nil
	}
	return b[s.start-1 : s.end-1 : s.end-1]
}

func (s Span) len() int  { return s.end - s.start }
func (s Span) from() int { return s.start - 1 }
func (s Span) to() int   { return s.end - 1 }

// shifted returns the span moved by d bytes.
func (s Span) shifted(d int) Span {
	if s.start == 0 {
		return s
	}
	return Span{s.start + d, s.end + d}
}

// A Draft is JSON that is being written, with marks for the content digest: members to leave out, and unordered lists.
// The decoder only appends to Buf; the offsets that it passes are offsets in Buf.
type Draft struct {
	Buf   []byte
	marks []mark
}

// A mark is a range of the JSON that the content digest treats specially. Marks are ordered by their start, each before
// the marks inside it, so one pass from left to right meets them all.
type mark struct {
	from, to uint32
	nested   uint32 // number of following marks that lie inside this one
	kind     MarkKind
}

// A MarkKind is the rule of a mark.
type MarkKind uint8

// The kinds of marks. VolatileMark is a member, `"Key":value`, whose change does not count as a change of the resource.
// SetMark is a list whose elements have no order, or a map; ElementMark is one of its elements or entries.
const (
	VolatileMark MarkKind = iota + 1
	SetMark
	ElementMark
)

// OpenMark begins a mark at an offset. It returns the mark's number for CloseMark. Close marks in reverse order.
func (d *Draft) OpenMark(k MarkKind, at int) int {
	d.marks = append(d.marks, mark{from: uint32(at), kind: k})
	return len(d.marks) - 1
}

// CloseMark ends a mark at an offset.
func (d *Draft) CloseMark(m, at int) {
	d.marks[m].to, d.marks[m].nested = uint32(at), uint32(len(d.marks)-m-1)
}

// Truncate removes what was written from an offset on, and keeps only the first so many marks.
func (d *Draft) Truncate(at, marks int) { d.Buf, d.marks = d.Buf[:at], d.marks[:marks] }

// AppendCanonical appends the canonical form of what was written from an offset on: see [View.Digest].
func (d *Draft) AppendCanonical(c *Canonicalizer, dst []byte, from int) []byte {
	return c.append(dst, d.Buf, from, len(d.Buf), d.marks[d.FirstMarkAt(from):])
}

// MoveToEnd moves a member, from its comma to its end and with its marks, behind everything that follows it. It returns
// the member's new offset. A mark that begins at the comma belongs to the enclosing element and stays.
func (d *Draft) MoveToEnd(from, to int) int {
	if to == len(d.Buf) {
		return from
	}
	rotate(d.Buf[from:], to-from)
	a, b := d.FirstMarkAt(from+1), d.FirstMarkAt(to+1)
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

// FirstMarkAt returns the number of the first mark that begins at or after an offset. With it a closed list can be
// continued: close its mark again at the new end.
func (d *Draft) FirstMarkAt(at int) int {
	i := len(d.marks)
	for i > 0 && int(d.marks[i-1].from) >= at {
		i--
	}
	return i
}

// Size returns the number of bytes written, marks included.
func (d *Draft) Size() int { return len(d.Buf) + markSize*len(d.marks) }

func (d *Draft) reset() { d.Buf, d.marks = d.Buf[:0], d.marks[:0] }

// rotate moves the first n elements of s to its end.
func rotate[T any](s []T, n int) {
	slices.Reverse(s[:n])
	slices.Reverse(s[n:])
	slices.Reverse(s)
}
