//go:build unix

package inventorytest

import (
	"syscall"
	"time"
)

// OwnCPU returns the CPU time of this process so far, user and system.
func OwnCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
