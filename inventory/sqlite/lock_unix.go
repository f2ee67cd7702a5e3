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

// lockFile takes the file for this process until it is closed, or until the process ends in whatever way. The file says who
// holds it, and stays: removing it would let two processes hold two files of one name.
func lockFile(path string) (*os.File, error) {
	f, err := statefile.Open(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		who := make([]byte, 32)
		n, _ := f.Read(who)
		by := ErrInUse
		if pid := strings.TrimSpace(string(who[:n])); pid != "" {
			by = fmt.Errorf("%w (process %s)", ErrInUse, pid)
		}
		return nil, errors.Join(&record.Fault{
			Reason: record.Other, Hint: "stop it, or give this one another data_dir; list, get, history, diff, changes and sql work beside it",
			Err: fmt.Errorf("store %s: %w", strings.TrimSuffix(path, ".lock"), by),
		}, f.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("store: lock %s: %w", path, err), f.Close())
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil && !errors.Is(err, syscall.ENOSPC) { // on a full disk nobody learns the number, and no more
		return nil, errors.Join(fmt.Errorf("store: lock %s: %w", path, err), f.Close())
	}
	return f, nil
}
