//go:build unix && !solaris && !aix

package auth

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aws-collector/collector/internal/statefile"
)

// hasFileModes: file modes control access.
const hasFileModes = true

// lockFile takes an exclusive lock that ends with the process, even if it is killed. The file stays: if it were
// removed, two processes could lock two files of the same name.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := statefile.Open(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // closing unlocks
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(&os.PathError{Op: "flock", Path: path, Err: err}, f.Close())
		}
		t := time.NewTimer(lockPoll)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, errors.Join(context.Cause(ctx), f.Close())
		}
	}
}

// chownToDirOwner gives a file that root made to the owner of its directory, so that a collector that runs as that user
// can use it.
func chownToDirOwner(path string) {
	if os.Geteuid() != 0 {
		return
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 {
		_ = os.Lchown(path, int(owner.Uid), int(owner.Gid)) // if it fails, the collector reports that it cannot read the file
	}
}
