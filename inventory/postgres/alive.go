package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aws-collector/collector/inventory"
)

// lockTimeout is how long the server has a statement wait for a lock: what no statement of this process holds for long, another
// session does. It is [inventory.Patience].
const lockTimeout = "5s"

// lostAfter is how long the server may know nothing of a statement that is waited for.
const lostAfter = inventory.StallTimeout

// frozenAfter is how long the server may say that it executes a statement while nothing there shows it: no log is written, by anybody,
// and the statement waits for nothing else than before.
const frozenAfter = 2 * time.Minute

// statements are those of a pool that are waited for. It is the pool's tracer.
type statements struct {
	mu      sync.Mutex
	active  map[*pgx.Conn]*statement
	orphans []int32 // backends whose connections were closed over a statement: they may execute it yet, when they go on
}

type statement struct {
	idleSince     time.Time // since then the server does not execute it; zero: it does, or was not asked
	activity      string    // what the server showed of it last
	activitySince time.Time // since then
}

// A backend is what the server says of one.
type backend struct {
	idle     bool
	activity string // changes while it works
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

// terminateOrphans ends the backends that were left with a statement: one that was frozen would execute it as soon as it goes on, and take an
// epoch from who began the target in the meantime. They act on it before they read what was sent to them.
func (s *statements) terminateOrphans(ctx context.Context, tx pgx.Tx) error {
	s.mu.Lock()
	left := s.orphans
	s.mu.Unlock()
	if len(left) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY($1) AND pid <> pg_backend_pid()
		AND datname = current_database() AND usename = current_user AND application_name = current_setting('application_name')`, left); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orphans = s.orphans[len(left):]
	return nil
}

var (
	_ pgx.QueryTracer    = (*statements)(nil)
	_ pgx.BatchTracer    = (*statements)(nil)
	_ pgx.CopyFromTracer = (*statements)(nil)
)

// TraceQueryStart and those below are a statement's begin and end.
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

func (s *statements) TraceCopyFromStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceCopyFromStartData) context.Context {
	s.begin(conn)
	return ctx
}

func (s *statements) TraceCopyFromEnd(_ context.Context, conn *pgx.Conn, _ pgx.TraceCopyFromEndData) {
	s.end(conn)
}

// pids are the backends of the statements.
func (s *statements) pids() []int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	pids := make([]int32, 0, len(s.active))
	for conn := range s.active {
		pids = append(pids, int32(conn.PgConn().PID()))
	}
	return pids
}

// cutStuck breaks off those of which the server knows nothing: a firewall, say, forgot the connection, and nobody would ever answer.
// And those that it says it executes, while nothing shows that. It reports how many.
func (s *statements) cutStuck(asked []int32, backends map[int32]backend) (cut int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := map[int32]bool{}
	for _, pid := range asked {
		was[pid] = true
	}
	now := time.Now()
	for conn, st := range s.active {
		pid := int32(conn.PgConn().PID())
		b, there := backends[pid]
		switch {
		case !was[pid]:
			continue
		case there && !b.idle:
			st.idleSince = time.Time{}
		case st.idleSince.IsZero():
			st.idleSince = now
		}
		if b.activity != st.activity || st.activitySince.IsZero() {
			st.activity, st.activitySince = b.activity, now
		}
		if !st.idleSince.IsZero() && now.Sub(st.idleSince) >= lostAfter || now.Sub(st.activitySince) >= frozenAfter {
			_ = conn.PgConn().Conn().SetDeadline(time.Unix(1, 0)) // who reads from it is told so
			cut++
		}
	}
	return cut
}

// Ping asks the server beside its statements. What it executes it may go on executing.
func (s *Store) Ping(ctx context.Context) error {
	conn, err := s.pingPool.Acquire(ctx)
	if err == nil {
		err = s.checkStatements(ctx, conn.Conn())
		conn.Release()
	}
	var pg *pgconn.PgError
	if err == nil || errors.As(err, &pg) { // also one that refuses answers
		return nil
	}
	if ctx.Err() != nil {
		return s.c.noAnswerError(err)
	}
	return s.c.explain(ctx, err)
}

func (s *Store) checkStatements(ctx context.Context, conn *pgx.Conn) error {
	asked := s.statements.pids()
	// A sleep is the server's own. The sessions of this role are the ones whose state it shows.
	rows, err := conn.Query(ctx, `SELECT pid, pid = pg_backend_pid(), coalesce(state LIKE 'idle%', false),
			concat_ws(' ', query_start, wait_event, CASE WHEN wait_event = 'PgSleep' THEN clock_timestamp() END,
				CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() END)
		FROM pg_stat_activity WHERE pid = ANY($1) OR pid = pg_backend_pid()`, asked)
	if err != nil {
		return err
	}
	backends := map[int32]backend{}
	known := false // whether the numbers are the server's: a pooler between has its own
	var pid int32
	var self bool
	var b backend
	if _, err := pgx.ForEachRow(rows, []any{&pid, &self, &b.idle, &b.activity}, func() error {
		backends[pid] = b
		known = known || self && pid == int32(conn.PgConn().PID())
		return nil
	}); err != nil {
		return err
	}
	if known {
		s.statements.cutStuck(asked, backends)
	}
	return nil
}

var errProbed = errors.New("rolled back")

// ProbeWrite takes the locks that a commit takes, without waiting for them, and lets go of them. What nobody waits for any more it ends.
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
		if _, err := tx.Exec(ctx, "LOCK TABLE scope, version, body, staged, clock IN ROW EXCLUSIVE MODE NOWAIT"); err != nil {
			return err
		}
		select {
		case s.commitToken <- struct{}{}:
			defer func() { <-s.commitToken }()
		default: // a commit of this process holds the clock
			return errProbed
		}
		if _, err := tx.Exec(ctx, "SELECT FROM clock FOR UPDATE NOWAIT"); err != nil {
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

// explain is the connector's, and sees whether a lock that a statement waited for keeps others out as well: a row that somebody
// locked is one target's trouble.
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
