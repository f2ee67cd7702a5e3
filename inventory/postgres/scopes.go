package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// ActiveTargets returns the targets of the account's name that are not retired.
func (s *Store) ActiveTargets(ctx context.Context, account string) ([]record.Target, error) {
	rows, err := s.writePool.Query(
		ctx, "SELECT DISTINCT account, region, kind FROM scope WHERE account = $1 AND retired IS NULL", account,
	)
	if err != nil {
		return nil, s.explain(ctx, err)
	}
	ts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[record.Target])
	return ts, s.explain(ctx, err)
}

// Accounts returns the accounts with a scope that is not retired.
func (s *Store) Accounts(ctx context.Context) ([]inventory.Account, error) {
	rows, err := s.writePool.Query(
		ctx, "SELECT DISTINCT account, partition, account_id FROM scope WHERE retired IS NULL ORDER BY 1, 3",
	)
	if err != nil {
		return nil, s.explain(ctx, err)
	}
	as, err := pgx.CollectRows(rows, pgx.RowToStructByPos[inventory.Account])
	return as, s.explain(ctx, err)
}

// Rename sets the name of every scope of the account to a.Name.
func (s *Store) Rename(ctx context.Context, a inventory.Account) error {
	writer, _, err := s.writeAllowed()
	if err != nil {
		return err
	}
	// in order, so that two processes that rename wait for each other and do not block each other
	_, err = s.writePool.Exec(ctx, `UPDATE scope SET account = $1 WHERE scope = ANY(ARRAY(SELECT scope FROM scope
			WHERE account_id = $2 AND partition = $3 AND account <> $1 AND retired IS NULL ORDER BY scope FOR UPDATE))
		AND EXISTS (SELECT FROM clock WHERE writer = $4)`, a.Name, a.AccountID, a.Partition, writer)
	return s.c.explain(ctx, err)
}

// Retire ends the scopes of a target.
func (s *Store) Retire(ctx context.Context, t record.Target, identity record.Identity, reason string) error {
	return s.retire(ctx, reason, `SELECT scope FROM scope
		WHERE account = $1 AND region = $2 AND kind = $3 AND retired IS NULL
			AND ($4 = '' OR account_id = '' OR account_id = $4 AND partition = $5)`,
		t.Account, t.Region, t.Kind, identity.AccountID, identity.Partition)
}

// RetireAccount ends the scopes of an account under a name, each in a transaction of its own.
func (s *Store) RetireAccount(ctx context.Context, a inventory.Account, reason string) error {
	return s.retire(ctx, reason,
		"SELECT scope FROM scope WHERE account = $1 AND partition = $2 AND account_id = $3 AND retired IS NULL",
		a.Name, a.Partition, a.AccountID)
}

func (s *Store) retire(ctx context.Context, reason, query string, args ...any) error {
	writer, begin, err := s.writeAllowed()
	if err != nil {
		return err
	}
	rows, err := s.writePool.Query(ctx, query, args...)
	if err != nil {
		return s.explain(ctx, err)
	}
	scopes, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return s.explain(ctx, err)
	}
	for _, scope := range scopes {
		err := s.commitTx(ctx, begin, func(tx pgx.Tx, b *batch) error {
			// The next epoch fences an open update.
			var epoch, current int64
			err := tx.QueryRow(ctx, `UPDATE scope SET epoch = nextval('epoch') WHERE scope = $1 AND retired IS NULL
				RETURNING epoch, (SELECT writer FROM clock)`, scope).Scan(&epoch, &current)
			switch {
			case errors.Is(err, pgx.ErrNoRows): // another process retired it just now
				return nil
			case err != nil:
				return err
			case current != writer:
				return errNotWriter(s.c)
			}
			b.sweepStaged("t.scope = $1 AND t.version < $2", scope, epoch*versionsPerEpoch)
			b.takeInstant(scope)
			b.add("UPDATE version SET valid_to = "+commitInstant+", ended = $2 WHERE scope = $1 AND valid_to IS NULL",
				scope, reason)
			b.add("UPDATE scope SET last = "+commitInstant+", retired = "+commitInstant+", why = $2 WHERE scope = $1",
				scope, reason)
			return b.send(ctx, tx)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
