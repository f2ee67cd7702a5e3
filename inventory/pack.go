package inventory

import (
	"bytes"
	"iter"
	"sync/atomic"
)

// A Pack is rows whose bodies are kept together. What a listing shows is much alike: thirty-two instances take less time and
// space to compress together than eight of them one by one.
type Pack struct {
	Rows   []Row
	Bodies []byte // what [Turn.Pack] made of the rows' bodies
}

// Bodies ranges over the lines of a text: the body of each row of a pack, for who can read what Pack made.
func Bodies(lines []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for line := range bytes.Lines(lines) {
			if !yield(bytes.TrimSuffix(line, []byte{'\n'})) {
				return
			}
		}
	}
}

// PackRows is the most rows of a pack; a pack is also closed when its bodies are of packBytes.
const PackRows = 32

const packBytes = 128 << 10

// maxOpenPackBytes is the most of an open pack between two pages: some hundred visits may wait for theirs.
const maxOpenPackBytes = 8 << 10

// What visits keep until their ends. Rows that are never staged cost half of what those cost that are; but several hundred visits
// may be open, and wait for a store that is slow.
const (
	defaultMaxBuffered = 10 << 20  // of all visits, unless [Options.Hold] says otherwise; beyond it, each stages what it has
	minStageBytes      = 128 << 10 // less than that is not worth a transaction
)

// A packer collects rows of one visit.
type packer struct {
	maxTotal int64         // bytes that all packers may have
	total    *atomic.Int64 // that they have
	bytes    int64         // of them, this one's
	packs    []Pack
	rows     []Row // of the pack that is open
	lines    []byte
}

func (p *packer) add(t ScopeUpdate, types []string, f *changedRecord) error {
	row, err := newRow(types, f)
	if err != nil {
		return err
	}
	if p.rows == nil {
		p.rows = make([]Row, 0, PackRows)
	}
	p.rows = append(p.rows, row)
	at := len(p.lines)
	p.lines = append(p.lines, f.view.Data()...)
	for i := at; ; i++ { // a line feed in JSON is white space
		n := bytes.IndexByte(p.lines[i:], '\n')
		if n < 0 {
			break
		}
		i += n
		p.lines[i] = ' '
	}
	p.lines = append(p.lines, '\n')
	if len(p.rows) == PackRows || len(p.lines) >= packBytes {
		p.close(t)
	}
	return nil
}

// close ends the pack that is open.
func (p *packer) close(t ScopeUpdate) {
	if len(p.rows) == 0 {
		return
	}
	pack := Pack{Rows: p.rows, Bodies: t.Pack(p.lines)}
	size := len(pack.Bodies)
	for i := range pack.Rows {
		size += pack.Rows[i].size()
	}
	p.packs = append(p.packs, pack)
	p.bytes += int64(size)
	p.total.Add(int64(size))
	p.rows, p.lines = nil, p.lines[:0]
}

// trim is between pages, when others want the memory. Pages of a few rows each fill a pack together.
func (p *packer) trim(t ScopeUpdate) {
	if len(p.rows) >= PackRows/2 || len(p.lines) >= maxOpenPackBytes {
		p.close(t)
	}
	p.lines = append([]byte(nil), p.lines...)
}

// shouldStage reports whether it is time to stage. One visit may have a quarter of what all may.
func (p *packer) shouldStage() bool {
	return p.bytes >= min(minStageBytes, p.maxTotal) && p.total.Load() >= p.maxTotal || p.bytes > 0 && p.bytes >= p.maxTotal/4
}

// clearPacks lets go of packs that are the store's now.
func (p *packer) clearPacks() {
	p.total.Add(-p.bytes)
	p.bytes, p.packs = 0, nil
}

// drop lets go of everything.
func (p *packer) drop() {
	p.clearPacks()
	p.rows, p.lines = nil, nil
}
