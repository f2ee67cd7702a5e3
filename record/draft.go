package record

import "slices"

// Span is bytes of a buffer, by place: it survives the buffer's growth, which a slice does not. The zero value is absent: it is
// of no bytes and at no place, so moving it does nothing. An empty span has a place.
type Span struct{ start, end int } // one more than the offsets, so that 0 is none of them

// SpanOf is the bytes of a buffer from an offset up to another.
func SpanOf(from, to int) Span { return Span{from + 1, to + 1} }

// Present reports whether the span was set.
func (s Span) Present() bool { return s.start > 0 }

// Slice is the span's bytes; nil where it is absent. They are capped: an append to them cannot reach what follows.
func (s Span) Slice(b []byte) []byte {
	if s.start == 0 {
		return nil
	}
	return b[s.start-1 : s.end-1 : s.end-1]
}

func (s Span) len() int  { return s.end - s.start }
func (s Span) from() int { return s.start - 1 }
func (s Span) to() int   { return s.end - 1 }

// shifted is the span where its bytes stand d further on.
func (s Span) shifted(d int) Span {
	if s.start == 0 {
		return s
	}
	return Span{s.start + d, s.end + d}
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
	nested   uint32 // how many marks follow that lie inside this one
	kind     MarkKind
}

// A MarkKind is the rule of a mark.
type MarkKind uint8

// The kinds of marks. A cut is a member, `"Key":value`, that does not say whether a resource changed. A set is a list
// whose elements have no order; an elem is one of them.
const (
	VolatileMark MarkKind = iota + 1
	SetMark
	ElementMark
)

// OpenMark begins a mark at an offset. It returns the mark's number for Close; marks close in the reverse order.
func (d *Draft) OpenMark(k MarkKind, at int) int {
	d.marks = append(d.marks, mark{from: uint32(at), kind: k})
	return len(d.marks) - 1
}

// CloseMark ends a mark at an offset.
func (d *Draft) CloseMark(m, at int) {
	d.marks[m].to, d.marks[m].nested = uint32(at), uint32(len(d.marks)-m-1)
}

// Truncate takes back what was written from an offset on, and all marks but the first so many.
func (d *Draft) Truncate(at, marks int) { d.Buf, d.marks = d.Buf[:at], d.marks[:marks] }

// AppendCanonical appends the canonical form of what was written from an offset on: see [View.Sum].
func (d *Draft) AppendCanonical(c *Canonicalizer, dst []byte, from int) []byte {
	return c.append(dst, d.Buf, from, len(d.Buf), d.marks[d.FirstMarkAt(from):])
}

// MoveToEnd moves a member, from its comma to its end, and the marks in it behind all that follows it. It returns where the
// member is now. A mark that begins where the comma stands is not the member's but of what encloses it.
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

// FirstMarkAt is the number of the first mark that begins at or after an offset. By it a closed list can go on: its mark is
// closed again when it ends.
func (d *Draft) FirstMarkAt(at int) int {
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
