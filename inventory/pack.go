package inventory

import (
	"bytes"
	"iter"
	"sync/atomic"
)

// A Pack is rows whose bodies are compressed together. Resources of one listing are much alike: compressing thirty-two
// instances together takes less time and space than eight of them one by one.
type Pack struct {
	Rows   []Row
	Bodies []byte // the rows' bodies, encoded by [ScopeUpdate.Pack]
}

// Bodies yields the lines of a decoded pack: the body of each row.
func Bodies(lines []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for line := range bytes.Lines(lines) {
			if !yield(bytes.TrimSuffix(line, []byte{'\n'})) {
				return
			}
		}
	}
}

// PackRows is the maximum number of rows in a pack. A pack is also closed when its bodies reach packBytes.
const PackRows = 32

const packBytes = 128 << 10

// maxOpenPackBytes limits a pack that stays open between two pages: several hundred writers may have one.
const maxOpenPackBytes = 8 << 10

// What writers buffer until their ends. Staging a row doubles its cost, but several hundred writers may be open and
// wait for a slow store.
const (
	defaultMaxBuffered = 10 << 20  // of all writers; beyond it, each one stages what it has
	minStageBytes      = 128 << 10 // less is not worth a transaction
)

// A packer collects the rows of one writer.
type packer struct {
	maxTotal int64         // limit of total
	total    *atomic.Int64 // bytes of all packers
	bytes    int64         // bytes of this packer, also counted in total
	packs    []Pack
	rows     []Row // of the open pack
	lines    []byte
}

func (p *packer) add(u ScopeUpdate, f *changedRecord) error {
	row, err := newRow(f)
	if err != nil {
		return err
	}
	if p.rows == nil {
		p.rows = make([]Row, 0, PackRows)
	}
	p.rows = append(p.rows, row)
	start := len(p.lines)
	p.lines = append(p.lines, f.view.Data()...)
	for i := start; ; i++ { // in JSON a line feed is only white space
		n := bytes.IndexByte(p.lines[i:], '\n')
		if n < 0 {
			break
		}
		i += n
		p.lines[i] = ' '
	}
	p.lines = append(p.lines, '\n')
	if len(p.rows) == PackRows || len(p.lines) >= packBytes {
		p.close(u)
	}
	return nil
}

// close closes the open pack.
func (p *packer) close(u ScopeUpdate) {
	if len(p.rows) == 0 {
		return
	}
	pack := Pack{Rows: p.rows, Bodies: u.Pack(p.lines)}
	size := len(pack.Bodies)
	for i := range pack.Rows {
		size += pack.Rows[i].size()
	}
	p.packs = append(p.packs, pack)
	p.bytes += int64(size)
	p.total.Add(int64(size))
	p.rows, p.lines = nil, p.lines[:0]
}

// trim frees what it can between two pages. A small pack stays open, so that short pages share one.
func (p *packer) trim(u ScopeUpdate) {
	if len(p.rows) >= PackRows/2 || len(p.lines) >= maxOpenPackBytes {
		p.close(u)
	}
	p.lines = append([]byte(nil), p.lines...)
}

// shouldStage reports whether it is time to stage. One writer may have a quarter of the total.
func (p *packer) shouldStage() bool {
	return p.bytes >= min(minStageBytes, p.maxTotal) && p.total.Load() >= p.maxTotal ||
		p.bytes > 0 && p.bytes >= p.maxTotal/4
}

// clearPacks frees packs that the store has taken.
func (p *packer) clearPacks() {
	p.total.Add(-p.bytes)
	p.bytes, p.packs = 0, nil
}

// drop frees everything.
func (p *packer) drop() {
	p.clearPacks()
	p.rows, p.lines = nil, nil
}
