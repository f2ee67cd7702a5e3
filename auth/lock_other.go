//go:build !unix || solaris || aix

package auth

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"
)

// modesMatter: access is not in a file's mode here.
const modesMatter = false

// staleLock is when the lock of a process that was killed is taken over: no holder needs it for longer.
const staleLock = mfaWork + 10*time.Second

// lockFile takes a lock by making a file. There is no flock here, so a killed process leaves it behind until it is stale.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			return func() { _ = f.Close(); _ = os.Remove(path) }, nil // a file that stays is taken over when it is stale
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		if info, serr := os.Stat(path); serr == nil && time.Since(info.ModTime()) > staleLock {
			_ = os.Remove(path) // another process may have been faster; the loop sees
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

// giveToOwner: files have no such owner here.
func giveToOwner(string) {}
