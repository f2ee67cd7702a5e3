package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

var _ inventory.Store = (*Reader)(nil)

// fetchRows is the number of rows of a user's query that are fetched at once.
const fetchRows = 1000

// Query runs one read-only statement, whatever the role may do: the transaction is read only, and the statement is part
// of a cursor's declaration, where the grammar allows only a query.
func (r *Reader) Query(ctx context.Context, query string, f func(columns []string, row []any) error) error {
	err := pgx.BeginTxFunc(ctx, r.pool, pgx.TxOptions{
		BeginQuery: "begin isolation level repeatable read read only; " +
			"set local statement_timeout = '10min'; set local cursor_tuple_fraction = 1",
	}, func(tx pgx.Tx) error {
		// The extended protocol takes exactly one statement, so nothing can follow the query. Exec without arguments uses the
		// simple protocol, which takes any number.
		declare := tx.Conn().PgConn().ExecParams(ctx, "DECLARE asked NO SCROLL CURSOR FOR\n"+query, nil, nil, nil, nil)
		if _, err := declare.Close(); err != nil {
			return explainSyntax(err)
		}
		empty := true
		for {
			rows, err := tx.Query(
				ctx, "FETCH "+strconv.Itoa(fetchRows)+" FROM asked", pgx.QueryExecModeExec,
				pgx.QueryResultFormats{pgtype.TextFormatCode},
			)
			if err != nil {
				return err
			}
			n, err := eachRow(rows, f)
			if err != nil {
				return err
			}
			if empty = empty && n == 0; n < fetchRows {
				if empty {
					return f(columnNames(rows), nil)
				}
				return nil
			}
		}
	})
	return r.c.explain(ctx, err)
}

// explainSyntax adds a hint to a syntax error, because the server's message speaks of cursors.
func explainSyntax(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	f := &record.Fault{Reason: record.Other, Text: pg.Message + " (SQLSTATE " + pg.Code + ")", Err: err}
	switch pg.Code {
	case "42601", "42P11", "0A000":
		f.Hint = "Write one read-only statement: SELECT, VALUES or TABLE, also after WITH."
	case "42P01", "42703", "42883", "42P02", "42702": // a table, column, function or parameter
		f.Hint = "Use the views resources, versions, targets and runs: `collector sql --help` has their columns."
	default:
		return err
	}
	return f
}

func columnNames(rows pgx.Rows) (out []string) {
	for _, d := range rows.FieldDescriptions() {
		out = append(out, d.Name)
	}
	return out
}

func eachRow(rows pgx.Rows, f func([]string, []any) error) (n int, err error) {
	defer rows.Close()
	columns := columnNames(rows)
	cells := make([]any, len(columns))
	for rows.Next() {
		for i, raw := range rows.RawValues() {
			cells[i] = cellValue(raw, rows.FieldDescriptions()[i].DataTypeOID)
		}
		n++
		if err := f(columns, cells); err != nil {
			return n, err
		}
	}
	return n, rows.Err()
}

// cellValue converts numbers and booleans, and returns everything else as text.
func cellValue(raw []byte, oid uint32) any {
	if raw == nil {
		return nil
	}
	s := string(raw)
	switch oid {
	case pgtype.BoolOID:
		return s == "t"
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID:
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n
		}
	case pgtype.Float4OID, pgtype.Float8OID, pgtype.NumericOID:
		if json.Valid(raw) { // not NaN, not Infinity
			return json.Number(s)
		}
	}
	return s
}

// maxDamage limits the damage that a check reports.
const maxDamage = 20

// Check reads the whole schema and looks for what no commit leaves behind.
func (r *Reader) Check(ctx context.Context) (inventory.Summary, error) {
	var s inventory.Summary
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, r.pool, options, func(tx pgx.Tx) error {
		var oldest, newest *int64
		err := tx.QueryRow(ctx, `SELECT (SELECT count(*) FROM scope), count(*), count(*) FILTER (WHERE valid_to IS NULL),
				min(valid_from), max(valid_from),
				(SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
					FROM pg_class c WHERE relnamespace = $1::text::regnamespace AND relkind = 'r'),
				(SELECT coalesce(sum(pg_total_relation_size(relid) * (n_dead_tup::float8 / (n_live_tup + n_dead_tup))), 0)::bigint
					FROM pg_stat_user_tables WHERE schemaname = $1::text AND n_dead_tup > 0)
			FROM version`, r.c.schema).Scan(&s.Targets, &s.Versions, &s.Resources, &oldest, &newest, &s.Bytes, &s.Free)
		if err != nil {
			return err
		}
		s.Oldest, s.Newest = instant(oldest), instant(newest)
		for _, q := range []struct{ query, say string }{
			{
				"SELECT id FROM version v WHERE NOT EXISTS (SELECT FROM body b WHERE b.version = v.version)",
				"%s: its body is missing",
			},
			{
				`SELECT version::text FROM body b WHERE NOT EXISTS (SELECT FROM version v WHERE v.version = b.version)
					AND NOT EXISTS (SELECT FROM staged t WHERE t.version = b.version)`,
				"body %s: its version is missing",
			},
			{
				"SELECT id FROM version v WHERE NOT EXISTS (SELECT FROM scope s WHERE s.scope = v.scope)",
				"%s: its target is missing",
			},
			{"SELECT id FROM version WHERE valid_to <= valid_from", "%s: a version ends before it begins"},
			{
				`SELECT id FROM (
					SELECT id, valid_to, lead(valid_from) OVER (PARTITION BY scope, id ORDER BY valid_from) AS next FROM version
				) v WHERE next < valid_to OR next IS NOT NULL AND valid_to IS NULL`,
				"%s: two versions at one time",
			},
			{"SELECT id FROM version WHERE length(sum) <> 16", "%s: its hash is damaged"},
			{"SELECT version::text FROM body WHERE jsonb_typeof(data) <> 'object'", "body %s: it is not an object"},
			{
				`SELECT id FROM version v JOIN scope s USING (scope)
				WHERE greatest(v.valid_from, v.valid_to) > greatest(s.last, s.ended, s.retired)`,
				"%s: it changed after its target's last commit",
			},
			{
				"SELECT 'the clock' FROM clock WHERE horizon > last", "%s has published instants that are not taken yet",
			},
		} {
			if err := collectDamage(ctx, tx, &s, q.query, q.say); err != nil {
				return err
			}
		}
		return nil
	})
	var pg *pgconn.PgError
	// the server found the damage itself
	if errors.As(err, &pg) && (pg.Code == "XX001" || pg.Code == "XX002" || pg.Code == "XX000") {
		s.Damage = append(s.Damage, r.c.explain(ctx, err).Error())
		err = nil
	}
	return s, r.c.explain(ctx, err)
}

func collectDamage(ctx context.Context, tx pgx.Tx, s *inventory.Summary, query, format string) error {
	rows, err := tx.Query(ctx, query+" LIMIT $1", max(0, maxDamage-len(s.Damage)))
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, what := range found {
		s.Damage = append(s.Damage, fmt.Sprintf(format, what))
	}
	return err
}

// Vacuum deletes versions that ended longer ago than Options.Keep and retired targets without versions, and makes their
// space usable again. A collector may run meanwhile. The server decides how much space returns to the disk.
func Vacuum(ctx context.Context, o Options) error {
	r, err := OpenReader(ctx, o)
	if err != nil {
		return err
	}
	defer r.Close()
	conn, err := pgx.ConnectConfig(ctx, r.c.connConfig(nil))
	if err != nil {
		return fmt.Errorf("store: %w", r.c.explain(ctx, err))
	}
	defer closeConn(conn)
	if o.Keep > 0 {
		err = deleteExpired(ctx, r.c, conn, time.Now().Add(-o.Keep))
	}
	if err == nil && o.KeepRuns > 0 {
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			b := &batch{c: r.c}
			expireRuns(b, time.Now().Add(-o.KeepRuns), math.MaxInt32)
			return b.send(ctx, tx)
		})
	}
	if err == nil {
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			b := &batch{c: r.c}
			b.sweepStaged(outdated)
			return b.send(ctx, tx)
		})
	}
	if err == nil {
		_, err = conn.Exec(ctx, "VACUUM (ANALYZE) scope, version, body, search, staged, clock, run, cause")
	}
	return r.c.explain(ctx, err)
}

func deleteExpired(ctx context.Context, c *connector, conn *pgx.Conn, before time.Time) error {
	for {
		var expired *batchStatement
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			b := &batch{c: c}
			expired = expire(b, before, 10_000)
			return b.send(ctx, tx)
		})
		if err != nil {
			return err
		}
		if expired.affected == 0 {
			break
		}
	}
	_, err := conn.Exec(
		ctx, "DELETE FROM scope WHERE retired < $1 AND NOT EXISTS (SELECT FROM version v WHERE v.scope = scope.scope)",
		before.UnixMicro(),
	)
	return err
}
