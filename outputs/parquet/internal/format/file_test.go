package format

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	reading "github.com/parquet-go/parquet-go/format"
	"pgregory.net/rapid"
)

// A cell is a value of a leaf with its levels.
type cell struct {
	Repetition, Definition int
	Null                   bool
	Value                  string // or the number
}

// testFile writes a random file and knows what must be read from it: for each group, the cells of each leaf.
type testFile struct {
	fields []Field
	file   *File
	out    bytes.Buffer
	rows   []int
	want   [][][]cell
}

var types = []Type{String, JSON, Timestamp, Int64, Map}

func drawFields(t *rapid.T) []Field {
	fields := make([]Field, rapid.IntRange(1, 5).Draw(t, "fields"))
	for i := range fields {
		f := Field{Name: fmt.Sprintf("f%d", i), Type: rapid.SampledFrom(types).Draw(t, "type")}
		f.Optional = f.Type != Map && rapid.Bool().Draw(t, "optional")
		f.Dictionary = (f.Type == String || f.Type == Map) && rapid.Bool().Draw(t, "dictionary")
		fields[i] = f
	}
	return fields
}

// drawText repeats values often, and sometimes returns one that is too long for a bound.
func drawText(t *rapid.T) string {
	s := rapid.OneOf(rapid.SampledFrom([]string{"", "a", "b", "ab", "\x00", "é", "\U0010ffff"}), rapid.String()).
		Draw(t, "text")
	if rapid.IntRange(0, 60).Draw(t, "long") == 60 {
		s += strings.Repeat("x", 40)
	}
	return s
}

// writeRow writes a random row, and adds its cells to want.
func (d *testFile) writeRow(t *rapid.T, want [][]cell) {
	leaf := 0
	for i, f := range d.fields {
		c := d.file.Columns[i]
		if f.Type == Map {
			m := map[string]string{}
			for range rapid.IntRange(0, 3).Draw(t, "entries") {
				m[drawText(t)] = drawText(t)
			}
			c.Map(m)
			for n, k := range slices.Sorted(maps.Keys(m)) {
				want[leaf] = append(want[leaf], cell{Repetition: min(n, 1), Definition: 1, Value: k})
				want[leaf+1] = append(want[leaf+1], cell{Repetition: min(n, 1), Definition: 1, Value: m[k]})
			}
			if len(m) == 0 {
				want[leaf] = append(want[leaf], cell{Null: true})
				want[leaf+1] = append(want[leaf+1], cell{Null: true})
			}
			leaf += 2
			continue
		}
		v := cell{Definition: int(bit(f.Optional))}
		switch {
		case f.Optional && rapid.Bool().Draw(t, "null"):
			c.Null()
			v = cell{Null: true}
		case f.Type == String:
			v.Value = drawText(t)
			c.Text(v.Value)
		case f.Type == JSON:
			v.Value = drawText(t)
			c.JSON([]byte(v.Value))
		default:
			n := rapid.OneOf(rapid.Int64Range(-2, 2), rapid.Int64()).Draw(t, "number")
			v.Value = fmt.Sprint(n)
			c.Int64(n)
		}
		want[leaf] = append(want[leaf], v)
		leaf++
	}
	d.file.EndRow()
}

func (d *testFile) write(t *rapid.T) {
	for range rapid.IntRange(0, 3).Draw(t, "groups") {
		rows := rapid.IntRange(1, 40).Draw(t, "rows")
		want := make([][]cell, len(d.file.leaves))
		for range rows {
			d.writeRow(t, want)
		}
		d.rows, d.want = append(d.rows, rows), append(d.want, want)
		if err := d.file.EndGroup(); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.file.Close(); err != nil {
		t.Fatal(err)
	}
}

// Another library reads every file that is written, and the sizes and offsets in the footer are exact.
func TestFilesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &testFile{fields: drawFields(t)}
		var err error
		if d.file, err = NewFile(&d.out, "row", "test version 1.0.0 (build 1)", d.fields); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 2).Draw(t, "files") { // one File writes both
			d.out.Reset()
			d.rows, d.want = nil, nil
			d.file.Reset(&d.out)
			d.file.compressor.limits = limits{
				pageBytes: rapid.IntRange(1, 200).Draw(t, "page bytes"), pageValues: rapid.IntRange(1, 30).Draw(t, "page values"),
				dictionaryBytes: rapid.IntRange(0, 100).Draw(t, "dictionary bytes"), boundBytes: 30,
			}
			d.write(t)
			d.check(t)
		}
	})
}

func (d *testFile) check(t *rapid.T) {
	b := d.out.Bytes()
	f, err := parquet.OpenFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(f.RowGroups()); got != len(d.want) {
		t.Fatalf("%d groups, want %d", got, len(d.want))
	}
	var total int
	for g, group := range f.RowGroups() {
		total += d.rows[g]
		if group.NumRows() != int64(d.rows[g]) {
			t.Errorf("group %d has %d rows, want %d", g, group.NumRows(), d.rows[g])
		}
		for i, chunk := range group.ColumnChunks() {
			at := g*len(d.file.leaves) + i
			pages := readPages(t, chunk)
			if diff := gocmp.Diff(d.want[g][i], slices.Concat(pages...)); diff != "" {
				t.Errorf("group %d, %s: %s", g, d.file.leaves[i].path, diff)
			}
			checkRows(t, pages, f.OffsetIndexes()[at].PageLocations)
			checkBounds(t, d.file.leaves[i], pages, f.Metadata().RowGroups[g].Columns[i], f.ColumnIndexes()[at])
		}
	}
	if f.NumRows() != int64(total) {
		t.Errorf("%d rows, want %d", f.NumRows(), total)
	}
	checkOffsets(t, b, f)
}

// readPages returns the cells of each page.
func readPages(t *rapid.T, chunk parquet.ColumnChunk) [][]cell {
	pages := chunk.Pages()
	defer pages.Close()
	var all [][]cell
	for {
		p, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		values := make([]parquet.Value, p.NumValues())
		if n, err := p.Values().ReadValues(values); n != len(values) || err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("%d of %d values: %v", n, len(values), err)
		}
		var of []cell
		for _, v := range values {
			c := cell{Repetition: v.RepetitionLevel(), Definition: v.DefinitionLevel(), Null: v.IsNull()}
			switch {
			case v.IsNull():
			case v.Kind() == parquet.ByteArray:
				c.Value = string(v.ByteArray())
			default:
				c.Value = fmt.Sprint(v.Int64())
			}
			of = append(of, c)
		}
		all = append(all, of)
		parquet.Release(p)
	}
}

// checkRows checks that a page begins at a row boundary, and that the index has its first row.
func checkRows(t *rapid.T, pages [][]cell, locations []reading.PageLocation) {
	row := int64(0)
	for i, p := range pages {
		if p[0].Repetition != 0 {
			t.Errorf("page %d begins within a row", i)
		}
		if locations[i].FirstRowIndex != row {
			t.Errorf("page %d begins at row %d, the index says %d", i, row, locations[i].FirstRowIndex)
		}
		for _, c := range p {
			row += int64(1 - c.Repetition)
		}
	}
}

func checkBounds(t *rapid.T, l *leaf, pages [][]cell, c reading.ColumnChunk, index reading.ColumnIndex) {
	order := func(a, b []byte) int { return compareBounds(l.physical, a, b) }
	encoded := func(c cell) []byte {
		if l.physical == typeByteArray {
			return []byte(c.Value)
		}
		var n int64
		fmt.Sscan(c.Value, &n)
		b := bounds{}
		b.int64(n)
		return b.encoded(typeInt64).min
	}
	nulls, long := 0, false
	var all [][]byte
	var mins, maxs [][]byte
	for i, p := range pages {
		var values [][]byte
		none := 0
		for _, c := range p {
			if c.Null {
				none++
				continue
			}
			values = append(values, encoded(c))
			long = long || len(c.Value) > 30
		}
		nulls += none
		all = append(all, values...)
		if len(index.NullPages) == 0 {
			continue
		}
		if index.NullCounts[i] != int64(none) || index.NullPages[i] != (len(values) == 0) {
			t.Errorf(
				"%s, page %d: %d are NULL and %d are not; the index says %d, %v", l.path, i, none, len(values),
				index.NullCounts[i], index.NullPages[i],
			)
		}
		if len(values) == 0 && len(index.MinValues[i])+len(index.MaxValues[i]) > 0 {
			t.Errorf("%s, page %d has no values, and bounds", l.path, i)
		}
		if len(values) > 0 {
			mins, maxs = append(mins, index.MinValues[i]), append(maxs, index.MaxValues[i])
			if !bytes.Equal(index.MinValues[i], slices.MinFunc(values, order)) ||
				!bytes.Equal(index.MaxValues[i], slices.MaxFunc(values, order)) {
				t.Errorf("%s, page %d: bounds of %q are %q and %q", l.path, i, values, index.MinValues[i], index.MaxValues[i])
			}
		}
	}
	var rise, fall bool
	switch index.BoundaryOrder {
	case reading.Ascending:
		rise = true
	case reading.Descending:
		fall = true
	}
	reversed := func(a, b []byte) int { return order(b, a) }
	if rise && !(slices.IsSortedFunc(mins, order) && slices.IsSortedFunc(maxs, order)) ||
		fall && !(slices.IsSortedFunc(mins, reversed) && slices.IsSortedFunc(maxs, reversed)) {
		t.Errorf("%s: order %v of %q and %q", l.path, index.BoundaryOrder, mins, maxs)
	}
	stats := c.MetaData.Statistics
	if stats.NullCount != int64(nulls) {
		t.Errorf("%s: %d are NULL, the statistics say %d", l.path, nulls, stats.NullCount)
	}
	if !l.hasBounds || long {
		if stats.MinValue != nil || stats.MaxValue != nil || c.ColumnIndexLength != 0 {
			t.Errorf("%s has bounds", l.path)
		}
		return
	}
	if c.ColumnIndexLength == 0 {
		t.Errorf("%s has no index", l.path)
	}
	if len(all) > 0 && (!bytes.Equal(stats.MinValue, slices.MinFunc(all, order)) ||
		!bytes.Equal(stats.MaxValue, slices.MaxFunc(all, order))) {
		t.Errorf("%s: bounds of %q are %q and %q", l.path, all, stats.MinValue, stats.MaxValue)
	}
}

// checkOffsets walks through the bytes of a file, and compares them with the sizes and offsets of the footer.
func checkOffsets(t *rapid.T, b []byte, f *parquet.File) {
	unzip, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unzip.Close()
	expect := func(what string, got, want int64) {
		if got != want {
			t.Fatalf("%s: %d, the footer says %d", what, got, want)
		}
	}
	at := int64(len(magic))
	for g, group := range f.Metadata().RowGroups {
		var size, compressed int64
		expect("group", at, group.FileOffset)
		for i, chunk := range group.Columns {
			m := chunk.MetaData
			begin := at
			var bytesOf, values, plain, numbered int64
			locations := f.OffsetIndexes()[g*len(group.Columns)+i].PageLocations
			if m.DictionaryPageOffset > 0 {
				expect("dictionary", at, m.DictionaryPageOffset)
			}
			for page := 0; at < begin+m.TotalCompressedSize; {
				r := (&thrift.CompactProtocol{}).NewReaderFromBytes(b[at:])
				var h reading.PageHeader
				if err := thrift.NewDecoder(r).Decode(&h); err != nil {
					t.Fatal(err)
				}
				header := int64(r.BytesRead())
				body := b[at+header:][:h.CompressedPageSize]
				expect("checksum", int64(int32(crc32.ChecksumIEEE(body))), int64(h.CRC))
				open, err := unzip.DecodeAll(body, nil)
				if err != nil {
					t.Fatal(err)
				}
				expect("page", int64(len(open)), int64(h.UncompressedPageSize))
				if h.Type == reading.DataPage {
					if page == 0 {
						expect("first page", at, m.DataPageOffset)
					}
					expect("page's place", at, locations[page].Offset)
					expect("page's length", header+int64(len(body)), int64(locations[page].CompressedPageSize))
					values += int64(h.DataPageHeader.V.NumValues)
					if h.DataPageHeader.V.Encoding == reading.Plain {
						plain++
					} else {
						numbered++
					}
					page++
				}
				bytesOf += header + int64(len(open))
				at += header + int64(len(body))
			}
			expect("chunk's end", at, begin+m.TotalCompressedSize)
			expect("chunk's bytes", bytesOf, m.TotalUncompressedSize)
			expect("chunk's values", values, m.NumValues)
			expect("chunk's pages", plain+numbered, int64(len(locations)))
			for _, s := range m.EncodingStats {
				switch {
				case s.PageType == reading.DictionaryPage:
					expect("dictionary's use", min(numbered, 1), int64(s.Count))
				case s.Encoding == reading.Plain:
					expect("plain pages", plain, int64(s.Count))
				default:
					expect("numbered pages", numbered, int64(s.Count))
				}
			}
			size, compressed = size+bytesOf, compressed+m.TotalCompressedSize
		}
		expect("group's bytes", size, group.TotalByteSize)
		expect("group's bytes, compressed", compressed, group.TotalCompressedSize)
	}
	for _, group := range f.Metadata().RowGroups {
		for _, chunk := range group.Columns {
			expect("column index", cmp.Or(chunk.ColumnIndexOffset, at), at)
			at += int64(chunk.ColumnIndexLength)
		}
	}
	for _, group := range f.Metadata().RowGroups {
		for _, chunk := range group.Columns {
			expect("offset index", at, chunk.OffsetIndexOffset)
			at += int64(chunk.OffsetIndexLength)
		}
	}
	length := int64(b[len(b)-8]) | int64(b[len(b)-7])<<8 | int64(b[len(b)-6])<<16 | int64(b[len(b)-5])<<24
	expect("end", at+length+8, int64(len(b)))
}

// A dictionary that is full after the first page, and so is used by none, is not written.
func TestFullDictionary(t *testing.T) {
	var out bytes.Buffer
	f, err := NewFile(&out, "row", "test", []Field{{Name: "f", Dictionary: true}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50_000 {
		f.Columns[0].Text(fmt.Sprintf("%0100d", i))
		f.EndRow()
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := parquet.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	c := r.Metadata().RowGroups[0].Columns[0].MetaData
	if c.DictionaryPageOffset != 0 || slices.Contains(c.Encoding, reading.RLEDictionary) {
		t.Errorf("a dictionary at %d, encodings %v", c.DictionaryPageOffset, c.Encoding)
	}
	if n := len(r.OffsetIndexes()[0].PageLocations); n < 50_000*104/(pageBytes+200) || n > 10 {
		t.Errorf("%d pages", n)
	}
}

// Each group has its own dictionary, even after a full one. The indexes of a single value have one bit: old readers do
// not support a width of 0.
func TestEachGroupHasADictionary(t *testing.T) {
	var out bytes.Buffer
	f, err := NewFile(&out, "row", "test", []Field{{Name: "f", Dictionary: true}})
	if err != nil {
		t.Fatal(err)
	}
	f.compressor.dictionaryBytes = 10
	for _, group := range [][]string{{"a", "a"}, {"only once", "or twice"}, {"a", "a"}} {
		for _, s := range group {
			f.Columns[0].Text(s)
			f.EndRow()
		}
		if err := f.EndGroup(); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := parquet.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	unzip, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unzip.Close()
	for i, want := range []bool{true, false, true} {
		c := r.Metadata().RowGroups[i].Columns[0].MetaData
		if got := c.DictionaryPageOffset > 0; got != want {
			t.Errorf("group %d has a dictionary: %v", i, got)
		}
		if !want {
			continue
		}
		header := (&thrift.CompactProtocol{}).NewReaderFromBytes(out.Bytes()[c.DataPageOffset:])
		var h reading.PageHeader
		if err := thrift.NewDecoder(header).Decode(&h); err != nil {
			t.Fatal(err)
		}
		at := c.DataPageOffset + int64(header.BytesRead())
		body, err := unzip.DecodeAll(out.Bytes()[at:at+int64(h.CompressedPageSize)], nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := gocmp.Diff([]byte{1, 2 << 1, 0}, body); d != "" { // width 1; a run of two; index 0
			t.Errorf("group %d: %s", i, d)
		}
	}
}

// The first write error is returned until Reset.
func TestWriteErrors(t *testing.T) {
	full := errors.New("no space left")
	for _, after := range []int{0, 1, 100, 1000} {
		f, err := NewFile(&fullDisk{free: after, full: full}, "row", "test", []Field{{Name: "f"}})
		if err != nil {
			t.Fatal(err)
		}
		for g := range 2 {
			for i := range 2000 {
				f.Columns[0].Text(fmt.Sprintf("%x", math.Sin(float64(i+g))))
				f.EndRow()
			}
			if err := f.EndGroup(); !errors.Is(err, full) {
				t.Errorf("room for %d: group %d: %v", after, g, err)
			}
		}
		if err := f.Close(); !errors.Is(err, full) {
			t.Errorf("room for %d: Close: %v", after, err)
		}
	}
}

type fullDisk struct {
	free int
	full error
}

func (d *fullDisk) Write(p []byte) (int, error) {
	if len(p) > d.free {
		n := d.free
		d.free = 0
		return n, d.full
	}
	d.free -= len(p)
	return len(p), nil
}
