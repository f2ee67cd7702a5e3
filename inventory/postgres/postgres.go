// Package postgres keeps the inventory in a schema of its own in a Postgres database, version 14 or later.
//
// One process writes: it holds an advisory lock on a connection of its own, and a number in the database says who held it last, so
// that one who lost it and does not know changes nothing. Any number read beside it. Rows are staged in short transactions and
// one more at the end of a target makes them seen; none is open, and no connection is taken, while AWS is asked. A turn's epoch
// is the scope's row's, and the order of commits that of the clock's row: both hold across processes.
//
// A server that cannot be reached is trouble that passes: at the start too, the store says so and goes on trying. Begin at [Open].
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// Options is how a store is opened.
type Options struct {
	DSN    string // a URL, or keywords and values; a secret
	Schema string // "": collector
	Log    *slog.Logger
	Keep   time.Duration // how long versions that have ended are kept; 0: for ever
	IDFile string        // keeps which history the schema has, so that another one is told; "": nobody is told
	Sync   bool          // wait for the disk at every commit, also where the server's synchronous_commit is off
}

// DefaultSchema is where the tables are, unless the options say otherwise.
const DefaultSchema = "collector"

// A Store writes the database; it is the only one that does.
type Store struct {
	*Reader
	c         *connector
	log       *slog.Logger
	keep      time.Duration
	sync      bool
	writePool *pgxpool.Pool

	idFile    string
	historyID string // that this process found; "": it never had the lock. For claim, which is called by one at a time

	pingPool    *pgxpool.Pool // one connection, which never waits behind a statement: the pulse
	statements  statements    // of w
	commitToken chan struct{} // holds one token: commits take turns at the clock here, and so never wait for each other's locks
	probeToken  chan struct{} // holds one token

	stop context.CancelFunc
	done chan struct{} // closed when hold has ended

	mu          sync.Mutex
	writer      int64  // what clock.writer was when this process took the lock; 0: it never had it
	writeErr    error  // it may not write; nil: it may
	beginCommit string // of a commit: with the server's own synchronous_commit
	onStall     func(*inventory.Stall)
}

var _ inventory.Driver = (*Store)(nil)

var (
	// ErrInUse says that another process writes the database.
	ErrInUse = errors.New("another process writes this database")
	// ErrNewer says that the tables were made by a later version of the program.
	ErrNewer = errors.New("a newer version of the program made these tables")
	// ErrForeign says that the schema holds tables of another program.
	ErrForeign = errors.New("the schema holds another program's tables")
	// ErrEmpty says that no collector has written to the schema yet.
	ErrEmpty = errors.New("nothing is remembered yet")
)

// openTimeout is how long [Open] waits for a server that starts, or for one that has not noticed yet that the writer before is gone.
const openTimeout = 6 * time.Second

// Open takes the database for writing, makes or migrates its schema, and drops what a killed process left unfinished. What a person
// must mend is an error: a refused password, a database that is not there, a schema that is not ours, another writer. A
// server that cannot be reached, or does not answer, is none: writes fail, [Store.Err] says why, and it heals by itself.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c, err := newConnector(o.DSN, o.Schema)
	if err != nil {
		return nil, err
	}
	s := &Store{c: c, log: o.Log, keep: o.Keep, sync: o.Sync, idFile: o.IDFile, done: make(chan struct{}),
		commitToken: make(chan struct{}, 1), probeToken: make(chan struct{}, 1)}
	if s.writePool, err = c.pool(ctx, writers, &s.statements, map[string]string{
		"synchronous_commit":                  "off", // what is staged may be lost with the server; a commit sets it
		"plan_cache_mode":                     "force_custom_plan",
		"lock_timeout":                        lockTimeout,
		"idle_in_transaction_session_timeout": "60s", // who is frozen in mid-commit must not hold the clock
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
	holding, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	first, alone := make(chan error), make(chan struct{})
	go func() {
		defer close(s.done)
		s.claimAndHold(ctx, holding, first, alone)
	}()
	late := time.NewTimer(openTimeout + openGrace)
	defer late.Stop()
	select {
	case err = <-first:
	case <-late.C: // it is connected, and hears nothing
		close(alone)
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
		s.log.Error("the store cannot be reached; it is tried until it can", "error", err, "hint", record.HintOf(err))
	}
	return s, nil
}

// openGrace is what Open grants, beyond its patience, to a migration, say.
const openGrace = time.Second

// claimAndHold is the first claim, and then holds what it got. What a person must mend ends it, while Open waits to say so.
func (s *Store) claimAndHold(ctx, holding context.Context, first chan<- error, alone <-chan struct{}) {
	both, cancel := context.WithCancelCause(holding)
	defer cancel(nil)
	opened := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	lock, err := s.claimWithRetry(both)
	opened()
	select {
	case first <- err:
		if err != nil && (!isTransient(err) || ctx.Err() != nil) {
			return
		}
	case <-alone:
		if err != nil {
			s.notifyStall(err)
		}
	}
	s.holdLock(holding, lock)
}

// claimWithRetry is claim, with patience for what ends by itself.
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

// Err is why the store does not write at the moment, or nil.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writeErr
}

// OnStall has f hear why the store may not write, whenever that is found out apart from a call.
func (s *Store) OnStall(f func(*inventory.Stall)) {
	s.mu.Lock()
	s.onStall = f
	why := s.writeErr
	s.mu.Unlock()
	if why != nil {
		f(asStall(why))
	}
}

// asStall is why the store may not write. Where the server cannot be reached, nobody needs to try to read either.
func asStall(why error) *inventory.Stall {
	var s *inventory.Stall
	var out *unreachable
	switch {
	case errors.As(why, &s):
		return s
	case errors.As(why, &out):
		return &inventory.Stall{Err: why}
	}
	return &inventory.Stall{Err: why, ReadsWork: true}
}

// writeAllowed is the number under which this process writes, and the beginning of a commit.
func (s *Store) writeAllowed() (writer int64, begin string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writeErr != nil {
		return 0, "", asStall(s.writeErr)
	}
	return s.writer, s.beginCommit, nil
}

// write is one short transaction.
func (s *Store) write(ctx context.Context, begin string, f func(pgx.Tx) error) error {
	err := pgx.BeginTxFunc(ctx, s.writePool, pgx.TxOptions{BeginQuery: begin}, f)
	return s.explain(ctx, err)
}

// Close ends the writer and lets go of the lock. Turns that are open commit nothing. It waits for answers that are still read.
func (s *Store) Close() error {
	s.stop()
	<-s.done
	s.writePool.Close()
	s.pingPool.Close()
	return s.Reader.Close()
}
