// Package format writes Parquet files of flat columns and text maps. It implements what one schema needs: data pages of
// version 1, PLAIN and RLE_DICTIONARY, zstd, and the page index. It does not read files and does not know what the
// columns mean. Begin at [NewFile].
//
// A file is a list of row groups, a row group is one chunk a column, a chunk is a list of pages, and the footer holds
// their positions: https://parquet.apache.org/docs/file-format/ and
// https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift, whose names are used here.
package format

// A Type is the type of a column's values.
type Type uint8

const (
	String    Type = iota // UTF-8
	JSON                  // without bounds: nobody searches for a range of documents
	Timestamp             // microseconds since 1970, in UTC
	Int64
	Map // text to text, never NULL
)

// A Field describes a column to readers.
type Field struct {
	Name     string
	Type     Type
	Optional bool // may be NULL; not for a Map

	// Dictionary is for text that repeats: a row group stores each distinct value once, and an index for each row. For a
	// Map it applies to the values; the keys always have a dictionary.
	Dictionary bool
}

// The values of parquet.thrift's enumerations that are used.
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

// An element is a node of the schema: a column, or a group of columns.
type element struct {
	name       string
	physical   int // for a leaf
	repetition int
	children   int // for a group, which has no physical type
	converted  int // -1: none
	logical    func(*thriftWriter)
}

// elements returns the schema's nodes, depth first.
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
					t.boolean(1, true) // isAdjustedToUTC
					t.structField(2, func() {
						t.structField(2, noFields) // unit: MICROS
					})
				})
			}
		case Int64:
			e.physical, e.converted, e.logical = typeInt64, convertedInt64, func(t *thriftWriter) {
				t.structField(logicalInteger, func() {
					t.i8(1, 64)
					t.boolean(2, true)
				})
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

// The node names that the format prescribes for a map.
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
