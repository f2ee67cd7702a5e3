package postgres

import (
	"context"
	"hash/crc32"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aws-collector/collector/inventory"
)

// Instants of a schema that several processes write, without a row that all commits lock.
//
// A commit locks its scope's row, takes a shared transaction lock whose key is its time in units of 100 ms, and only
// then reads the floor (clock.last) and the server's clock: its instant is later than the floor, not before its unit,
// and later than the scope's last one. Nothing waits for such a lock; pg_locks shows it until the commit is visible.
//
// Somebody publishes: it first raises the floor to T, which is at least every instant taken so far, and commits that;
// then it reads pg_locks and sets the horizon to T, or to the end of the unit before the oldest lock. A reader of
// changes yields those up to the horizon. It misses none: a commit that is not yet visible when pg_locks is read either
// has its lock then, so its instant is after the horizon; or it takes its lock later, so it sees the floor T, and its
// instant is after T. That holds if the clock steps back, if a client or a backend freezes (then the horizon waits and
// commits do not), and if the server crashes, because the floor is flushed before a horizon follows from it. On a
// standby, the horizon comes after the commits that it covers. A role that only reads needs no more than the row.
//
// No two commits share an instant unless 256 others begin within 256 µs: the instant is rounded up to be equal to the
// commit's number modulo 256. While the clock is behind the floor, instants count on from the floor by that number.
//
// Two schemes were left. A row that every commit locks (until version 5 of the tables) makes commits wait for the flush
// of the one before. The same row with asynchronous commits and one flush after them would show what a crash takes
// back, and a client that freezes would still hold all commits. Transaction ids below pg_snapshot_xmin wait for every
// transaction of the database cluster, also of other programs, and are not instants.

// publishDelay is how long after a commit the horizon is published for readers of other processes. A feed looks for
// changes a second after a target's end.
const publishDelay = 500 * time.Millisecond

// commitInstant is the instant of the transaction, in its statements after takeInstant: a setting of the transaction,
// so that statements that need it go to the server in the same round trip.
const commitInstant = "(SELECT current_setting('collector.instant')::bigint)"

// lockTag is the upper 24 bits of the keys of this schema's transaction locks. The lower 40 are a unit of time; 0 is
// the gate: see Store.beginCommit.
func (c *connector) lockTag() int64 {
	return int64(crc32.ChecksumIEEE([]byte("collector commits "+c.schema)) >> 9)
}

// takeInstant takes the instant of the commit. The scope's row is locked.
func (b *batch) takeInstant(scope int64) {
	b.add(`SELECT set_config('collector.instant', take_instant($1, (SELECT greatest(last, ended, retired) FROM scope
		WHERE scope = $2))::text, true)::bigint`, b.c.lockTag(), scope).result = &b.instant
}

// unpublished asks whether there may be a commit after the horizon. $1 is the latest instant of this process: if the
// clock has stepped back since, the floor may be below it although its number is drawn.
const unpublished = "SELECT horizon < last OR last < $1 OR number < (SELECT last_value FROM commit_number) FROM clock"

// raiseFloor raises the floor over all instants whose numbers are drawn, and $1. greatest: another process may have
// raised it while this statement waited for the row.
const raiseFloor = `WITH drawn AS MATERIALIZED (SELECT last_value AS number FROM commit_number)
	UPDATE clock SET last = greatest(server_time(), $1, last + greatest(drawn.number - clock.number, 0)) + 256,
		number = greatest(drawn.number, clock.number)
	FROM drawn RETURNING last`

// raiseHorizon raises the horizon to the floor $1, or less if a commit that is not visible yet may come before that.
const raiseHorizon = `UPDATE clock SET horizon = greatest(horizon, least($1, (
		SELECT min(key & ((1::bigint << 40) - 1)) * 100000 - 1
		FROM (SELECT classid::bigint << 32 | objid::bigint AS key FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) locks
		WHERE key >> 40 = $2 AND key & ((1::bigint << 40) - 1) > 0)))
	RETURNING horizon >= $1`

// publish raises the horizon over all commits that are visible. all is false if others were under way: a later call
// covers them.
func (s *Store) publish(ctx context.Context) (all bool, err error) {
	_, begin, err := s.writeAllowed()
	if err != nil {
		return false, err
	}
	select {
	case s.publishToken <- struct{}{}:
		defer func() { <-s.publishToken }()
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	found, latest := false, s.latest.Load()
	if err := s.writePool.QueryRow(ctx, unpublished, latest).Scan(&found); err != nil || !found {
		return err == nil, s.c.explain(ctx, err)
	}
	var floor int64
	if err := s.write(ctx, begin, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, raiseFloor, latest).Scan(&floor)
	}); err != nil {
		return false, err
	}
	err = s.writePool.QueryRow(ctx, raiseHorizon, floor, s.c.lockTag()).Scan(&all)
	return all, s.c.explain(ctx, err)
}

// publishLoop publishes what this process has committed, until ctx ends.
func (s *Store) publishLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.committed:
		}
		for wait := publishDelay; ; wait = min(2*wait, maxClaimInterval) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			if all, err := s.publish(ctx); all {
				break
			} else if err == nil {
				wait = publishDelay / 2
			}
		}
	}
}

// setCommitted tells publishLoop that a commit of this process, or of one that was killed, has the instant.
func (s *Store) setCommitted(instant int64) {
	for {
		latest := s.latest.Load()
		if instant <= latest || s.latest.CompareAndSwap(latest, instant) {
			break
		}
	}
	select {
	case s.committed <- struct{}{}:
	default:
	}
}

// publishLast publishes at the end of the process. A server that hangs costs two seconds; the next writer publishes.
func (s *Store) publishLast() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, _ = s.publish(ctx) // Close has no use for the error
}

// Changes yields the changes after an instant, up to the horizon, after it has published what is committed now.
func (s *Store) Changes(ctx context.Context, q inventory.Query, after time.Time) iter.Seq2[inventory.Change, error] {
	return func(yield func(inventory.Change, error) bool) {
		_, _ = s.publish(ctx) // if it fails, the changes end at what was published before
		for c, err := range s.Reader.Changes(ctx, q, after) {
			if !yield(c, err) {
				return
			}
		}
	}
}
