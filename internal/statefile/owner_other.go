//go:build !unix

package statefile

import "io/fs"

// owner finds nothing: here a FileInfo does not name the owner.
func owner(fs.FileInfo) (uid, gid int, ok bool) { return 0, 0, false }

func isOwnUser(int) bool  { return true }
func isOwnGroup(int) bool { return true }
