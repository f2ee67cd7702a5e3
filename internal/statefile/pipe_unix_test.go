//go:build unix

package statefile

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

// A pipe without a writer would hold its reader for ever.
func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skipf("SKIPPED, NOT PASSED: no pipes here: %v", err)
	}
	if _, err := Read(path); !errors.Is(err, ErrNotRegular) {
		t.Errorf("read a pipe: %v", err)
	}
}
