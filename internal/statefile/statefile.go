// Package statefile reads and replaces the small files under data_dir from which the program resumes: last runs,
// cursors, sessions, members. A reader sees the old content or the new one, also after a kill or a power failure. A
// file that cannot be used is renamed and kept for inspection. The callers define the contents.
package statefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// MaxBytes is the most that [Read] reads. It is far above the size of any state file.
const MaxBytes = 64 << 20

// ErrNotRegular means that the path is a link, a directory, a pipe or a device. Only the program makes state files, so
// another user put it there.
var ErrNotRegular = errors.New("not a regular file")

// Write replaces the file at path; only its owner can read it. When Write returns, the content and the name are on
// disk. A file has one writer at a time: the temporary file has a fixed name, so that leftovers of a killed process are
// replaced and do not accumulate.
func Write(path string, content []byte) (err error) {
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp) // the error of the write is more useful
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync() // before the rename: otherwise a power failure may leave the new name with an empty file
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(temp, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Read returns the content of the file at path. It does not follow a link at path and does not block on a pipe. If the
// file is missing, the error is fs.ErrNotExist.
func Read(path string) ([]byte, error) {
	f, err := Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err == nil && len(b) > MaxBytes {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("larger than %d bytes", MaxBytes)}
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Open is os.OpenFile for regular files only. A user who may write to a directory above can put a link or a pipe in the
// place of a state file: through a link the program would read or overwrite another file, and a pipe would block it.
func Open(path string, flag int, perm fs.FileMode) (*os.File, error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	}
	f, err := os.OpenFile(path, flag|noFollow, perm) // noFollow, because the file may have been replaced since Lstat
	if errors.Is(err, syscall.ELOOP) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// MoveDamaged renames a file that cannot be used, so that the program can start without it and a person can inspect it.
// It returns the new name. Up to a hundred earlier damaged files are kept as well.
func MoveDamaged(path string) (string, error) {
	damaged := path + ".damaged"
	for i := 2; i <= 100; i++ {
		if _, err := os.Lstat(damaged); errors.Is(err, fs.ErrNotExist) {
			break
		}
		damaged = fmt.Sprintf("%s.damaged-%d", path, i)
	}
	if err := os.Rename(path, damaged); err != nil {
		return "", err
	}
	return damaged, SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) { // not supported by some file systems
		return nil
	}
	return err
}

// Hint returns how to fix an error of the disk that [Write] had at a path in data_dir; "" if that is not known.
func Hint(path string, err error) string {
	switch dir := filepath.Dir(path); {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "Free disk space in data_dir, " + dir + "."
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("Give uid %d write permission for %s.", os.Getuid(), dir)
	case errors.Is(err, fs.ErrNotExist):
		return "Restore data_dir, " + dir + ", which was removed, or restart the collector to use the current one."
	case errors.Is(err, syscall.EROFS):
		return "Move data_dir to a writable volume: the file system is read-only."
	}
	return ""
}
