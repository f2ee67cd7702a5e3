package river

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/aws-collector/collector/runner"
)

const (
	maxMissedCounted = 10_000                 // ticks of one schedule
	retryTick        = 200 * time.Millisecond // another replica makes the tick at this moment
)

// A Schedule is one schedule of an account or task. Every replica has all of them.
type Schedule struct {
	Account string
	runner.Tick
	Offset time.Duration // the account's jitter: each tick becomes due so much later
}

// A Tick is an instant of a schedule that is due.
type Tick struct {
	Account, Spec string
	At            time.Time
	Missed        int       // the instants before it that were not run, since the last tick
	until         time.Time // the next tick is after this
}

// Register lets a schedule begin now, unless it is known: then it goes on from its last tick.
func (s *Schedule) Register(ctx context.Context, db *pgxpool.Pool) error {
	_, err := db.Exec(ctx, "INSERT INTO tick (account, spec, last) VALUES ($1, $2, server_time()) ON CONFLICT DO NOTHING",
		s.Account, s.Spec)
	if err != nil {
		return fmt.Errorf("account %q: register schedule %q: %w", s.Account, s.Spec, err)
	}
	return nil
}

// Make makes the tick that is due, if one is: admit is called in the transaction that records it, and both happen or
// none. However long no replica ran, that is one tick; those before it are missed. Every replica tries. The lock of the
// schedule's row elects one, and the time is the database's: so a tick is made once, and never early. Make returns how
// long to wait before the next try.
func (s *Schedule) Make(
	ctx context.Context, db *pgxpool.Pool, admit func(context.Context, pgx.Tx, Tick) error,
) (wait time.Duration, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		var last, now int64
		err := tx.QueryRow(ctx, `SELECT last, server_time() FROM tick WHERE account = $1 AND spec = $2
			FOR UPDATE SKIP LOCKED`, s.Account, s.Spec).Scan(&last, &now)
		if errors.Is(err, pgx.ErrNoRows) {
			wait = retryTick
			return nil
		}
		if err != nil {
			return err
		}
		t, next := s.due(time.UnixMicro(last), time.UnixMicro(now))
		if !next.IsZero() {
			wait = next.Add(s.Offset).Sub(time.UnixMicro(now))
		}
		if t.At.IsZero() {
			return nil
		}
		if _, err := tx.Exec(ctx, "UPDATE tick SET last = $3 WHERE account = $1 AND spec = $2",
			s.Account, s.Spec, t.until.UnixMicro()); err != nil {
			return err
		}
		return admit(ctx, tx, t)
	})
	if err != nil {
		return retryTick, fmt.Errorf("account %q: tick of schedule %q: %w", s.Account, s.Spec, err)
	}
	return wait, nil
}

// due returns the latest instant that is due, the zero time if none is, and the one after it; zero: never.
func (s *Schedule) due(last, now time.Time) (t Tick, next time.Time) {
	t = Tick{Account: s.Account, Spec: s.Spec}
	now = now.Add(-s.Offset)
	for next = s.Schedule.Next(last); !next.IsZero() && !next.After(now); next = s.Schedule.Next(next) {
		if !t.At.IsZero() {
			t.Missed++
		}
		if t.At, t.until = next, next; t.Missed == maxMissedCounted {
			t.until = now
			return t, s.Schedule.Next(now)
		}
	}
	return t, next
}
