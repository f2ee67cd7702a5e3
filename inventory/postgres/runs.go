package postgres

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/internal/sqlquery"
	"github.com/aws-collector/collector/record"
)

const day = 24 * time.Hour

// writeAsWriter runs f in a transaction, if this process is still the writer.
func (s *Store) writeAsWriter(ctx context.Context, f func(pgx.Tx) error) error {
	writer, begin, err := s.writeAllowed()
	if err != nil {
		return err
	}
	return s.write(ctx, begin, func(tx pgx.Tx) error {
		var current int64
		err := tx.QueryRow(ctx, "SELECT writer FROM clock WHERE writer = $1", writer).Scan(&current)
		if errors.Is(err, pgx.ErrNoRows) {
			return errNotWriter(s.c)
		}
		if err != nil {
			return err
		}
		return f(tx)
	})
}

// StartRun stores a run that begins.
func (s *Store) StartRun(ctx context.Context, r inventory.Run) error {
	return s.writeAsWriter(ctx, func(tx pgx.Tx) error {
		process, err := processNumber(ctx, tx, r.Process)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO run (run, account, tick, started, status, process)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
			r.ID, r.Account, r.Tick.UnixMicro(), r.Started.UnixMicro(), string(record.RunRunning), process)
		return err
	})
}

// EndRun stores all of a run that ended.
func (s *Store) EndRun(ctx context.Context, r inventory.Run) error {
	targets := r.Targets
	if targets == nil {
		targets = map[record.State]int{}
	}
	return s.writeAsWriter(ctx, func(tx pgx.Tx) error {
		process, err := processNumber(ctx, tx, r.Process)
		if err != nil {
			return err
		}
		causes, err := causeNumbers(ctx, tx, r)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO run (run, account, tick, started, ended, status, missed, ticks,
				targets, failed, records, calls, throttles, causes, process)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
			ON CONFLICT (run) DO UPDATE SET ended = excluded.ended, status = excluded.status, targets = excluded.targets,
				failed = excluded.failed, records = excluded.records, calls = excluded.calls,
				throttles = excluded.throttles, causes = excluded.causes
			WHERE run.ended IS NULL`,
			r.ID, r.Account, r.Tick.UnixMicro(), nullMicros(r.Started), r.Ended.UnixMicro(), string(r.Status), r.Missed,
			max(r.Ticks, 1), targets, r.Failed, r.Records, r.Calls, r.Throttles, causes, process); err != nil {
			return err
		}
		if s.keepRuns == 0 {
			return nil
		}
		b := &batch{c: s.c}
		expireRuns(b, time.Now().Add(-s.keepRuns), expirePerCommit)
		return b.send(ctx, tx)
	})
}

// expireRuns deletes at most n runs that began before an instant, and the causes that no newer run names.
func expireRuns(b *batch, before time.Time, n int) {
	// what another process deletes, or uses, at the same time is left to it
	b.add(`DELETE FROM run WHERE run = ANY(ARRAY(
			SELECT run FROM run WHERE run < $1 AND ended IS NOT NULL ORDER BY run LIMIT $2 FOR UPDATE SKIP LOCKED))`,
		inventory.FirstRunID(before), n)
	b.add("DELETE FROM cause WHERE cause = ANY(ARRAY(SELECT cause FROM cause WHERE used < $1 FOR UPDATE SKIP LOCKED))",
		before.Add(-2*day).UnixMicro())
}

func processNumber(ctx context.Context, tx pgx.Tx, p inventory.Process) (n int64, err error) {
	err = tx.QueryRow(ctx, "SELECT process FROM process WHERE replica = $1 AND version = $2",
		p.Replica, p.Version).Scan(&n)
	if !errors.Is(err, pgx.ErrNoRows) {
		return n, err
	}
	err = tx.QueryRow(ctx, `INSERT INTO process (replica, version) VALUES ($1, $2)
		ON CONFLICT (replica, version) DO UPDATE SET version = excluded.version RETURNING process`,
		p.Replica, p.Version).Scan(&n)
	return n, err
}

// causeNumbers returns the causes of a run as the row names them.
func causeNumbers(ctx context.Context, tx pgx.Tx, r inventory.Run) ([][2]int64, error) {
	numbers := make([][2]int64, len(r.Causes))
	used := r.Ended.Truncate(day).UnixMicro()
	type numbered struct {
		inventory.Cause
		place int
	}
	causes := make([]numbered, 0, len(r.Causes))
	for i, c := range r.Causes {
		causes = append(causes, numbered{c, i})
	}
	// In one order, so that two runs that end with the same causes wait for each other and do not block each other.
	slices.SortFunc(causes, func(a, b numbered) int {
		return cmp.Or(cmp.Compare(a.Error, b.Error), cmp.Compare(a.Hint, b.Hint), cmp.Compare(a.State, b.State),
			cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Region, b.Region), cmp.Compare(a.Kind, b.Kind))
	})
	for _, c := range causes {
		texts := []string{
			string(c.State), string(c.Reason), toText(c.Error), toText(c.Hint), toText(c.Region), toText(c.Kind),
		}
		encoded, err := json.Marshal(texts)
		if err != nil {
			return nil, err
		}
		digest := sha256.Sum256(encoded)
		var n, stored int64
		err = tx.QueryRow(ctx, "SELECT cause, used FROM cause WHERE digest = $1", digest[:]).Scan(&n, &stored)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && stored < used {
			err = tx.QueryRow(ctx, `INSERT INTO cause (digest, state, reason, error, hint, region, kind, used)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
				ON CONFLICT (digest) DO UPDATE SET used = greatest(cause.used, excluded.used) RETURNING cause`,
				digest[:], texts[0], texts[1], texts[2], texts[3], texts[4], texts[5], used).Scan(&n)
		}
		if err != nil {
			return nil, err
		}
		numbers[c.place] = [2]int64{n, int64(c.Targets)}
	}
	return numbers, nil
}

func nullMicros(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	us := t.UnixMicro()
	return &us
}

// InterruptRuns ends the runs that a dead process left running. If several processes write, a run that this one did not
// begin may be another's, and goes on in a third when that one dies: only the engine, which has the jobs, ends it.
func (s *Store) InterruptRuns(ctx context.Context, start time.Time) (n int, err error) {
	if s.shared {
		return 0, nil
	}
	err = s.writeAsWriter(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "UPDATE run SET status = $1, ended = $2 WHERE ended IS NULL AND started < $3",
			string(record.RunInterrupted), time.Now().UnixMicro(), start.UnixMicro())
		n = int(tag.RowsAffected())
		return err
	})
	return n, err
}

// PutSignIn replaces the sign-in of an account.
func (s *Store) PutSignIn(ctx context.Context, in inventory.SignIn) error {
	return s.writeAsWriter(ctx, func(tx pgx.Tx) error {
		known := `account_id = excluded.account_id, partition = excluded.partition, arn = excluded.arn,
			path = excluded.path, expires = excluded.expires,`
		if in.Error != "" {
			known = ""
		}
		_, err := tx.Exec(ctx, `INSERT INTO sign_in
				(account, account_id, partition, arn, path, expires, checked, error, hint)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (account) DO UPDATE SET `+known+`
				checked = excluded.checked, error = excluded.error, hint = excluded.hint`,
			in.Account, in.AccountID, in.Partition, in.ARN, toText(in.Path), nullMicros(in.Expires), in.Checked.UnixMicro(),
			toText(in.Error), toText(in.Hint))
		return err
	})
}

// Runs yields runs, the latest first.
func (r *Reader) Runs(ctx context.Context, q inventory.RunQuery) iter.Seq2[inventory.Run, error] {
	b := sqlquery.New(dialect)
	b.Runs(q)
	from := "run r" + b.Where() + " ORDER BY r.run DESC"
	if q.Limit > 0 {
		from += " LIMIT " + b.Param(q.Limit)
	}
	return r.runs(ctx, from, b.Params())
}

// LastRuns yields the last run of each of these accounts that began and has ended.
func (r *Reader) LastRuns(ctx context.Context, accounts []string) iter.Seq2[inventory.Run, error] {
	return r.runs(ctx, `unnest($1::text[]) AS a(name) JOIN LATERAL (SELECT * FROM run WHERE account = a.name COLLATE "C"
		AND started IS NOT NULL AND ended IS NOT NULL ORDER BY run DESC LIMIT 1) r ON true`, []any{accounts})
}

// runs yields the runs r of a FROM clause and what follows it.
func (r *Reader) runs(ctx context.Context, from string, args []any) iter.Seq2[inventory.Run, error] {
	query := `SELECT r.run, r.account, r.tick, r.started, r.ended, r.status, r.missed, r.ticks,
		r.targets::text, r.failed, r.records, r.calls, r.throttles,
		(SELECT replica FROM process p WHERE p.process = r.process),
		(SELECT version FROM process p WHERE p.process = r.process),
		coalesce((SELECT json_agg(json_build_array(c.state, c.reason, c.error, c.hint, c.region, c.kind,
				(j.value->>1)::bigint) ORDER BY j.n)
			FROM jsonb_array_elements(r.causes) WITH ORDINALITY AS j(value, n)
			JOIN cause c ON c.cause = (j.value->>0)::bigint)::text, '[]')
		FROM ` + from
	return queryRows(ctx, r, r.pool, query, args, func(rows pgx.Rows) (run inventory.Run, ok bool, err error) {
		var tick, started, ended *int64
		var targets, causes string
		if err := rows.Scan(&run.ID, &run.Account, &tick, &started, &ended, &run.Status, &run.Missed, &run.Ticks,
			&targets, &run.Failed, &run.Records, &run.Calls, &run.Throttles, &run.Process.Replica, &run.Process.Version,
			&causes); err != nil {
			return run, false, err
		}
		run.Tick, run.Started, run.Ended = instant(tick), instant(started), instant(ended)
		if err := run.Decode([]byte(targets), []byte(causes)); err != nil {
			return run, false, fmt.Errorf("run %s: %w", run.ID, err)
		}
		return run, true, nil
	})
}

// SignIns yields the last sign-in of each account.
func (r *Reader) SignIns(ctx context.Context) iter.Seq2[inventory.SignIn, error] {
	return queryRows(ctx, r, r.pool, `SELECT account, account_id, partition, arn, path, expires, checked, error, hint
		FROM sign_in ORDER BY account`, nil, func(rows pgx.Rows) (in inventory.SignIn, ok bool, err error) {
		var expires, checked *int64
		err = rows.Scan(&in.Account, &in.AccountID, &in.Partition, &in.ARN, &in.Path, &expires, &checked, &in.Error, &in.Hint)
		in.Expires, in.Checked = instant(expires), instant(checked)
		return in, true, err
	})
}
