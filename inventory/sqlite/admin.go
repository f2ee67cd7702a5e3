package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

var _ inventory.Store = (*Reader)(nil)

// defaultQueryTimeout is how long a statement of the user may run, as in Postgres.
const defaultQueryTimeout = 10 * time.Minute

// Query runs a read-only SQL statement of the user. The documented views are resources, versions, targets and runs.
func (r *Reader) Query(ctx context.Context, query string, f func(columns []string, row []any) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.queryTimeout, &record.Fault{
		Reason: record.Other, Hint: "Simplify the statement, or let it read fewer rows.",
		Err: fmt.Errorf("the statement ran longer than %s", r.queryTimeout),
	})
	defer cancel()
	var mu sync.Mutex
	ended := make(chan error, 1)
	go func() {
		ended <- r.query(ctx, query, func(columns []string, row []any) error {
			mu.Lock()
			defer mu.Unlock()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return f(columns, row)
		})
	}()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		// The driver interrupts a statement only until its first row. One that is busy after that is left behind: only
		// the command sql calls this, and its process ends.
		select {
		case err = <-ended:
		case <-time.After(interruptTimeout):
			err = ctx.Err()
		}
		mu.Lock() // f has returned
		defer mu.Unlock()
	}
	if err != nil && ctx.Err() != nil { // err only says that it was interrupted
		return context.Cause(ctx)
	}
	return err
}

// interruptTimeout is how long the driver may take to interrupt a statement.
const interruptTimeout = time.Second

func (r *Reader) query(ctx context.Context, query string, f func(columns []string, row []any) error) error {
	rows, err := r.db.QueryContext(ctx, query)
	if err != nil {
		return explainStatement(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return explain(err)
	}
	cells, dest := make([]any, len(columns)), make([]any, len(columns))
	for i := range dest {
		dest[i] = &cells[i]
	}
	empty := true
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return explain(err)
		}
		empty = false
		if err := f(columns, cells); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return explainStatement(err)
	}
	if empty {
		return f(columns, nil)
	}
	return nil
}

// maxDamage limits the damage that a check reports.
const maxDamage = 20

// Check reads the whole database: its pages, and every reference between rows.
func (r *Reader) Check(ctx context.Context) (inventory.Summary, error) {
	var s inventory.Summary
	var pages, free, size int64
	var oldest, newest sql.NullInt64
	for _, q := range []struct {
		query string
		dest  []any
	}{
		{"PRAGMA page_count", []any{&pages}},
		{"PRAGMA freelist_count", []any{&free}},
		{"PRAGMA page_size", []any{&size}},
		{"SELECT count(*) FROM scope", []any{&s.Targets}},
		{
			"SELECT count(*), count(*) FILTER (WHERE valid_to IS NULL), min(valid_from), max(valid_from) FROM version",
			[]any{&s.Versions, &s.Resources, &oldest, &newest},
		},
	} {
		if err := r.db.QueryRowContext(ctx, q.query).Scan(q.dest...); err != nil {
			return s, explain(err)
		}
	}
	s.Bytes, s.Free, s.Oldest, s.Newest = pages*size, free*size, instant(oldest), instant(newest)
	for _, q := range []struct{ query, say string }{
		{"SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'", "%s"},
		{
			"SELECT v.id FROM version v LEFT JOIN body b ON b.pack = v.version >> 6 WHERE b.pack IS NULL",
			"%s: its body is missing",
		},
		{
			"SELECT v.id FROM version v LEFT JOIN scope s ON s.scope = v.scope WHERE s.scope IS NULL",
			"%s: its target is missing",
		},
		{"SELECT id FROM version WHERE valid_to <= valid_from", "%s: a version ends before it begins"},
	} {
		if err := r.collectDamage(ctx, &s, q.query, q.say); err != nil {
			return s, err
		}
	}
	return s, r.checkBodies(ctx, &s)
}

func (r *Reader) collectDamage(ctx context.Context, s *inventory.Summary, query, format string) error {
	rows, err := r.db.QueryContext(ctx, query)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	for rows.Next() && len(s.Damage) < maxDamage {
		var found string
		if err := rows.Scan(&found); err != nil {
			return explain(err)
		}
		s.Damage = append(s.Damage, fmt.Sprintf(format, found))
	}
	return explain(rows.Err())
}

// checkBodies decodes every pack and counts its lines.
func (r *Reader) checkBodies(ctx context.Context, s *inventory.Summary) error {
	rows, err := r.db.QueryContext(ctx, `SELECT pack, data,
		(SELECT max(v.version & 63) FROM version v WHERE v.version BETWEEN b.pack << 6 AND (b.pack << 6) + 63) FROM body b`)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	var data sql.RawBytes
	var out []byte
	for rows.Next() && len(s.Damage) < maxDamage {
		var n int64
		var last sql.NullInt64
		if err := rows.Scan(&n, &data, &last); err != nil {
			return explain(err)
		}
		lines := int64(0)
		if out, err = r.dec.DecodeAll(data, out[:0]); err != nil {
			s.Damage = append(s.Damage, fmt.Sprintf("pack %d: %v", n, err))
			continue
		}
		for range bytes.Lines(out) { // a body of the first schema has no line feed
			lines++
		}
		if last.Valid && last.Int64 >= lines {
			s.Damage = append(
				s.Damage, fmt.Sprintf("pack %d: a version refers to line %d, but the pack has %d lines", n, last.Int64, lines),
			)
		}
	}
	return explain(rows.Err())
}

// Vacuum deletes versions that ended longer ago than Options.Keep and retired targets without versions, and returns
// free pages to the disk.
func (s *Store) Vacuum(ctx context.Context) error {
	for s.options.Keep > 0 {
		before := time.Now().Add(-s.options.Keep)
		more := false
		err := s.write(ctx, func(tx *sql.Tx) error {
			if err := expire(ctx, tx, before, 10_000); err != nil {
				return err
			}
			if _, err := tx.ExecContext(
				ctx, `DELETE FROM scope WHERE retired < ? AND NOT EXISTS (SELECT 1 FROM version v WHERE v.scope = scope.scope)`,
				before.UnixMicro(),
			); err != nil {
				return err
			}
			return tx.QueryRowContext(
				ctx, "SELECT EXISTS (SELECT 1 FROM version WHERE valid_to < ?)", before.UnixMicro(),
			).Scan(&more)
		})
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	if s.options.KeepRuns > 0 {
		if err := s.write(ctx, func(tx *sql.Tx) error {
			return expireRuns(ctx, tx, time.Now().Add(-s.options.KeepRuns), math.MaxInt32)
		}); err != nil {
			return err
		}
	}
	if err := s.lockWriter(ctx); err != nil {
		return err
	}
	defer s.unlockWriter()
	_, err := retryBusy(ctx, s, func() (sql.Result, error) { return s.writeDB.ExecContext(ctx, "VACUUM") })
	_, errWAL := retryBusy(
		ctx, s, func() (sql.Result, error) { return s.writeDB.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)") },
	)
	return explain(errors.Join(err, errWAL))
}
