//go:build unix

package process

import (
	"os/exec"
	"syscall"
)

// setProcessGroup makes a cancelled command end together with all processes that it started.
func setProcessGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
