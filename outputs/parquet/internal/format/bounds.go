package format

import (
	"bytes"
	"encoding/binary"
)

// bounds are the least and the greatest of some values, as the format writes them: text as it is, numbers as PLAIN.
type bounds struct {
	hasValues      bool // there are values
	tooLong        bool // and one that is too long to be a bound
	min, max       []byte
	minInt, maxInt int64 // of numbers, whose min and max are made at the end
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

// encoded is a copy with min and max made.
func (b *bounds) encoded(physical int) bounds {
	if !b.hasValues {
		return bounds{}
	}
	own := *b
	if physical == typeInt64 {
		own.min, own.max = binary.LittleEndian.AppendUint64(
			nil,
			uint64(b.minInt),
		), binary.LittleEndian.AppendUint64(
			nil,
			uint64(b.maxInt),
		)
		return own
	}
	own.min, own.max = bytes.Clone(b.min), bytes.Clone(b.max)
	return own
}

// compareBounds orders what owned has made.
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

// chunkBounds are those of all pages together.
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

// boundaryOrder says whether the pages' bounds rise or fall from one to the next: a reader may then search by halves.
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
