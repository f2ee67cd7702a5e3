package filelock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestLock: a second holder waits until the first unlocks, and no longer than its context.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*waitInterval, errors.New("it takes too long"))
	defer cancel()
	if _, err := Lock(ctx, path); err == nil || err.Error() != "it takes too long" {
		t.Errorf("the second got in, or waited for another cause: %v", err)
	}
	time.AfterFunc(2*waitInterval, unlock)
	unlock, err = Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if _, err := Lock(t.Context(), filepath.Join(path, "below", "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a directory that does not exist: %v", err)
	}
}
