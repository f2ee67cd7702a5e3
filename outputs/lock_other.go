//go:build !unix

package outputs

import (
	"errors"
	"os"
)

var errLocked = errors.New("it is in use")

// lock says that it cannot.
func lock(*os.File) error { return errors.ErrUnsupported }
