package format

import "encoding/binary"

// appendHybrid appends numbers of width bits, 1 to 32: runs of one value, or bit-packed groups of eight.
//
// https://parquet.apache.org/docs/file-format/data-pages/encodings/#run-length-encoding--bit-packing-hybrid-rle--3
func appendHybrid[N uint8 | uint32](dst []byte, v []N, width int) []byte {
	for len(v) > 0 {
		if n := runLength(v); n >= 8 || n == len(v) {
			dst = binary.AppendUvarint(dst, uint64(n)<<1)
			for b := 0; b < width; b += 8 {
				dst = append(dst, byte(uint32(v[0])>>b))
			}
			v = v[n:]
			continue
		}
		n := 8
		for n < len(v) && runLength(v[n:min(len(v), n+8)]) < 8 {
			n += 8
		}
		n = min(n, len(v))
		dst = appendPacked(dst, v[:n], width)
		v = v[n:]
	}
	return dst
}

// runLength counts how many of the first numbers are equal.
func runLength[N uint8 | uint32](v []N) int {
	n := 1
	for n < len(v) && v[n] == v[0] {
		n++
	}
	return n
}

// appendPacked appends bit-packed groups of eight, lowest bit first; the last group is padded with zeros.
func appendPacked[N uint8 | uint32](dst []byte, v []N, width int) []byte {
	groups := (len(v) + 7) / 8
	dst = binary.AppendUvarint(dst, uint64(groups)<<1|1)
	end := len(dst) + groups*width
	var bits uint64
	have := 0
	for _, n := range v {
		bits |= uint64(n) << have
		for have += width; have >= 8; have -= 8 {
			dst = append(dst, byte(bits))
			bits >>= 8
		}
	}
	for len(dst) < end {
		dst = append(dst, byte(bits))
		bits >>= 8
	}
	return dst
}
