//go:build !unix

package process

import "os/exec"

// setProcessGroup does nothing: without process groups, only the command itself is killed.
func setProcessGroup(*exec.Cmd) {}
