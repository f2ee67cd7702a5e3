package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A scopeUpdate is one epoch of a scope.
type scopeUpdate struct {
	store *Store
	scope int64 // 0: none
	id    int64
	run   string
	name  string // of the account
	packer

	committed *record.Outcome // of the same run; nil: none
}

func (u *scopeUpdate) Committed() *record.Outcome { return u.committed }

// Begin finds or creates the scope and takes its epoch. It writes nothing for an existing scope.
func (s *Store) Begin(
	ctx context.Context, t record.Target, sc inventory.Scope, run string,
) (inventory.ScopeUpdate, error) {
	scope, err := s.ensureScope(ctx, t, sc)
	if err != nil || scope == 0 {
		return &scopeUpdate{store: s, run: run}, err
	}
	if err := s.lockWriter(ctx); err != nil { // so that an update that is committing either ends first or is fenced
		return nil, err
	}
	if ctx.Err() != nil { // too late: a later update may already have the epoch
		s.unlockWriter()
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	s.lastUpdate++
	n := s.lastUpdate
	previous := s.epochs[scope]
	s.epochs[scope] = &epoch{update: n}
	s.mu.Unlock()
	s.unlockWriter()
	if previous != nil && previous.staged {
		if err := s.write(ctx, func(tx *sql.Tx) error { return discardStaged(ctx, tx, previous.update) }); err != nil {
			return nil, err
		}
	}
	u := &scopeUpdate{store: s, scope: scope, id: n, run: run, name: t.Account, packer: packer{encode: s.encodePack}}
	u.committed, err = s.committedBy(ctx, scope, t, run)
	return u, err
}

const findCommitted = `SELECT state, reason, error, hint, expected, records, calls, throttles, started, ended
	FROM scope WHERE scope = ? AND run = ? AND state <> ''`

// committedBy returns the outcome that a run has committed for a scope, or nil. Called after the epoch was taken, so
// that no update of the run can commit later.
func (s *Store) committedBy(ctx context.Context, scope int64, t record.Target, run string) (*record.Outcome, error) {
	o := record.Outcome{Target: t, Run: run}
	var started, ended sql.NullInt64
	err := s.findCommitted.QueryRowContext(ctx, scope, run).Scan(&o.State, &o.Reason, &o.Error, &o.Hint,
		&o.Expected, &o.Records, &o.Calls, &o.Throttles, &started, &ended)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	o.Started, o.Ended = instant(started), instant(ended)
	return &o, explain(err)
}

func discardStaged(ctx context.Context, tx *sql.Tx, update int64) error {
	if _, err := tx.ExecContext(
		ctx, "DELETE FROM body WHERE pack IN (SELECT version >> 6 FROM staged WHERE turn = ?)", update,
	); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM staged WHERE turn = ?", update)
	return err
}

const (
	findScope = `SELECT scope, account, retired IS NOT NULL FROM scope
		WHERE account_id = ? AND partition = ? AND region = ? AND kind = ?`
	addScope = `INSERT INTO scope (account_id, partition, region, kind, account) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (account_id, partition, region, kind) DO UPDATE
			SET account = excluded.account, retired = NULL, why = NULL
		RETURNING scope`
)

// ensureScope returns the number of the scope. It creates a scope that has an account id and does not exist.
func (s *Store) ensureScope(ctx context.Context, t record.Target, sc inventory.Scope) (scope int64, err error) {
	if sc.AccountID == "" {
		err = s.db.QueryRowContext(ctx, `SELECT scope FROM scope
			WHERE account = ?1 AND region = ?2 AND kind = ?3 AND retired IS NULL
			ORDER BY ended DESC LIMIT 1`, t.Account, t.Region, t.Kind).Scan(&scope)
		if errors.Is(err, sql.ErrNoRows) {
			return 0, nil
		}
		return scope, explain(err)
	}
	var name string
	var retired bool
	err = s.findScope.QueryRowContext(ctx, sc.AccountID, sc.Partition, sc.Region, sc.Kind).Scan(&scope, &name, &retired)
	switch {
	case err == nil && name == t.Account && !retired:
		return scope, nil
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return 0, explain(err)
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		return tx.StmtContext(ctx, s.addScope).QueryRowContext(
			ctx, sc.AccountID, sc.Partition, sc.Region, sc.Kind, t.Account,
		).Scan(&scope)
	})
	return scope, err
}

func (u *scopeUpdate) HasScope() bool { return u.scope != 0 }

const findLive = `SELECT id, sum, sum_version, missing_since IS NOT NULL FROM version
	WHERE scope = ? AND valid_to IS NULL`

func (u *scopeUpdate) Live(ctx context.Context, f func(inventory.LiveResource) error) error {
	rows, err := u.store.findLive.QueryContext(ctx, u.scope)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	var id, sum sql.RawBytes
	for rows.Next() {
		var l inventory.LiveResource
		if err := rows.Scan(&id, &sum, &l.SumVersion, &l.Unconfirmed); err != nil {
			return explain(err)
		}
		if len(sum) != len(record.Digest{}) {
			return fmt.Errorf("%w: a hash of %d bytes", ErrCorrupt, len(sum))
		}
		l.ID, l.Sum = id, record.Digest(sum)
		if err := f(l); err != nil {
			return err
		}
	}
	return explain(rows.Err())
}

// isCurrent reports whether the update still has the epoch of its scope. It must be called inside write.
func (u *scopeUpdate) isCurrent() bool {
	u.store.mu.Lock()
	defer u.store.mu.Unlock()
	e := u.store.epochs[u.scope]
	return e != nil && e.update == u.id
}

// encodePack compresses the lines of a pack.
func (s *Store) encodePack(lines []byte) []byte {
	var packed []byte
	select {
	case packed = <-s.buffers:
	default:
	}
	packed = s.enc.EncodeAll(lines, packed[:0])
	out := bytes.Clone(packed) // exactly as large as needed, because it may be kept for long
	select {
	case s.buffers <- packed:
	default:
	}
	return out
}

// Stage writes the closed packs.
func (u *scopeUpdate) Stage(ctx context.Context) error {
	if len(u.packs) == 0 {
		return nil
	}
	err := u.store.write(ctx, func(tx *sql.Tx) error {
		if !u.isCurrent() {
			return inventory.ErrFenced
		}
		in, err := u.newInserter(ctx, tx)
		if err != nil {
			return err
		}
		defer in.close()
		for i := range u.packs {
			if err := in.insertPack(ctx, &u.packs[i], 0); err != nil {
				return err
			}
		}
		u.store.mu.Lock()
		defer u.store.mu.Unlock()
		if e := u.store.epochs[u.scope]; e != nil && e.update == u.id {
			e.staged = true
		}
		return nil
	})
	if err == nil {
		u.clearPacks()
	}
	return err
}

// expirePerCommit is the number of expired versions that a commit deletes: retention in steps too small to notice.
const expirePerCommit = 200

func (u *scopeUpdate) Commit(ctx context.Context, c inventory.Commit) error {
	if u.scope == 0 {
		return nil
	}
	u.store.mu.Lock()
	e := u.store.epochs[u.scope]
	staged := e != nil && e.update == u.id && e.staged
	u.store.mu.Unlock()
	u.closePack() // compresses it before the update needs the right to write
	err := u.store.write(ctx, func(tx *sql.Tx) error {
		if !u.isCurrent() {
			return inventory.ErrFenced
		}
		at := u.store.instant()
		if len(u.packs) > 0 {
			inserted, err := u.insertPacks(ctx, tx, at)
			if err != nil {
				return err
			}
			staged = staged || inserted
		}
		if staged {
			if err := u.publish(ctx, tx, at); err != nil {
				return err
			}
		}
		if err := u.endMissing(ctx, tx, at, c); err != nil {
			return err
		}
		if err := u.saveOutcome(ctx, tx, at, c); err != nil {
			return err
		}
		if u.store.options.Keep == 0 {
			return nil
		}
		return expire(ctx, tx, time.Now().Add(-u.store.options.Keep), expirePerCommit)
	})
	if err == nil {
		u.store.mu.Lock()
		if e := u.store.epochs[u.scope]; e != nil && e.update == u.id {
			e.staged = false
		}
		u.store.mu.Unlock()
	}
	return err
}

const liveOfStaged = "v.scope = ?2 AND v.id = staged.id AND v.valid_to IS NULL"

// publishStaged makes the staged rows the live versions.
var publishStaged = [...]string{
	// A changed resource keeps the instant of its first version, and of its state if that did not change.
	`UPDATE staged SET first_seen = v.first_seen, state_since = CASE WHEN v.state = staged.state THEN v.state_since END
		FROM version v WHERE staged.turn = ?1 AND staged.how = 1 AND ` + liveOfStaged,
	`UPDATE version SET valid_to = ?3
		WHERE scope = ?2 AND valid_to IS NULL AND id IN (SELECT id FROM staged WHERE turn = ?1 AND how = 1)`,
	`INSERT INTO version (version, scope, id, sum, sum_version, name, state, type, tags, run,
			first_seen, state_since, valid_from)
		SELECT version, ?2, id, sum, ?4, name, state, type, tags, ?5, coalesce(first_seen, ?3), coalesce(state_since, ?3), ?3
		FROM staged WHERE turn = ?1 AND how < 2`,
	// A hash of another version: the row replaces the version.
	`UPDATE version AS v SET version = staged.version, sum = staged.sum, sum_version = ?4, name = staged.name,
		state = staged.state, type = staged.type, tags = staged.tags
		FROM staged WHERE staged.turn = ?1 AND staged.how = 2 AND ` + liveOfStaged,
	`DELETE FROM staged WHERE turn = ?1`,
}

// publish makes the staged rows the live versions.
func (u *scopeUpdate) publish(ctx context.Context, tx *sql.Tx, at int64) error {
	replaced, err := queryPacks(
		ctx, tx,
		"SELECT DISTINCT v.version >> 6 FROM staged JOIN version v ON "+liveOfStaged+
			" WHERE staged.turn = ?1 AND staged.how = 2",
		u.id, u.scope,
	)
	if err != nil {
		return err
	}
	for _, stmt := range u.store.publishStaged {
		if _, err := tx.StmtContext(ctx, stmt).ExecContext(
			ctx, u.id, u.scope, at, record.DigestVersion, u.run,
		); err != nil {
			return err
		}
	}
	return deleteEmptyPacks(ctx, tx, replaced)
}

// endMissing ends the versions of gone resources, and holds those whose end is not certain. The reason of an end is by
// the last state that AWS reported.
func (u *scopeUpdate) endMissing(ctx context.Context, tx *sql.Tx, at int64, c inventory.Commit) error {
	for _, change := range []struct {
		set   string
		value any
		ids   []string
	}{
		{`valid_to = ?3, ended = CASE WHEN state IN ('terminated', 'deleted')
			THEN '` + inventory.Terminated + `' ELSE '` + inventory.Absent + `' END`, at, c.Gone},
		{"missing_since = ?3", at, c.Unconfirmed},
		{"missing_since = ?3", nil, c.Reappeared},
	} {
		if len(change.ids) == 0 {
			continue
		}
		stmt, err := tx.PrepareContext(
			ctx, "UPDATE version SET "+change.set+" WHERE scope = ?1 AND id = ?2 AND valid_to IS NULL",
		)
		if err != nil {
			return err
		}
		for _, id := range change.ids {
			if _, err = stmt.ExecContext(ctx, u.scope, id, change.value); err != nil {
				break
			}
		}
		if err = errors.Join(err, stmt.Close()); err != nil {
			return err
		}
	}
	return nil
}

const putOutcome = `UPDATE scope SET run = ?2, state = ?3, reason = ?4, error = ?5, hint = ?6,
	expected = ?7, records = ?8, calls = ?9, throttles = ?10, started = ?11, ended = ?12,
	state_since = CASE WHEN state = ?3 THEN state_since ELSE ?12 END, -- NULL stays: from before it was stored
	last_seen = coalesce(?13, last_seen), first_complete = coalesce(first_complete, ?13),
	extra_tags = coalesce(?14, extra_tags),
	retired = NULL, why = NULL WHERE scope = ?1`

func (u *scopeUpdate) saveOutcome(ctx context.Context, tx *sql.Tx, at int64, c inventory.Commit) error {
	o := c.Outcome
	var lastSeen, extra any
	if o.State.Complete() {
		lastSeen = at
	}
	if c.ExtraTags != nil {
		extra = string(c.ExtraTags)
	}
	_, err := tx.StmtContext(ctx, u.store.putOutcome).ExecContext(
		ctx, u.scope, o.Run, string(o.State), string(o.Reason), o.Error, o.Hint, o.Expected, o.Records,
		o.Calls, o.Throttles, o.Started.UnixMicro(), at, lastSeen, extra)
	return err
}

// expire deletes at most n versions that ended before an instant, and the packs that have no version left.
func expire(ctx context.Context, tx *sql.Tx, before time.Time, n int) error {
	touched, err := queryPacks(ctx, tx, `DELETE FROM version
		WHERE version IN (SELECT version FROM version WHERE valid_to < ? ORDER BY valid_to LIMIT ?)
		RETURNING version >> 6`, before.UnixMicro(), n)
	if err != nil {
		return err
	}
	return deleteEmptyPacks(ctx, tx, touched)
}

// ActiveTargets returns the targets of the account's name that are not retired.
func (s *Store) ActiveTargets(ctx context.Context, account string) (ts []record.Target, err error) {
	rows, err := s.db.QueryContext(
		ctx, "SELECT DISTINCT region, kind FROM scope WHERE account = ? AND retired IS NULL", account,
	)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		t := record.Target{Account: account}
		if err := rows.Scan(&t.Region, &t.Kind); err != nil {
			return nil, explain(err)
		}
		ts = append(ts, t)
	}
	return ts, explain(rows.Err())
}

// Accounts returns the accounts with a scope that is not retired.
func (s *Store) Accounts(ctx context.Context) (as []inventory.Account, err error) {
	rows, err := s.db.QueryContext(
		ctx, "SELECT DISTINCT account, partition, account_id FROM scope WHERE retired IS NULL ORDER BY 1, 3",
	)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		var a inventory.Account
		if err := rows.Scan(&a.Name, &a.Partition, &a.AccountID); err != nil {
			return nil, explain(err)
		}
		as = append(as, a)
	}
	return as, explain(rows.Err())
}

// Rename sets the name of every scope of the account to a.Name. It writes nothing if that is their name.
func (s *Store) Rename(ctx context.Context, a inventory.Account) error {
	const other = " FROM scope WHERE account_id = ? AND partition = ? AND account <> ? AND retired IS NULL"
	var found bool
	if err := s.db.QueryRowContext(
		ctx, "SELECT EXISTS (SELECT 1"+other+")", a.AccountID, a.Partition, a.Name,
	).Scan(&found); err != nil || !found {
		return explain(err)
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(
			ctx, "UPDATE scope SET account = ? WHERE scope IN (SELECT scope"+other+")", a.Name, a.AccountID, a.Partition, a.Name,
		)
		return err
	})
}

// Retire ends the scopes of a target.
func (s *Store) Retire(ctx context.Context, t record.Target, identity record.Identity, reason string) error {
	return s.retire(ctx, reason, `SELECT scope FROM scope
		WHERE account = ?1 AND region = ?2 AND kind = ?3 AND retired IS NULL
			AND (?4 = '' OR account_id = '' OR account_id = ?4 AND partition = ?5)`,
		t.Account, t.Region, t.Kind, identity.AccountID, identity.Partition)
}

// RetireAccount ends the scopes of an account under a name, each in a transaction of its own.
func (s *Store) RetireAccount(ctx context.Context, a inventory.Account, reason string) error {
	return s.retire(ctx, reason,
		"SELECT scope FROM scope WHERE account = ? AND partition = ? AND account_id = ? AND retired IS NULL",
		a.Name, a.Partition, a.AccountID)
}

func (s *Store) retire(ctx context.Context, reason, query string, args ...any) error {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	var scopes []int64
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return explain(err)
		}
		scopes = append(scopes, n)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return explain(err)
	}
	for _, scope := range scopes {
		err := s.write(ctx, func(tx *sql.Tx) error {
			at := s.instant()
			s.mu.Lock()
			open := s.epochs[scope]
			delete(s.epochs, scope) // fences an open update
			s.mu.Unlock()
			if open != nil && open.staged {
				if err := discardStaged(ctx, tx, open.update); err != nil {
					return err
				}
			}
			if _, err := tx.ExecContext(
				ctx, "UPDATE version SET valid_to = ?, ended = ? WHERE scope = ? AND valid_to IS NULL", at, reason, scope,
			); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "UPDATE scope SET retired = ?, why = ? WHERE scope = ?", at, reason, scope)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
