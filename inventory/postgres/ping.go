package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aws-collector/collector/inventory"
)

// lockTimeout is how long the server lets a statement wait for a lock. No statement of this process holds a lock that
// long, so another session does. It equals [inventory.StallTimeout].
const lockTimeout = "5s"

// lostAfter is how long the server may not know a statement that a caller waits for.
const lostAfter = inventory.StallTimeout

// frozenAfter is how long the server may claim to execute a statement without any sign of activity: no session writes
// to the log, and the statement waits for the same event.
const frozenAfter = 2 * time.Minute

// statements are the statements of a pool that callers wait for. It is the tracer of the pool.
type statements struct {
	mu      sync.Mutex
	active  map[*pgx.Conn]*statement
	orphans []int32 // backends whose connections were closed during a statement, which they may still execute
}

type statement struct {
	idleSince     time.Time // since when the server does not execute it; zero: it does, or was not asked
	activity      string    // the last signs of activity
	activitySince time.Time // since when they are the same
}

// A backend is what the server reports about one of its processes.
type backend struct {
	idle     bool
	activity string // changes while the backend works
}

func (s *statements) begin(conn *pgx.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active == nil {
		s.active = map[*pgx.Conn]*statement{}
	}
	s.active[conn] = new(statement)
}

func (s *statements) end(conn *pgx.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.active, conn)
	if conn.IsClosed() {
		s.orphans = append(s.orphans, int32(conn.PgConn().PID()))
	}
}

// terminateOrphans terminates the backends whose connections were closed during a statement. A frozen backend would
// otherwise execute its statement later, and take an epoch from an update that began in the meantime. A backend acts on
// the termination before it reads what was sent to it.
func (s *statements) terminateOrphans(ctx context.Context, tx pgx.Tx) error {
	s.mu.Lock()
	orphans := s.orphans
	s.mu.Unlock()
	if len(orphans) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE pid = ANY($1) AND pid <> pg_backend_pid() AND datname = current_database() AND usename = current_user
			AND application_name = current_setting('application_name')`, orphans); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orphans = s.orphans[len(orphans):]
	return nil
}

var (
	_ pgx.QueryTracer    = (*statements)(nil)
	_ pgx.BatchTracer    = (*statements)(nil)
	_ pgx.CopyFromTracer = (*statements)(nil)
)

// TraceQueryStart and the methods below mark the beginning and the end of a statement.
func (s *statements) TraceQueryStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	s.begin(conn)
	return ctx
}

func (s *statements) TraceQueryEnd(_ context.Context, conn *pgx.Conn, _ pgx.TraceQueryEndData) {
	s.end(conn)
}

func (s *statements) TraceBatchStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	s.begin(conn)
	return ctx
}

func (s *statements) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (s *statements) TraceBatchEnd(_ context.Context, conn *pgx.Conn, _ pgx.TraceBatchEndData) {
	s.end(conn)
}

func (s *statements) TraceCopyFromStart(
	ctx context.Context, conn *pgx.Conn, _ pgx.TraceCopyFromStartData,
) context.Context {
	s.begin(conn)
	return ctx
}

func (s *statements) TraceCopyFromEnd(_ context.Context, conn *pgx.Conn, _ pgx.TraceCopyFromEndData) {
	s.end(conn)
}

// pids returns the backends of the statements.
func (s *statements) pids() []int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	pids := make([]int32, 0, len(s.active))
	for conn := range s.active {
		pids = append(pids, int32(conn.PgConn().PID()))
	}
	return pids
}

// cutStuck cuts the connections of statements that will never be answered: the server does not know them, for example
// because a firewall forgot the connection, or it shows no activity for them. It returns how many.
func (s *statements) cutStuck(asked []int32, backends map[int32]backend) (cut int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := map[int32]bool{}
	for _, pid := range asked {
		known[pid] = true
	}
	now := time.Now()
	for conn, st := range s.active {
		pid := int32(conn.PgConn().PID())
		b, found := backends[pid]
		switch {
		case !known[pid]:
			continue
		case found && !b.idle:
			st.idleSince = time.Time{}
		case st.idleSince.IsZero():
			st.idleSince = now
		}
		if b.activity != st.activity || st.activitySince.IsZero() {
			st.activity, st.activitySince = b.activity, now
		}
		if !st.idleSince.IsZero() && now.Sub(st.idleSince) >= lostAfter || now.Sub(st.activitySince) >= frozenAfter {
			_ = conn.PgConn().Conn().SetDeadline(time.Unix(1, 0)) // makes the pending read fail
			cut++
		}
	}
	return cut
}

// Ping asks the server on a connection of its own, so it never waits for the statements.
func (s *Store) Ping(ctx context.Context) error {
	conn, err := s.pingPool.Acquire(ctx)
	if err == nil {
		err = s.checkStatements(ctx, conn.Conn())
		conn.Release()
	}
	var pg *pgconn.PgError
	if err == nil || errors.As(err, &pg) { // an error of the server is an answer
		return nil
	}
	if ctx.Err() != nil {
		return s.c.noAnswerError(err)
	}
	return s.c.explain(ctx, err)
}

func (s *Store) checkStatements(ctx context.Context, conn *pgx.Conn) error {
	asked := s.statements.pids()
	// A sleep counts as activity. The server shows the state only of sessions of the same role.
	rows, err := conn.Query(ctx, `SELECT pid, pid = pg_backend_pid(), coalesce(state LIKE 'idle%', false),
			concat_ws(' ', query_start, wait_event, CASE WHEN wait_event = 'PgSleep' THEN clock_timestamp() END,
				CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() END)
		FROM pg_stat_activity WHERE pid = ANY($1) OR pid = pg_backend_pid()`, asked)
	if err != nil {
		return err
	}
	backends := map[int32]backend{}
	sameIDs := false // false: a pooler in between uses process ids of its own
	var pid int32
	var self bool
	var b backend
	if _, err := pgx.ForEachRow(rows, []any{&pid, &self, &b.idle, &b.activity}, func() error {
		backends[pid] = b
		sameIDs = sameIDs || self && pid == int32(conn.PgConn().PID())
		return nil
	}); err != nil {
		return err
	}
	if sameIDs {
		s.statements.cutStuck(asked, backends)
	}
	return nil
}

var errProbed = errors.New("rolled back")

// ProbeWrite takes the locks of a commit, hardly waiting for them, and releases them. It also terminates orphaned
// backends.
func (s *Store) ProbeWrite(ctx context.Context) error {
	if _, _, err := s.writeAllowed(); err != nil {
		return err
	}
	select {
	case s.probeToken <- struct{}{}:
		defer func() { <-s.probeToken }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	err := pgx.BeginFunc(ctx, s.writePool, func(tx pgx.Tx) error {
		if err := s.statements.terminateOrphans(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, fmt.Sprintf(`SET LOCAL lock_timeout = '100ms'; SELECT pg_advisory_xact_lock_shared(%d);
			LOCK TABLE scope, version, body, staged IN ROW EXCLUSIVE MODE NOWAIT`, s.c.lockTag()<<40)); err != nil {
			return err
		}
		return errProbed
	})
	if errors.Is(err, errProbed) {
		return nil
	}
	if ctx.Err() != nil {
		return s.c.noAnswerError(err)
	}
	return s.c.explain(ctx, err)
}

// explain explains the error, and probes whether the lock that a statement waited for also blocks other writes: a
// locked row affects only one target.
func (s *Store) explain(ctx context.Context, err error) error {
	err = s.c.explain(ctx, err)
	var stall *inventory.Stall
	if !errors.As(err, &stall) || !stall.ReadsWork {
		return err
	}
	probe, cancel := context.WithTimeoutCause(ctx, 2*time.Second, err)
	defer cancel()
	if s.ProbeWrite(probe) == nil {
		return stall.Err
	}
	return err
}
