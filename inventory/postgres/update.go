package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// versionsPerEpoch is the number of version numbers of an epoch; the first is epoch << 24.
const versionsPerEpoch = 1 << 24

// A scopeUpdate is one epoch of a scope.
type scopeUpdate struct {
	store    *Store
	scope    int64 // 0: none
	epoch    int64
	writer   int64 // number of this process as a writer when the update began
	run      string
	numbered int64 // version numbers used
	staged   int64 // staged rows that become new versions
	rebased  int64 // staged rows that replace a version
	rows     []inventory.Row
	buffered int // size of rows

	committed *record.Outcome // of the same run; nil: none
}

func (u *scopeUpdate) Committed() *record.Outcome { return u.committed }

// Both statements take the next epoch of the scope, if this process is still the writer. They draw it when they have
// the row, so that the epochs of a scope grow: excluded.epoch was drawn before the wait for another's commit. The third
// column says whether an earlier update left staged rows; the rest is the last outcome.
const (
	beginByID = `INSERT INTO scope (account_id, partition, region, kind, account, epoch)
		SELECT $1, $2, $3, $4, $5, nextval('epoch') FROM clock WHERE writer = $6
		ON CONFLICT (account_id, partition, region, kind) DO UPDATE
			SET account = excluded.account, epoch = nextval('epoch'), retired = NULL, why = NULL
		RETURNING scope, epoch, EXISTS (SELECT FROM staged WHERE staged.scope = scope.scope),
			run, state, reason, error, hint, expected, records, calls, throttles, started, ended`
	beginByName = `UPDATE scope SET epoch = nextval('epoch')
		WHERE scope = (SELECT scope FROM scope WHERE account = $1 AND region = $2 AND kind = $3 AND retired IS NULL
				ORDER BY ended DESC NULLS LAST LIMIT 1)
			AND EXISTS (SELECT FROM clock WHERE writer = $4)
		RETURNING scope, epoch, EXISTS (SELECT FROM staged WHERE staged.scope = scope.scope),
			run, state, reason, error, hint, expected, records, calls, throttles, started, ended`
)

// Begin finds or creates the scope and takes its epoch: one statement, unless an earlier update left staged rows.
func (s *Store) Begin(
	ctx context.Context, t record.Target, sc inventory.Scope, run string,
) (inventory.ScopeUpdate, error) {
	writer, _, err := s.writeAllowed()
	if err != nil {
		return nil, err
	}
	u := &scopeUpdate{store: s, writer: writer, run: run}
	var leftovers bool
	last := record.Outcome{Target: t}
	var started, ended *int64
	dest := []any{&u.scope, &u.epoch, &leftovers, &last.Run, &last.State, &last.Reason, &last.Error, &last.Hint,
		&last.Expected, &last.Records, &last.Calls, &last.Throttles, &started, &ended}
	if sc.AccountID == "" {
		err = s.writePool.QueryRow(ctx, beginByName, t.Account, t.Region, t.Kind, writer).Scan(dest...)
		if errors.Is(err, pgx.ErrNoRows) {
			return u, nil
		}
	} else {
		err = s.writePool.QueryRow(
			ctx, beginByID, sc.AccountID, sc.Partition, sc.Region, sc.Kind, t.Account, writer,
		).Scan(dest...)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, errNotWriter(s.c)
		}
	}
	if err == nil && leftovers {
		err = pgx.BeginFunc(ctx, s.writePool, func(tx pgx.Tx) error {
			b := &batch{c: s.c}
			b.sweepStaged("t.scope = $1 AND t.version < $2", u.scope, u.epoch*versionsPerEpoch)
			return b.send(ctx, tx)
		})
	}
	if err != nil {
		return nil, s.explain(ctx, err)
	}
	if last.Run == run && last.State != "" {
		last.Started, last.Ended = instant(started), instant(ended)
		u.committed = &last
	}
	return u, nil
}

// outdated is the condition of staged rows t that can never be published: another update of their scope has begun, or
// the scope is gone.
const outdated = "NOT EXISTS (SELECT FROM scope s WHERE s.scope = t.scope AND t.version >= s.epoch << 24)"

// sweepStaged deletes staged rows t, with their bodies and texts. Those that another process sweeps are left to it.
func (b *batch) sweepStaged(condition string, args ...any) {
	b.add(`WITH swept AS MATERIALIZED (
				SELECT t.scope, t.version FROM staged t WHERE `+condition+` FOR UPDATE SKIP LOCKED),
			bodies AS (DELETE FROM body WHERE version = ANY(ARRAY(SELECT version FROM swept))),
			texts AS (DELETE FROM search WHERE version = ANY(ARRAY(SELECT version FROM swept)))
		DELETE FROM staged WHERE (scope, version) IN (SELECT scope, version FROM swept)`, args...)
}

func (u *scopeUpdate) HasScope() bool { return u.scope != 0 }

func (u *scopeUpdate) Live(ctx context.Context, f func(inventory.LiveResource) error) error {
	rows, err := u.store.writePool.Query(ctx,
		"SELECT sum_version, sum, id, missing_since IS NOT NULL FROM version WHERE scope = $1 AND valid_to IS NULL", u.scope)
	if err != nil {
		return u.store.explain(ctx, err)
	}
	defer rows.Close()
	var l inventory.LiveResource
	var errCall error
	for rows.Next() && errCall == nil {
		// Reads the wire format, to avoid a copy of each of a million rows. The binary format of these types is their
		// plain bytes.
		raw := rows.RawValues()
		if len(raw[0]) != 4 || len(raw[1]) != len(l.Sum) || len(raw[3]) != 1 {
			return fmt.Errorf("scope %d: a hash of %d bytes", u.scope, len(raw[1]))
		}
		version := int32(raw[0][0])<<24 | int32(raw[0][1])<<16 | int32(raw[0][2])<<8 | int32(raw[0][3])
		l.ID, l.SumVersion, l.Unconfirmed = raw[2], int(version), raw[3][0] != 0
		copy(l.Sum[:], raw[1])
		errCall = f(l)
	}
	if errCall != nil {
		return errCall
	}
	return u.store.explain(ctx, rows.Err())
}

// checkCurrent locks the scope's row for the transaction, and returns an error if the update no longer has its epoch.
// strength is the SQL lock strength.
func (u *scopeUpdate) checkCurrent(ctx context.Context, tx pgx.Tx, strength string) error {
	var writer int64
	err := tx.QueryRow(
		ctx, "SELECT (SELECT writer FROM clock) FROM scope WHERE scope = $1 AND epoch = $2 FOR "+strength, u.scope, u.epoch,
	).Scan(&writer)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return inventory.ErrFenced
	case err == nil && writer != u.writer:
		return errNotWriter(u.store.c)
	}
	return err
}

// Add keeps copies of the bodies: the server compresses each one.
func (u *scopeUpdate) Add(rows []inventory.Row) {
	for _, r := range rows {
		r.Body = bytes.Clone(r.Body)
		u.rows = append(u.rows, r)
		u.buffered += r.Size()
	}
}

func (u *scopeUpdate) Buffered() int { return u.buffered }

func (u *scopeUpdate) Stage(ctx context.Context) error {
	if len(u.rows) == 0 {
		return nil
	}
	err := u.store.write(ctx, "", func(tx pgx.Tx) error {
		if err := u.checkCurrent(ctx, tx, "SHARE OF scope"); err != nil {
			return err
		}
		return u.stageRows(ctx, tx)
	})
	if err == nil {
		u.countStaged()
		u.rows, u.buffered = nil, 0
	}
	return err
}

// countStaged counts the buffered rows as staged.
func (u *scopeUpdate) countStaged() {
	for i := range u.rows {
		if u.rows[i].Op == inventory.Rebased {
			u.rebased++
		} else {
			u.staged++
		}
	}
}

var errTooManyVersions = errors.New("more versions than one target can have")

// stageRows copies the buffered rows to the table of staged rows.
func (u *scopeUpdate) stageRows(ctx context.Context, tx pgx.Tx) error {
	rows, first := u.rows, u.numbered
	if u.numbered += int64(len(rows)); u.numbered > versionsPerEpoch {
		return errTooManyVersions
	}
	first += u.epoch * versionsPerEpoch
	values := make([]any, 9) // CopyFrom encodes a row before it asks for the next
	columns := []string{"version", "data", "exact"}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"body"}, columns, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		data, altered := toJSONB(rows[i].Body)
		values[0], values[1], values[2] = first+int64(i), data, nil
		if altered {
			values[2] = string(rows[i].Body)
		}
		return values[:3], nil
	}))
	if err != nil {
		return err
	}
	columns = []string{"version", "text"}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"search"}, columns, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		values[0], values[1] = first+int64(i), toText(rows[i].Search)
		return values[:2], nil
	}))
	if err != nil {
		return err
	}
	columns = []string{"scope", "version", "how", "id", "sum", "name", "state", "type", "tags"}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"staged"}, columns, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		r := &rows[i]
		tags, _ := toJSONB([]byte(r.Tags))
		values[0], values[1], values[2], values[3], values[4] = u.scope, first+int64(i), int16(r.Op), r.ID, r.Sum[:]
		values[5], values[6], values[7], values[8] = toText(r.Name), toText(r.State), toText(r.Type), tags
		return values, nil
	}))
	return err
}

// expirePerCommit is the number of expired versions that a commit deletes: retention in steps too small to notice.
const expirePerCommit = 200

func (u *scopeUpdate) Commit(ctx context.Context, c inventory.Commit) error {
	if u.scope == 0 {
		return nil
	}
	_, begin, err := u.store.writeAllowed()
	if err != nil {
		return err
	}
	return u.store.commitTx(ctx, begin, func(tx pgx.Tx, b *batch) error {
		if err := u.checkCurrent(ctx, tx, "UPDATE OF scope"); err != nil {
			return err
		}
		if len(u.rows) > 0 {
			if err := u.stageRows(ctx, tx); err != nil {
				return err
			}
			u.countStaged()
		}
		b.takeInstant(u.scope)
		if u.staged+u.rebased > 0 {
			u.publish(b)
		}
		if err := u.endMissing(ctx, tx, b, c); err != nil {
			return err
		}
		u.saveOutcome(b, c)
		if u.store.keep > 0 {
			expire(b, time.Now().Add(-u.store.keep), expirePerCommit)
		}
		return b.send(ctx, tx)
	})
}

// publish makes the staged rows the live versions. The version numbers belong to the epoch, so it publishes no rows of
// another update. If rows are missing, the server has crashed and lost them.
//
// The table staged is empty most of the time, so it has no useful statistics. Each statement therefore leaves the
// planner only one plan: from each staged row to its version by an index (LATERAL with OFFSET or LIMIT, = ANY of an
// array). Ordinary joins could cost rows × rows.
func (u *scopeUpdate) publish(b *batch) {
	const mine = " t.scope = $1 AND t.version >= $2 AND t.version < $3"
	const live = `CROSS JOIN LATERAL (SELECT v.version FROM version v
		WHERE v.scope = t.scope AND v.id = t.id AND v.valid_to IS NULL OFFSET 0) live`
	from, to := u.epoch*versionsPerEpoch, (u.epoch+1)*versionsPerEpoch
	missing := &record.Fault{
		Reason: record.Other,
		Hint:   "Nothing to do: the next run lists the target again.",
		Err:    errors.New("the server restarted and lost staged rows"),
	}
	if u.staged > 0 {
		b.add("UPDATE version SET valid_to = "+commitInstant+`
			WHERE version = ANY(ARRAY(SELECT live.version FROM staged t `+live+` WHERE`+mine+` AND t.how = 1))`,
			u.scope, from, to)
		// A changed resource keeps the instant of its first version, and of its state if that did not change.
		b.add(`INSERT INTO version (version, scope, id, sum, sum_version, name, state, type, tags, run,
				first_seen, state_since, valid_from)
			SELECT t.version, t.scope, t.id, t.sum, $4, t.name, t.state, t.type, t.tags, $5, coalesce(v.first_seen, now.instant),
				CASE WHEN v.state = t.state THEN v.state_since ELSE now.instant END, now.instant
			FROM (SELECT `+commitInstant+` AS instant OFFSET 0) now, staged t
				LEFT JOIN LATERAL (SELECT v.first_seen, v.state_since, v.state FROM version v
				WHERE t.how = 1 AND v.id = t.id AND v.scope = t.scope ORDER BY v.valid_from DESC LIMIT 1) v ON true
			WHERE`+mine+` AND t.how < 2`, u.scope, from, to, record.DigestVersion, u.run).expect(u.staged, missing)
	}
	if u.rebased > 0 { // a hash of another version: the row replaces the version, with its body and text
		for _, table := range []string{"body", "search"} {
			b.add(
				"DELETE FROM "+table+
					" WHERE version = ANY(ARRAY(SELECT live.version FROM staged t "+live+" WHERE"+mine+" AND t.how = 2))",
				u.scope, from, to,
			)
		}
		b.add(`UPDATE version v SET version = t.version, sum = t.sum, sum_version = $4, name = t.name, state = t.state,
				type = t.type, tags = t.tags
			FROM (SELECT t.*, live.version AS was FROM staged t `+live+` WHERE`+mine+` AND t.how = 2) t WHERE v.version = t.was`,
			u.scope, from, to, record.DigestVersion).expect(u.rebased, missing)
	}
	b.add("DELETE FROM staged t WHERE"+mine, u.scope, from, to).expect(u.staged+u.rebased, missing)
}

// idsPerStatement limits the ids of one statement.
const idsPerStatement = 5000

// endMissing ends the versions of gone resources, and holds those whose end is not certain. The reason of an end is by
// the last state that AWS reported.
func (u *scopeUpdate) endMissing(ctx context.Context, tx pgx.Tx, b *batch, c inventory.Commit) error {
	for _, change := range []struct {
		set string
		ids []string
	}{
		{"valid_to = " + commitInstant + `, ended = CASE WHEN state IN ('terminated', 'deleted')
			THEN '` + inventory.Terminated + `' ELSE '` + inventory.Absent + `' END`, c.Gone},
		{"missing_since = " + commitInstant, c.Unconfirmed},
		{"missing_since = NULL", c.Reappeared},
	} {
		for ids := range slices.Chunk(change.ids, idsPerStatement) {
			b.add("UPDATE version SET "+change.set+" WHERE scope = $1 AND valid_to IS NULL AND id = ANY($2)", u.scope, ids)
			if len(ids) == idsPerStatement { // others may follow: the batch stays small
				if err := b.send(ctx, tx); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (u *scopeUpdate) saveOutcome(b *batch, c inventory.Commit) {
	o := c.Outcome
	var extra any
	if c.ExtraTags != nil {
		extra, _ = toJSONB(c.ExtraTags)
	}
	b.add(`UPDATE scope SET run = $2, state = $3, reason = $4, error = $5, hint = $6, expected = $7, records = $8,
		calls = $9, throttles = $10, started = $11, ended = now.instant, last = now.instant,
		state_since = CASE WHEN state = $3 THEN state_since ELSE now.instant END, -- NULL stays: from before it was stored
		last_seen = CASE WHEN $12 THEN now.instant ELSE last_seen END,
		first_complete = CASE WHEN $12 THEN coalesce(first_complete, now.instant) ELSE first_complete END,
		extra_tags = coalesce($13, extra_tags),
		retired = NULL, why = NULL FROM (SELECT `+commitInstant+` AS instant OFFSET 0) now WHERE scope = $1`,
		u.scope, o.Run, string(o.State), string(o.Reason), toText(o.Error), toText(o.Hint), o.Expected, o.Records,
		o.Calls, o.Throttles, o.Started.UnixMicro(), o.State.Complete(), extra)
}

// expire deletes at most n versions that ended before an instant.
func expire(b *batch, before time.Time, n int) *batchStatement {
	return b.add(`WITH old AS (
				SELECT version FROM version WHERE valid_to < $1 ORDER BY valid_to LIMIT $2 FOR UPDATE SKIP LOCKED),
			bodies AS (DELETE FROM body USING old WHERE body.version = old.version),
			texts AS (DELETE FROM search USING old WHERE search.version = old.version)
		DELETE FROM version USING old WHERE version.version = old.version`, before.UnixMicro(), n)
}

// commitTx runs a transaction that takes an instant.
func (s *Store) commitTx(ctx context.Context, begin string, f func(pgx.Tx, *batch) error) error {
	b := &batch{c: s.c}
	err := s.write(ctx, begin, func(tx pgx.Tx) error { return f(tx, b) })
	if err == nil {
		s.setCommitted(b.instant)
	}
	return err
}

// A batch is statements that go to the server in one round trip, because the horizon waits while they run.
type batch struct {
	c          *connector
	statements []*batchStatement
	instant    int64 // of the commit, once takeInstant was sent
}

type batchStatement struct {
	sql          string
	args         []any
	affected     int64  // rows
	wantAffected int64  // rows; -1: any number
	result       *int64 // of a statement that returns one number
	mismatch     error
}

func (b *batch) add(sql string, args ...any) *batchStatement {
	s := &batchStatement{sql: sql, args: args, wantAffected: -1}
	b.statements = append(b.statements, s)
	return s
}

// expect makes the transaction fail with an error unless the statement affects n rows.
func (s *batchStatement) expect(n int64, mismatch error) { s.wantAffected, s.mismatch = n, mismatch }

func (b *batch) send(ctx context.Context, tx pgx.Tx) (err error) {
	statements := b.statements
	b.statements = nil
	queue := new(pgx.Batch)
	for _, s := range statements {
		queue.Queue(s.sql, s.args...)
	}
	results := tx.SendBatch(ctx, queue)
	defer func() {
		if e := results.Close(); err == nil {
			err = e
		}
	}()
	for _, s := range statements {
		if s.result != nil {
			if err := results.QueryRow().Scan(s.result); err != nil {
				return err
			}
			continue
		}
		tag, err := results.Exec()
		if err != nil {
			return err
		}
		if s.affected = tag.RowsAffected(); s.wantAffected >= 0 && s.affected != s.wantAffected {
			return s.mismatch
		}
	}
	return nil
}
