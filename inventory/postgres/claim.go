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

// claim makes this process a writer: it takes the lock, migrates the schema, and registers in the database. The lock is
// held until the returned connection closes.
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
	if err := s.tryLock(limited, conn, s.shared); err != nil {
		return nil, s.c.explain(limited, err)
	}
	if err := s.checkHistory(ctx, conn); err != nil {
		return nil, err
	}
	if s.shared {
		if err := s.migrateAlone(ctx, conn); err != nil {
			return nil, err
		}
	} else if err := s.c.migrate(ctx, conn); err != nil {
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
	var latest int64 // of a process that was killed before it could publish its last commits
	if err := conn.QueryRow(ctx, "SELECT coalesce(max(last), 0) FROM scope").Scan(&latest); err != nil {
		return nil, err
	}
	s.setWriter(writer, syncCommit)
	s.setCommitted(latest)
	return conn, nil
}

// setWriter sets the number of the writers, and the statement that begins a commit. The transaction takes the gate: a
// writer that raises the number waits until no commit of a former number is under way. So whoever has the gate reads
// the number that is valid until the transaction ends.
func (s *Store) setWriter(writer int64, syncCommit string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writer = writer
	s.beginCommit = fmt.Sprintf("begin; set local synchronous_commit = %s; "+
		"select pg_advisory_xact_lock_shared(%d)", syncCommit, s.c.lockTag()<<40)
}

// errWaiting is the error of a process that shares the schema and waits for a migration.
var errWaiting = errors.New("waiting for a migration of the tables")

// tryLock takes the writer's lock, or says who has it.
func (s *Store) tryLock(ctx context.Context, conn *pgx.Conn, shared bool) error {
	class, object := s.c.lockKey()
	try, remedy := "SELECT pg_try_advisory_lock($1, $2)", "Stop that process, or set another database or store.schema."
	if shared {
		try = "SELECT pg_try_advisory_lock_shared($1, $2)"
	}
	var ok bool
	if err := conn.QueryRow(ctx, try, class, object).Scan(&ok); err != nil || ok {
		return err
	}
	holders, mode, err := s.c.lockHolders(ctx, conn)
	if err != nil {
		return err
	}
	err = fmt.Errorf("schema %s %w by %s", s.c.schema, ErrInUse, holders)
	switch {
	case shared && mode == migrating:
		err = fmt.Errorf("%w: schema %s is migrated by %s", errWaiting, s.c.schema, holders)
		remedy = "Nothing to do: writes begin after it."
	case shared && mode == exclusive:
		err = fmt.Errorf("%w, which writes alone", err)
		remedy = "Stop that process: processes that share a schema and one that writes alone exclude each other. " +
			"Or set another database or store.schema."
	case mode == sharing:
		err = fmt.Errorf("%w, which share it", err)
		remedy = "Stop these processes: this one writes alone. Or set another database or store.schema."
	}
	return &record.Fault{
		Reason: record.Other, Err: err,
		Hint: remedy + " list, get, history, diff, changes and sql work beside a writer.",
	}
}

// Modes in which others hold the writer's lock.
const (
	nobody    = "" // the holder's connection has just ended
	exclusive = "ExclusiveLock"
	sharing   = "ShareLock"
	migrating = "migrating"
)

// lockHolders describes the processes that hold the writer's lock, or the one that migrates.
func (c *connector) lockHolders(ctx context.Context, conn *pgx.Conn) (holders, mode string, err error) {
	class, object := c.lockKey()
	var migrator bool
	err = conn.QueryRow(ctx, `SELECT coalesce(string_agg(format('%s from %s, since %s', a.application_name,
			coalesce(host(a.client_addr), 'the same machine'),
			to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')), '; ' ORDER BY a.backend_start), ''),
			coalesce(min(l.mode), ''), coalesce(bool_or(migrates AND l.mode = 'ExclusiveLock'), false)
		FROM (SELECT pid, min(mode) FILTER (WHERE classid::bigint = $1) AS mode, bool_or(classid::bigint = $2) AS migrates
				FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint IN ($1, $2) AND objid::bigint = $3 AND granted
				AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) GROUP BY pid) l
			JOIN pg_stat_activity a USING (pid) WHERE l.mode IS NOT NULL AND pid <> pg_backend_pid()`,
		int64(class), int64(class+migrationClass), int64(object)).Scan(&holders, &mode, &migrator)
	switch {
	case err != nil:
		return "", "", err
	case holders == "":
		return "a process whose connection has just ended", nobody, nil
	case migrator:
		return holders, migrating, nil
	}
	return holders, mode, nil
}

// migrationClass is added to the class of the writer's lock for the lock that says that it is held for a migration.
const migrationClass = 1

// migrateAlone migrates the schema of several writers if it is older: meanwhile it exchanges the shared lock for the
// exclusive one. It returns errWaiting if others write, which may need the older tables.
func (s *Store) migrateAlone(ctx context.Context, conn *pgx.Conn) error {
	if current, err := s.c.isCurrent(ctx, conn); err != nil || current {
		return err
	}
	class, object := s.c.lockKey()
	steps := func(statements ...string) error {
		for _, statement := range statements {
			if _, err := conn.Exec(ctx, statement, class, object); err != nil {
				return err
			}
		}
		return nil
	}
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock_shared($1, $2)", class+migrationClass, object); err != nil {
		return err
	}
	if err := steps("SELECT pg_advisory_unlock_shared($1, $2)"); err != nil {
		return err
	}
	if err := s.tryLock(ctx, conn, false); err != nil {
		if !errors.Is(err, ErrInUse) {
			return err
		}
		return &record.Fault{Reason: record.Other, Err: fmt.Errorf("%w: %w", errWaiting, err),
			Hint: "Stop the processes of the older version: the migration begins when none of them writes."}
	}
	if err := s.c.migrate(ctx, conn); err != nil {
		return err
	}
	// A session may have both locks; so nobody comes in between.
	if err := steps("SELECT pg_advisory_lock_shared($1, $2)", "SELECT pg_advisory_unlock($1, $2)"); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, "SELECT pg_advisory_unlock_shared($1, $2)", class+migrationClass, object)
	return err
}

// registerWriter registers this process as a writer, and drops the staged rows of dead processes. A writer alone raises
// the number, unless nobody has since it raised it itself. A writer that shares takes the number of the others.
func (s *Store) registerWriter(ctx context.Context, conn *pgx.Conn) (writer int64, err error) {
	s.mu.Lock()
	previous := s.writer
	s.mu.Unlock()
	isMine := func(writer, sharers int64) bool {
		if s.shared {
			return writer == sharers
		}
		return previous != 0 && writer == previous
	}
	var sharers, last, now int64
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		const read = "SELECT writer, shared, last, server_time() FROM clock"
		if err := tx.QueryRow(ctx, read).Scan(&writer, &sharers, &last, &now); err != nil {
			return err
		}
		b := &batch{c: s.c}
		if isMine(writer, sharers) {
			if s.shared {
				b.sweepStaged(outdated)
			}
			return b.send(ctx, tx)
		}
		// The gate: no commit of the former number is under way from here on.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", s.c.lockTag()<<40); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, read+" FOR UPDATE").Scan(&writer, &sharers, &last, &now); err != nil {
			return err
		}
		if isMine(writer, sharers) { // another that shares was first
			return nil
		}
		// The server may still execute the last statements of a killed process; wait for what they stage.
		b.add("LOCK TABLE body, staged IN SHARE MODE")
		b.sweepStaged("true")
		if err := b.send(ctx, tx); err != nil {
			return err
		}
		// All commits up to last are visible, because none is under way. Later ones take later instants.
		return tx.QueryRow(ctx, `UPDATE clock SET writer = writer + 1, published = writer + 1, horizon = last,
			shared = CASE WHEN $1 THEN writer + 1 ELSE -1 END RETURNING writer`, s.shared).Scan(&writer)
	})
	if err != nil {
		return 0, err
	}
	s.warnOfClocks(last, now)
	return writer, nil
}

// warnOfClocks compares the server's time with the store's latest instant and with this machine's time.
func (s *Store) warnOfClocks(last, now int64) {
	if ahead := time.Duration(last-now) * time.Microsecond; ahead > time.Minute {
		s.log.Warn("store's latest entry is in the future", "latest", time.UnixMicro(last).UTC(),
			"ahead", ahead.Round(time.Second),
			"hint", "Check the server's clock. Later entries get instants after the latest one.")
	}
	if skew := time.Since(time.UnixMicro(now)).Abs(); skew > time.Minute {
		s.log.Warn("clock differs from the database server's", "difference", skew.Round(time.Second),
			"hint", "Set both clocks. The store uses the server's.")
	}
}

const (
	pingInterval     = 10 * time.Second
	maxClaimInterval = 5 * time.Second // at most
)

// holdLock holds the lock until ctx ends: it watches the lock's connection and claims again when that is lost.
func (s *Store) holdLock(ctx context.Context, conn *pgx.Conn) {
	defer s.background.Wait()
	s.background.Go(func() { s.publishLoop(ctx) })
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

// errNotWriter is the error of an update after another process has raised the number of the writers.
func errNotWriter(c *connector) error {
	return &record.Fault{
		Reason: record.Other,
		Hint: "Stop one of the two collectors, or set another database or store.schema for one. " +
			"After a migration there is nothing to do: the next run lists the target again.",
		Err: fmt.Errorf("schema %s %w by another process", c.schema, ErrInUse),
	}
}
