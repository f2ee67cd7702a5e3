package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A placed data_dir is one that was locked. What is open in it, as spools, is written to also when its name leads elsewhere: that
// would be lost with the process, and a second collector could begin in the new one.
type lockedDir struct {
	dir      string
	lockInfo fs.FileInfo // nil: a dry run keeps nothing
}

func newLockedDir(dir string) lockedDir {
	info, err := os.Stat(filepath.Join(dir, "lock"))
	if err != nil {
		info = nil // it is gone already: the next look would say nothing better
	}
	return lockedDir{dir, info}
}

// notReadyReasons says that data_dir is not the one any more that was locked.
func (p lockedDir) notReadyReasons() []string {
	if p.lockInfo == nil {
		return nil
	}
	now, err := os.Stat(filepath.Join(p.dir, "lock"))
	const hint = "Put it back, or restart the collector to use what is there now."
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []string{fmt.Sprintf("data_dir %s was removed while it is in use: what waits in its spools is lost with this process. %s", p.dir, hint)}
	case err != nil:
		return []string{fmt.Sprintf("look at data_dir: %v", err)}
	case !os.SameFile(now, p.lockInfo):
		return []string{fmt.Sprintf("data_dir %s was replaced while it is in use: what waits in its spools is lost with this process. %s", p.dir, hint)}
	}
	return nil
}
