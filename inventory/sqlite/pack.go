package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A pack is rows whose bodies are compressed together. Resources of one listing are much alike: compressing thirty-two
// instances together takes less time and space than eight of them one by one.
type pack struct {
	rows   []inventory.Row // without bodies and texts
	bodies []byte          // compressed, a line each
	search packSearch
}

// packRows is the maximum number of rows in a pack. A pack is also closed when its bodies reach packBytes.
const packRows = 32

const packBytes = 128 << 10

// maxOpenPackBytes limits a pack that stays open between two pages: several hundred updates may have one.
const maxOpenPackBytes = 8 << 10

// A packer packs the rows of one update.
type packer struct {
	encode func(lines []byte) []byte
	packs  []pack
	bytes  int             // of packs
	rows   []inventory.Row // of the open pack
	lines  []byte
}

// Add packs rows. A small pack stays open, so that short pages share one.
func (p *packer) Add(rows []inventory.Row) {
	for i := range rows {
		p.add(rows[i])
	}
	if len(p.rows) >= packRows/2 || len(p.lines) >= maxOpenPackBytes {
		p.closePack()
	}
	p.lines = bytes.Clone(p.lines) // frees the rest of its memory
}

func (p *packer) add(row inventory.Row) {
	if p.rows == nil {
		p.rows = make([]inventory.Row, 0, packRows)
	}
	start := len(p.lines)
	p.lines = append(append(p.lines, row.Body...), '\n')
	body := p.lines[start : len(p.lines)-1]
	for at := bytes.IndexByte(body, '\n'); at >= 0; at = bytes.IndexByte(body, '\n') { // in JSON only white space
		body[at] = ' '
		body = body[at:]
	}
	row.Body = nil
	p.rows = append(p.rows, row)
	if len(p.rows) == packRows || len(p.lines) >= packBytes {
		p.closePack()
	}
}

// closePack closes the open pack.
func (p *packer) closePack() {
	if len(p.rows) == 0 {
		return
	}
	closed := pack{rows: p.rows, bodies: p.encode(p.lines)}
	texts := make([]string, len(closed.rows))
	for i := range closed.rows {
		texts[i], closed.rows[i].Search = closed.rows[i].Search, ""
	}
	closed.search = newPackSearch(texts, p.encode)
	p.bytes += len(closed.bodies) + closed.search.size()
	for i := range closed.rows {
		p.bytes += closed.rows[i].Size()
	}
	p.packs = append(p.packs, closed)
	p.rows, p.lines = nil, p.lines[:0]
}

// Buffered returns the size of the closed packs.
func (p *packer) Buffered() int { return p.bytes }

func (p *packer) clearPacks() { p.packs, p.bytes = nil, 0 }

// The number of a version consists of the number of its pack and its line in the pack. So a version leads to its body,
// and a pack to its versions, without an index.
const (
	lineBits = 6
	lineMask = 1<<lineBits - 1
)

// Fails to compile if a pack can have more rows than line numbers.
const _ = uint(lineMask + 1 - packRows)

// An inserter inserts packs in a transaction.
type inserter struct {
	update    *scopeUpdate
	tx        *sql.Tx
	bodyStmt  *sql.Stmt
	index     packIndexer
	stageStmt *sql.Stmt // stages a row
	batchStmt *sql.Stmt // inserts batchRows new rows
	rowStmt   *sql.Stmt // inserts one new row
	pending   int       // new rows that wait in args
	args      []any
}

// batchRows is the number of rows of one insert. Single rows spend more time on the call than on the row; larger
// batches spend it on SQLite's statement journal, which copies each page that the statement changes.
const batchRows = 8

func (u *scopeUpdate) newInserter(ctx context.Context, tx *sql.Tx) (*inserter, error) {
	body, err := tx.PrepareContext(ctx, "INSERT INTO body (pack, data) VALUES (?, ?)")
	return &inserter{update: u, tx: tx, bodyStmt: body, index: packIndexer{tx: tx}}, err
}

func (in *inserter) close() {
	in.index.close()
	for _, s := range []*sql.Stmt{in.bodyStmt, in.stageStmt, in.batchStmt, in.rowStmt} {
		if s != nil {
			_ = s.Close() // it ends with the transaction anyway
		}
	}
}

// prepare prepares a statement on its first use.
func (in *inserter) prepare(ctx context.Context, s **sql.Stmt, query func() string) (err error) {
	if *s == nil {
		*s, err = in.tx.PrepareContext(ctx, query())
	}
	return err
}

// insertPacks publishes the new rows of a commit, which most rows are, and stages the others. It reports whether it
// staged any.
func (u *scopeUpdate) insertPacks(ctx context.Context, tx *sql.Tx, at int64) (staged bool, err error) {
	in, err := u.newInserter(ctx, tx)
	if err != nil {
		return false, err
	}
	defer in.close()
	for i := range u.packs {
		if err := in.insertPack(ctx, &u.packs[i], at); err != nil {
			return false, err
		}
	}
	if err := in.flush(ctx); err != nil {
		return false, err
	}
	return in.stageStmt != nil, nil
}

// insertPack inserts one pack. at is the instant of the commit; 0 stages every row.
func (in *inserter) insertPack(ctx context.Context, p *pack, instant int64) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	// otherwise the driver starts a goroutine for each statement, and a statement takes microseconds
	ctx = context.WithoutCancel(ctx)
	in.update.store.lastPack++ // guarded by write; a failed transaction may waste the number
	if _, err := in.bodyStmt.ExecContext(ctx, in.update.store.lastPack, p.bodies); err != nil {
		return err
	}
	if err := in.index.add(ctx, in.update.scope, in.update.store.lastPack, p.search); err != nil {
		return err
	}
	first := in.update.store.lastPack << lineBits
	for i := range p.rows {
		r, n := &p.rows[i], first+int64(i)
		if instant > 0 && r.Op == inventory.Added {
			if err := in.addRow(ctx, r, n, instant); err != nil {
				return err
			}
			continue
		}
		if err := in.prepare(ctx, &in.stageStmt, func() string {
			return "INSERT INTO staged (turn, id, how, sum, name, state, type, tags, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
		}); err != nil {
			return err
		}
		if _, err := in.stageStmt.ExecContext(
			ctx, in.update.id, r.ID, int(r.Op), r.Sum[:], r.Name, r.State, r.Type, r.Tags, n,
		); err != nil {
			return err
		}
	}
	return nil
}

// The arguments that all rows of an insert share, and those of each row.
const (
	sharedArgs = 4
	rowArgs    = 7
)

// addRow adds a new live version. It may be inserted only by flush.
func (in *inserter) addRow(ctx context.Context, r *inventory.Row, n, at int64) error {
	if in.pending == 0 {
		in.args = append(in.args[:0], in.update.scope, record.DigestVersion, in.update.run, at)
	}
	in.args = append(in.args, n, r.ID, r.Sum[:], r.Name, r.State, r.Type, r.Tags)
	if in.pending++; in.pending < batchRows {
		return nil
	}
	in.pending = 0
	return in.insertVersions(ctx, &in.batchStmt, batchRows, in.args)
}

// flush inserts the waiting rows.
func (in *inserter) flush(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	one := make([]any, sharedArgs+rowArgs)
	copy(one, in.args)
	for i := range in.pending {
		copy(one[sharedArgs:], in.args[sharedArgs+rowArgs*i:])
		if err := in.insertVersions(ctx, &in.rowStmt, 1, one); err != nil {
			return err
		}
	}
	in.pending = 0
	return nil
}

// insertVersions inserts rows with one statement.
func (in *inserter) insertVersions(ctx context.Context, s **sql.Stmt, rows int, args []any) error {
	if err := in.prepare(ctx, s, func() string {
		const row = "(?1, ?2, ?3, ?4, ?4, ?4, ?, ?, ?, ?, ?, ?, ?)"
		return "INSERT INTO version (scope, sum_version, run, first_seen, state_since, valid_from," +
			" version, id, sum, name, state, type, tags) VALUES " +
			row + strings.Repeat(", "+row, rows-1)
	}); err != nil {
		return err
	}
	_, err := (*s).ExecContext(ctx, args...)
	return err
}

// queryPacks returns the pack numbers that a statement yields, without duplicates.
func queryPacks(ctx context.Context, tx *sql.Tx, query string, args ...any) (out []int64, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return slices.Compact(out), rows.Err()
}

// deleteEmptyPacks deletes those packs that have no version left.
func deleteEmptyPacks(ctx context.Context, tx *sql.Tx, packs []int64) error {
	for _, p := range packs {
		if _, err := tx.ExecContext(ctx,
			"DELETE FROM body WHERE pack = ?1 AND NOT EXISTS (SELECT 1 FROM version WHERE version BETWEEN ?2 AND ?3)",
			p, p<<lineBits, p<<lineBits|lineMask); err != nil {
			return err
		}
	}
	return nil
}

// packLine returns the nth line of a decoded pack.
func packLine(pack []byte, n int) ([]byte, bool) {
	for ; n > 0; n-- {
		at := bytes.IndexByte(pack, '\n')
		if at < 0 {
			return nil, false
		}
		pack = pack[at+1:]
	}
	if at := bytes.IndexByte(pack, '\n'); at >= 0 {
		pack = pack[:at]
	}
	return pack, len(pack) > 0
}

// packCacheBytes limits the decoded packs that a query keeps: the next resource is probably in one of them.
const packCacheBytes = 16 << 20

// A packCache holds the decoded packs of a query. It evicts the least recently used.
type packCache struct {
	packs map[int64]*cachedPack
	size  int
	clock int64
}

type cachedPack struct {
	lines []byte
	used  int64
}

func (o *packCache) get(n int64) []byte {
	p := o.packs[n]
	if p == nil {
		return nil
	}
	o.clock++
	p.used = o.clock
	return p.lines
}

func (o *packCache) put(n int64, lines []byte) {
	for o.size+len(lines) > packCacheBytes && len(o.packs) > 0 {
		var oldest int64
		least := o.clock + 1
		for n, p := range o.packs {
			if p.used < least {
				oldest, least = n, p.used
			}
		}
		o.size -= len(o.packs[oldest].lines)
		delete(o.packs, oldest)
	}
	if o.packs == nil {
		o.packs = map[int64]*cachedPack{}
	}
	o.clock++
	o.packs[n] = &cachedPack{lines, o.clock}
	o.size += len(lines)
}

// An unzstdCache holds the pack that unzstd decoded last: the next row is probably in it.
type unzstdCache struct {
	dec *zstd.Decoder

	mu          sync.Mutex
	pack, lines []byte
}

func (l *unzstdCache) line(pack []byte, n int64) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !bytes.Equal(pack, l.pack) {
		open, err := l.dec.DecodeAll(pack, l.lines[:0])
		if err != nil {
			l.pack = nil
			return "", fmt.Errorf("unzstd: %w", err)
		}
		l.pack, l.lines = append(l.pack[:0], pack...), open
	}
	text, ok := packLine(l.lines, int(n))
	if !ok {
		return "", errors.New("unzstd: no such line")
	}
	return string(text), nil
}
