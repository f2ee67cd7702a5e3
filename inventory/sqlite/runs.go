package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/internal/sqlquery"
	"github.com/aws-collector/collector/record"
)

const day = 24 * time.Hour

// StartRun stores a run that begins.
func (s *Store) StartRun(ctx context.Context, r inventory.Run) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		process, err := s.processNumber(ctx, tx, r.Process)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO run (run, account, tick, started, status, process)
			VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			r.ID, r.Account, r.Tick.UnixMicro(), r.Started.UnixMicro(), string(record.RunRunning), process)
		return err
	})
}

const putEndedRun = `INSERT INTO run (run, account, tick, started, ended, status, missed, ticks,
		targets, failed, records, calls, throttles, causes, process)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
	ON CONFLICT (run) DO UPDATE SET ended = excluded.ended, status = excluded.status, targets = excluded.targets,
		failed = excluded.failed, records = excluded.records, calls = excluded.calls,
		throttles = excluded.throttles, causes = excluded.causes
	WHERE run.ended IS NULL`

// EndRun stores all of a run that ended.
func (s *Store) EndRun(ctx context.Context, r inventory.Run) error {
	targets, err := json.Marshal(r.Targets)
	if err != nil {
		return err
	}
	if r.Targets == nil {
		targets = []byte("{}")
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		process, err := s.processNumber(ctx, tx, r.Process)
		if err != nil {
			return err
		}
		causes, err := causeNumbers(ctx, tx, r)
		if err != nil {
			return err
		}
		if _, err := tx.StmtContext(ctx, s.putEndedRun).ExecContext(
			ctx, r.ID, r.Account, r.Tick.UnixMicro(), nullMicros(r.Started), r.Ended.UnixMicro(), string(r.Status), r.Missed,
			max(r.Ticks, 1), string(targets), r.Failed, r.Records, r.Calls, r.Throttles, causes, process); err != nil {
			return err
		}
		if s.options.KeepRuns == 0 {
			return nil
		}
		return expireRuns(ctx, tx, time.Now().Add(-s.options.KeepRuns), expirePerCommit)
	})
}

// expireRuns deletes at most n runs that began before an instant, and the causes that no newer run names.
func expireRuns(ctx context.Context, tx *sql.Tx, before time.Time, n int) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM run WHERE run IN (
			SELECT run FROM run WHERE run < ? AND ended IS NOT NULL ORDER BY run LIMIT ?)`,
		inventory.FirstRunID(before), n); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM cause WHERE used < ?", before.Add(-2*day).UnixMicro())
	return err
}

const putProcess = `INSERT INTO process (replica, version) VALUES (?, ?)
	ON CONFLICT (replica, version) DO UPDATE SET version = excluded.version RETURNING process`

func (s *Store) processNumber(ctx context.Context, tx *sql.Tx, p inventory.Process) (n int64, err error) {
	err = tx.StmtContext(ctx, s.putProcess).QueryRowContext(ctx, p.Replica, p.Version).Scan(&n)
	return n, err
}

// causeNumbers returns the causes of a run as the row names them.
func causeNumbers(ctx context.Context, tx *sql.Tx, r inventory.Run) (string, error) {
	numbers := make([][2]int64, 0, len(r.Causes))
	used := r.Ended.Truncate(day).UnixMicro()
	for _, c := range r.Causes {
		var n int64
		if err := tx.QueryRowContext(ctx, `INSERT INTO cause (state, reason, error, hint, region, kind, used)
			VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (state, reason, error, hint, region, kind) DO UPDATE SET used = max(used, excluded.used)
			RETURNING cause`,
			string(c.State), string(c.Reason), c.Error, c.Hint, c.Region, c.Kind, used).Scan(&n); err != nil {
			return "", err
		}
		numbers = append(numbers, [2]int64{n, int64(c.Targets)})
	}
	text, err := json.Marshal(numbers)
	return string(text), err
}

func nullMicros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// InterruptRuns ends the runs that a dead process left running.
func (s *Store) InterruptRuns(ctx context.Context, start time.Time) (n int, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, "UPDATE run SET status = ?, ended = ? WHERE ended IS NULL AND started < ?",
			string(record.RunInterrupted), time.Now().UnixMicro(), start.UnixMicro())
		if err != nil {
			return err
		}
		rows, err := result.RowsAffected()
		n = int(rows)
		return err
	})
	return n, err
}

// PutSignIn replaces the sign-in of an account.
func (s *Store) PutSignIn(ctx context.Context, in inventory.SignIn) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		known := `account_id = excluded.account_id, partition = excluded.partition, arn = excluded.arn,
			path = excluded.path, expires = excluded.expires,`
		if in.Error != "" {
			known = ""
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO sign_in
			(account, account_id, partition, arn, path, expires, checked, error, hint) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (account) DO UPDATE SET `+known+`
			checked = excluded.checked, error = excluded.error, hint = excluded.hint`,
			in.Account, in.AccountID, in.Partition, in.ARN, in.Path, nullMicros(in.Expires), in.Checked.UnixMicro(),
			in.Error, in.Hint)
		return err
	})
}

// Runs yields runs, the latest first.
func (r *Reader) Runs(ctx context.Context, q inventory.RunQuery) iter.Seq2[inventory.Run, error] {
	b := sqlquery.New(dialect)
	b.Runs(q)
	limit := -1
	if q.Limit > 0 {
		limit = q.Limit
	}
	return r.runs(ctx, "run r"+b.Where()+" ORDER BY r.run DESC LIMIT "+b.Param(limit), b.Params())
}

// LastRuns yields the last run of each of these accounts that began and has ended.
func (r *Reader) LastRuns(ctx context.Context, accounts []string) iter.Seq2[inventory.Run, error] {
	names, err := json.Marshal(accounts)
	if err != nil { // never: they are strings
		return func(yield func(inventory.Run, error) bool) { yield(inventory.Run{}, err) }
	}
	return r.runs(ctx, `json_each(?) a JOIN run r ON r.run = (SELECT run FROM run WHERE account = a.value
		AND started IS NOT NULL AND ended IS NOT NULL ORDER BY run DESC LIMIT 1)`, []any{string(names)})
}

// runs yields the runs r of a FROM clause and what follows it.
func (r *Reader) runs(ctx context.Context, from string, args []any) iter.Seq2[inventory.Run, error] {
	return inSnapshot(ctx, r, func(s *snapshot, yield func(inventory.Run) bool) error {
		rows, err := s.tx.QueryContext(ctx, `SELECT r.run, r.account, r.tick, r.started, r.ended, r.status, r.missed,
			r.ticks, r.targets, r.failed, r.records, r.calls, r.throttles,
			(SELECT replica FROM process p WHERE p.process = r.process),
			(SELECT version FROM process p WHERE p.process = r.process),
			(SELECT json_group_array(json_array(c.state, c.reason, c.error, c.hint, c.region, c.kind,
					json_extract(j.value, '$[1]')) ORDER BY j.key)
				FROM json_each(r.causes) j JOIN cause c ON c.cause = json_extract(j.value, '$[0]'))
			FROM `+from, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var run inventory.Run
			var tick, started, ended sql.NullInt64
			var targets, causes []byte
			if err := rows.Scan(&run.ID, &run.Account, &tick, &started, &ended, &run.Status, &run.Missed, &run.Ticks,
				&targets, &run.Failed, &run.Records, &run.Calls, &run.Throttles, &run.Process.Replica, &run.Process.Version,
				&causes); err != nil {
				return err
			}
			run.Tick, run.Started, run.Ended = instant(tick), instant(started), instant(ended)
			if err := run.Decode(targets, causes); err != nil {
				return fmt.Errorf("%w: run %s: %w", ErrCorrupt, run.ID, err)
			}
			if !yield(run) {
				return nil
			}
		}
		return rows.Err()
	})
}

// SignIns yields the last sign-in of each account.
func (r *Reader) SignIns(ctx context.Context) iter.Seq2[inventory.SignIn, error] {
	return inSnapshot(ctx, r, func(s *snapshot, yield func(inventory.SignIn) bool) error {
		rows, err := s.tx.QueryContext(ctx, `SELECT account, account_id, partition, arn, path, expires, checked, error, hint
			FROM sign_in ORDER BY account`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var in inventory.SignIn
			var expires, checked sql.NullInt64
			if err := rows.Scan(&in.Account, &in.AccountID, &in.Partition, &in.ARN, &in.Path, &expires, &checked,
				&in.Error, &in.Hint); err != nil {
				return err
			}
			in.Expires, in.Checked = instant(expires), instant(checked)
			if !yield(in) {
				return nil
			}
		}
		return rows.Err()
	})
}
