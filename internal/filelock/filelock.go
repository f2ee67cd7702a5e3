// Package filelock stops two processes from using the same file. A lock ends with its process, even if that is killed.
package filelock

import "errors"

// ErrLocked means that another open file has the lock, in this process or in another.
var ErrLocked = errors.New("already locked by this process or another one")
