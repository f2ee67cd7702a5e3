//go:build !unix

package main

import "time"

// ownCPU is unknown on this system: the column of the simulator is zero.
func ownCPU() time.Duration { return 0 }
