package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// busyStep is how long SQLite itself waits for a lock. It ignores the context meanwhile, so this is short;
// [Store.beginTx] retries.
const busyStep = 250 * time.Millisecond

// defaultLockTimeout is how long a write waits for a lock of another process. No other process has anything to write,
// so it is short.
const defaultLockTimeout = 3 * time.Second

// lockedHint is the hint if the holder of the lock is unknown.
const lockedHint = "Find the program that writes to the database or holds a transaction open (fuser, lsof), " +
	"and end it. list, get and sql only read."

// beginTx begins a transaction. Only here does a write wait for another process, so only here is the wait bounded. The
// statements that follow may take long.
func (s *Store) beginTx(ctx context.Context) (*sql.Tx, error) {
	return retryBusy(ctx, s, func() (*sql.Tx, error) { return s.writeDB.BeginTx(ctx, nil) })
}

// retryBusy calls f until the database is not locked, or the lock timeout is over.
func retryBusy[T any](ctx context.Context, s *Store, f func() (T, error)) (T, error) {
	start := time.Now()
	for {
		t, err := f()
		switch {
		case err == nil || !isBusy(err):
			return t, explain(err)
		case time.Since(start) >= s.options.LockTimeout:
			return t, s.lockedError(err)
		}
		select {
		case <-ctx.Done():
			return t, context.Cause(ctx)
		case <-time.After(busyStep / 10): // SQLite may return at once
		}
	}
}

func isBusy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

// lockedError is the error of a database that another process keeps locked. Reads still work.
func (s *Store) lockedError(err error) error {
	holder, hint := "another process", lockedHint
	if pid := lockHolder(s.options.Path); pid > 0 {
		holder = fmt.Sprintf("process %d", pid)
		hint = fmt.Sprintf("End the transaction of process %d, or the process. list, get and sql only read.", pid)
	}
	return &inventory.Stall{ReadsWork: true, Err: &record.Fault{Reason: record.Other, Hint: hint,
		Err: fmt.Errorf("store %s: %s holds its write lock: %w", s.options.Path, holder, err)}}
}

// hungAfter is how long a transaction may run without writing to the disk.
const hungAfter = 2 * time.Minute

// Ping looks at the files on the disk, because statements run in this process: a large transaction writes to the log
// long before its end. It opens no file: closing a file of the database would release the locks of all connections of
// the process (https://www.sqlite.org/howtocorrupt.html).
func (s *Store) Ping(context.Context) error {
	began := s.txStart.Load()
	if began == 0 {
		return nil
	}
	latest := time.Unix(0, began)
	for _, suffix := range []string{"", "-wal"} {
		// Err reports a missing file
		if info, err := os.Stat(s.options.Path + suffix); err == nil && info.ModTime().After(latest) {
			latest = info.ModTime()
		}
	}
	if time.Since(latest) < hungAfter {
		return nil
	}
	return &record.Fault{
		Reason: record.Other,
		Hint:   "Check the disk that data_dir is on: it does not answer. Writes resume when it does.",
		Err:    fmt.Errorf("store %s: a transaction wrote nothing for %s", s.options.Path, hungAfter),
	}
}

// ProbeWrite takes the write lock and releases it.
func (s *Store) ProbeWrite(ctx context.Context) error {
	if err := s.lockWriter(ctx); err != nil {
		return err
	}
	defer s.unlockWriter()
	tx, err := s.writeDB.BeginTx(ctx, nil)
	switch {
	case err == nil:
		return tx.Rollback()
	case isBusy(err):
		return s.lockedError(err)
	}
	return explain(err)
}
