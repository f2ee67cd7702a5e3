package sqlite

import (
	"errors"
	"fmt"
	"os"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/aws-collector/collector/record"
)

// closedMode opens a file that no process has open, without locks and without files beside it. A user who may only read
// data_dir needs it: in any other mode, SQLite makes a -wal and a -shm file to read a database in WAL mode. While a
// collector runs they exist, and this user can read the database with them.
const closedMode = "closed"

// isUnwritable reports whether SQLite could not open the database because it could not make or read the files beside
// it.
func isUnwritable(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) &&
		(e.Code() == sqlite3.SQLITE_READONLY_DIRECTORY || e.Code()&0xff == sqlite3.SQLITE_CANTOPEN)
}

// unreadable adds a hint to the error of a user who may not read the store.
func unreadable(err error) *record.Fault {
	return &record.Fault{
		Reason: record.Other, Err: err, Hint: "Let this user read collector.db, collector.db-wal and collector.db-shm in " +
			"data_dir, or ask the running collector with --server URL.",
	}
}

// reopenClosed opens the database again, as one that no process has open. cause is why it could not be opened.
func reopenClosed(r *Reader, path string, cause error) (*Reader, error) {
	if err := r.Close(); err != nil {
		return nil, err
	}
	refused := unreadable(cause)
	if f, err := os.Open(path); err != nil {
		refused.Err = err
		return nil, refused
	} else if err := f.Close(); err != nil {
		return nil, err
	}
	c := &closedFile{path: path}
	if err := c.remember(); err != nil {
		refused.Err = fmt.Errorf("%w: %w", cause, err)
		return nil, refused
	}
	closed, err := newReader(path, closedMode)
	if err != nil {
		return nil, err
	}
	closed.closed = c
	return closed, nil
}

// A closedFile is a database that no process had open when it was opened. SQLite does not notice if one begins to write
// to it.
type closedFile struct {
	path string
	was  os.FileInfo
}

// remember notes what the file is like. With a log beside it, the file alone is not the database.
func (c *closedFile) remember() (err error) {
	if st, err := os.Stat(c.path + "-wal"); err == nil && st.Size() > 0 {
		return errors.New("another process has it open, or was killed")
	}
	c.was, err = os.Stat(c.path)
	return err
}

// checkUnchanged returns an error if a process may have written while the file was read.
func (c *closedFile) checkUnchanged() error {
	now := &closedFile{path: c.path}
	err := now.remember()
	if err == nil && os.SameFile(c.was, now.was) && c.was.ModTime().Equal(now.was.ModTime()) &&
		c.was.Size() == now.was.Size() {
		return nil
	}
	return &record.Fault{
		Reason: record.Other, Hint: "Run the command again.",
		Err: errors.New("a collector started while the store was read: the answer may be wrong"),
	}
}
