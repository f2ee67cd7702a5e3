// Package format writes Parquet files of flat columns and maps of text. It knows as much of the format as a writer of one
// schema needs: data pages of version 1, PLAIN and RLE_DICTIONARY, zstd, and the index of pages. It reads nothing, and knows
// nothing of what is written. Begin at [NewFile].
//
// A file is row groups, a group is a chunk a column, a chunk is pages, and what stands where is said at the file's end:
// https://parquet.apache.org/docs/file-format/ and
// https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift, whose names are used here.
package format

// A Type is what the values of a column are.
type Type uint8

const (
	String    Type = iota // UTF-8
	JSON                  // of these no bounds are kept: nobody looks for a document between two others
	Timestamp             // microseconds since 1970, in UTC
	Int64
	Map // of text to text, never NULL
)

// A Field is a column as a reader sees it.
type Field struct {
	Name     string
	Type     Type
	Optional bool // it may be NULL; not for a Map

	// Dictionary is for text that repeats: each value is written once a row group, and a number stands for it. Of a Map it is
	// about the values; the keys always have one.
	Dictionary bool
}

// The enumerations of parquet.thrift, as far as they are written.
const (
	typeInt64     = 2
	typeByteArray = 6

	required = 0
	optional = 1
	repeated = 2

	convertedUTF8            = 0
	convertedMap             = 1
	convertedTimestampMicros = 10
	convertedInt64           = 18
	convertedJSON            = 19

	logicalString    = 1
	logicalMap       = 2
	logicalTimestamp = 8
	logicalInteger   = 10
	logicalJSON      = 12

	encodingPlain         = 0
	encodingRLE           = 3
	encodingRLEDictionary = 8

	codecZstd = 6

	pageData       = 0
	pageDictionary = 2

	orderNone       = 0
	orderAscending  = 1
	orderDescending = 2
)

// An element is a node of the schema: a column, or what columns stand in.
type element struct {
	name       string
	physical   int // of a leaf
	repetition int
	children   int // of a group: it has no physical type
	converted  int // -1: none
	logical    func(*thriftWriter)
}

// elements are the schema's nodes, depth first.
func elements(name string, fields []Field) []element {
	all := []element{{name: name, repetition: -1, children: len(fields), converted: -1}}
	for _, f := range fields {
		e := element{name: f.Name, repetition: required}
		if f.Optional {
			e.repetition = optional
		}
		switch f.Type {
		case String:
			e.physical, e.converted, e.logical = typeByteArray, convertedUTF8, emptyStruct(logicalString)
		case JSON:
			e.physical, e.converted, e.logical = typeByteArray, convertedJSON, emptyStruct(logicalJSON)
		case Timestamp:
			e.physical, e.converted, e.logical = typeInt64, convertedTimestampMicros, func(t *thriftWriter) {
				t.structField(logicalTimestamp, func() {
					t.boolean(1, true)                                      // adjusted to UTC
					t.structField(2, func() { t.structField(2, noFields) }) // the unit, of which the second is the microsecond
				})
			}
		case Int64:
			e.physical, e.converted, e.logical = typeInt64, convertedInt64, func(t *thriftWriter) {
				t.structField(logicalInteger, func() { t.i8(1, 64); t.boolean(2, true) })
			}
		case Map:
			e.children, e.converted, e.logical = 1, convertedMap, emptyStruct(logicalMap)
			text := element{
				physical:   typeByteArray,
				repetition: required,
				converted:  convertedUTF8,
				logical:    emptyStruct(logicalString),
			}
			key, value := text, text
			key.name, value.name = keyName, valueName
			all = append(all, e, element{name: entryName, repetition: repeated, children: 2, converted: -1}, key, value)
			continue
		}
		all = append(all, e)
	}
	return all
}

// The names that the format gives the nodes of a map.
const (
	entryName = "key_value"
	keyName   = "key"
	valueName = "value"
)

func noFields() {}

func emptyStruct(id int16) func(*thriftWriter) {
	return func(t *thriftWriter) { t.structField(id, noFields) }
}

func (e *element) write(t *thriftWriter) {
	if e.children == 0 {
		t.i32(1, e.physical)
	}
	if e.repetition >= 0 {
		t.i32(3, e.repetition)
	}
	t.text(4, e.name)
	if e.children > 0 {
		t.i32(5, e.children)
	}
	if e.converted >= 0 {
		t.i32(6, e.converted)
	}
	if e.logical != nil {
		t.structField(10, func() { e.logical(t) })
	}
}
