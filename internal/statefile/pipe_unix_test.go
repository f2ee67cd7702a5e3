//go:build unix

package statefile

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

// Opening a pipe without a writer would block forever.
func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skipf("SKIPPED, NOT PASSED: no pipes here: %v", err)
	}
	if _, err := Read(path); !errors.Is(err, ErrNotRegular) {
		t.Errorf("read a pipe: %v", err)
	}
}
