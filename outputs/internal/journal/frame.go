package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A segment is a sequence of frames. A frame is a header of fixed size, then an [Entry] as JSON, then the lines as a
// zstd frame. Numbers are little-endian.
//
//	 0  magic
//	 4  CRC-32C of the rest of the header
//	 8  length of the entry
//	12  length of the lines, compressed
//	16  length of the lines
//	20  records
//	24  time of the append, in nanoseconds since the epoch
//	32  CRC-32C of entry and lines
//
// The header has its own checksum, so that a reader can skip a frame with damaged content and count its records.
const (
	headerSize = 36
	maxEntry   = 64 << 10
	maxLines   = 1 << 30
)

var magic = []byte{0xC5, 'J', 'S', 1}

// checksum returns the CRC-32C. MakeTable returns a shared table.
func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

var errDamaged = errors.New("damaged")

type header struct {
	entry, compressed, lines int
	records                  int
	at                       time.Time
	sum                      uint32
}

// size returns the size of the whole frame.
func (h header) size() int64 { return headerSize + int64(h.entry) + int64(h.compressed) }

func (h header) put(b []byte) {
	copy(b, magic)
	le := binary.LittleEndian
	le.PutUint32(b[8:], uint32(h.entry))
	le.PutUint32(b[12:], uint32(h.compressed))
	le.PutUint32(b[16:], uint32(h.lines))
	le.PutUint32(b[20:], uint32(h.records))
	le.PutUint64(b[24:], uint64(h.at.UnixNano()))
	le.PutUint32(b[32:], h.sum)
	le.PutUint32(b[4:], checksum(b[8:headerSize]))
}

func parseHeader(b []byte) (header, error) {
	le := binary.LittleEndian
	if !bytes.Equal(b[:4], magic) || le.Uint32(b[4:]) != checksum(b[8:headerSize]) {
		return header{}, errDamaged
	}
	h := header{
		entry: int(le.Uint32(b[8:])), compressed: int(le.Uint32(b[12:])),
		lines: int(le.Uint32(b[16:])), records: int(le.Uint32(b[20:])),
		at: time.Unix(0, int64(le.Uint64(b[24:]))), sum: le.Uint32(b[32:]),
	}
	if h.entry > maxEntry || h.lines > maxLines || h.compressed > maxLines {
		return header{}, errDamaged
	}
	return h, nil
}

// A codec encodes and decodes frames. It reuses its buffers.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
	buf []byte
}

func newCodec() (*codec, error) {
	// The fastest level with a small window: a tenth of the size, for a few percent of the time of a listing.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(512<<10), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxLines))
	if err != nil {
		return nil, err
	}
	return &codec{enc: enc, dec: dec}, nil
}

func (p *codec) close() {
	_ = p.enc.Close() // it has no writer
	p.dec.Close()
}

// encode returns the bytes of a frame. They are valid until the next call.
func (p *codec) encode(e Entry, lines []byte, now time.Time) ([]byte, header, error) {
	entry, err := json.Marshal(e)
	if err != nil {
		return nil, header{}, err
	}
	if len(entry) > maxEntry || len(lines) > maxLines {
		return nil, header{}, ErrTooLarge
	}
	b := append(p.buf[:0], make([]byte, headerSize)...)
	b = append(b, entry...)
	b = p.enc.EncodeAll(lines, b)
	h := header{entry: len(entry), compressed: len(b) - headerSize - len(entry), lines: len(lines), records: e.N, at: now}
	h.sum = checksum(b[headerSize:])
	h.put(b)
	p.buf = b
	return b, h, nil
}

// decode reads the frame at off with the header h. It returns the entry, and the lines appended to into.
func (p *codec) decode(r io.ReaderAt, off int64, h header, into []byte) (e Entry, lines []byte, err error) {
	n := int(h.size() - headerSize)
	if cap(p.buf) < n {
		p.buf = make([]byte, n)
	}
	b := p.buf[:n]
	if _, err := r.ReadAt(b, off+headerSize); err != nil {
		if errors.Is(err, io.EOF) {
			return e, nil, errDamaged
		}
		return e, nil, err
	}
	if checksum(b) != h.sum || json.Unmarshal(b[:h.entry], &e) != nil {
		return e, nil, errDamaged
	}
	lines, err = p.dec.DecodeAll(b[h.entry:], into)
	if err != nil || len(lines) != h.lines {
		return e, nil, errDamaged
	}
	return e, lines, nil
}

// readHeader reads a header. It returns io.EOF if less than a header is left.
func readHeader(r io.ReaderAt, off, size int64) (header, error) {
	if size-off < headerSize {
		return header{}, io.EOF
	}
	var b [headerSize]byte
	if _, err := r.ReadAt(b[:], off); err != nil {
		return header{}, err
	}
	h, err := parseHeader(b[:])
	if err == nil && off+h.size() > size {
		return h, errDamaged // the frame's end is missing
	}
	return h, err
}

// findNextFrame returns the offset of the next frame after off with a valid header, or size if there is none.
func findNextFrame(r io.ReaderAt, off, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for off++; off < size; {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		b := buf[:n]
		for {
			i := bytes.Index(b, magic)
			if i < 0 {
				break
			}
			at := off + int64(n-len(b)+i)
			switch _, err := readHeader(r, at, size); {
			case err == nil:
				return at, nil
			case !errors.Is(err, errDamaged) && !errors.Is(err, io.EOF):
				return 0, err
			}
			b = b[i+1:]
		}
		if n < len(magic) {
			break
		}
		off += int64(n - len(magic) + 1) // magic may span two reads
	}
	return size, nil
}
