package record

import (
	"bytes"
	"crypto/sha256"
	"slices"
)

// SumVersion is the version of the content hash. It changes with the canonical form and with nothing else, and then
// every remembered hash is made anew: nobody compares hashes of two versions.
const SumVersion = 1

// sumPrefix keeps the hashes of one version apart from those of any other and from plain SHA-256.
const sumPrefix = "collector content 1\n"

// Sum is a hash of a resource's data.
type Sum [16]byte

// Sum says whether a resource is as it was. It is the first 128 bits of SHA-256 over the data in canonical form: without
// volatile members, and with the elements of every list that has no order sorted by their bytes. Members stand as EC2
// sends them, which is in the order of its schema. It works from the marks that the decoder made, so nothing is parsed
// again, and it allocates nothing once the page's scratch has grown.
func (v View) Sum() Sum {
	p, e := v.p, v.e
	b := append(p.scratch[:0], sumPrefix...)
	b = p.canon.append(b, p.lines, e.data.from(), e.data.to(), p.marks[e.mark0:e.mark1])
	p.scratch = b
	h := sha256.Sum256(b)
	return Sum(h[:16])
}

// A Canon writes canonical forms. It only keeps memory from one to the next.
type Canon struct {
	elems []Span
	tmp   []byte
}

// append appends src[from:to] in canonical form. marks are those that lie in it.
func (c *Canon) append(dst, src []byte, from, to int, marks []mark) []byte {
	at := from
	for i := 0; i < len(marks); {
		m := &marks[i]
		inside := marks[i+1 : i+1+int(m.inside)]
		switch m.kind {
		case Cut:
			// A comma goes with the member: the one before it, else the one after it.
			cut, next := int(m.from), int(m.to)
			switch {
			case cut > at && src[cut-1] == ',':
				cut--
			case next < to && src[next] == ',':
				next++
			}
			dst = append(dst, src[at:cut]...)
			at = next
		case Set:
			dst = append(dst, src[at:m.from]...)
			dst = c.set(dst, src, m, inside)
			at = int(m.to)
		}
		i += 1 + len(inside)
	}
	return append(dst, src[at:to]...)
}

func (c *Canon) set(dst, src []byte, m *mark, marks []mark) []byte {
	first := len(c.elems) // lists nest, so the elements of all that are open share one stack
	start := len(dst)
	sorted := true
	for i := 0; i < len(marks); {
		e := &marks[i]
		inside := int(e.inside)
		from := len(dst)
		dst = c.append(dst, src, int(e.from), int(e.to), marks[i+1:i+1+inside])
		s := SpanOf(from, len(dst))
		if n := len(c.elems); n > first && sorted {
			last := c.elems[n-1]
			sorted = bytes.Compare(last.In(dst), s.In(dst)) <= 0
		}
		c.elems = append(c.elems, s)
		i += 1 + inside
	}
	elems := c.elems[first:]
	if !sorted {
		slices.SortFunc(elems, func(a, b Span) int { return bytes.Compare(a.In(dst), b.In(dst)) })
	}
	c.tmp = append(c.tmp[:0], '[')
	for i, s := range elems {
		if i > 0 {
			c.tmp = append(c.tmp, ',')
		}
		c.tmp = append(c.tmp, s.In(dst)...)
	}
	c.tmp = append(c.tmp, ']')
	c.elems = c.elems[:first]
	return append(dst[:start], c.tmp...)
}
