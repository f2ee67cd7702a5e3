//go:build unix && !solaris && !aix

package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/aws-collector/collector/internal/statefile"
)

// TryLock locks f until f is closed. If another open file has the lock, the error is [ErrLocked] with f's name. If the
// file system has no locks, it is another error.
func TryLock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("%s: %w", f.Name(), ErrLocked)
	}
	return err
}

// Lock locks the file at path, which it creates if needed, and waits for another holder until ctx ends. A holder keeps
// the lock for less than four minutes: a system without file locks takes an older one over. The file stays: if it were
// removed, two processes could lock two files of the same name.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := statefile.Open(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := TryLock(f)
		if err == nil {
			return func() { _ = f.Close() }, nil // closing unlocks
		}
		if !errors.Is(err, ErrLocked) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(&os.PathError{Op: "flock", Path: path, Err: err}, f.Close())
		}
		if err := wait(ctx); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
}
