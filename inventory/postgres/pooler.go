package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aws-collector/collector/record"
)

// A poolerCheck remembers that a pooler gives each connection a session of its own.
type poolerCheck struct {
	mu         sync.Mutex
	ofSessions bool
}

// errTransactionPooler is the error of a pooler that gives a connection another session for each transaction: the lock
// of the writer and the settings of a connection are of a session.
var errTransactionPooler = &record.Fault{
	Reason: record.Other,
	Hint:   "Set pool_mode=session for this database in PgBouncer, or name the server itself in store.dsn.",
	Err:    errors.New("store.dsn leads to a pooler in transaction mode; the store needs a session for each connection"),
}

// checkPooler returns an error if a pooler is between conn and the server and gives no session to a connection. Such a
// pooler gives the session that conn has used to the next connection, or conn another one while that is busy. It uses
// the simple protocol: prepared statements would fail first, without a cause that says so.
func (c *connector) checkPooler(ctx context.Context, conn *pgconn.PgConn) error {
	first, err := backendPID(ctx, conn, "")
	if err != nil || uint32(first) == conn.PID() {
		return err // a pooler has process ids of its own
	}
	c.pooler.mu.Lock()
	defer c.pooler.mu.Unlock()
	if c.pooler.ofSessions {
		return nil
	}
	conf := c.conf.Config.Copy()
	conf.AfterConnect = nil
	other, err := pgconn.ConnectConfig(ctx, conf)
	if err != nil {
		return fmt.Errorf("a second connection through the pooler: %w", err)
	}
	defer func() {
		_ = other.Close(ctx) // nothing depends on it
	}()
	busy, err := backendPID(ctx, other, "BEGIN; ")
	if err != nil {
		return err
	}
	if busy == first { // conn would wait for it
		return errTransactionPooler
	}
	second, err := backendPID(ctx, conn, "")
	switch {
	case err != nil:
		return err
	case second != first:
		return errTransactionPooler
	}
	c.pooler.ofSessions = true
	return nil
}

// backendPID asks the server for the process of the session. before is a statement to execute first.
func backendPID(ctx context.Context, conn *pgconn.PgConn, before string) (int, error) {
	results, err := conn.Exec(ctx, before+"SELECT pg_backend_pid()").ReadAll()
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(results[len(results)-1].Rows[0][0]))
}
