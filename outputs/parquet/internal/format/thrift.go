package format

import "encoding/binary"

// thrift appends what parquet.thrift describes in Thrift's compact protocol. The numbers of fields are parquet.thrift's.
//
// https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
type thrift struct {
	b    []byte
	last int16 // the number of the field before, of the structure that is being written
}

const (
	thriftTrue   = 1 // as the type of a field, and as an element of a list
	thriftFalse  = 2
	thriftI8     = 3
	thriftI32    = 5
	thriftI64    = 6
	thriftBinary = 8
	thriftList   = 9
	thriftStruct = 12
)

// field begins a field. Fields must come in ascending order: a small step takes one byte.
func (t *thrift) field(id int16, typ byte) {
	if d := id - t.last; d > 0 && d <= 15 {
		t.b = append(t.b, byte(d)<<4|typ)
	} else {
		t.b = append(t.b, typ)
		t.b = binary.AppendVarint(t.b, int64(id))
	}
	t.last = id
}

// body is the fields of a structure: of one that is a field, of an element of a list, or of the whole.
func (t *thrift) body(fields func()) {
	outer := t.last
	t.last = 0
	fields()
	t.b = append(t.b, 0)
	t.last = outer
}

func (t *thrift) i8(id int16, v int8) {
	t.field(id, thriftI8)
	t.b = append(t.b, byte(v))
}

func (t *thrift) i32(id int16, v int) {
	t.field(id, thriftI32)
	t.b = binary.AppendVarint(t.b, int64(v))
}

func (t *thrift) i64(id int16, v int64) {
	t.field(id, thriftI64)
	t.b = binary.AppendVarint(t.b, v)
}

func (t *thrift) truth(id int16, v bool) {
	if v {
		t.field(id, thriftTrue)
	} else {
		t.field(id, thriftFalse)
	}
}

func (t *thrift) text(id int16, s string) {
	t.field(id, thriftBinary)
	t.value(s)
}

func (t *thrift) bytes(id int16, b []byte) {
	t.field(id, thriftBinary)
	t.valueOf(b)
}

// value is an element of a list.
func (t *thrift) value(s string) {
	t.b = binary.AppendUvarint(t.b, uint64(len(s)))
	t.b = append(t.b, s...)
}

func (t *thrift) valueOf(b []byte) {
	t.b = binary.AppendUvarint(t.b, uint64(len(b)))
	t.b = append(t.b, b...)
}

func (t *thrift) number(v int64) { t.b = binary.AppendVarint(t.b, v) }

func (t *thrift) structure(id int16, fields func()) {
	t.field(id, thriftStruct)
	t.body(fields)
}

// list begins a list. As many elements must follow.
func (t *thrift) list(id int16, elements byte, n int) {
	t.field(id, thriftList)
	if n < 15 {
		t.b = append(t.b, byte(n)<<4|elements)
		return
	}
	t.b = append(t.b, 0xf0|elements)
	t.b = binary.AppendUvarint(t.b, uint64(n))
}

// structures is a list of n structures.
func (t *thrift) structures(id int16, n int, fields func(i int)) {
	t.list(id, thriftStruct, n)
	for i := range n {
		t.body(func() { fields(i) })
	}
}
