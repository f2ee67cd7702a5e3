//go:build !unix || solaris || aix

package filelock

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"
)

// TryLock always fails: this system has no file locks.
func TryLock(*os.File) error { return errors.ErrUnsupported }

// staleAfter is the age at which the lock of a killed process is taken over.
const staleAfter = 4 * time.Minute

// Lock takes a lock by creating the file at path, and waits for another holder until ctx ends. A killed process leaves
// its lock, which is taken over after four minutes: so no lock may be held longer.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			return func() {
				_ = f.Close()
				_ = os.Remove(path) // a file that stays is taken over when it is stale
			}, nil
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		if info, serr := os.Stat(path); serr == nil && time.Since(info.ModTime()) > staleAfter {
			_ = os.Remove(path) // another process may have removed it; the loop tries again
			continue
		}
		if err := wait(ctx); err != nil {
			return nil, err
		}
	}
}
