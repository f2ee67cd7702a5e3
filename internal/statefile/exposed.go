package statefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// CheckRegular is [ErrNotRegular] where something stands at a path that is no regular file, for those who cannot open it by [Open].
func CheckRegular(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	}
	return nil
}

// OthersCanWrite is why others than this process's user may have changed a file or directory, or may put something into it; "": they
// cannot. root always can, and so is no other. A group that we are in is ours: Kubernetes' fsGroup gives a volume to root and
// to the pod's group, which may write.
func OthersCanWrite(info fs.FileInfo) string {
	if info.Mode()&fs.ModeSymlink != 0 { // a link's own mode says nothing
		return ""
	}
	uid, gid, ok := owner(info)
	switch mode := info.Mode().Perm(); {
	case !ok:
		return ""
	case !isOwnUser(uid):
		return fmt.Sprintf("user %d owns it", uid)
	case mode&0o002 != 0:
		return fmt.Sprintf("everybody may write (mode %04o)", mode)
	case mode&0o020 != 0 && !isOwnGroup(gid):
		return fmt.Sprintf("group %d may write (mode %04o)", gid, mode)
	}
	return ""
}

// OthersCanRename is why others may put another directory in the place of one below this; "": they cannot. With the sticky bit
// only its owner may rename it.
func OthersCanRename(info fs.FileInfo) string {
	_, gid, ok := owner(info)
	switch mode := info.Mode().Perm(); {
	case !ok || info.Mode()&fs.ModeSticky != 0:
		return ""
	case mode&0o002 != 0:
		return fmt.Sprintf("everybody may write there (mode %04o)", mode)
	case mode&0o020 != 0 && gid != 0 && !isOwnGroup(gid):
		return fmt.Sprintf("group %d may write there (mode %04o)", gid, mode)
	}
	return ""
}
