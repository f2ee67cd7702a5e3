package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// claim makes this process the writer: it takes the lock, migrates the schema, and registers in the database. The lock
// is held until the returned connection closes.
func (s *Store) claim(ctx context.Context) (_ *pgx.Conn, err error) {
	defer func() {
		err = s.c.explain(ctx, err)
		s.mu.Lock()
		s.writeErr = err
		s.mu.Unlock()
	}()
	conf := s.c.connConfig(map[string]string{
		// So that the server notices within a minute that a machine is gone, and releases its lock.
		"tcp_keepalives_idle": "20", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3",
		"lock_timeout": lockTimeout,
	})
	// An idle wait cannot be cancelled at the server: a deadline ends it here, and the connection stays usable.
	conf.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: c.Conn()}
	}
	conn, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeConn(conn)
		}
	}()
	// If the server freezes now, this must not wait for ever. What follows may take long.
	limited, cancel := context.WithTimeoutCause(ctx, inventory.StallTimeout, s.c.noAnswerError(context.DeadlineExceeded))
	defer cancel()
	if err := s.tryLock(limited, conn); err != nil {
		return nil, s.c.explain(limited, err)
	}
	if err := s.checkHistory(ctx, conn); err != nil {
		return nil, err
	}
	if err := s.c.migrate(ctx, conn); err != nil {
		return nil, err
	}
	if err := s.recordHistory(ctx, conn); err != nil {
		return nil, err
	}
	syncCommit := ""
	if err := conn.QueryRow(ctx, "SELECT current_setting('synchronous_commit')").Scan(&syncCommit); err != nil {
		return nil, err
	}
	if s.sync && syncCommit == "off" {
		syncCommit = "on"
	}
	writer, err := s.registerWriter(ctx, conn)
	if err != nil {
		return nil, err
	}
	if err := s.checkIndex(ctx, conn); err != nil {
		return nil, err
	}
	if err := s.pingPool.Ping(limited); err != nil { // connect now, so that the first ping need not
		return nil, s.c.explain(limited, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writer = writer
	s.beginCommit = "begin; set local idle_in_transaction_session_timeout = '1h'; " +
		"set local synchronous_commit = " + syncCommit
	return conn, nil
}

func (s *Store) tryLock(ctx context.Context, conn *pgx.Conn) error {
	class, object := s.c.lockKey()
	var ok bool
	if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1, $2)", class, object).Scan(&ok); err != nil || ok {
		return err
	}
	holder := "a process whose connection has just ended"
	err := conn.QueryRow(ctx, `SELECT format('%s from %s, since %s', a.application_name,
			coalesce(host(a.client_addr), 'the same machine'),
			to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
		FROM pg_locks l JOIN pg_stat_activity a USING (pid)
			JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
		WHERE l.locktype = 'advisory' AND l.classid::bigint = $1 AND l.objid::bigint = $2 AND l.granted`,
		int64(class), int64(object)).Scan(&holder)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	return &record.Fault{
		Reason: record.Other,
		Hint: "Stop that process, or set another database or store.schema. " +
			"list, get, history, diff, changes and sql work while it runs.",
		Err: fmt.Errorf("schema %s %w by %s", s.c.schema, ErrInUse, holder),
	}
}

// registerWriter registers this process as the writer, and drops the staged rows of a dead process. If no other process
// has written since this one did, nothing is dropped and its open updates remain valid.
func (s *Store) registerWriter(ctx context.Context, conn *pgx.Conn) (writer int64, err error) {
	s.mu.Lock()
	previous := s.writer
	s.mu.Unlock()
	var last, now int64
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := tx.QueryRow(
			ctx, "SELECT writer, last, (extract(epoch FROM clock_timestamp()) * 1e6)::bigint FROM clock",
		).Scan(&writer, &last, &now); err != nil {
			return err
		}
		if previous != 0 && writer == previous {
			return nil
		}
		// The server may still execute the last statements of a killed process; wait for what they stage.
		if _, err := tx.Exec(ctx, "LOCK TABLE body, staged IN SHARE MODE"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM body USING staged WHERE body.version = staged.version"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM search USING staged WHERE search.version = staged.version"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM staged"); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "UPDATE clock SET writer = writer + 1 RETURNING writer").Scan(&writer)
	})
	if err != nil {
		return 0, err
	}
	if ahead := time.Duration(last-now) * time.Microsecond; ahead > time.Minute {
		s.log.Warn("store's latest entry is in the future", "latest", time.UnixMicro(last).UTC(),
			"ahead", ahead.Round(time.Second),
			"hint", "Check the server's clock. Later entries get instants after the latest one.")
	}
	if skew := time.Since(time.UnixMicro(now)).Abs(); skew > time.Minute {
		s.log.Warn("clock differs from the database server's", "difference", skew.Round(time.Second),
			"hint", "Set both clocks. The store uses the server's.")
	}
	return writer, nil
}

const (
	pingInterval     = 10 * time.Second
	maxClaimInterval = 5 * time.Second // at most
)

// holdLock holds the lock until ctx ends: it watches the lock's connection and claims again when that is lost.
func (s *Store) holdLock(ctx context.Context, conn *pgx.Conn) {
	defer s.build.Wait()
	wait := time.Second
	for {
		if conn != nil {
			s.startBuild(ctx)
			err := watchConn(ctx, conn)
			closeConn(conn)
			conn = nil
			if ctx.Err() != nil {
				return
			}
			s.log.Warn("writer's database connection lost; reconnecting", "error", s.c.explain(ctx, err))
			wait = 100 * time.Millisecond
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, maxClaimInterval)
		before := s.Err()
		var err error
		if conn, err = s.claim(ctx); ctx.Err() != nil {
			if conn != nil {
				closeConn(conn)
			}
			return
		}
		if err != nil && (before == nil || before.Error() != err.Error()) {
			s.notifyStall(err)
		}
	}
}

// notifyStall reports a stall that was found without a call.
func (s *Store) notifyStall(err error) {
	s.mu.Lock()
	onStall := s.onStall
	s.mu.Unlock()
	if onStall != nil {
		onStall(asStall(err))
	}
}

// watchConn returns when the connection is lost. The server sends nothing on it, so a read only waits; a ping checks
// that the server is still there.
func watchConn(ctx context.Context, conn *pgx.Conn) error {
	for {
		waitCtx, cancel := context.WithTimeout(ctx, pingInterval)
		_, err := conn.WaitForNotification(waitCtx)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && (!pgconn.Timeout(err) || conn.IsClosed()) {
			return err
		}
		pingCtx, cancel := context.WithTimeout(ctx, pingInterval/2)
		err = conn.Ping(pingCtx)
		cancel()
		if err != nil {
			return err
		}
	}
}

// closeConn closes a connection properly, so that the server releases its lock at once. It waits only briefly for the
// network.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = conn.Close(ctx) // nothing depends on it
	<-conn.PgConn().CleanupDone()
}

// errNotWriter is the error of an update after another process became the writer.
func errNotWriter(c *connector) error {
	return &record.Fault{
		Reason: record.Other,
		Hint:   "Stop one of the two collectors, or set another database or store.schema for one.",
		Err:    fmt.Errorf("schema %s %w by another process", c.schema, ErrInUse),
	}
}
