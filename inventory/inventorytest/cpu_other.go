//go:build !unix

package inventorytest

import "time"

// ownCPU is not known here.
func ownCPU() time.Duration { return 0 }
