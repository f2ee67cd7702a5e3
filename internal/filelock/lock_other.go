//go:build !unix || solaris || aix

package filelock

import (
	"errors"
	"os"
)

// Try says that it cannot.
func Try(*os.File) error { return errors.ErrUnsupported }
