//go:build unix

package openfiles

import (
	"math"
	"syscall"
)

// openFileLimit returns how many files this process may open. The Go runtime has raised the soft limit to the hard one.
func openFileLimit() (n int, known bool) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, false
	}
	return int(min(uint64(l.Cur), math.MaxInt32)), true
}
