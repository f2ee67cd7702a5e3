//go:build unix

package userfile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skipf("SKIPPED, NOT PASSED: no pipes here: %v", err)
	}
	if _, err := Read(t.Context(), path, 5); !errors.Is(err, ErrNotRegular) {
		t.Errorf("read a pipe: %v", err)
	}
	go func() { _ = os.WriteFile(path, []byte("12345"), 0o600) }()
	if b, repeatable, err := ReadAny(t.Context(), path, 5); err != nil || string(b) != "12345" || repeatable {
		t.Errorf("%q, %t, %v", b, repeatable, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := ReadAny(ctx, path, 5); !errors.Is(err, context.Canceled) {
		t.Errorf("a pipe without a writer: %v", err)
	}
	w, err := os.OpenFile(path, os.O_RDWR, 0) // ends the goroutine that is still waiting
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	for _, path := range []string{"/dev/zero", "/dev/urandom"} {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if _, err := Read(t.Context(), path, 5); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s: %v", path, err)
		}
		if _, _, err := ReadAny(t.Context(), path, 5); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
