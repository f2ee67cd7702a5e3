// Package journal is a log on disk with many writers and one reader. Synced entries survive a kill and a power cut.
// They are read in order, starting after the last acknowledged one. A journal is a directory of segments, a cursor and
// a lock. Begin at [Open], [Journal.Append] and [Journal.Read].
//
// The journal handles faults of the disk: an append that fails leaves nothing behind; the torn end of a segment is cut
// off; what is damaged is skipped, and its records are counted, in a file of their own if the segment cannot tell. The
// size is bounded.
package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws-collector/collector/internal/filelock"
	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/record"
)

var (
	// ErrFull is returned by Append if there is no space and nothing may be dropped.
	ErrFull = errors.New("the spool is full")
	// ErrTooLarge is returned by Append for lines that would not fit into an empty journal.
	ErrTooLarge = errors.New("more than the maximum size of the spool")
	// ErrLocked is returned by Open while another process or journal has the directory open.
	ErrLocked = filelock.ErrLocked
	// ErrClosed is returned by all methods after Close.
	ErrClosed = errors.New("journal is closed")
)

// An Entry is stored with the lines of an append. It says where they come from.
type Entry struct {
	ID     string        `json:"id"`
	Run    string        `json:"run,omitempty"`
	Target record.Target `json:"target"`
	N      int           `json:"-"` // records
}

// Damage describes data that cannot be read.
type Damage struct {
	Path    string // of the segment
	Offset  int64
	Bytes   int64
	Records int  // that are lost; each is reported once
	Torn    bool // the end of a write that a kill or a power cut interrupted; it was never synced
}

// Options are the options of Open.
type Options struct {
	Dir      string
	MaxBytes int64
	Damaged  func(Damage) // may be nil; must not call the journal
	// CursorReset is called if the cursor's file could not be used and was moved. Acknowledged records of the oldest
	// segment are then read again. It may be nil.
	CursorReset func(moved string, err error)
}

// A Stat describes the content of a journal.
type Stat struct {
	Bytes        int64     // not acknowledged, on disk
	Uncompressed int64     // the same, before compression
	Records      int       // not acknowledged
	Oldest       time.Time // when the oldest of them was appended; zero if there is none
}

// A Journal can be used by many writers and one reader at a time.
type Journal struct {
	dir     string
	damaged func(Damage)
	lock    *os.File

	codecMu sync.Mutex // guards codec; never taken while mu is held
	codec   *codec

	syncMu sync.Mutex // held during an fsync; taken before mu
	synced position   // everything before it is on disk; guarded by syncMu

	mu       sync.Mutex
	maxBytes int64
	segments []*segment // oldest first; appends go to the last one, unless it is sealed
	next     uint64     // the number of the next segment
	active   *os.File   // the last segment, or nil
	syncErr  error      // of the fsync at the end of a segment; the next Sync returns it
	cursor   cursor
	oldest   time.Time // when the frame at the cursor was appended
	claimed  uint64    // the last segment of the chunk being sent, which is not dropped; 0: none
	closed   bool

	counts     syncedCounts
	cursorFile *os.File // used by the reader alone
	generation uint64
	reader     reader
}

// A segment is one file.
type segment struct {
	n            uint64
	size         int64
	uncompressed int64
	records      int
	started      time.Time // of its first frame
	sealed       bool      // no more appends
}

// A position is between two frames.
type position struct {
	seg uint64
	off int64
}

func (p position) before(q position) bool { return p.seg < q.seg || p.seg == q.seg && p.off < q.off }

func segmentName(n uint64) string { return fmt.Sprintf("%016d.seg", n) }

func (j *Journal) segmentPath(n uint64) string { return filepath.Join(j.dir, segmentName(n)) }

// Open opens or creates the journal in a directory.
func Open(o Options) (_ *Journal, err error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	j := &Journal{dir: o.Dir, maxBytes: o.MaxBytes, damaged: o.Damaged}
	if j.damaged == nil {
		j.damaged = func(Damage) {}
	}
	if j.lock, err = statefile.Open(filepath.Join(o.Dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.Close())
		}
	}()
	if err := filelock.TryLock(j.lock); errors.Is(err, ErrLocked) { // without lock support, continue without a lock
		return nil, err
	}
	if j.codec, err = newCodec(); err != nil {
		return nil, err
	}
	if j.counts, err = openCounts(o.Dir); err != nil {
		return nil, err
	}
	if err := j.openCursor(o.CursorReset); err != nil {
		return nil, err
	}
	if err := j.load(); err != nil {
		return nil, err
	}
	return j, statefile.SyncDir(o.Dir)
}

// load finds the segments, and repairs the last one.
func (j *Journal) load() error {
	ns, err := listSegments(j.dir)
	if err != nil {
		return err
	}
	for i, n := range ns {
		if n < j.cursor.seg { // an earlier process ended before it removed this acknowledged segment
			if err := os.Remove(j.segmentPath(n)); err != nil {
				return err
			}
			continue
		}
		s, torn, err := j.scanSegment(n, i == len(ns)-1)
		if err != nil {
			return err
		}
		j.segments = append(j.segments, s)
		lost := j.lostRecords(s)
		if lost > 0 || torn > 0 {
			j.damaged(Damage{Path: j.segmentPath(n), Offset: s.size, Bytes: torn, Records: lost, Torn: lost == 0})
		}
	}
	j.next = j.cursor.seg + 1 // numbers are not reused: the cursor's file may still refer to the old segment
	if l := len(j.segments); l > 0 {
		j.next = j.segments[l-1].n + 1
	}
	if len(j.segments) == 0 || j.segments[0].n != j.cursor.seg {
		j.resetCursor()
	} else if s := j.segments[0]; s.size < j.cursor.off || s.size == j.cursor.off && j.cursor.frameBytes > 0 {
		// A power cut removed acknowledged frames, or the frame of which a part was acknowledged.
		j.cursor = cursor{position: position{s.n, s.size}, segmentRecords: s.records, segmentBytes: s.uncompressed}
		// Without the sync, frames that are appended here next would look acknowledged.
		if err := errors.Join(j.writeCursor(j.cursor), j.cursorFile.Sync()); err != nil {
			return err
		}
	}
	for _, s := range j.segments {
		j.counts.put(s.n, s.records) // what is lost is not reported again
	}
	j.oldest = j.oldestAppended()
	return nil
}

// lostRecords returns how many synced records of a scanned segment are neither in it nor acknowledged.
func (j *Journal) lostRecords(s *segment) int {
	have := s.records
	if s.n == j.cursor.seg {
		have = max(have, j.cursor.segmentRecords)
	}
	return max(0, j.counts.get(s.n)-have)
}

func listSegments(dir string) ([]uint64, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var ns []uint64
	for _, f := range files {
		if digits, ok := strings.CutSuffix(f.Name(), ".seg"); ok {
			if n, err := strconv.ParseUint(digits, 10, 64); err == nil {
				ns = append(ns, n)
			}
		}
	}
	slices.Sort(ns)
	return ns, nil
}

// scanSegment counts the content of a segment. What is before the cursor counts as the cursor says. For the last
// segment it also checks the content, and cuts off the unreadable end, whose size it returns.
func (j *Journal) scanSegment(n uint64, last bool) (_ *segment, cut int64, err error) {
	mode := os.O_RDONLY
	if last {
		mode = os.O_RDWR
	}
	f, err := statefile.Open(j.segmentPath(n), mode, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	s := &segment{n: n, size: st.Size(), started: st.ModTime()}
	var from cursor
	if n == j.cursor.seg && j.cursor.off <= s.size {
		from = j.cursor
	}
	valid, err := scanFrames(f, s, from, last)
	if err != nil {
		return nil, 0, err
	}
	if last && valid.size < s.size {
		if err := f.Truncate(valid.size); err != nil {
			return nil, 0, err
		}
		s, cut = valid, s.size-valid.size
	}
	return s, cut, nil
}

// scanFrames sets the counts of s: what was read before from, and the frames after it. With check it also reads their
// content, and returns s as it was after the last readable frame.
func scanFrames(f *os.File, s *segment, from cursor, check bool) (_ *segment, err error) {
	var p *codec
	if check {
		if p, err = newCodec(); err != nil {
			return nil, err
		}
		defer p.close()
	}
	off, frames := from.off, 0
	s.records, s.uncompressed = from.segmentRecords, from.segmentBytes
	valid := *s
	valid.size = off
	var lines []byte
	for off < s.size {
		h, err := readHeader(f, off, s.size)
		if err != nil {
			if !isDamage(err) {
				return nil, err
			}
			if off, err = findNextFrame(f, off, s.size); err != nil {
				return nil, err
			}
			continue
		}
		if frames++; frames == 1 {
			s.started = h.at
		}
		s.records += h.records
		s.uncompressed += int64(h.lines)
		if off == from.off { // a part of it was read before
			s.records -= from.frameRecords
			s.uncompressed -= from.frameBytes
		}
		if check {
			_, lines, err = p.decode(f, off, h, lines[:0])
		}
		off += h.size()
		switch {
		case err == nil:
			valid = *s
			valid.size = off
		case !isDamage(err):
			return nil, err
		}
	}
	return &valid, nil
}

// SetMax changes the maximum size of the journal.
func (j *Journal) SetMax(n int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.maxBytes = n
}

// segmentSize returns the size of a segment. A full journal has several segments, and drops the oldest as a whole.
func segmentSize(maxBytes int64) int64 { return min(max(maxBytes/16, 4<<10), 16<<20) }

// Append adds lines at the end. They are on disk after [Journal.Sync]. If there is no space and drop is set, it drops
// the oldest segments and returns their records in dropped. Lines is borrowed for the call.
func (j *Journal) Append(e Entry, lines []byte, drop bool) (dropped Dropped, err error) {
	j.codecMu.Lock()
	defer j.codecMu.Unlock()
	if j.codec == nil {
		return dropped, ErrClosed
	}
	frame, h, err := j.codec.encode(e, lines, time.Now())
	if err != nil {
		return dropped, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return dropped, ErrClosed
	}
	size := int64(len(frame))
	if size > j.maxBytes {
		return dropped, fmt.Errorf("%d bytes are %w", size, ErrTooLarge)
	}
	for j.size()+size > j.maxBytes {
		if !drop {
			return dropped, ErrFull
		}
		if !j.dropOldest(&dropped) {
			break // all remaining segments are being sent
		}
	}
	if j.active != nil && j.last().size > 0 && j.last().size+size > segmentSize(j.maxBytes) {
		j.seal()
	}
	if j.active == nil {
		if err := j.openActive(); err != nil {
			return dropped, err
		}
	}
	s := j.last()
	if _, err := j.active.WriteAt(frame, s.size); err != nil { // an unknown part of the frame was written
		if terr := j.active.Truncate(s.size); terr != nil { // a reader would lose what is appended after it
			j.seal()
			err = errors.Join(err, terr)
		}
		return dropped, err
	}
	if s.size == 0 {
		s.started = h.at
	}
	s.size += size
	s.uncompressed += int64(h.lines)
	s.records += h.records
	if j.oldest.IsZero() {
		j.oldest = h.at
	}
	return dropped, nil
}

func (j *Journal) last() *segment { return j.segments[len(j.segments)-1] }

func (j *Journal) size() (n int64) {
	for _, s := range j.segments {
		n += s.size
	}
	return n
}

// openActive opens the last segment if it is not full; otherwise it creates a new one.
func (j *Journal) openActive() error {
	if len(j.segments) > 0 && j.last().size < segmentSize(j.maxBytes) && j.last().n+1 == j.next && !j.last().sealed {
		f, err := statefile.Open(j.segmentPath(j.last().n), os.O_RDWR, 0)
		j.active = f
		return err
	}
	f, err := statefile.Open(j.segmentPath(j.next), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := statefile.SyncDir(j.dir); err != nil {
		return errors.Join(err, f.Close())
	}
	if len(j.segments) == 0 { // all earlier segments are gone, so the reader starts here
		j.cursor = cursor{position: position{seg: j.next}}
	}
	j.segments = append(j.segments, &segment{n: j.next})
	j.counts.put(j.next, 0) // an earlier segment may have had this number, if the cursor's file was lost
	j.next++
	j.active = f
	return nil
}

// seal closes the active segment for appends.
func (j *Journal) seal() {
	s := j.last()
	s.sealed = true
	err := j.active.Sync()
	if err == nil {
		j.counts.put(s.n, s.records)
	}
	j.syncErr = errors.Join(j.syncErr, err, j.active.Close())
	j.active = nil
}

// Dropped counts the dropped records.
type Dropped struct {
	Records int
	Sources map[Source]int // by source, if it can be read
}

// A Source says where records come from.
type Source struct {
	Run    string
	Target record.Target
}

// dropOldest removes the oldest segment that is not being sent.
func (j *Journal) dropOldest(dropped *Dropped) bool {
	i := slices.IndexFunc(j.segments, func(s *segment) bool { return s.n > j.claimed })
	if i < 0 {
		return false
	}
	s := j.segments[i]
	j.countSources(s, dropped)
	if i == len(j.segments)-1 && j.active != nil {
		j.seal()
	}
	if err := os.Remove(j.segmentPath(s.n)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return false
	}
	dropped.Records += s.records
	if s.n == j.cursor.seg {
		dropped.Records -= j.cursor.segmentRecords
	}
	j.segments = slices.Delete(j.segments, i, i+1)
	if s.n == j.cursor.seg {
		j.resetCursor()
		j.oldest = time.Time{}
		if len(j.segments) > 0 {
			j.oldest = j.segments[0].started
		}
	}
	return true
}

// countSources counts the unread records of a segment by source. It leaves out what it cannot read.
func (j *Journal) countSources(s *segment, dropped *Dropped) {
	f, err := statefile.Open(j.segmentPath(s.n), os.O_RDONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	at, taken := int64(0), 0
	if s.n == j.cursor.seg {
		at, taken = j.cursor.off, j.cursor.frameRecords
	}
	if dropped.Sources == nil {
		dropped.Sources = map[Source]int{}
	}
	for at < s.size {
		h, err := readHeader(f, at, s.size)
		if err != nil {
			if at, err = findNextFrame(f, at, s.size); err != nil {
				return
			}
			taken = 0
			continue
		}
		b, e := make([]byte, h.entry), Entry{}
		if _, err := f.ReadAt(b, at+headerSize); err == nil && json.Unmarshal(b, &e) == nil {
			dropped.Sources[Source{e.Run, e.Target}] += h.records - taken
		}
		at, taken = at+h.size(), 0
	}
}

// Sync returns when everything that was appended before would survive a power cut. Callers that arrive during an fsync
// share the next one.
func (j *Journal) Sync() error {
	want, _, _ := j.end()
	j.syncMu.Lock()
	defer j.syncMu.Unlock()
	j.mu.Lock()
	closed, lapse := j.closed, j.syncErr
	j.syncErr = nil
	j.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case lapse != nil:
		return lapse
	case !j.synced.before(want):
		return nil
	}
	upTo, records, f := j.end()
	if f != nil {
		err := f.Sync()
		j.mu.Lock()
		switch {
		case errors.Is(err, os.ErrClosed): // sealed in the meantime, which syncs
			err = j.syncErr
		case err != nil && j.active == f: // the kernel has dropped the data: continue in a new segment
			j.seal()
		}
		if err != nil {
			j.syncErr = nil
			j.mu.Unlock()
			return err
		}
		if j.active == f { // else seal has saved the count
			j.counts.put(upTo.seg, records)
		}
		j.mu.Unlock()
	}
	j.synced = upTo
	return nil
}

// end returns the position after the last frame, the records of its segment, and the segment's file, if it is open.
func (j *Journal) end() (p position, records int, active *os.File) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.segments) == 0 {
		return position{}, 0, nil
	}
	s := j.last()
	return position{s.n, s.size}, s.records, j.active
}

// Close syncs the journal and releases the lock. No read may be in progress. It may be called twice.
func (j *Journal) Close() error {
	j.codecMu.Lock()
	defer j.codecMu.Unlock()
	j.syncMu.Lock()
	defer j.syncMu.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	if j.active != nil {
		j.seal()
	}
	if j.codec != nil {
		j.codec.close()
		j.codec = nil
	}
	err := errors.Join(j.syncErr, j.reader.close())
	if j.cursorFile != nil {
		err = errors.Join(err, j.cursorFile.Sync(), j.cursorFile.Close())
	}
	return errors.Join(err, j.counts.close(), j.lock.Close())
}
