//go:build !unix

package inventorytest

import "time"

// ownCPU returns 0: the CPU time is unknown here.
func ownCPU() time.Duration { return 0 }
