//go:build unix

package statefile

import "syscall"

// Without O_NONBLOCK, opening a pipe blocks until another process opens its other end.
const noFollow = syscall.O_NOFOLLOW | syscall.O_NONBLOCK
