//go:build !unix || solaris || aix

package auth

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"
)

// hasFileModes: file modes do not control access here.
const hasFileModes = false

// staleLock is the age at which the lock of a killed process is taken over: no holder needs it longer.
const staleLock = mfaLockTimeout + 10*time.Second

// lockFile takes a lock by creating a file. There is no flock here, so a killed process leaves the file until it is
// stale.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
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
		if info, serr := os.Stat(path); serr == nil && time.Since(info.ModTime()) > staleLock {
			_ = os.Remove(path) // another process may have removed it; the loop tries again
			continue
		}
		t := time.NewTimer(lockPoll)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// chownToDirOwner does nothing: there are no Unix owners here.
func chownToDirOwner(string) {}
