package statefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CheckRegular returns [ErrNotRegular] if path exists and is not a regular file. It is for callers that cannot use
// [Open].
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

// OthersCanWrite returns why users other than this process's can change a file or directory, or "" if they cannot. root
// can always write and does not count. Neither does a group of this process: Kubernetes' fsGroup gives a volume to root
// and lets the pod's group write.
func OthersCanWrite(info fs.FileInfo) string {
	if info.Mode()&fs.ModeSymlink != 0 { // the mode of a link has no meaning
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

// OthersCanRename returns why other users can replace a directory inside this one, or "" if they cannot. With the
// sticky bit only the owner may rename it.
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

// ChownToDirOwner gives a file that root made to the owner of its directory, so that a collector that runs as that user
// can use it.
func ChownToDirOwner(path string) {
	if os.Geteuid() != 0 {
		return
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return
	}
	if uid, gid, ok := owner(info); ok && uid != 0 {
		_ = os.Lchown(path, uid, gid) // if it fails, the collector reports that it cannot read the file
	}
}
