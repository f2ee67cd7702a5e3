package format

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

const magic = "PAR1"

// A File writes one file after another, all with the same schema. Write a row with one call on each of Columns, in any
// order, and then EndRow. Values are copied. The rows of a group stay in memory, compressed, until EndGroup.
type File struct {
	Columns []*Column

	schema     []element
	creator    string
	leaves     []*leaf
	compressor pageCompressor

	out    *bufio.Writer
	offset int64 // bytes written to the file
	rows   int   // in the current group
	total  int64
	groups []group
	footer thriftWriter
}

// A group is what the footer holds about a row group.
type group struct {
	rows   int
	chunks []chunk
}

type chunk struct {
	dictionaryOffset                 int64 // 0: none
	dataOffset                       int64 // of the first data page
	size, compressed                 int64
	values                           int64
	pages                            []page
	bounds                           bounds
	columnIndexSpan, offsetIndexSpan span
}

type span struct{ offset, length int64 }

// NewFile starts a file with the given columns. The schema's name and the creator are informational.
func NewFile(w io.Writer, schema, creator string, fields []Field) (*File, error) {
	enc, err := newCodec()
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	f := &File{
		schema:     elements(schema, fields),
		creator:    creator,
		compressor: pageCompressor{limits: defaultLimits(), enc: enc},
		out:        bufio.NewWriter(nil),
	}
	for i := range fields {
		c := newColumn(&fields[i], &f.compressor)
		f.Columns = append(f.Columns, c)
		f.leaves = append(f.leaves, c.leaves...)
	}
	f.Reset(w)
	return f, nil
}

// Reset starts another file, even after a failed one. It keeps no more memory than the buffers of a page.
func (f *File) Reset(w io.Writer) {
	f.out.Reset(w)
	f.offset, f.rows, f.total, f.groups = 0, 0, 0, nil
	f.footer.b = nil
	for _, l := range f.leaves {
		l.clear()
		l.pageBuffer.shrink()
	}
}

// EndRow ends the current row.
func (f *File) EndRow() { f.rows++ }

// write ignores the error: the buffer keeps the first one, and Flush returns it.
func (f *File) write(b []byte) {
	f.offset += int64(len(b))
	f.out.Write(b)
}

func (f *File) writeMagic() {
	if f.offset == 0 {
		f.write([]byte(magic))
	}
}

// EndGroup writes the rows since the last group as a row group.
func (f *File) EndGroup() error {
	if f.rows == 0 {
		return nil
	}
	f.writeMagic()
	g := group{rows: f.rows, chunks: make([]chunk, 0, len(f.leaves))}
	for _, l := range f.leaves {
		l.endPage()
		g.chunks = append(g.chunks, f.writeChunk(l))
		l.clear()
	}
	f.groups = append(f.groups, g)
	f.total += int64(f.rows)
	f.rows = 0
	return f.out.Flush()
}

// writeChunk writes the pages of a leaf.
func (f *File) writeChunk(l *leaf) chunk {
	c := chunk{size: l.size, pages: l.pages}
	begin := f.offset
	if slices.ContainsFunc(l.pages, func(p page) bool { return p.encoding == encodingRLEDictionary }) {
		c.dictionaryOffset = f.offset
		body := f.compressor.body[:0]
		for _, v := range l.dict.values {
			body = appendPlain(body, v)
		}
		header, packed := f.compressor.compress(body, pageDictionary, func(t *thriftWriter) {
			t.structField(7, func() {
				t.i32(1, len(l.dict.values))
				t.i32(2, encodingPlain)
			})
		})
		c.size += int64(len(header) + len(body))
		f.write(header)
		f.write(packed)
		f.compressor.release(body)
	}
	c.dataOffset = f.offset
	for _, s := range l.pageBuffer.segments[:l.pageBuffer.used] {
		f.write(s)
	}
	c.compressed = f.offset - begin
	for i := range c.pages {
		c.pages[i].offset += c.dataOffset
		c.values += int64(c.pages[i].values)
	}
	if l.hasBounds {
		c.bounds = chunkBounds(l.physical, c.pages)
	}
	return c
}

// Close writes the footer, without which a file cannot be read. It does not close the underlying writer. Everything
// written afterwards is discarded, until Reset.
func (f *File) Close() error {
	defer f.Reset(io.Discard)
	if err := f.EndGroup(); err != nil {
		return err
	}
	f.writeMagic()
	f.writeIndexes()
	f.writeMetadata(&f.footer)
	f.footer.b = binary.LittleEndian.AppendUint32(f.footer.b, uint32(len(f.footer.b)))
	f.footer.b = append(f.footer.b, magic...)
	f.write(f.footer.b)
	return f.out.Flush()
}
