// Package filelock stops two processes from using the same file. On Unix, a lock ends with its process, even if that is
// killed. Elsewhere, TryLock is not supported, and Lock takes over the lock of a killed process after four minutes.
package filelock

import (
	"context"
	"errors"
	"time"
)

// ErrLocked means that another open file has the lock, in this process or in another.
var ErrLocked = errors.New("already locked by this process or another one")

// waitInterval is the time between attempts to take a lock. A context could not end a blocking flock.
const waitInterval = 50 * time.Millisecond

// wait waits until the next attempt, or until ctx ends.
func wait(ctx context.Context) error {
	t := time.NewTimer(waitInterval)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
