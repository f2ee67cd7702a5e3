// Package userfile reads files that a person has named: the configuration and the files it refers to. Such a path may
// lead to an endless device, a pipe without a writer, or a network disk that hangs. So size and time are limited, and a
// context ends the wait. Files that the program makes itself are read by package statefile.
package userfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// Timeout is the time limit for reading a file. PipeTimeout is that for a pipe, whose writer may have to ask for a
// password.
const (
	Timeout     = 30 * time.Second
	PipeTimeout = 2 * time.Minute
)

var (
	// ErrNotRegular means that the path leads to a directory, a pipe or a device.
	ErrNotRegular = errors.New("not a regular file")
	// ErrTooLarge means that the file has more bytes than may be read.
	ErrTooLarge = errors.New("file is larger than the limit")
)

// Read returns the content of the regular file at path, at most maxBytes. It follows links.
func Read(ctx context.Context, path string, maxBytes int64) ([]byte, error) {
	return readWithTimeout(ctx, Timeout, path, func() ([]byte, error) {
		info, err := statPath(path) // before opening it: opening a pipe would wait for a writer
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, &fs.PathError{Op: "read", Path: path, Err: ErrNotRegular}
		}
		f, err := os.OpenFile(path, os.O_RDONLY|noWait, 0)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if info, err = f.Stat(); err != nil { // again, because the file may have been replaced since
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, &fs.PathError{Op: "read", Path: path, Err: ErrNotRegular}
		}
		return readLimited(f, path, maxBytes)
	})
}

// ReadAny is Read for pipes and devices, too. repeatable reports whether the path can be read again: a pipe cannot.
func ReadAny(ctx context.Context, path string, maxBytes int64) (content []byte, repeatable bool, err error) {
	info, err := stat(ctx, path)
	if err != nil {
		return nil, true, err
	}
	if info.Mode().IsRegular() || info.IsDir() {
		content, err = Read(ctx, path, maxBytes)
		return content, true, err
	}
	content, err = readWithTimeout(ctx, PipeTimeout, path, func() ([]byte, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readLimited(f, path, maxBytes)
	})
	return content, false, err
}

// ReadStream reads a stream that is already open, such as standard input. name is used in messages.
func ReadStream(ctx context.Context, r io.Reader, name string, maxBytes int64) ([]byte, error) {
	return readWithTimeout(ctx, PipeTimeout, name, func() ([]byte, error) { return readLimited(r, name, maxBytes) })
}

func stat(ctx context.Context, path string) (fs.FileInfo, error) {
	return readWithTimeout(ctx, Timeout, path, func() (fs.FileInfo, error) { return statPath(path) })
}

// statPath is os.Stat, but its errors say "open", because the call replaces an open.
func statPath(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = &fs.PathError{Op: "open", Path: path, Err: pe.Err}
	}
	return info, err
}

func readLimited(r io.Reader, path string, maxBytes int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err == nil && int64(len(b)) > maxBytes {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%w: %d bytes", ErrTooLarge, maxBytes)}
	}
	return b, err
}

// readWithTimeout waits for do, which cannot be cancelled. If the wait ends first, do continues in its goroutine and
// its result is dropped.
func readWithTimeout[T any](ctx context.Context, timeout time.Duration, path string, do func() (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not read within %s", timeout))
	defer cancel()
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := do()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, &fs.PathError{Op: "read", Path: path, Err: context.Cause(ctx)}
	}
}
