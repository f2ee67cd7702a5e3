//go:build !unix || solaris || aix

package filelock

import (
	"errors"
	"os"
)

// TryLock always fails: this system has no file locks.
func TryLock(*os.File) error { return errors.ErrUnsupported }
