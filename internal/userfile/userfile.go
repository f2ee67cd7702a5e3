// Package userfile reads files whole that a person has named: the configuration and what it refers to. Such a path may lead to a
// device without an end, a pipe that nobody writes to, or a network disk that hangs: so the size and the time are bounded, and a
// context ends the wait. Files that the program makes itself are package statefile's.
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

// Timeout is how long a file may take, and a pipe, whose writer may have to ask somebody for a password.
const (
	Timeout     = 30 * time.Second
	PipeTimeout = 2 * time.Minute
)

var (
	// ErrNotRegular says that the path leads to a directory, a pipe or a device.
	ErrNotRegular = errors.New("not a regular file")
	// ErrTooLarge says that there is more than may be read.
	ErrTooLarge = errors.New("larger than what is read of such a file")
)

// Read returns the content of the regular file that path leads to, over links, if that is at most so many bytes.
func Read(ctx context.Context, path string, maxBytes int64) ([]byte, error) {
	return readWithTimeout(ctx, Timeout, path, func() ([]byte, error) {
		info, err := statPath(path) // before it is opened: a pipe would wait for a writer
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
		if info, err = f.Stat(); err != nil { // again, for what may have been put there in the meantime
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, &fs.PathError{Op: "read", Path: path, Err: ErrNotRegular}
		}
		return readLimited(f, path, maxBytes)
	})
}

// ReadAny is Read for pipes and devices, too. again reports whether the path leads to the content a second time: a pipe
// does not.
func ReadAny(ctx context.Context, path string, maxBytes int64) (content []byte, again bool, err error) {
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

// ReadStream reads what somebody else has opened, such as standard input; name is for messages.
func ReadStream(ctx context.Context, r io.Reader, name string, maxBytes int64) ([]byte, error) {
	return readWithTimeout(ctx, PipeTimeout, name, func() ([]byte, error) { return readLimited(r, name, maxBytes) })
}

func stat(ctx context.Context, path string) (fs.FileInfo, error) {
	return readWithTimeout(ctx, Timeout, path, func() (fs.FileInfo, error) { return statPath(path) })
}

// statPath is os.Stat, with the error of the opening that it stands for.
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

// readWithTimeout waits for do, which no context ends: what is still under way when the wait is over ends with the process, and has
// nothing in common with the caller.
func readWithTimeout[T any](ctx context.Context, timeout time.Duration, path string, do func() (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no end within %s", timeout))
	defer cancel()
	type result struct {
		got T
		err error
	}
	done := make(chan result, 1)
	go func() {
		got, err := do()
		done <- result{got, err}
	}()
	select {
	case r := <-done:
		return r.got, r.err
	case <-ctx.Done():
		var none T
		return none, &fs.PathError{Op: "read", Path: path, Err: context.Cause(ctx)}
	}
}
