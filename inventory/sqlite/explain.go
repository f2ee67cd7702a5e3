package sqlite

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/aws-collector/collector/record"
)

// explain adds a hint to an error of SQLite.
func explain(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	if code := e.Code() & 0xff; code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return withHint(err, hintOf(e.Code()))
}

// explainStatement adds a hint to an error of a user's statement.
func explainStatement(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_ERROR {
		return withHint(err, "Use the views resources, versions, targets and runs: `collector sql --help` has their columns.")
	}
	return explain(err)
}

func withHint(err error, hint string) error {
	if hint == "" {
		return err
	}
	return &record.Fault{Reason: record.Other, Hint: hint, Err: err}
}

// hintOf returns the hint for a code of SQLite, which may be an extended one. https://www.sqlite.org/rescode.html
func hintOf(code int) string {
	switch code {
	case sqlite3.SQLITE_READONLY_DBMOVED:
		return "Restart the collector: its database was moved or deleted while it ran."
	case sqlite3.SQLITE_IOERR_NOMEM:
		return hintOf(sqlite3.SQLITE_NOMEM)
	}
	switch code & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return lockedHint
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return `Run "collector db check" to see the damage. At the next start, a file that cannot be opened is moved aside.`
	case sqlite3.SQLITE_FULL:
		return "Free some space: the disk is full."
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN:
		return "Make data_dir writable for this user."
	case sqlite3.SQLITE_NOMEM:
		return "Give the process more memory, or let the statement read fewer rows."
	case sqlite3.SQLITE_AUTH:
		return "Write a statement that reads the views: SELECT, also after WITH. sql cannot write."
	case sqlite3.SQLITE_TOOBIG:
		return "Let the statement return shorter values."
	case sqlite3.SQLITE_IOERR:
		return "Check the disk that data_dir is on."
	case sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS:
		return "Move data_dir to a local disk: this file system does not have the locks or file sizes that SQLite needs."
	case sqlite3.SQLITE_SCHEMA:
		return "Run the command again: another process changed the tables."
	case sqlite3.SQLITE_CONSTRAINT:
		return `Run "collector db check": rows of the store contradict each other.`
	}
	return ""
}
