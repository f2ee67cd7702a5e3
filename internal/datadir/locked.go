package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/aws-collector/collector/internal/filelock"
	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/record"
)

// A Locked is a data_dir that this process has locked. Open files in it, such as spools, are still written to after the
// directory was removed or replaced. They would be lost with the process, and a second collector could start in the new
// directory.
type Locked struct {
	dir  string
	file *os.File
	info fs.FileInfo // of the lock file
}

// Lock creates the directory and locks it against other collectors until Unlock is called. Two collectors would store
// and send everything twice, and both would write to the same spools. Commands that only read need no lock.
func Lock(dir string, log *slog.Logger) (*Locked, error) {
	if err := Make(dir); err != nil {
		return nil, err
	}
	f, err := statefile.Open(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, writeError("data_dir", err)
	}
	l := &Locked{dir: dir, file: f}
	switch err := filelock.TryLock(f); {
	case errors.Is(err, filelock.ErrLocked):
		l.Unlock()
		return nil, &record.Fault{
			Reason: record.Other,
			Hint: "Stop the other collector, or set another data_dir (COLLECTOR_DATA_DIR) for this one. " +
				"A run with --dry-run needs no lock.",
			Err: fmt.Errorf("data_dir %s: another collector uses it: %w", dir, err),
		}
	case err != nil:
		log.Warn("data_dir could not be locked", "data_dir", dir, "error", err,
			"hint", "Make sure that no second collector uses this data_dir.")
	}
	if l.info, err = f.Stat(); err != nil {
		return nil, errors.Join(writeError("data_dir", err), f.Close())
	}
	return l, nil
}

// Unlock releases the lock.
func (l *Locked) Unlock() { _ = l.file.Close() } // nothing was written

// NotReadyReasons reports that data_dir was removed or replaced since it was locked; nil, in a dry run, never does.
func (l *Locked) NotReadyReasons() []string {
	const remedy = "what waits in its spools is lost with this process. " +
		"Put it back, or restart the collector to use what is there now."
	if l == nil {
		return nil
	}
	now, err := os.Stat(filepath.Join(l.dir, "lock"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []string{fmt.Sprintf("data_dir %s was removed while in use: %s", l.dir, remedy)}
	case err != nil:
		return []string{fmt.Sprintf("read data_dir: %v", err)}
	case !os.SameFile(now, l.info):
		return []string{fmt.Sprintf("data_dir %s was replaced while in use: %s", l.dir, remedy)}
	}
	return nil
}
