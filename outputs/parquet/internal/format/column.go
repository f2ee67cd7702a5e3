package format

import "slices"

// A Column takes the values of one column, with one call a row.
type Column struct {
	leaves []*leaf // two for a map: keys and values
	keys   []string
}

func newColumn(f *Field, compressor *pageCompressor) *Column {
	if f.Type == Map {
		key := &leaf{
			path:       []string{f.Name, entryName, keyName},
			physical:   typeByteArray,
			nullable:   true,
			nested:     true,
			hasBounds:  true,
			compressor: compressor,
		}
		value := *key
		value.path = []string{f.Name, entryName, valueName}
		key.dict.enabled, value.dict.enabled = true, f.Dictionary
		return &Column{leaves: []*leaf{key, &value}}
	}
	l := &leaf{
		path:       []string{f.Name},
		physical:   typeByteArray,
		nullable:   f.Optional,
		hasBounds:  f.Type != JSON,
		compressor: compressor,
	}
	if f.Type == Timestamp || f.Type == Int64 {
		l.physical = typeInt64
	}
	l.dict.enabled = f.Dictionary
	return &Column{leaves: []*leaf{l}}
}

// Null adds NULL; the Field must be Optional.
func (c *Column) Null() {
	l := c.leaves[0]
	l.beginRow()
	l.addLevel(false, true)
}

// Text adds a value of type String.
func (c *Column) Text(s string) { c.value().text(s) }

// JSON adds a value of type JSON.
func (c *Column) JSON(b []byte) { c.value().json(b) }

// Int64 adds a value of type Int64 or Timestamp.
func (c *Column) Int64(v int64) { c.value().int64(v) }

func (c *Column) value() *leaf {
	l := c.leaves[0]
	l.beginRow()
	l.addLevel(true, true)
	return l
}

// Map adds a map, sorted by key so that equal rows are equal bytes.
func (c *Column) Map(m map[string]string) {
	key, value := c.leaves[0], c.leaves[1]
	key.beginRow()
	value.beginRow()
	if len(m) == 0 {
		key.addLevel(false, true)
		value.addLevel(false, true)
		return
	}
	c.keys = c.keys[:0]
	for k := range m {
		c.keys = append(c.keys, k)
	}
	slices.Sort(c.keys)
	for i, k := range c.keys {
		key.addLevel(true, i == 0)
		key.text(k)
		value.addLevel(true, i == 0)
		value.text(m[k])
	}
	clear(c.keys)
}
