//go:build unix

package sqlite

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/record"
)

// lockFile locks the file until it is closed or the process ends. The file holds the process id of its owner. It is
// never removed: otherwise two processes could lock two files of the same name.
func lockFile(path string) (*os.File, error) {
	f, err := statefile.Open(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		owner := make([]byte, 32)
		n, _ := f.Read(owner)
		inUse := fmt.Errorf("%w by another process", ErrInUse)
		if pid := strings.TrimSpace(string(owner[:n])); pid != "" {
			inUse = fmt.Errorf("%w by process %s", ErrInUse, pid)
		}
		return nil, errors.Join(&record.Fault{
			Reason: record.Other,
			Hint:   "Stop that process, or set another data_dir. list, get, history, diff, changes and sql work while it runs.",
			Err:    fmt.Errorf("store %s %w", strings.TrimSuffix(path, ".lock"), inUse),
		}, f.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("store: lock %s: %w", path, err), f.Close())
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil && !errors.Is(err, syscall.ENOSPC) { // a full disk only hides the process id
		return nil, errors.Join(fmt.Errorf("store: lock %s: %w", path, err), f.Close())
	}
	return f, nil
}
