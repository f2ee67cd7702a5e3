package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/record"
)

// A cursor is the reader's position: in a segment, at a frame, after some of its lines.
type cursor struct {
	position
	frameBytes     int64 // of the frame's lines that were read
	frameRecords   int   // records in them
	segmentRecords int   // records of the segment that were read, including frameRecords
	segmentBytes   int64 // of the segment's lines that were read, including frameBytes
}

// The cursor's file has two slots that are written in turn, so that one is valid while the other is being written.
const slotSize = 64

func (c cursor) put(gen uint64) []byte {
	b := make([]byte, slotSize)
	le := binary.LittleEndian
	fields := []uint64{
		gen, c.seg, uint64(c.off), uint64(c.frameBytes), uint64(c.frameRecords), uint64(c.segmentRecords),
		uint64(c.segmentBytes),
	}
	for i, n := range fields {
		le.PutUint64(b[8*i:], n)
	}
	le.PutUint32(b[56:], checksum(b[:56]))
	return b
}

func parseCursor(b []byte) (c cursor, gen uint64, ok bool) {
	le := binary.LittleEndian
	if len(b) < slotSize || le.Uint32(b[56:]) != checksum(b[:56]) {
		return cursor{}, 0, false
	}
	n := func(i int) uint64 { return le.Uint64(b[8*i:]) }
	return cursor{position{n(1), int64(n(2))}, int64(n(3)), int(n(4)), int(n(5)), int64(n(6))}, n(0), true
}

// latestCursor returns the newer cursor of the two slots, or zeros if neither is valid.
func latestCursor(b []byte) (c cursor, gen uint64) {
	for i := range 2 {
		if got, g, ok := parseCursor(b[min(i*slotSize, len(b)):]); ok && g > gen {
			c, gen = got, g
		}
	}
	return c, gen
}

// checkCursor returns why the cursor's file cannot be used for a journal with segments. A file of zeros is valid:
// nothing was read yet.
func (j *Journal) checkCursor(b []byte, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, gen := latestCursor(b); gen > 0 || len(b) > 0 && len(bytes.Trim(b, "\x00")) == 0 {
		return nil
	}
	if ns, err := listSegments(j.dir); err != nil || len(ns) == 0 {
		return err
	}
	return fmt.Errorf("no valid cursor in %d bytes", len(b))
}

// openCursor opens the cursor's file. If it cannot be used, it is moved aside, and the reader starts at the oldest
// segment.
func (j *Journal) openCursor(onReset func(movedTo string, err error)) error {
	path := filepath.Join(j.dir, "cursor")
	if err := j.checkCursor(statefile.Read(path)); err != nil {
		movedTo, moveErr := statefile.MoveDamaged(path)
		if moveErr != nil {
			return errors.Join(err, moveErr)
		}
		if onReset != nil {
			onReset(movedTo, err)
		}
	}
	f, err := statefile.Open(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	j.cursorFile = f
	b := make([]byte, 2*slotSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	j.cursor, j.generation = latestCursor(b[:n])
	if n < len(b) { // allocate its space now, so that a full disk does not stop the reader
		_, err = f.WriteAt(b[n:], int64(n))
		return err
	}
	return nil
}

// writeCursor saves the cursor without an fsync. A kill repeats nothing before it; a power cut may.
func (j *Journal) writeCursor(c cursor) error {
	j.generation++
	_, err := j.cursorFile.WriteAt(c.put(j.generation), int64(j.generation%2)*slotSize)
	return err
}

// A reader is the state between two reads: an open segment and one decoded frame.
type reader struct {
	codec  *codec
	file   *os.File
	seg    uint64
	offset int64 // of the loaded frame
	loaded bool
	header header
	entry  Entry
	lines  []byte
	buf    []byte
}

func (r *reader) close() error {
	r.release()
	if r.codec != nil {
		r.codec.close()
		r.codec = nil
	}
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return f.Close()
}

func (r *reader) release() { r.loaded, r.lines, r.buf = false, nil, nil }

// load loads the frame at p. size is the size of the segment.
func (r *reader) load(path string, p position, size int64) error {
	if r.loaded && r.seg == p.seg && r.offset == p.off {
		return nil
	}
	if r.codec == nil {
		var err error
		if r.codec, err = newCodec(); err != nil {
			return err
		}
	}
	r.loaded = false
	if r.file != nil && r.seg != p.seg {
		err := r.file.Close()
		r.file = nil
		if err != nil {
			return err
		}
	}
	if r.file == nil {
		f, err := statefile.Open(path, os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		r.file, r.seg = f, p.seg
	}
	h, err := readHeader(r.file, p.off, size)
	r.header = h // kept if only the frame's content is damaged
	if err != nil {
		r.header = header{}
		return err
	}
	if r.entry, r.lines, err = r.codec.decode(r.file, p.off, h, r.lines[:0]); err != nil {
		return err
	}
	r.offset, r.loaded = p.off, true
	return nil
}

// isDamage reports whether data is lost, so that reading it again is useless.
func isDamage(err error) bool {
	return errors.Is(err, errDamaged) || errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.EIO) || errors.Is(err, os.ErrNotExist)
}

// A Chunk holds the lines to send next. They are borrowed until the next Read, Ack or Release.
type Chunk struct {
	Lines     []byte
	LineCount int
	Records   int
	Run       string        // "" if the lines belong to several runs
	Target    record.Target // zero if the lines belong to several targets

	end cursor
}

// Read returns the next lines within the limits, at least one; or an empty Chunk if there are none. They are not
// dropped before Ack or Release. Damaged data is skipped for good.
func (j *Journal) Read(maxLines, maxBytes int) (Chunk, error) {
	r := &j.reader
	r.buf = r.buf[:0]
	var out Chunk
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return out, ErrClosed
	}
	c := j.cursor
	j.claimed = c.seg
	j.mu.Unlock()
	for frames := 0; out.LineCount < maxLines; {
		size, ok := j.claim(&c, out.LineCount > 0)
		if !ok {
			break
		}
		if err := r.load(j.segmentPath(c.seg), c.position, size); err != nil {
			if !isDamage(err) {
				if out.LineCount > 0 {
					break // the next Read reports it
				}
				return Chunk{}, err
			}
			if out.LineCount > 0 {
				break
			}
			j.skipDamaged(&c, size)
			continue
		}
		if c.frameBytes > int64(len(r.lines)) { // the cursor belongs to another frame
			c.frameBytes = 0
		}
		took := r.take(&c, &out, maxLines, maxBytes)
		if took == 0 && out.LineCount > 0 {
			break
		}
		if frames++; frames == 1 {
			out.Run, out.Target = r.entry.Run, r.entry.Target
		}
		if r.entry.Run != out.Run {
			out.Run = ""
		}
		if r.entry.Target != out.Target {
			out.Target = record.Target{}
		}
		if c.frameBytes < int64(len(r.lines)) {
			break
		}
		c.off += r.header.size()
		out.Records += r.header.records - c.frameRecords
		c.segmentRecords += r.header.records - c.frameRecords
		c.frameBytes, c.frameRecords = 0, 0
	}
	out.Lines, out.end = r.buf, c
	if out.LineCount == 0 {
		j.mu.Lock()
		j.claimed = 0
		j.mu.Unlock()
	}
	return out, nil
}

// take moves lines of the loaded frame to the chunk.
func (r *reader) take(c *cursor, out *Chunk, maxLines, maxBytes int) (lines int) {
	for rest := r.lines[c.frameBytes:]; len(rest) > 0 && out.LineCount < maxLines; lines++ {
		n := bytes.IndexByte(rest, '\n') + 1
		if n == 0 {
			n = len(rest)
		}
		if out.LineCount > 0 && len(r.buf)+n > maxBytes {
			break
		}
		r.buf = append(r.buf, rest[:n]...)
		rest = rest[n:]
		c.frameBytes += int64(n)
		c.segmentBytes += int64(n)
		out.LineCount++
		if c.frameRecords < r.header.records {
			c.frameRecords++
			c.segmentRecords++
			out.Records++
		}
	}
	return lines
}

// claim moves c to the next frame, and protects its segment from being dropped. It returns false if there is no
// frame, or if hasLines is set and the next data is damaged: the next Read handles that.
func (j *Journal) claim(c *cursor, hasLines bool) (size int64, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		i := slices.IndexFunc(j.segments, func(s *segment) bool { return s.n >= c.seg })
		if i < 0 {
			return 0, false
		}
		s := j.segments[i]
		if s.n == c.seg && c.off < s.size {
			j.claimed = s.n
			return s.size, true
		}
		if s.n == c.seg {
			if lost := s.records - c.segmentRecords; lost > 0 { // records of skipped frames, not reported yet
				if hasLines {
					return 0, false
				}
				j.damaged(Damage{Path: j.segmentPath(s.n), Offset: s.size, Records: lost})
				c.segmentRecords, c.segmentBytes = s.records, s.uncompressed
				j.cursor = *c
			}
			if i+1 == len(j.segments) {
				return 0, false
			}
			s = j.segments[i+1]
		}
		*c = cursor{position: position{seg: s.n}}
	}
}

// skipDamaged moves past damaged data at c.
func (j *Journal) skipDamaged(c *cursor, size int64) {
	r, from := &j.reader, *c
	records := 0
	switch h := r.header; {
	case r.file == nil: // the segment is missing
		c.off = size
	case h.size() > headerSize && from.off+h.size() <= size: // the header is valid
		c.off += h.size()
		records = h.records - c.frameRecords
		c.segmentRecords += records
		c.segmentBytes += int64(h.lines) - c.frameBytes
	default:
		next, err := findNextFrame(r.file, from.off, size)
		if err != nil {
			next = size
		}
		c.off = next
	}
	c.frameBytes, c.frameRecords = 0, 0
	j.damaged(Damage{Path: j.segmentPath(c.seg), Offset: from.off, Bytes: c.off - from.off, Records: records})
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cursor = *c
	j.oldest = j.oldestAppended()
}

// Ack acknowledges a chunk. A later kill does not repeat it. After an error of the disk the journal stays usable, but
// may repeat the chunk after a restart.
func (j *Journal) Ack(ch Chunk) error {
	err := j.writeCursor(ch.end)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.claimed = 0
	if j.closed {
		return ErrClosed
	}
	j.cursor = ch.end
	for len(j.segments) > 0 {
		s := j.segments[0]
		inSegment := s.n == j.cursor.seg
		done := inSegment && j.cursor.off >= s.size
		if s.n > j.cursor.seg || inSegment && !(done && (len(j.segments) > 1 || s.size > segmentSize(j.maxBytes)/4)) {
			break
		}
		if len(j.segments) == 1 && j.active != nil {
			j.seal()
			j.syncErr = nil // no data depends on it any more
		}
		if rerr := os.Remove(j.segmentPath(s.n)); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr)
			break
		}
		j.segments = j.segments[1:]
		if done {
			j.resetCursor()
		}
	}
	j.oldest = j.oldestAppended()
	return err
}

// resetCursor moves the cursor to the oldest segment. The caller holds j.mu.
func (j *Journal) resetCursor() {
	j.cursor = cursor{position: position{seg: j.next}}
	if len(j.segments) > 0 {
		j.cursor.seg = j.segments[0].n
	}
}

// Release gives back a chunk that was not sent: it may be dropped, and is read again. It frees the reader's memory.
func (j *Journal) Release() {
	j.reader.release()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.claimed = 0
}

// oldestAppended returns when the frame at the cursor was appended. The caller holds j.mu and no read is in progress.
func (j *Journal) oldestAppended() time.Time {
	r, c := &j.reader, j.cursor
	switch {
	case j.stat().Bytes == 0:
		return time.Time{}
	case j.segments[0].n != c.seg || c.off == 0:
		return j.segments[0].started
	case r.loaded && r.seg == c.seg && r.offset == c.off:
		return r.header.at
	}
	if r.file != nil && r.seg == c.seg {
		if h, err := readHeader(r.file, c.off, j.segments[0].size); err == nil {
			return h.at
		}
	}
	return j.segments[0].started
}

// Stat returns what is not acknowledged.
func (j *Journal) Stat() Stat {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stat()
}

func (j *Journal) stat() Stat {
	st := Stat{Oldest: j.oldest}
	for _, s := range j.segments {
		st.Bytes += s.size
		st.Uncompressed += s.uncompressed
		st.Records += s.records
	}
	if len(j.segments) > 0 && j.segments[0].n == j.cursor.seg {
		st.Bytes -= j.cursor.off
		st.Uncompressed -= j.cursor.segmentBytes
		st.Records -= j.cursor.segmentRecords
	}
	return st
}

// Inspect returns what is not acknowledged in a journal that is not open. It changes nothing.
func Inspect(dir string) (Stat, error) {
	b, err := statefile.Read(filepath.Join(dir, "cursor"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Stat{}, err
	}
	j := &Journal{dir: dir}
	j.cursor, _ = latestCursor(b)
	ns, err := listSegments(dir)
	if err != nil {
		return Stat{}, err
	}
	for _, n := range ns {
		if n < j.cursor.seg {
			continue
		}
		s, _, err := j.scanSegment(n, false)
		if err != nil {
			return Stat{}, err
		}
		j.segments = append(j.segments, s)
	}
	st := j.stat()
	if st.Bytes > 0 {
		st.Oldest = j.segments[0].started
	}
	return st, nil
}
