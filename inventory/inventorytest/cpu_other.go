//go:build !unix

package inventorytest

import "time"

// OwnCPU returns 0: the CPU time is unknown here.
func OwnCPU() time.Duration { return 0 }
