package record

import (
	"bytes"
	"crypto/sha256"
	"slices"
)

// DigestVersion is the version of the content digest. It changes only with the canonical form. All stored digests are
// then computed again: digests of two versions are never compared.
const DigestVersion = 1

// digestPrefix separates the digests of this version from those of others and from plain SHA-256.
const digestPrefix = "collector content 1\n"

// Digest is a digest of a resource's data.
type Digest [16]byte

// Digest returns a digest that changes when the resource changes: the first 128 bits of SHA-256 over the data in
// canonical form. That form leaves out volatile members and sorts the elements of unordered lists, and the entries of
// maps, by their bytes. Members keep the order in which AWS sends them, that of its schema. It uses the decoder's
// marks, so nothing is parsed again, and it allocates nothing once the page's scratch buffer has grown.
func (v View) Digest() Digest {
	p, e := v.page, v.entry
	b := append(p.scratch[:0], digestPrefix...)
	b = p.canonicalizer.append(b, p.lines, e.data.from(), e.data.to(), p.marks[e.firstMark:e.endMark])
	p.scratch = b
	h := sha256.Sum256(b)
	return Digest(h[:16])
}

// A Canonicalizer writes canonical forms. It holds no state, only memory that it reuses.
type Canonicalizer struct {
	elements []Span
	scratch  []byte
}

// append appends src[from:to] in canonical form. marks are the marks inside that range.
func (c *Canonicalizer) append(dst, src []byte, from, to int, marks []mark) []byte {
	at := from
	for i := 0; i < len(marks); {
		m := &marks[i]
		inside := marks[i+1 : i+1+int(m.nested)]
		switch m.kind {
		case VolatileMark:
			// Remove a comma with the member: the one before it, else the one after it.
			cut, next := int(m.from), int(m.to)
			switch {
			case cut > at && src[cut-1] == ',':
				cut--
			case next < to && src[next] == ',':
				next++
			}
			dst = append(dst, src[at:cut]...)
			at = next
		case SetMark:
			dst = append(dst, src[at:m.from]...)
			dst = c.appendSet(dst, src, m, inside)
			at = int(m.to)
		}
		i += 1 + len(inside)
	}
	return append(dst, src[at:to]...)
}

func (c *Canonicalizer) appendSet(dst, src []byte, m *mark, marks []mark) []byte {
	first := len(c.elements) // lists nest, so the elements of all open lists share one stack
	start := len(dst)
	sorted := true
	for i := 0; i < len(marks); {
		e := &marks[i]
		inside := int(e.nested)
		from := len(dst)
		dst = c.append(dst, src, int(e.from), int(e.to), marks[i+1:i+1+inside])
		s := SpanOf(from, len(dst))
		if n := len(c.elements); n > first && sorted {
			last := c.elements[n-1]
			sorted = bytes.Compare(last.Slice(dst), s.Slice(dst)) <= 0
		}
		c.elements = append(c.elements, s)
		i += 1 + inside
	}
	elems := c.elements[first:]
	if !sorted {
		slices.SortFunc(elems, func(a, b Span) int { return bytes.Compare(a.Slice(dst), b.Slice(dst)) })
	}
	c.scratch = append(c.scratch[:0], src[m.from])
	for i, s := range elems {
		if i > 0 {
			c.scratch = append(c.scratch, ',')
		}
		c.scratch = append(c.scratch, s.Slice(dst)...)
	}
	c.scratch = append(c.scratch, src[m.to-1])
	c.elements = c.elements[:first]
	return append(dst[:start], c.scratch...)
}
