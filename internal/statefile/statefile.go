// Package statefile keeps the small files under data_dir from which the program resumes: last runs, cursors, sessions, members.
// A reader sees the old content or the new one, also after a kill or a power cut; a file that cannot be used is moved aside
// and kept for a person. What the bytes mean is the caller's knowledge.
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

// MaxBytes bounds what [Read] takes into memory: no state file of the program comes near it.
const MaxBytes = 64 << 20

// ErrNotRegular says that the path names a link, a directory, a pipe or a device. State files are made by the program, so
// somebody else put it there.
var ErrNotRegular = errors.New("not a regular file")

// Write replaces the file at path, for its owner alone. The content is on the disk, and so is its name, when Write returns.
// A file has one writer at a time: the temporary file has one name, so that what a kill left is replaced and not added to.
func Write(path string, content []byte) (err error) {
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(next) // the error of the write says more
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync() // before the rename: else a power cut may leave the new name on an empty file
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(next, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Read returns the content of the file at path. It follows no link at the path's end and waits for no writer of a pipe.
// A missing file is fs.ErrNotExist.
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

// Open is os.OpenFile for regular files alone. Whoever may write to a directory above can plant a link or a pipe in the
// place of a state file: the one would have the program read or overwrite another file, the other would hang it.
func Open(path string, flag int, perm fs.FileMode) (*os.File, error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	}
	f, err := os.OpenFile(path, flag|noFollow, perm) // again, for what may have been planted in the meantime
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

// MoveDamaged renames a file that cannot be used, so that the program starts without it and a person can look at it. It
// returns the new name. What was set aside before under that name is kept as well, up to a hundred of them.
func MoveDamaged(path string) (string, error) {
	aside := path + ".damaged"
	for i := 2; i <= 100; i++ {
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			break
		}
		aside = fmt.Sprintf("%s.damaged-%d", path, i)
	}
	if err := os.Rename(path, aside); err != nil {
		return "", err
	}
	return aside, SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) { // some file systems cannot
		return nil
	}
	return err
}
