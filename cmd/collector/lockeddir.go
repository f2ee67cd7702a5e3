package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// lockedDir is the data_dir that this process has locked. Open files in it, such as spools, are still written to after
// the directory was removed or replaced. They would be lost with the process, and a second collector could start in the
// new directory.
type lockedDir struct {
	dir      string
	lockInfo fs.FileInfo // nil in a dry run, which stores nothing
}

func newLockedDir(dir string) lockedDir {
	info, err := os.Stat(filepath.Join(dir, "lock"))
	if err != nil {
		info = nil // the lock file is gone already, so there is nothing to compare with
	}
	return lockedDir{dir, info}
}

// notReadyReasons reports that data_dir was removed or replaced since it was locked.
func (d lockedDir) notReadyReasons() []string {
	const remedy = "what waits in its spools is lost with this process. " +
		"Put it back, or restart the collector to use what is there now."
	if d.lockInfo == nil {
		return nil
	}
	now, err := os.Stat(filepath.Join(d.dir, "lock"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []string{fmt.Sprintf("data_dir %s was removed while in use: %s", d.dir, remedy)}
	case err != nil:
		return []string{fmt.Sprintf("read data_dir: %v", err)}
	case !os.SameFile(now, d.lockInfo):
		return []string{fmt.Sprintf("data_dir %s was replaced while in use: %s", d.dir, remedy)}
	}
	return nil
}
