//go:build unix

package userfile

import "syscall"

const noWait = syscall.O_NONBLOCK
