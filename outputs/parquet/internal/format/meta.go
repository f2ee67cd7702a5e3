package format

// writeIndexes writes the page index of every chunk, which tells readers which pages may hold a value.
func (f *File) writeIndexes() {
	for g := range f.groups {
		for i := range f.groups[g].chunks {
			c := &f.groups[g].chunks[i]
			if f.leaves[i].hasBounds && !c.bounds.tooLong {
				c.columnIndexSpan = f.writeStruct(func(t *thriftWriter) { c.writeColumnIndex(t, f.leaves[i].physical) })
			}
		}
	}
	for g := range f.groups {
		for i := range f.groups[g].chunks {
			c := &f.groups[g].chunks[i]
			c.offsetIndexSpan = f.writeStruct(c.writeOffsetIndex)
		}
	}
}

// writeStruct writes a Thrift structure and returns its position.
func (f *File) writeStruct(fields func(*thriftWriter)) span {
	t := &f.footer
	t.b = t.b[:0]
	t.structBody(func() { fields(t) })
	s := span{f.offset, int64(len(t.b))}
	f.write(t.b)
	return s
}

func (c *chunk) writeColumnIndex(t *thriftWriter, physical int) {
	t.boolList(1, len(c.pages), func(i int) bool { return !c.pages[i].bounds.hasValues }) // null_pages
	t.list(2, thriftBinary, len(c.pages))
	for i := range c.pages {
		t.bytesElement(c.pages[i].bounds.min)
	}
	t.list(3, thriftBinary, len(c.pages))
	for i := range c.pages {
		t.bytesElement(c.pages[i].bounds.max)
	}
	t.i32(4, boundaryOrder(physical, c.pages))
	t.list(5, thriftI64, len(c.pages))
	for i := range c.pages {
		t.intElement(int64(c.pages[i].nulls))
	}
}

func (c *chunk) writeOffsetIndex(t *thriftWriter) {
	row := int64(0)
	t.structList(1, len(c.pages), func(i int) {
		p := &c.pages[i]
		t.i64(1, p.offset)
		t.i32(2, p.length)
		t.i64(3, row)
		row += int64(p.rows)
	})
}

// writeMetadata builds FileMetaData, the footer.
func (f *File) writeMetadata(t *thriftWriter) {
	t.b = t.b[:0]
	t.structBody(func() {
		t.i32(1, 2) // the version of the format
		t.structList(2, len(f.schema), func(i int) { f.schema[i].write(t) })
		t.i64(3, f.total)
		t.structList(4, len(f.groups), func(i int) { f.writeRowGroup(t, &f.groups[i]) })
		t.text(6, f.creator)
		// column_orders: the bounds have the order that each type defines.
		t.structList(7, len(f.leaves), func(int) { t.structField(1, noFields) })
	})
}

func (f *File) writeRowGroup(t *thriftWriter, g *group) {
	var size, compressed int64
	t.structList(1, len(g.chunks), func(i int) {
		c := &g.chunks[i]
		size += c.size
		compressed += c.compressed
		t.i64(2, 0) // file_offset: deprecated, 0
		t.structField(3, func() { f.leaves[i].writeMetadata(t, c) })
		t.i64(4, c.offsetIndexSpan.offset)
		t.i32(5, int(c.offsetIndexSpan.length))
		if c.columnIndexSpan.length > 0 {
			t.i64(6, c.columnIndexSpan.offset)
			t.i32(7, int(c.columnIndexSpan.length))
		}
	})
	t.i64(2, size)
	t.i64(3, int64(g.rows))
	t.i64(5, g.chunks[0].firstOffset())
	t.i64(6, compressed)
}

func (c *chunk) firstOffset() int64 {
	if c.dictionaryOffset > 0 {
		return c.dictionaryOffset
	}
	return c.dataOffset
}

// writeMetadata writes ColumnMetaData.
func (l *leaf) writeMetadata(t *thriftWriter, c *chunk) {
	plain, dictionaryEncoded, nulls := 0, 0, 0
	for i := range c.pages {
		nulls += c.pages[i].nulls
		if c.pages[i].encoding == encodingPlain {
			plain++
		} else {
			dictionaryEncoded++
		}
	}
	encodings := []int64{encodingPlain} // also of the dictionary page
	if dictionaryEncoded > 0 {
		encodings = append(encodings, encodingRLEDictionary)
	}
	if l.nullable || l.nested {
		encodings = append(encodings, encodingRLE)
	}
	t.i32(1, l.physical)
	t.list(2, thriftI32, len(encodings))
	for _, e := range encodings {
		t.intElement(e)
	}
	t.list(3, thriftBinary, len(l.path))
	for _, name := range l.path {
		t.textElement(name)
	}
	t.i32(4, codecZstd)
	t.i64(5, c.values)
	t.i64(6, c.size)
	t.i64(7, c.compressed)
	t.i64(9, c.dataOffset)
	if c.dictionaryOffset > 0 {
		t.i64(11, c.dictionaryOffset)
	}
	t.structField(12, func() {
		t.i64(3, int64(nulls))
		if c.bounds.hasValues && !c.bounds.tooLong {
			t.bytes(5, c.bounds.max)
			t.bytes(6, c.bounds.min)
			t.boolean(7, true) // the bounds are exact
			t.boolean(8, true)
		}
	})
	counts := make([][3]int, 0, 3)
	for _, n := range [][3]int{
		{pageDictionary, encodingPlain, min(dictionaryEncoded, 1)},
		{pageData, encodingPlain, plain},
		{pageData, encodingRLEDictionary, dictionaryEncoded},
	} {
		if n[2] > 0 {
			counts = append(counts, n)
		}
	}
	t.structList(13, len(counts), func(i int) {
		for field, v := range counts[i] {
			t.i32(int16(field+1), v)
		}
	})
}
