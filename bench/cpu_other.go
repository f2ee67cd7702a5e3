//go:build !unix

package main

import "time"

// ownCPU is not known here: the simulator's column stays empty.
func ownCPU() time.Duration { return 0 }
