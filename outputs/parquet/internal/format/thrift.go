package format

import "encoding/binary"

// A thriftWriter encodes the structures of parquet.thrift in Thrift's compact protocol, with their field numbers.
//
// https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
type thriftWriter struct {
	b    []byte
	last int16 // the previous field number of the current structure
}

const (
	thriftTrue   = 1 // also a list element's value
	thriftFalse  = 2
	thriftI8     = 3
	thriftI32    = 5
	thriftI64    = 6
	thriftBinary = 8
	thriftList   = 9
	thriftStruct = 12
)

// field starts a field. Fields must come in ascending order: a small step takes one byte.
func (t *thriftWriter) field(id int16, typ byte) {
	if d := id - t.last; d > 0 && d <= 15 {
		t.b = append(t.b, byte(d)<<4|typ)
	} else {
		t.b = append(t.b, typ)
		t.b = binary.AppendVarint(t.b, int64(id))
	}
	t.last = id
}

// structBody writes the fields of a structure: a field's, a list element's, or the outermost one.
func (t *thriftWriter) structBody(fields func()) {
	outer := t.last
	t.last = 0
	fields()
	t.b = append(t.b, 0)
	t.last = outer
}

func (t *thriftWriter) i8(id int16, v int8) {
	t.field(id, thriftI8)
	t.b = append(t.b, byte(v))
}

func (t *thriftWriter) i32(id int16, v int) {
	t.field(id, thriftI32)
	t.b = binary.AppendVarint(t.b, int64(v))
}

func (t *thriftWriter) i64(id int16, v int64) {
	t.field(id, thriftI64)
	t.b = binary.AppendVarint(t.b, v)
}

func (t *thriftWriter) boolean(id int16, v bool) {
	if v {
		t.field(id, thriftTrue)
	} else {
		t.field(id, thriftFalse)
	}
}

func (t *thriftWriter) text(id int16, s string) {
	t.field(id, thriftBinary)
	t.textElement(s)
}

func (t *thriftWriter) bytes(id int16, b []byte) {
	t.field(id, thriftBinary)
	t.bytesElement(b)
}

// textElement writes a list element.
func (t *thriftWriter) textElement(s string) {
	t.b = binary.AppendUvarint(t.b, uint64(len(s)))
	t.b = append(t.b, s...)
}

func (t *thriftWriter) bytesElement(b []byte) {
	t.b = binary.AppendUvarint(t.b, uint64(len(b)))
	t.b = append(t.b, b...)
}

func (t *thriftWriter) intElement(v int64) { t.b = binary.AppendVarint(t.b, v) }

func (t *thriftWriter) structField(id int16, fields func()) {
	t.field(id, thriftStruct)
	t.structBody(fields)
}

// list starts a list; n elements must follow.
func (t *thriftWriter) list(id int16, elements byte, n int) {
	t.field(id, thriftList)
	if n < 15 {
		t.b = append(t.b, byte(n)<<4|elements)
		return
	}
	t.b = append(t.b, 0xf0|elements)
	t.b = binary.AppendUvarint(t.b, uint64(n))
}

// boolList writes a list of n booleans. Unlike a field, an element takes a byte.
func (t *thriftWriter) boolList(id int16, n int, of func(i int) bool) {
	t.list(id, thriftTrue, n)
	for i := range n {
		if of(i) {
			t.b = append(t.b, thriftTrue)
		} else {
			t.b = append(t.b, thriftFalse)
		}
	}
}

// structList writes a list of n structures.
func (t *thriftWriter) structList(id int16, n int, fields func(i int)) {
	t.list(id, thriftStruct, n)
	for i := range n {
		t.structBody(func() { fields(i) })
	}
}
