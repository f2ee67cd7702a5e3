package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/record"
)

// idFile is the file that holds the id of the database's history. It tells a new database from one that was lost.
func idFile(path string) string { return path + ".id" }

// knownHistory returns the id of the history that was here when the database was last opened, or "" if it is unknown.
func (o Options) knownHistory() string {
	b, err := statefile.Read(idFile(o.Path))
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	id := strings.TrimSpace(string(b))
	if err == nil && len(id) == 32 && strings.Trim(id, "0123456789abcdef") == "" {
		return id
	}
	aside, errMove := statefile.MoveDamaged(idFile(o.Path))
	o.Log.Warn("store history id file damaged",
		"path", idFile(o.Path), "error", errors.Join(err, errMove), "moved_to", aside,
		"hint", "Nothing to do: the file is written again. A missing or empty database is now taken for a new one.")
	return ""
}

// historyLost reports whether a database with a history is now missing or empty. It moves an empty one aside, because
// its write-ahead log may still hold the history.
func (o Options) historyLost() (bool, error) {
	info, err := os.Stat(o.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// SQLite would delete a log without its database.
		if _, err := os.Stat(o.Path + "-wal"); errors.Is(err, fs.ErrNotExist) {
			o.Log.Error("store database missing; new history begins", "path", o.Path,
				"hint", "To keep the history, stop the collector and restore the database from a backup.")
			return true, nil
		}
	case err != nil:
		return false, err
	case info.Size() > 0:
		return false, nil
	}
	aside, err := o.moveAside("empty")
	if err != nil {
		return false, err
	}
	o.Log.Error("store database empty; new history begins", "path", o.Path, "moved_to", aside,
		"hint", "To keep the history, stop the collector and restore the database from a backup.")
	return true, nil
}

// moveAside renames the database and the files that SQLite keeps beside it.
func (o Options) moveAside(reason string) (string, error) {
	path := o.Path + "." + reason + "-" + time.Now().UTC().Format("20060102T150405Z")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(o.Path+suffix, path+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("move the database aside: %w", err)
		}
	}
	return path, nil
}

// recordHistory writes the id of the database's history to the id file, and warns if it is not the known one.
func (s *Store) recordHistory(ctx context.Context, knownID string, lost bool) error {
	var id string
	if err := s.writeDB.QueryRowContext(ctx, "SELECT id FROM history").Scan(&id); err != nil {
		return explain(err)
	}
	if id == knownID {
		return nil
	}
	if knownID != "" && !lost {
		s.options.Log.Warn("store has another history", "path", s.options.Path, "history", id, "previous", knownID,
			"hint", "If the database was not replaced on purpose, stop the collector and restore it.")
	}
	if err := statefile.Write(idFile(s.options.Path), []byte(id+"\n")); err != nil {
		return fmt.Errorf("write the id of the history: %w", err)
	}
	return nil
}

// files are the files that must keep their names while the store is open: SQLite writes to the files that it opened,
// whatever has their names now.
type files struct{ database, lock fs.FileInfo }

func (o Options) statFiles() (f files, err error) {
	f.database, err = os.Stat(o.Path)
	if err == nil {
		f.lock, err = os.Stat(o.Path + ".lock")
	}
	return f, err
}

// ErrReplaced is the error of a store whose open files no longer have their names.
var ErrReplaced = errors.New("a database file was removed or replaced while in use")

// Err returns an error if an open file no longer has its name: what is written would be lost when the process ends, and
// a second collector could start beside this one. Only a restart uses other files. If the old ones are back, the error
// ends.
func (s *Store) Err() error {
	if s.openedFiles.database == nil {
		return nil // not open yet
	}
	current, err := s.options.statFiles()
	reason := ""
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return explain(fmt.Errorf("check the database files: %w", err))
	case err != nil:
		reason = err.Error()
	case !os.SameFile(current.database, s.openedFiles.database):
		reason = s.options.Path + " is now another file"
	case !os.SameFile(current.lock, s.openedFiles.lock):
		reason = s.options.Path + ".lock is now another file"
	case s.walLost.Load():
		return &record.Fault{Reason: record.Other, Err: fmt.Errorf("%w: %s is gone", ErrReplaced, s.options.Path+"-wal"),
			Hint: "Restart the collector. When it stops, it writes the rest of the log to the database."}
	default:
		return nil
	}
	return &record.Fault{Reason: record.Other, Err: fmt.Errorf("%w: %s", ErrReplaced, reason),
		Hint: "Restore the original file, or restart the collector to use what is in data_dir now. " +
			"Until then nothing is stored."}
}

// checkWAL records for good that the write-ahead log has lost its name. It must be called inside a transaction: then
// SQLite has the log open and never removes it itself.
func (s *Store) checkWAL() error {
	if err := s.Err(); err != nil || !s.hasWAL {
		return err // the log may come back with its directory
	}
	if _, err := os.Stat(s.options.Path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		s.walLost.Store(true)
	}
	return s.Err()
}
