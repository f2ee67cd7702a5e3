//go:build unix

package outputs

import (
	"errors"
	"os"
	"syscall"
)

var errLocked = errors.New("it is in use")

// lock takes f for this open file until it is closed, or until the process ends in whatever way.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	return err
}
