package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/internal/sqlquery"
	"github.com/aws-collector/collector/record"
)

// A Reader answers queries, also while another process writes. Each result comes from one statement or one transaction,
// so it is a snapshot of one moment.
type Reader struct {
	c           *connector
	pool        *pgxpool.Pool
	fewVersions int // see defaultFewVersions
}

var _ inventory.Reader = (*Reader)(nil)

// OpenReader opens the schema of a Store. Its error wraps [ErrEmpty] if there are no tables yet. The role needs only
// the right to read.
func OpenReader(ctx context.Context, o Options) (*Reader, error) {
	c, err := newConnector(o.DSN, o.Schema)
	if err != nil {
		return nil, err
	}
	r, err := newReader(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := r.checkFormat(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("store: %w", c.explain(ctx, err)), r.Close())
	}
	return r, nil
}

func (r *Reader) checkFormat(ctx context.Context) error {
	files, err := migrationFiles()
	if err != nil {
		return err
	}
	state, err := r.c.inspect(ctx, r.pool, len(files))
	switch {
	case err != nil:
		return err
	case state.version == 0:
		return &record.Fault{Reason: record.Other, Hint: `Run "collector run --once" to collect and store once.`,
			Err: fmt.Errorf("%w: database %s has no tables of collector in schema %s", ErrEmpty, r.c.conf.Database, r.c.schema)}
	case state.version < len(files):
		return &record.Fault{
			Reason: record.Other,
			Hint:   `Run "collector run" to migrate them.`,
			Err:    errors.New("an older version of the program made these tables"),
		}
	}
	return nil
}

func newReader(ctx context.Context, c *connector) (*Reader, error) {
	pool, err := c.pool(ctx, readers, nil, map[string]string{
		"lock_timeout":                  lockTimeout,
		"default_transaction_read_only": "on",
		"plan_cache_mode":               "force_custom_plan",
	})
	if err != nil {
		return nil, err
	}
	return &Reader{c, pool, defaultFewVersions}, nil
}

// Close may be called more than once. It waits for results that are still being read.
func (r *Reader) Close() error {
	r.pool.Close()
	return nil
}

// versionColumns are the columns that a versionRow scans, of version v and optionally its body. If there is no version,
// its number is NULL.
func versionColumns(v string, data bool) string {
	c := `v.version, s.kind, coalesce(v.id, ''), coalesce(v.name, ''), coalesce(v.state, ''), coalesce(v.type, ''),
		s.account, s.account_id, s.partition, s.region, coalesce(v.tags, '{}'), s.extra_tags, coalesce(v.run, ''),
		v.first_seen, v.state_since, v.valid_from, v.valid_to, coalesce(v.ended, ''), s.last_seen, v.sum`
	if data {
		c += ", (SELECT coalesce(exact, data::text) FROM body WHERE body.version = v.version)"
	} else {
		c += ", NULL"
	}
	return strings.ReplaceAll(c, "v.", v+".")
}

// A versionRow is the destination of a scan.
type versionRow struct {
	version                      *int64
	r                            inventory.Resource
	tags, extra, sum             []byte
	first, since, from, to, seen *int64
	data                         *string
}

func (c *versionRow) dest() []any {
	r := &c.r
	return []any{&c.version, &r.Kind, &r.ID, &r.Name, &r.State, &r.Type, &r.Account, &r.AccountID, &r.Partition, &r.Region,
		&c.tags, &c.extra, &r.Run, &c.first, &c.since, &c.from, &c.to, &r.Ended, &c.seen, &c.sum, &c.data}
}

// resource returns the scanned version, or nil if there was none.
func (c *versionRow) resource() (*inventory.Resource, error) {
	if c.version == nil {
		return nil, nil
	}
	r := &c.r
	if err := errors.Join(json.Unmarshal(c.tags, &r.Tags), json.Unmarshal(c.extra, &r.ExtraTags)); err != nil {
		return nil, fmt.Errorf("tags of %s: %w", r.ID, err)
	}
	r.FirstSeen, r.StateSince, r.LastSeen = instant(c.first), instant(c.since), instant(c.seen)
	r.ValidFrom, r.ValidTo = instant(c.from), instant(c.to)
	r.CollectedAt = r.ValidFrom
	copy(r.Sum[:], c.sum)
	if c.data != nil {
		var b bytes.Buffer
		b.Grow(len(*c.data))
		if err := json.Compact(&b, []byte(*c.data)); err != nil {
			return nil, fmt.Errorf("data of %s: %w", r.ID, err)
		}
		r.Data = b.Bytes()
	}
	return r, nil
}

func instant(us *int64) time.Time {
	if us == nil {
		return time.Time{}
	}
	return time.UnixMicro(*us).UTC()
}

// A querier is a pool of connections or a transaction.
type querier interface {
	Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
}

// queryRows yields the rows of a statement. If the caller stops early, the statement is cancelled at the server, and a
// transaction ends.
func queryRows[T any](
	ctx context.Context, r *Reader, db querier, query string, args []any, scan func(pgx.Rows) (T, bool, error),
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		cancellable, cancel := context.WithCancel(ctx)
		defer cancel()
		var zero T
		rows, err := db.Query(cancellable, query, args...)
		if err != nil {
			yield(zero, r.c.explain(ctx, err))
			return
		}
		defer rows.Close() // after the cancellation: otherwise Close would read the remaining rows
		defer cancel()
		for rows.Next() {
			t, ok, err := scan(rows)
			if err != nil {
				yield(zero, r.c.explain(ctx, err))
				return
			}
			if ok && !yield(t, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(zero, r.c.explain(ctx, err))
		}
	}
}

// queryResources yields the versions of a statement that satisfy q.
func (r *Reader) queryResources(
	ctx context.Context, db querier, q inventory.Query, query string, args []any,
) iter.Seq2[*inventory.Resource, error] {
	return queryRows(ctx, r, db, query, args, func(rows pgx.Rows) (*inventory.Resource, bool, error) {
		c := new(versionRow)
		if err := rows.Scan(c.dest()...); err != nil {
			return nil, false, err
		}
		res, err := c.resource()
		if err != nil {
			return nil, false, err
		}
		ok, err := q.Where.Match(res)
		if !q.Data {
			res.Data = nil
		}
		return res, ok, err
	})
}

// dialect is how Postgres writes conditions.
var dialect = sqlquery.Dialect{
	Placeholder: "$",
	Glob:        func(column, param string) string { return column + " ~ " + param },
	Pattern:     regexpOf,
	Search:      searchCondition,
}

// Find yields resources in the order of their keys. What it finds of an instant is final once the horizon passed it,
// which takes a second at most unless a commit is frozen: until then, a commit that is under way may be missing.
func (r *Reader) Find(ctx context.Context, q inventory.Query) iter.Seq2[*inventory.Resource, error] {
	if q.Limit > 0 && q.ID == "" && q.At.IsZero() {
		return r.page(ctx, q)
	}
	n := sqlquery.New(dialect)
	n.Versions(q)
	n.Search(q)
	if q.At.IsZero() {
		n.Add("v.valid_to IS NULL")
	} else {
		at := n.Param(q.At.UnixMicro())
		n.Add("v.valid_from <= " + at + " AND (v.valid_to IS NULL OR v.valid_to > " + at + ")")
	}
	n.After(q.After, "v")
	where, limit := n.Where(), n.Limit(q)
	columns := versionColumns("v", q.Data || q.Where.NeedsData())
	found := r.queryResources(ctx, r.pool, q, "SELECT "+columns+" FROM version v JOIN scope s ON s.scope = v.scope"+where+
		" ORDER BY "+sqlquery.KeyOrder("v")+limit, n.Params())
	return inventory.First(q.Limit, found)
}

// History yields every version.
func (r *Reader) History(ctx context.Context, q inventory.Query) iter.Seq2[*inventory.Resource, error] {
	n := sqlquery.New(dialect)
	n.Versions(q)
	columns := versionColumns("v", q.Data || q.Where.NeedsData())
	return r.queryResources(ctx, r.pool, q, "SELECT "+columns+
		" FROM version v JOIN scope s ON s.scope = v.scope"+n.Where()+
		" ORDER BY s.kind, s.account, s.region, s.scope, v.id, v.valid_from", n.Params())
}

// queryChanges yields a change for each row of e, whose columns are an instant and the numbers of the versions before
// and after.
func (r *Reader) queryChanges(
	ctx context.Context, q inventory.Query, with string, n *sqlquery.Builder, order string,
) iter.Seq2[inventory.Change, error] {
	data := q.Data || q.Where.NeedsData()
	columns := versionColumns("b", data) + ", " + versionColumns("a", data)
	query := "WITH e AS (" + with + ") SELECT e.at, " + columns + ` FROM e JOIN scope s ON s.scope = e.scope
		LEFT JOIN version b ON b.version = e.before LEFT JOIN version a ON a.version = e.after` +
		n.Where() + " ORDER BY " + order
	return queryRows(ctx, r, r.pool, query, n.Params(), func(rows pgx.Rows) (inventory.Change, bool, error) {
		var at *int64
		b, a := new(versionRow), new(versionRow)
		c := inventory.Change{Op: inventory.WasChanged}
		err := rows.Scan(append(append([]any{&at}, b.dest()...), a.dest()...)...)
		if err == nil {
			c.Before, err = b.resource()
		}
		if err == nil {
			c.After, err = a.resource()
		}
		if err != nil {
			return c, false, err
		}
		switch c.At = instant(at); {
		case c.Before == nil:
			c.Op = inventory.WasAdded
		case c.After == nil:
			c.Op = inventory.WasGone
		}
		ok, err := q.Where.Match(c.Resource())
		return c, ok, err
	})
}

// Diff yields the differences between two instants, in the order of keys. A resource that changed and changed back is
// no difference.
func (r *Reader) Diff(ctx context.Context, q inventory.Query, from, to time.Time) iter.Seq2[inventory.Change, error] {
	n := sqlquery.New(dialect)
	n.After(q.After, "e")
	n.Resources(q, "e") // queryChanges applies q.Where to the later version: it may match only one of the two
	x, y := n.Param(from.UnixMicro()), n.Param(to.UnixMicro())
	at := func(v, instant string) string {
		return " LEFT JOIN LATERAL (SELECT v.version, v.sum, v.valid_to FROM version v" +
			" WHERE v.id = t.id AND v.scope = t.scope AND v.valid_from <= " + instant +
			" ORDER BY v.valid_from DESC LIMIT 1) " + v + " ON " + v + ".valid_to IS NULL OR " + v + ".valid_to > " + instant
	}
	return r.queryChanges(ctx, q, `SELECT t.scope, t.id, NULL::bigint AS at, b.version AS before, a.version AS after FROM (
			SELECT scope, id FROM version WHERE valid_from > `+x+` AND valid_from <= `+y+`
			UNION SELECT scope, id FROM version WHERE valid_to > `+x+` AND valid_to <= `+y+`) t`+at("b", x)+at("a", y)+`
		WHERE (b.version IS NOT NULL OR a.version IS NOT NULL) AND b.sum IS DISTINCT FROM a.sum`,
		n, sqlquery.KeyOrder("e"))
}

// horizon is the last instant whose changes are all visible: see raiseHorizon. While a program of before version 6 of
// the tables writes, it is the last instant.
const horizon = "(SELECT CASE WHEN published = writer THEN horizon ELSE last END FROM clock)"

// Changes yields the changes after an instant, up to the horizon.
func (r *Reader) Changes(ctx context.Context, q inventory.Query, after time.Time) iter.Seq2[inventory.Change, error] {
	n := sqlquery.New(dialect)
	n.Resources(q, "e")
	x := n.Param(after.UnixMicro())
	return r.queryChanges(ctx, q, `SELECT v.scope, v.id, v.valid_from AS at, b.version AS before, v.version AS after
			FROM version v LEFT JOIN LATERAL (SELECT b.version, b.valid_to FROM version b
				WHERE b.id = v.id AND b.scope = v.scope AND b.valid_from < v.valid_from
				ORDER BY b.valid_from DESC LIMIT 1) b ON b.valid_to = v.valid_from
			WHERE v.valid_from > `+x+" AND v.valid_from <= "+horizon+`
		UNION ALL SELECT scope, id, valid_to, version, NULL FROM version
			WHERE valid_to > `+x+" AND valid_to <= "+horizon+" AND ended IS NOT NULL",
		n, "e.at, e.id")
}

// Targets yields the stored state of each target.
func (r *Reader) Targets(ctx context.Context) iter.Seq2[inventory.Coverage, error] {
	return queryRows(ctx, r, r.pool, `SELECT account, region, kind, account_id, partition, run, state, reason, error, hint,
		expected, records, calls,
		throttles, started, ended, state_since, last_seen, first_complete, retired, coalesce(why, ''),
		(SELECT history FROM store LIMIT 1),
		(SELECT count(*) FROM version v WHERE v.scope = s.scope AND v.valid_to IS NULL)
		FROM scope s ORDER BY account, region, kind`, nil,
		func(rows pgx.Rows) (c inventory.Coverage, ok bool, err error) {
			var started, ended, since, seen, first, retired *int64
			err = rows.Scan(&c.Account, &c.Region, &c.Kind, &c.AccountID, &c.Partition, &c.Run, &c.State, &c.Reason,
				&c.Error, &c.Hint, &c.Expected, &c.Records, &c.Calls, &c.Throttles,
				&started, &ended, &since, &seen, &first, &retired, &c.RetiredReason, &c.History, &c.Resources)
			c.Started, c.Ended, c.Retired = instant(started), instant(ended), instant(retired)
			c.StateSince, c.LastSeen, c.FirstComplete = instant(since), instant(seen), instant(first)
			return c, true, err
		})
}

// regexpOf returns a glob (*, ? and classes) as a regular expression of Postgres.
func regexpOf(glob string) string {
	var b strings.Builder
	b.WriteByte('^')
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; c {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteByte('.')
		case '[':
			if end := strings.IndexByte(glob[i+1:], ']'); end > 0 {
				b.WriteString(strings.ReplaceAll(glob[i:i+end+2], `\`, `\\`))
				i += end + 1
				continue
			}
			b.WriteString(`\[`)
		case '.', '\\', '^', '$', '+', '(', ')', '{', '}', '|', ']':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('$')
	return b.String()
}
