// Package postgres stores the inventory in a schema of a Postgres database, version 14 or later.
//
// One process writes alone, or several share the schema ([Options].Shared). Each holds an advisory lock on a connection
// of its own, exclusive or shared, so that the two never mix. A number in the database identifies the latest writers: a
// process that lost the lock without noticing changes nothing once a writer of the other mode has come, or a migration.
// Writers that share need no such number among themselves, because the epoch of each scope fences them. Any number of
// processes read at the same time. Rows are staged in short transactions, and one more at the end of a target publishes
// them; no transaction is open, and no connection is in use, while AWS is called.
//
// Staged rows belong to the epoch of their scope. The next Begin of the scope sweeps those of earlier epochs, and so do
// Retire, [Vacuum], and whoever joins the writers; a writer that comes alone sweeps all. So nothing has to know which
// process is alive. How commits get their instants is in instant.go.
//
// A server that cannot be reached is a temporary failure, also at the start: the store logs it and retries. Begin at
// [Open].
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// Options configure a store.
type Options struct {
	DSN    string // a URL, or keywords and values; a secret
	Schema string // "": collector
	Log    *slog.Logger
	Keep   time.Duration // how long ended versions are kept; 0: for ever
	// KeepRuns is how long runs are kept. 0: for ever.
	KeepRuns time.Duration
	IDFile   string // holds the id of the schema's history, to detect another one; "": no detection
	Sync     bool   // wait for the disk at every commit, even if the server's synchronous_commit is off
	// Shared lets several processes write, all of them with Shared. The caller sees to it that they do different targets:
	// of two that do the same one, the later Begin wins.
	Shared bool
}

// DefaultSchema is the schema of the tables if Options.Schema is empty.
const DefaultSchema = "collector"

// A Store writes a schema, alone or with others.
type Store struct {
	*Reader
	c         *connector
	log       *slog.Logger
	keep      time.Duration
	keepRuns  time.Duration
	sync      bool
	shared    bool
	writePool *pgxpool.Pool

	idFile    string
	historyID string // of the tables that this process claimed; "": it never had the lock. Only claim uses it

	pingPool     *pgxpool.Pool // one connection, only for Ping
	statements   statements    // of writePool
	probeToken   chan struct{} // a mutex
	publishToken chan struct{} // a mutex
	committed    chan struct{} // has an element if publishLoop must publish
	latest       atomic.Int64  // instant of this process's commits

	stop context.CancelFunc
	done chan struct{} // closed when claimAndHold has returned

	background sync.WaitGroup // the build of the search index, and publishLoop

	mu          sync.Mutex
	writer      int64  // clock.writer when this process took the lock; 0: it never had the lock
	writeErr    error  // why this process must not write; nil: it may
	beginCommit string // begins the transaction of a commit: see setWriter
	onStall     func(*inventory.Stall)

	indexIncomplete bool // the last claim found versions that must be indexed
	building        bool // the search index is being built
}

var _ inventory.Driver = (*Store)(nil)

var (
	// ErrInUse is returned if another process writes the database, unless both share it.
	ErrInUse = errors.New("is in use")
	// ErrNewer is returned if a newer version of the program made the tables.
	ErrNewer = errors.New("a newer version of the program made these tables")
	// ErrForeign is returned if the schema contains tables of another program.
	ErrForeign = errors.New("the schema contains tables of another program")
	// ErrEmpty is returned if no collector has written to the schema yet.
	ErrEmpty = errors.New("nothing is stored yet")
)

// openTimeout is how long [Open] waits for a server that starts, or that has not yet noticed the end of the previous
// writer.
const openTimeout = 6 * time.Second

// Open opens the database for writing, creates or migrates its schema, and drops the staged rows of a killed process.
// It returns an error if a person must act: a refused password, a missing database, a schema of another program,
// another writer that does not share. A server that cannot be reached or does not answer is not an error, and with
// Shared neither is a migration by another process, or one that waits for others to end: writes fail, [Store.Err] says
// why, and the store recovers by itself.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c, err := newConnector(o.DSN, o.Schema)
	if err != nil {
		return nil, err
	}
	s := &Store{
		c: c, log: o.Log, keep: o.Keep, keepRuns: o.KeepRuns, sync: o.Sync, shared: o.Shared, idFile: o.IDFile,
		done: make(chan struct{}), probeToken: make(chan struct{}, 1), publishToken: make(chan struct{}, 1),
		committed: make(chan struct{}, 1),
	}
	if s.writePool, err = c.pool(ctx, writers, &s.statements, map[string]string{
		// staged rows may be lost when the server crashes; commits override this
		"synchronous_commit":                  "off",
		"plan_cache_mode":                     "force_custom_plan",
		"lock_timeout":                        lockTimeout,
		"idle_in_transaction_session_timeout": idleTimeout,
		"default_transaction_isolation":       "read committed", // each statement sees what was committed before it
	}); err != nil {
		return nil, err
	}
	if s.pingPool, err = c.pool(ctx, 1, nil, nil); err != nil {
		s.writePool.Close()
		return nil, err
	}
	if s.Reader, err = newReader(ctx, c); err != nil {
		s.writePool.Close()
		s.pingPool.Close()
		return nil, err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	result, stopWaiting := make(chan error), make(chan struct{})
	go func() {
		defer close(s.done)
		s.claimAndHold(ctx, background, result, stopWaiting)
	}()
	timer := time.NewTimer(openTimeout + openGrace)
	defer timer.Stop()
	select {
	case err = <-result:
	case <-timer.C: // connected, but the server does not answer
		close(stopWaiting)
		err = s.c.noAnswerError(context.DeadlineExceeded)
		s.mu.Lock()
		if s.writer == 0 && s.writeErr == nil {
			s.writeErr = err
		}
		s.mu.Unlock()
	}
	switch {
	case err == nil:
	case !isTransient(err) || ctx.Err() != nil:
		stop()
		<-s.done
		s.writePool.Close()
		s.pingPool.Close()
		return nil, errors.Join(fmt.Errorf("store: %w", err), s.Reader.Close())
	default:
		s.log.Error("store cannot be reached; retrying", "error", err, "hint", record.HintOf(err))
	}
	return s, nil
}

// idleTimeout bounds how long a client that freezes in a transaction keeps its locks: its scope's row; the gate, which
// a new writer alone waits for; and the unit of its commit, which the horizon waits for. Otherwise no transaction
// waits for the client longer than it takes to encode some rows.
const idleTimeout = "30s"

// openGrace is how much longer Open waits, for example for a migration.
const openGrace = time.Second

// claimAndHold makes the first claim and then holds the lock. It returns if the claim needs a person and Open is still
// waiting to report that.
func (s *Store) claimAndHold(ctx, background context.Context, result chan<- error, stopWaiting <-chan struct{}) {
	both, cancel := context.WithCancelCause(background)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	lock, err := s.claimWithRetry(both)
	stop()
	select {
	case result <- err:
		if err != nil && (!isTransient(err) || ctx.Err() != nil) {
			return
		}
	case <-stopWaiting:
		if err != nil {
			s.notifyStall(err)
		}
	}
	s.holdLock(background, lock)
}

// claimWithRetry repeats claim while the failure may end by itself.
func (s *Store) claimWithRetry(ctx context.Context) (*pgx.Conn, error) {
	start, wait := time.Now(), 100*time.Millisecond
	for {
		lock, err := s.claim(ctx)
		limit := openTimeout
		if errors.Is(err, ErrInUse) {
			limit = openTimeout / 2
		}
		if err == nil || !isTransient(err) && !errors.Is(err, ErrInUse) || time.Since(start)+wait > limit {
			return lock, err
		}
		select {
		case <-time.After(wait):
			wait = min(2*wait, time.Second)
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), err)
		}
	}
}

// Err returns why the store does not write at the moment, or nil.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writeErr
}

// OnStall registers f. It is called when the store finds, without a call, that it must not write.
func (s *Store) OnStall(f func(*inventory.Stall)) {
	s.mu.Lock()
	s.onStall = f
	writeErr := s.writeErr
	s.mu.Unlock()
	if writeErr != nil {
		f(asStall(writeErr))
	}
}

// asStall turns the reason into a Stall. If the server cannot be reached, reads fail too.
func asStall(err error) *inventory.Stall {
	var s *inventory.Stall
	var unreached *unreachable
	switch {
	case errors.As(err, &s):
		return s
	case errors.As(err, &unreached):
		return &inventory.Stall{Err: err}
	}
	return &inventory.Stall{Err: err, ReadsWork: true}
}

// writeAllowed returns the number of this process as a writer, and the statement that begins a commit.
func (s *Store) writeAllowed() (writer int64, begin string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writeErr != nil {
		return 0, "", asStall(s.writeErr)
	}
	return s.writer, s.beginCommit, nil
}

// write runs f in a short transaction.
func (s *Store) write(ctx context.Context, begin string, f func(pgx.Tx) error) error {
	err := pgx.BeginTxFunc(ctx, s.writePool, pgx.TxOptions{BeginQuery: begin}, f)
	return s.explain(ctx, err)
}

// Close ends the writer and releases the lock. Open updates can no longer commit. It waits for results that are still
// being read.
func (s *Store) Close() error {
	s.publishLast()
	s.stop()
	<-s.done
	s.writePool.Close()
	s.pingPool.Close()
	return s.Reader.Close()
}
