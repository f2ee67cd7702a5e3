//go:build !unix

package statefile

import "io/fs"

// owner is not in what a file's information says here.
func owner(fs.FileInfo) (uid, gid int, ok bool) { return 0, 0, false }

func ours(int) bool     { return true }
func ourGroup(int) bool { return true }
