package format

import (
	"bytes"
	"encoding/binary"
)

// bounds are the least and the greatest of some values, as the format writes them: text as it is, numbers as PLAIN.
type bounds struct {
	any      bool // there are values
	long     bool // and one that is too long to be a bound
	min, max []byte
	low, up  int64 // of numbers, whose min and max are made at the end
}

func (b *bounds) int64(v int64) {
	if !b.any {
		b.any, b.low, b.up = true, v, v
		return
	}
	b.low, b.up = min(b.low, v), max(b.up, v)
}

func (b *bounds) text(s string, longest int) {
	switch {
	case len(s) > longest:
		b.any, b.long = true, true
	case !b.any:
		b.any = true
		b.min, b.max = append(b.min[:0], s...), append(b.max[:0], s...)
	case s < string(b.min):
		b.min = append(b.min[:0], s...)
	case s > string(b.max):
		b.max = append(b.max[:0], s...)
	}
}

// owned is a copy with min and max made.
func (b *bounds) owned(physical int) bounds {
	if !b.any {
		return bounds{}
	}
	own := *b
	if physical == typeInt64 {
		own.min, own.max = binary.LittleEndian.AppendUint64(nil, uint64(b.low)), binary.LittleEndian.AppendUint64(nil, uint64(b.up))
		return own
	}
	own.min, own.max = bytes.Clone(b.min), bytes.Clone(b.max)
	return own
}

// compare orders what owned has made.
func compare(physical int, a, b []byte) int {
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
		case !b.any:
		case b.long:
			return bounds{any: true, long: true}
		case !all.any:
			all = *b
		default:
			if compare(physical, b.min, all.min) < 0 {
				all.min = b.min
			}
			if compare(physical, b.max, all.max) > 0 {
				all.max = b.max
			}
		}
	}
	return all
}

// orderOf says whether the pages' bounds rise or fall from one to the next: a reader may then search by halves.
func orderOf(physical int, pages []page) int {
	up, down := true, true
	var last *bounds
	for i := range pages {
		b := &pages[i].bounds
		if !b.any {
			continue
		}
		if last != nil {
			low, high := compare(physical, last.min, b.min), compare(physical, last.max, b.max)
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
