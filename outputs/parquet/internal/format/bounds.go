package format

import (
	"bytes"
	"encoding/binary"
)

// bounds are the minimum and maximum of some values in the format's encoding: text as is, numbers as PLAIN.
type bounds struct {
	hasValues      bool // at least one value was added
	tooLong        bool // one value is too long for a bound
	min, max       []byte
	minInt, maxInt int64 // for numbers; encoded as min and max at the end
}

func (b *bounds) int64(v int64) {
	if !b.hasValues {
		b.hasValues, b.minInt, b.maxInt = true, v, v
		return
	}
	b.minInt, b.maxInt = min(b.minInt, v), max(b.maxInt, v)
}

func (b *bounds) text(s string, longest int) {
	switch {
	case len(s) > longest:
		b.hasValues, b.tooLong = true, true
	case !b.hasValues:
		b.hasValues = true
		b.min, b.max = append(b.min[:0], s...), append(b.max[:0], s...)
	case s < string(b.min):
		b.min = append(b.min[:0], s...)
	case s > string(b.max):
		b.max = append(b.max[:0], s...)
	}
}

// encoded returns a copy with min and max set.
func (b *bounds) encoded(physical int) bounds {
	if !b.hasValues {
		return bounds{}
	}
	copied := *b
	if physical == typeInt64 {
		copied.min = binary.LittleEndian.AppendUint64(nil, uint64(b.minInt))
		copied.max = binary.LittleEndian.AppendUint64(nil, uint64(b.maxInt))
		return copied
	}
	copied.min, copied.max = bytes.Clone(b.min), bytes.Clone(b.max)
	return copied
}

// compareBounds orders two encoded bounds.
func compareBounds(physical int, a, b []byte) int {
	if physical == typeByteArray {
		return bytes.Compare(a, b)
	}
	x, y := int64(binary.LittleEndian.Uint64(a)), int64(binary.LittleEndian.Uint64(b))
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// chunkBounds combines the bounds of all pages.
func chunkBounds(physical int, pages []page) bounds {
	var all bounds
	for i := range pages {
		b := &pages[i].bounds
		switch {
		case !b.hasValues:
		case b.tooLong:
			return bounds{hasValues: true, tooLong: true}
		case !all.hasValues:
			all = *b
		default:
			if compareBounds(physical, b.min, all.min) < 0 {
				all.min = b.min
			}
			if compareBounds(physical, b.max, all.max) > 0 {
				all.max = b.max
			}
		}
	}
	return all
}

// boundaryOrder tells whether the pages' bounds ascend or descend, so that a reader may use binary search.
func boundaryOrder(physical int, pages []page) int {
	up, down := true, true
	var last *bounds
	for i := range pages {
		b := &pages[i].bounds
		if !b.hasValues {
			continue
		}
		if last != nil {
			low, high := compareBounds(physical, last.min, b.min), compareBounds(physical, last.max, b.max)
			up = up && low <= 0 && high <= 0
			down = down && low >= 0 && high >= 0
		}
		last = b
	}
	switch {
	case up:
		return orderAscending
	case down:
		return orderDescending
	}
	return orderNone
}
