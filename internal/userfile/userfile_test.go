package userfile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Logf("no links here: %v", err)
		link = path
	}
	for _, p := range []string{path, link} {
		if b, err := Read(t.Context(), p, 5); err != nil || string(b) != "12345" {
			t.Errorf("%s: %q, %v", p, b, err)
		}
		if b, repeatable, err := ReadAny(t.Context(), p, 5); err != nil || string(b) != "12345" || !repeatable {
			t.Errorf("%s: %q, %t, %v", p, b, repeatable, err)
		}
		if _, err := Read(t.Context(), p, 4); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", p, err)
		}
	}
	for _, p := range []string{dir, os.DevNull} {
		if _, err := Read(t.Context(), p, 5); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if _, _, err := ReadAny(t.Context(), dir, 5); !errors.Is(err, ErrNotRegular) {
		t.Errorf("a directory: %v", err)
	}
	if _, _, err := ReadAny(t.Context(), filepath.Join(dir, "none"), 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
	if _, err := Read(t.Context(), filepath.Join(dir, "none"), 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}

// ReadStream stops waiting for a reader that never ends when the context ends or after PipeTimeout.
func TestTimeout(t *testing.T) {
	hang := func() (io.Reader, func()) {
		r, w := io.Pipe()
		return r, func() { _ = w.Close() }
	}
	synctest.Test(t, func(t *testing.T) {
		r, end := hang()
		defer end()
		began := time.Now()
		_, err := ReadStream(t.Context(), r, "x", 5)
		if err == nil || !strings.Contains(err.Error(), "not read within") || time.Since(began) != PipeTimeout {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r, end := hang()
		defer end()
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("stopped")
		go cancel(why)
		if _, err := ReadStream(ctx, r, "x", 5); !errors.Is(err, why) {
			t.Errorf("%v", err)
		}
	})
	if _, err := ReadStream(t.Context(), endless{}, "x", 1<<20); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
