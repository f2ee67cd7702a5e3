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
	t     *turn
	tx    *sql.Tx
	body  *sql.Stmt
	stage *sql.Stmt // a row to where no reader looks
	many  *sql.Stmt // atOnce rows that are new
	one   *sql.Stmt // a row that is new
	rows  int       // that are new and wait in args
	args  []any
}

// atOnce is how many rows go with one statement. One by one the way to SQLite costs more than the row; many together, the journal
// that SQLite keeps of a statement, which has each page that the statement changes.
const atOnce = 8

// insert is for rows to be staged.
func (t *turn) insert(ctx context.Context, tx *sql.Tx) (*inserter, error) {
	body, err := tx.PrepareContext(ctx, "INSERT INTO body (pack, data) VALUES (?, ?)")
	return &inserter{t: t, tx: tx, body: body}, err
}

func (in *inserter) close() {
	for _, s := range []*sql.Stmt{in.body, in.stage, in.many, in.one} {
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

// bring makes the rows of a commit seen that are new, which most rows of most commits are. The others are staged; it reports
// whether there were any.
func (t *turn) bring(ctx context.Context, tx *sql.Tx, packs []inventory.Pack, at int64) (staged bool, err error) {
	in, err := t.insert(ctx, tx)
	if err != nil {
		return false, err
	}
	defer in.close()
	for i := range packs {
		if err := in.pack(ctx, &packs[i], at); err != nil {
			return false, err
		}
	}
	if err := in.flush(ctx); err != nil {
		return false, err
	}
	return in.stage != nil, nil
}

// pack inserts one. at is the instant of the commit; 0: everything is staged.
func (in *inserter) pack(ctx context.Context, p *inventory.Pack, at int64) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	ctx = context.WithoutCancel(ctx) // else the driver starts a goroutine for each of the statements, which take microseconds
	in.t.s.packs++                   // guarded by write; a number that is lost with its transaction is no loss
	if _, err := in.body.ExecContext(ctx, in.t.s.packs, p.Bodies); err != nil {
		return err
	}
	first := in.t.s.packs << lineBits
	for i := range p.Rows {
		r, n := &p.Rows[i], first+int64(i)
		if at > 0 && r.How == inventory.Added {
			if err := in.add(ctx, r, n, at); err != nil {
				return err
			}
			continue
		}
		if err := in.prepare(ctx, &in.stage, func() string {
			return "INSERT INTO staged (turn, id, how, sum, name, state, type, tags, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
		}); err != nil {
			return err
		}
		if _, err := in.stage.ExecContext(ctx, in.t.n, r.ID, int(r.How), r.Sum[:], r.Name, r.State, r.Type, r.Tags, n); err != nil {
			return err
		}
	}
	return nil
}

// What the rows of one statement share, and what each has.
const (
	shared = 4
	each   = 7
)

// add brings a row that is new, as a live version. It may wait for others until flush.
func (in *inserter) add(ctx context.Context, r *inventory.Row, n, at int64) error {
	if in.rows == 0 {
		in.args = append(in.args[:0], in.t.scope, record.SumVersion, in.t.run, at)
	}
	in.args = append(in.args, n, r.ID, r.Sum[:], r.Name, r.State, r.Type, r.Tags)
	if in.rows++; in.rows < atOnce {
		return nil
	}
	in.rows = 0
	return in.versions(ctx, &in.many, atOnce, in.args)
}

// flush brings what waits.
func (in *inserter) flush(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	one := make([]any, shared+each)
	copy(one, in.args)
	for i := range in.rows {
		copy(one[shared:], in.args[shared+each*i:])
		if err := in.versions(ctx, &in.one, 1, one); err != nil {
			return err
		}
	}
	in.rows = 0
	return nil
}

// versions inserts so many.
func (in *inserter) versions(ctx context.Context, s **sql.Stmt, rows int, args []any) error {
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

// packs is the numbers that a statement returns, once each.
func packs(ctx context.Context, tx *sql.Tx, query string, args ...any) (out []int64, err error) {
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

// dropEmpty deletes those packs of which no version is left.
func dropEmpty(ctx context.Context, tx *sql.Tx, packs []int64) error {
	for _, p := range packs {
		if _, err := tx.ExecContext(ctx, "DELETE FROM body WHERE pack = ?1 AND NOT EXISTS (SELECT 1 FROM version WHERE version BETWEEN ?2 AND ?3)",
			p, p<<lineBits, p<<lineBits|lineMask); err != nil {
			return err
		}
	}
	return nil
}

// line is the nth of a pack's lines.
func line(pack []byte, n int) ([]byte, bool) {
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

// openBytes is how much of opened packs an answer keeps, as the next resources are likely in one of them.
const openBytes = 16 << 20

// opened is packs that were opened for an answer, those least recently used first to go.
type opened struct {
	packs map[int64]*openPack
	size  int
	clock int64
}

type openPack struct {
	lines []byte
	used  int64
}

func (o *opened) get(n int64) []byte {
	p := o.packs[n]
	if p == nil {
		return nil
	}
	o.clock++
	p.used = o.clock
	return p.lines
}

func (o *opened) put(n int64, lines []byte) {
	for o.size+len(lines) > openBytes && len(o.packs) > 0 {
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
		o.packs = map[int64]*openPack{}
	}
	o.clock++
	o.packs[n] = &openPack{lines, o.clock}
	o.size += len(lines)
}

// A lastOpened is what the SQL function opened last: the next row is likely of the same pack.
type lastOpened struct {
	dec *zstd.Decoder

	mu         sync.Mutex
	pack, open []byte
}

func (l *lastOpened) line(pack []byte, n int64) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !bytes.Equal(pack, l.pack) {
		open, err := l.dec.DecodeAll(pack, l.open[:0])
		if err != nil {
			l.pack = nil
			return "", fmt.Errorf("unzstd: %w", err)
		}
		l.pack, l.open = append(l.pack[:0], pack...), open
	}
	text, ok := line(l.open, int(n))
	if !ok {
		return "", errors.New("unzstd: no such line")
	}
	return string(text), nil
}
