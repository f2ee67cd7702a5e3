package statefile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestWriteAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a missing file: %v", err)
	}
	for _, content := range []string{"one", "", strings.Repeat("x", 1<<20)} {
		if err := Write(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		b, err := Read(path)
		if err != nil || string(b) != content {
			t.Fatalf("read %d bytes, %v; wrote %d", len(b), err, len(content))
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("files in the directory: %v, %v", left, err)
	}
}

// A failed write leaves the old content and no other file.
func TestFailedWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	if err := os.Mkdir(path, 0o700); err != nil { // a file cannot replace a directory
		t.Fatal(err)
	}
	if err := Write(path, []byte("new")); err == nil {
		t.Fatal("written over a directory")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("files in the directory: %v, %v", left, err)
	}
	if err := Write(filepath.Join(dir, "gone", "state.json"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a directory that does not exist: %v", err)
	}
}

func TestNotRegular(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := os.WriteFile(target, []byte("foreign"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Skipf("SKIPPED, NOT PASSED: no links here: %v", err)
	}
	for _, path := range []string{link, dir, os.DevNull} {
		if _, err := Read(path); !errors.Is(err, ErrNotRegular) {
			t.Errorf("read %s: %v", path, err)
		}
	}
	// A write replaces the link, not its target.
	if err := Write(link, []byte("own")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(target); err != nil || string(b) != "foreign" {
		t.Errorf("the link's target now holds %q, %v", b, err)
	}
	if b, err := Read(link); err != nil || string(b) != "own" {
		t.Errorf("the file now holds %q, %v", b, err)
	}
}

func TestReadIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(MaxBytes+1), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("read a file of %d bytes: %v", MaxBytes+1, err)
	}
}

func TestMoveDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	for i, want := range []string{path + ".damaged", path + ".damaged-2", path + ".damaged-3"} {
		content := []byte{byte('a' + i)}
		if err := Write(path, content); err != nil {
			t.Fatal(err)
		}
		damaged, err := MoveDamaged(path)
		if err != nil || damaged != want {
			t.Fatalf("renamed to %q, %v; want %q", damaged, err, want)
		}
		if b, err := os.ReadFile(damaged); err != nil || !bytes.Equal(b, content) {
			t.Errorf("%s holds %q, %v", damaged, b, err)
		}
		if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after it was renamed: %v", err)
		}
	}
	if _, err := MoveDamaged(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestCheckRegular(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := CheckRegular(path); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	if err := Write(path, nil); err != nil {
		t.Fatal(err)
	}
	if err := CheckRegular(path); err != nil {
		t.Errorf("a file: %v", err)
	}
	if err := CheckRegular(dir); !errors.Is(err, ErrNotRegular) {
		t.Errorf("a directory: %v", err)
	}
}
