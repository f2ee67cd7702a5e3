package format

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/bits"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// limits bound the memory of a column. A page ends at the first row boundary after it is full. A page is also the
// smallest unit that a reader decodes, and that the page index lets it skip.
type limits struct {
	pageBytes  int
	pageValues int

	// dictionaryBytes is the largest dictionary: a larger one saves nothing. The pages after it are PLAIN.
	dictionaryBytes int

	// boundBytes is the longest value that may be a bound. A chunk with a longer value has no bounds.
	boundBytes int
}

func defaultLimits() limits {
	return limits{pageBytes: pageBytes, pageValues: 20_000, dictionaryBytes: 1 << 20, boundBytes: 1 << 10}
}

const pageBytes = 1 << 20

// A leaf is a leaf column of the schema: one sequence of values, with their nesting. A map has two.
type leaf struct {
	path       []string
	physical   int
	nullable   bool // has definition levels: 1 for a value, 0 for NULL
	nested     bool // has repetition levels: 0 for the first value of a row
	hasBounds  bool
	compressor *pageCompressor

	// the current page
	definitionLevels, repetitionLevels []uint8
	plain                              []byte   // PLAIN values
	indexes                            []uint32 // or their indexes in the dictionary
	rows                               int
	levels                             int // values and NULLs
	bounds                             bounds

	// the current chunk
	dict       dictionary
	pages      []page
	pageBuffer pageStore // the finished pages
	size       int64     // before compression
}

// A page is what the page index holds about a page.
type page struct {
	offset   int64 // after the chunk's dictionary; in the file once the chunk is written
	length   int   // including the header
	rows     int
	values   int
	nulls    int
	encoding int
	bounds   bounds
}

// beginRow starts a row, and a new page if the current one is full.
func (l *leaf) beginRow() {
	if len(l.plain) >= l.compressor.pageBytes || l.levels >= l.compressor.pageValues {
		l.endPage()
	}
	l.rows++
}

// addLevel adds the levels of a value or a NULL. first: it is the first of its row.
func (l *leaf) addLevel(value, first bool) {
	l.levels++
	if l.nullable {
		l.definitionLevels = append(l.definitionLevels, bit(value))
	}
	if l.nested {
		l.repetitionLevels = append(l.repetitionLevels, bit(!first))
	}
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

func (l *leaf) int64(v int64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(v))
	l.plain = append(l.plain, b[:]...)
	l.bounds.int64(v)
}

func (l *leaf) text(s string) {
	if l.dict.active {
		if n, ok := l.dict.indexOf(s, l.compressor.dictionaryBytes); ok {
			if len(l.indexes) == 0 || l.indexes[len(l.indexes)-1] != n {
				l.bounds.text(s, l.compressor.boundBytes)
			}
			l.indexes = append(l.indexes, n)
			return
		}
		l.dict.active = false
		l.decodeIndexes()
	}
	l.plain = appendPlain(l.plain, s)
	l.bounds.text(s, l.compressor.boundBytes)
}

// decodeIndexes replaces the page's dictionary indexes by their values: a page has one encoding.
func (l *leaf) decodeIndexes() {
	for _, n := range l.indexes {
		l.plain = appendPlain(l.plain, l.dict.values[n])
	}
	l.indexes = l.indexes[:0]
}

// json adds text without bounds or dictionary.
func (l *leaf) json(b []byte) { l.plain = appendPlain(l.plain, b) }

func appendPlain[T string | []byte](dst []byte, v T) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(v)))
	return append(dst, v...)
}

// endPage compresses the page and stores it until the chunk is written.
func (l *leaf) endPage() {
	if l.levels == 0 {
		return
	}
	body := l.compressor.body[:0]
	if l.nested {
		body = appendLevels(body, l.repetitionLevels)
	}
	if l.nullable {
		body = appendLevels(body, l.definitionLevels)
	}
	p := page{offset: l.pageBuffer.size, rows: l.rows, values: l.levels, encoding: encodingPlain}
	if len(l.indexes) > 0 {
		p.encoding = encodingRLEDictionary
		width := max(1, bits.Len(uint(len(l.dict.values)-1))) // old readers do not support a width of 0
		body = append(body, byte(width))
		body = appendHybrid(body, l.indexes, width)
	} else {
		body = append(body, l.plain...)
	}
	if l.nullable {
		p.nulls = bytes.Count(l.definitionLevels, []byte{0})
	}
	p.bounds = l.bounds.encoded(l.physical)

	header, packed := l.compressor.compress(body, pageData, func(t *thriftWriter) {
		t.structField(5, func() {
			t.i32(1, p.values)
			t.i32(2, p.encoding)
			t.i32(3, encodingRLE)
			t.i32(4, encodingRLE)
		})
	})
	l.pageBuffer.write(header)
	l.pageBuffer.write(packed)
	p.length = len(header) + len(packed)
	l.size += int64(len(header) + len(body))
	l.pages = append(l.pages, p)

	l.compressor.release(body)
	l.clearPage()
}

func (l *leaf) clearPage() {
	l.definitionLevels, l.repetitionLevels, l.indexes = l.definitionLevels[:0], l.repetitionLevels[:0], l.indexes[:0]
	l.plain = reusable(l.plain)
	l.rows, l.levels = 0, 0
	l.bounds = bounds{min: l.bounds.min[:0], max: l.bounds.max[:0]}
}

// clear starts a new chunk.
func (l *leaf) clear() {
	l.clearPage()
	l.dict.clear()
	l.pages = nil
	l.pageBuffer.clear()
	l.size = 0
}

// reusable returns the buffer empty, or nil if one large value has grown it.
func reusable(b []byte) []byte {
	if cap(b) > 2*pageBytes {
		return nil
	}
	return b[:0]
}

func appendLevels(dst []byte, levels []uint8) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = appendHybrid(dst, levels, 1)
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// A pageCompressor builds pages. All leaves of a file share it.
type pageCompressor struct {
	limits
	enc    *zstd.Encoder
	body   []byte // of the page, before compression
	header thriftWriter
	packed []byte
}

// compress returns a page's header and its compressed body. Both are valid until release.
func (p *pageCompressor) compress(body []byte, kind int, more func(*thriftWriter)) (header, packed []byte) {
	p.packed = p.enc.EncodeAll(body, p.packed[:0])
	t := &p.header
	t.b = t.b[:0]
	t.structBody(func() {
		t.i32(1, kind)
		t.i32(2, len(body))
		t.i32(3, len(p.packed))
		t.i32(4, int(int32(crc32.ChecksumIEEE(p.packed))))
		more(t)
	})
	return t.b, p.packed
}

// release takes the body back for the next page.
func (p *pageCompressor) release(body []byte) {
	p.body, p.packed = reusable(body), reusable(p.packed)
}

// A dictionary numbers the distinct values of a chunk in the order of their first use.
type dictionary struct {
	enabled bool
	active  bool
	indexes map[string]uint32
	values  []string
	size    int // of the dictionary page
	last    uint32
}

// indexOf returns the index of a value, adding it if needed; false if the dictionary is full.
func (d *dictionary) indexOf(s string, full int) (uint32, bool) {
	if len(d.values) > 0 && d.values[d.last] == s { // fast path: records of a target come together
		return d.last, true
	}
	n, ok := d.indexes[s]
	if !ok {
		if d.size+4+len(s) > full {
			return 0, false
		}
		if d.indexes == nil {
			d.indexes = map[string]uint32{}
		}
		s, n = strings.Clone(s), uint32(len(d.values))
		d.indexes[s] = n
		d.values = append(d.values, s)
		d.size += 4 + len(s)
	}
	d.last = n
	return n, true
}

func (d *dictionary) clear() {
	d.active = d.enabled
	d.indexes = nil
	d.values = nil
	d.size, d.last = 0, 0
}

// A pageStore holds a chunk's pages until its group is written. It grows by segments, so growing copies nothing.
type pageStore struct {
	segments [][]byte
	used     int // number of segments in use
	size     int64
}

const segmentBytes = 64 << 10

func (s *pageStore) write(b []byte) {
	s.size += int64(len(b))
	for len(b) > 0 {
		if s.used == 0 || len(s.segments[s.used-1]) == segmentBytes {
			if s.used == len(s.segments) {
				s.segments = append(s.segments, nil)
			}
			s.used++
		}
		last := &s.segments[s.used-1]
		n := min(len(b), segmentBytes-len(*last))
		*last = append(*last, b[:n]...)
		b = b[n:]
	}
}

func (s *pageStore) clear() {
	for i := range s.segments[:s.used] {
		s.segments[i] = s.segments[i][:0]
	}
	s.used, s.size = 0, 0
}

// shrink releases memory.
func (s *pageStore) shrink() {
	if len(s.segments) > 1 {
		s.segments = [][]byte{s.segments[0]}
	}
}
