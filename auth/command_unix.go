//go:build unix

package auth

import (
	"os/exec"
	"syscall"
)

// setProcessGroup lets a command that is given up on end with all that it has started.
func setProcessGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
