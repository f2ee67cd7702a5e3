package sqlite

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/internal/sqlquery"
	"github.com/aws-collector/collector/record"
)

// A Reader answers queries, also while another process writes. Each result is a snapshot of one moment.
type Reader struct {
	db           *sql.DB
	dec          *zstd.Decoder
	queryTimeout time.Duration // of statements of the user
	searchLimits searchLimits
	closed       *closedFile // nil: SQLite sees what other processes write
}

var _ inventory.Reader = (*Reader)(nil)

// OpenReader opens the database of a Store. Its error wraps [fs.ErrNotExist] if there is none yet.
func OpenReader(ctx context.Context, path string) (*Reader, error) {
	if _, err := os.Stat(path); err != nil {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nothingStored(err)
		case errors.Is(err, fs.ErrPermission):
			return nil, unreadable(err)
		}
		return nil, err
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} { // SQLite follows links
		if err := statefile.CheckRegular(path + suffix); err != nil {
			return nil, err
		}
	}
	r, err := newReader(path, "ro")
	if err != nil {
		return nil, err
	}
	var id, version int
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err == nil {
		id, version, err = readMarks(ctx, r.db)
	}
	if isUnwritable(err) {
		if r, err = reopenClosed(r, path, err); err != nil {
			return nil, fmt.Errorf("store %s: %w", path, err)
		}
		id, version, err = readMarks(ctx, r.db)
	}
	if err == nil {
		err = checkFormat(ctx, r.db, id, version, len(files))
	}
	if err == nil && id == 0 && version == 0 {
		err = checkUnused(ctx, r.db)
	}
	if err == nil && id == 0 && version == 0 {
		err = &record.Fault{Reason: record.Other, Err: errors.New("the database is empty"),
			Hint: `To keep its history, restore it from a backup before the next start. "collector run" begins a new one.`}
	}
	if err == nil && version < len(files) {
		err = &record.Fault{
			Reason: record.Other,
			Hint:   `Run "collector run" to migrate it.`,
			Err:    errors.New("an older version of the program made this database"),
		}
	}
	if err == nil {
		err = checkReadable(ctx, r.db)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", path, explain(err)), r.Close())
	}
	return r, nil
}

func nothingStored(err error) error {
	return &record.Fault{
		Reason: record.Other,
		Hint:   `Run "collector run --once" to collect and store once.`,
		Err:    fmt.Errorf("nothing is stored yet: %w", err),
	}
}

func newReader(path, mode string) (*Reader, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxBody))
	if err != nil {
		return nil, err
	}
	db, err := connect(path, mode)
	if err != nil {
		return nil, err
	}
	return &Reader{db: db, dec: dec, queryTimeout: defaultQueryTimeout, searchLimits: defaultSearchLimits}, nil
}

// Close may be called more than once.
func (r *Reader) Close() error {
	r.dec.Close()
	err := r.db.Close()
	if r.closed != nil {
		err = errors.Join(err, r.closed.checkUnchanged())
	}
	return err
}

// versionColumns are the columns that scanVersion reads, of version v and its scope s.
const versionColumns = `s.kind, v.id, v.name, v.state, v.type, s.account, s.account_id, s.partition, s.region,
	v.tags, s.extra_tags, v.run, v.first_seen, v.state_since, v.valid_from, v.valid_to,
	coalesce(v.ended, ''), s.last_seen, v.sum, v.version`

const fromVersion = " FROM version v JOIN scope s ON s.scope = v.scope"

// A snapshot is the database at one moment.
type snapshot struct {
	r        *Reader
	tx       *sql.Tx
	bodyStmt *sql.Stmt
	cache    packCache
}

// inSnapshot calls f with a snapshot and yields its error.
func inSnapshot[T any](
	ctx context.Context, r *Reader, f func(s *snapshot, yield func(T) bool) error,
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		stopped := false
		err := r.withSnapshot(ctx, func(s *snapshot) error {
			return f(s, func(t T) bool {
				stopped = stopped || !yield(t, nil)
				return !stopped
			})
		})
		if err != nil && !stopped {
			var zero T
			yield(zero, explain(err))
		}
	}
}

func (r *Reader) withSnapshot(ctx context.Context, f func(*snapshot) error) error {
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	body, err := tx.PrepareContext(ctx, "SELECT data FROM body WHERE pack = ?")
	if err != nil {
		return err
	}
	defer body.Close()
	return f(&snapshot{r: r, tx: tx, bodyStmt: body})
}

func instant(us sql.NullInt64) time.Time {
	if !us.Valid {
		return time.Time{}
	}
	return time.UnixMicro(us.Int64).UTC()
}

// scanVersion reads a version without its body, and the number of the version.
func scanVersion(rows interface{ Scan(...any) error }, more ...any) (r *inventory.Resource, version int64, err error) {
	r = new(inventory.Resource)
	var tags, extra, sum []byte
	var first, since, from, to, seen sql.NullInt64
	dest := append([]any{&r.Kind, &r.ID, &r.Name, &r.State, &r.Type, &r.Account, &r.AccountID, &r.Partition, &r.Region,
		&tags, &extra, &r.Run, &first, &since, &from, &to, &r.Ended, &seen, &sum, &version}, more...)
	if err := rows.Scan(dest...); err != nil {
		return nil, 0, err
	}
	if err := errors.Join(json.Unmarshal(tags, &r.Tags), json.Unmarshal(extra, &r.ExtraTags)); err != nil {
		return nil, 0, fmt.Errorf("%w: tags of %s: %w", ErrCorrupt, r.ID, err)
	}
	r.FirstSeen, r.StateSince, r.LastSeen = instant(first), instant(since), instant(seen)
	r.ValidFrom, r.ValidTo = instant(from), instant(to)
	r.CollectedAt = r.ValidFrom
	copy(r.Sum[:], sum)
	return r, version, nil
}

// loadBody reads the body of a version.
func (s *snapshot) loadBody(ctx context.Context, r *inventory.Resource, version int64) error {
	pack := version >> lineBits
	lines := s.cache.get(pack)
	if lines == nil {
		var err error
		if lines, err = s.readPack(ctx, pack); err != nil {
			return fmt.Errorf("the body of %s: %w", r.ID, err)
		}
		s.cache.put(pack, lines)
	}
	data, ok := packLine(lines, int(version&lineMask))
	if !ok {
		return fmt.Errorf("%w: the body of %s is missing", ErrCorrupt, r.ID)
	}
	r.Data = bytes.Clone(data)
	return nil
}

func (s *snapshot) readPack(ctx context.Context, pack int64) ([]byte, error) {
	rows, err := s.bodyStmt.QueryContext(ctx, pack)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, cmp.Or(rows.Err(), fmt.Errorf("%w: it is missing", ErrCorrupt))
	}
	var b sql.RawBytes
	if err := rows.Scan(&b); err != nil {
		return nil, err
	}
	lines, err := s.r.dec.DecodeAll(b, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return lines, nil
}

// selectVersions yields the versions of a statement that satisfy q.
func (s *snapshot) selectVersions(
	ctx context.Context, q inventory.Query, yield func(*inventory.Resource) bool, query string, args ...any,
) error {
	rows, err := s.tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		r, body, err := scanVersion(rows)
		if err != nil {
			return err
		}
		ok, err := s.matches(ctx, q, r, body)
		if err != nil {
			return err
		}
		if ok && !yield(r) {
			return nil
		}
	}
	return rows.Err()
}

// matches loads the body only when it is needed.
func (s *snapshot) matches(ctx context.Context, q inventory.Query, r *inventory.Resource, body int64) (bool, error) {
	early := q.Where.NeedsData()
	if early {
		if err := s.loadBody(ctx, r, body); err != nil {
			return false, err
		}
	}
	ok, err := q.Where.Match(r)
	if err == nil && ok && q.Data && !early {
		err = s.loadBody(ctx, r, body)
	}
	return ok, err
}

// dialect is how SQLite writes conditions.
var dialect = sqlquery.Dialect{
	Placeholder: "?",
	Glob:        func(column, param string) string { return column + " GLOB " + param },
	Pattern:     func(glob string) string { return glob },
}

// Find yields resources in the order of their keys.
func (r *Reader) Find(ctx context.Context, q inventory.Query) iter.Seq2[*inventory.Resource, error] {
	return inventory.First(q.Limit, inSnapshot(ctx, r, func(v *snapshot, yield func(*inventory.Resource) bool) error {
		switch {
		case q.Search != "":
			return v.search(ctx, q, yield)
		case q.Limit > 0 && q.ID == "" && q.At.IsZero():
			return v.page(ctx, q, yield)
		}
		return v.find(ctx, q, nil, yield)
	}))
}

// History yields every version.
func (r *Reader) History(ctx context.Context, q inventory.Query) iter.Seq2[*inventory.Resource, error] {
	b := sqlquery.New(dialect)
	b.Versions(q)
	return r.versions(ctx, q, "SELECT "+versionColumns+fromVersion+b.Where()+
		" ORDER BY s.kind, s.account, s.region, s.scope, v.id, v.valid_from", b.Params())
}

// versions yields the versions of a statement that satisfy q.
func (r *Reader) versions(
	ctx context.Context, q inventory.Query, query string, params []any,
) iter.Seq2[*inventory.Resource, error] {
	return inSnapshot(ctx, r, func(v *snapshot, yield func(*inventory.Resource) bool) error {
		return v.selectVersions(ctx, q, yield, query, params...)
	})
}

// loadVersion reads the version with a number.
func (s *snapshot) loadVersion(ctx context.Context, q inventory.Query, n sql.NullInt64) (*inventory.Resource, error) {
	if !n.Valid {
		return nil, nil
	}
	r, body, err := scanVersion(
		s.tx.QueryRowContext(ctx, "SELECT "+versionColumns+fromVersion+" WHERE v.version = ?", n.Int64),
	)
	if err == nil && (q.Data || q.Where.NeedsData()) {
		err = s.loadBody(ctx, r, body)
	}
	return r, err
}

// selectChanges yields the changes of a statement whose columns are an instant and the numbers of the versions before
// and after.
func (s *snapshot) selectChanges(
	ctx context.Context, q inventory.Query, yield func(inventory.Change) bool, query string, args ...any,
) error {
	rows, err := s.tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var at, before, after sql.NullInt64
		if err := rows.Scan(&at, &before, &after); err != nil {
			return err
		}
		c := inventory.Change{Op: inventory.WasChanged, At: instant(at)}
		if c.Before, err = s.loadVersion(ctx, q, before); err != nil {
			return err
		}
		if c.After, err = s.loadVersion(ctx, q, after); err != nil {
			return err
		}
		switch {
		case c.Before == nil:
			c.Op = inventory.WasAdded
		case c.After == nil:
			c.Op = inventory.WasGone
		}
		ok, err := q.Where.Match(c.Resource())
		if err != nil {
			return err
		}
		if ok && !yield(c) {
			return nil
		}
	}
	return rows.Err()
}

// Diff yields the differences between two instants, in the order of keys. A resource that changed and changed back is
// no difference.
func (r *Reader) Diff(ctx context.Context, q inventory.Query, from, to time.Time) iter.Seq2[inventory.Change, error] {
	n := sqlquery.New(dialect)
	x, y := n.Param(from.UnixMicro()), n.Param(to.UnixMicro())
	n.Add("(a.version IS NOT NULL OR b.version IS NOT NULL)")
	n.Add("a.sum IS NOT b.sum")
	n.After(q.After, "t")
	n.Resources(q, "t") // selectChanges applies q.Where to the later version: it may match only one of the two
	at := func(v, instant string) string {
		return " LEFT JOIN version " + v + " ON " + v + ".id = t.id AND " + v + ".scope = t.scope AND " + v +
			".valid_from <= " + instant + " AND (" + v + ".valid_to IS NULL OR " + v + ".valid_to > " + instant + ")"
	}
	return r.changes(ctx, q, `WITH touched AS (
			SELECT scope, id FROM version WHERE valid_from > `+x+" AND valid_from <= "+y+`
			UNION SELECT scope, id FROM version WHERE valid_to > `+x+" AND valid_to <= "+y+`)
		SELECT NULL, a.version, b.version FROM touched t JOIN scope s ON s.scope = t.scope`+at("a", x)+at("b", y)+
		n.Where()+" ORDER BY "+sqlquery.KeyOrder("t"), n.Params())
}

// Changes yields the changes after an instant.
func (r *Reader) Changes(ctx context.Context, q inventory.Query, after time.Time) iter.Seq2[inventory.Change, error] {
	n := sqlquery.New(dialect)
	at := n.Param(after.UnixMicro())
	n.Resources(q, "v")
	return r.changes(ctx, q, `SELECT at, before, after FROM (
			SELECT v.scope, v.id, v.valid_from AS at, b.version AS before, v.version AS after FROM version v
				LEFT JOIN version b ON b.id = v.id AND b.scope = v.scope AND b.valid_to = v.valid_from
				WHERE v.valid_from > `+at+`
			UNION ALL SELECT scope, id, valid_to, version, NULL FROM version
				WHERE valid_to > `+at+` AND ended IS NOT NULL) v
		JOIN scope s ON s.scope = v.scope`+n.Where()+" ORDER BY at, v.id", n.Params())
}

func (r *Reader) changes(
	ctx context.Context, q inventory.Query, query string, params []any,
) iter.Seq2[inventory.Change, error] {
	return inSnapshot(ctx, r, func(v *snapshot, yield func(inventory.Change) bool) error {
		return v.selectChanges(ctx, q, yield, query, params...)
	})
}

// Targets yields the stored state of each target.
func (r *Reader) Targets(ctx context.Context) iter.Seq2[inventory.Coverage, error] {
	return inSnapshot(ctx, r, func(v *snapshot, yield func(inventory.Coverage) bool) error {
		rows, err := v.tx.QueryContext(ctx, `SELECT account, region, kind, account_id, partition, run,
			state, reason, error, hint, expected, records, calls,
			throttles, started, ended, state_since, last_seen, first_complete, retired, coalesce(why, ''),
			(SELECT id FROM history),
			(SELECT count(*) FROM version v WHERE v.scope = s.scope AND v.valid_to IS NULL)
			FROM scope s ORDER BY account, region, kind`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var c inventory.Coverage
			var started, ended, since, seen, first, retired sql.NullInt64
			if err := rows.Scan(&c.Account, &c.Region, &c.Kind, &c.AccountID, &c.Partition, &c.Run, &c.State, &c.Reason,
				&c.Error, &c.Hint, &c.Expected, &c.Records, &c.Calls, &c.Throttles,
				&started, &ended, &since, &seen, &first, &retired, &c.RetiredReason, &c.History, &c.Resources); err != nil {
				return err
			}
			c.Started, c.Ended, c.Retired = instant(started), instant(ended), instant(retired)
			c.StateSince, c.LastSeen, c.FirstComplete = instant(since), instant(seen), instant(first)
			if !yield(c) {
				return nil
			}
		}
		return rows.Err()
	})
}
