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

// A version's number is its pack's, and its line in the pack: so a version names its body, and a pack its versions, without
// an index.
const (
	lineBits = 6
	lineMask = 1<<lineBits - 1
)

// Fails to compile if a pack had more rows than there are lines.
const _ = uint(lineMask + 1 - inventory.PackRows)

// An inserter brings packs into a transaction.
type inserter struct {
	update    *scopeUpdate
	tx        *sql.Tx
	bodyStmt  *sql.Stmt
	stageStmt *sql.Stmt // a row to where no reader looks
	batchStmt *sql.Stmt // atOnce rows that are new
	rowStmt   *sql.Stmt // a row that is new
	pending   int       // that are new and wait in args
	args      []any
}

// batchRows is how many rows go with one statement. One by one the way to SQLite costs more than the row; many together, the journal
// that SQLite keeps of a statement, which has each page that the statement changes.
const batchRows = 8

// newInserter is for rows to be staged.
func (t *scopeUpdate) newInserter(ctx context.Context, tx *sql.Tx) (*inserter, error) {
	body, err := tx.PrepareContext(ctx, "INSERT INTO body (pack, data) VALUES (?, ?)")
	return &inserter{update: t, tx: tx, bodyStmt: body}, err
}

func (in *inserter) close() {
	for _, s := range []*sql.Stmt{in.bodyStmt, in.stageStmt, in.batchStmt, in.rowStmt} {
		if s != nil {
			_ = s.Close() // it ends with the transaction in any case
		}
	}
}

// prepare makes a statement when it is first asked for.
func (in *inserter) prepare(ctx context.Context, s **sql.Stmt, query func() string) (err error) {
	if *s == nil {
		*s, err = in.tx.PrepareContext(ctx, query())
	}
	return err
}

// insertPacks makes the rows of a commit seen that are new, which most rows of most commits are. The others are staged; it reports
// whether there were any.
func (t *scopeUpdate) insertPacks(ctx context.Context, tx *sql.Tx, packs []inventory.Pack, at int64) (staged bool, err error) {
	in, err := t.newInserter(ctx, tx)
	if err != nil {
		return false, err
	}
	defer in.close()
	for i := range packs {
		if err := in.insertPack(ctx, &packs[i], at); err != nil {
			return false, err
		}
	}
	if err := in.flush(ctx); err != nil {
		return false, err
	}
	return in.stageStmt != nil, nil
}

// insertPack inserts one. at is the instant of the commit; 0: everything is staged.
func (in *inserter) insertPack(ctx context.Context, p *inventory.Pack, at int64) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	ctx = context.WithoutCancel(ctx) // else the driver starts a goroutine for each of the statements, which take microseconds
	in.update.store.lastPack++       // guarded by write; a number that is lost with its transaction is no loss
	if _, err := in.bodyStmt.ExecContext(ctx, in.update.store.lastPack, p.Bodies); err != nil {
		return err
	}
	first := in.update.store.lastPack << lineBits
	for i := range p.Rows {
		r, n := &p.Rows[i], first+int64(i)
		if at > 0 && r.Op == inventory.Added {
			if err := in.addRow(ctx, r, n, at); err != nil {
				return err
			}
			continue
		}
		if err := in.prepare(ctx, &in.stageStmt, func() string {
			return "INSERT INTO staged (turn, id, how, sum, name, state, type, tags, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
		}); err != nil {
			return err
		}
		if _, err := in.stageStmt.ExecContext(ctx, in.update.id, r.ID, int(r.Op), r.Sum[:], r.Name, r.State, r.Type, r.Tags, n); err != nil {
			return err
		}
	}
	return nil
}

// What the rows of one statement share, and what each has.
const (
	sharedArgs = 4
	rowArgs    = 7
)

// addRow brings a row that is new, as a live version. It may wait for others until flush.
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

// flush brings what waits.
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

// insertVersions inserts so many.
func (in *inserter) insertVersions(ctx context.Context, s **sql.Stmt, rows int, args []any) error {
	if err := in.prepare(ctx, s, func() string {
		const row = "(?1, ?2, ?3, ?4, ?4, ?4, ?, ?, ?, ?, ?, ?, ?)"
		return "INSERT INTO version (scope, sum_version, run, first_seen, state_since, valid_from, version, id, sum, name, state, type, tags) VALUES " +
			row + strings.Repeat(", "+row, rows-1)
	}); err != nil {
		return err
	}
	_, err := (*s).ExecContext(ctx, args...)
	return err
}

// queryPacks is the numbers that a statement returns, once each.
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

// deleteEmptyPacks deletes those packs of which no version is left.
func deleteEmptyPacks(ctx context.Context, tx *sql.Tx, packs []int64) error {
	for _, p := range packs {
		if _, err := tx.ExecContext(ctx, "DELETE FROM body WHERE pack = ?1 AND NOT EXISTS (SELECT 1 FROM version WHERE version BETWEEN ?2 AND ?3)",
			p, p<<lineBits, p<<lineBits|lineMask); err != nil {
			return err
		}
	}
	return nil
}

// packLine is the nth of a pack's lines.
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

// packCacheBytes is how much of opened packs an answer keeps, as the next resources are likely in one of them.
const packCacheBytes = 16 << 20

// packCache is packs that were opened for an answer, those least recently used first to go.
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

// A lastOpened is what the SQL function opened last: the next row is likely of the same pack.
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
