// Package filelock keeps two processes from one file. A lock ends with the process that holds it, in whatever way that ends.
package filelock

import "errors"

// ErrLocked is what [Try] answers while another open file, of this process or another, has the lock.
var ErrLocked = errors.New("it is in use")
