package format

import "slices"

// A Column takes the values of one column, one call a row.
type Column struct {
	leaves []*leaf // of a map, two
	keys   []string
}

func newColumn(f *Field, pack *pageCompressor) *Column {
	if f.Type == Map {
		key := &leaf{
			path:       []string{f.Name, entryName, keyName},
			physical:   typeByteArray,
			nullable:   true,
			nested:     true,
			hasBounds:  true,
			compressor: pack,
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
		compressor: pack,
	}
	if f.Type == Timestamp || f.Type == Int64 {
		l.physical = typeInt64
	}
	l.dict.enabled = f.Dictionary
	return &Column{leaves: []*leaf{l}}
}

// Null is for a Field that is Optional.
func (c *Column) Null() {
	l := c.leaves[0]
	l.beginRow()
	l.addLevel(false, true)
}

// Text is for String.
func (c *Column) Text(s string) { c.value().text(s) }

// JSON is for JSON.
func (c *Column) JSON(b []byte) { c.value().json(b) }

// Int64 is for Int64 and Timestamp.
func (c *Column) Int64(v int64) { c.value().int64(v) }

func (c *Column) value() *leaf {
	l := c.leaves[0]
	l.beginRow()
	l.addLevel(true, true)
	return l
}

// Map writes a map by its keys, in order, so that the same rows are the same bytes.
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
