//go:build unix

package statefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestOthersCanWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	root := os.Geteuid() == 0
	const other = 54321 // an id that no user has
	for name, c := range map[string]struct {
		uid, gid int // -1: that of this process
		mode     fs.FileMode
		write    string
		rename   string
	}{
		"ours":                       {-1, -1, 0o700, "", ""},
		"others may read":            {-1, -1, 0o755, "", ""},
		"our group may write":        {-1, -1, 0o770, "", ""},
		"our group, by fsGroup":      {-1, -1, 0o775 | fs.ModeSetgid, "", ""},
		"everybody":                  {-1, -1, 0o777, "everybody may write", "everybody may write"},
		"everybody, with sticky":     {-1, -1, 0o777 | fs.ModeSticky, "everybody may write", ""},
		"everybody but the group":    {-1, -1, 0o702, "everybody may write", "everybody may write"},
		"another group":              {-1, other, 0o770, "group 54321 may write", "group 54321 may write"},
		"another group, with sticky": {-1, other, 0o770 | fs.ModeSticky, "group 54321 may write", ""},
		"another group may read":     {-1, other, 0o750, "", ""},
		"another user":               {other, -1, 0o700, "user 54321 owns it", ""},
		"another user and our group": {other, -1, 0o770, "user 54321 owns it", ""},
	} {
		if (c.uid >= 0 || c.gid >= 0) && !root {
			t.Logf("SKIPPED, NOT PASSED: %s: only root gives files away", name)
			continue
		}
		uid, gid := c.uid, c.gid
		if uid < 0 {
			uid = os.Geteuid()
		}
		if gid < 0 {
			gid = os.Getegid()
		}
		if err := errors.Join(os.Chown(dir, uid, gid), os.Chmod(dir, c.mode)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := OthersCanWrite(info); got != c.write && (c.write == "" || !strings.HasPrefix(got, c.write)) {
			t.Errorf("%s: %q, want %q", name, got, c.write)
		}
		if got := OthersCanRename(info); got != c.rename && (c.rename == "" || !strings.HasPrefix(got, c.rename)) {
			t.Errorf("%s: rename: %q, want %q", name, got, c.rename)
		}
	}
}

// root owns a volume mounted with Kubernetes' fsGroup; its group, one of the process's, may write.
func TestFSGroup(t *testing.T) {
	info := volume{uid: 0, gid: os.Getegid()}
	if why := OthersCanWrite(info); why != "" {
		t.Error(why)
	}
}

type volume struct{ uid, gid int }

func (volume) Name() string           { return "data" }
func (volume) Size() int64            { return 0 }
func (volume) Mode() fs.FileMode      { return fs.ModeDir | fs.ModeSetgid | 0o775 }
func (volume) ModTime() (t time.Time) { return t }
func (volume) IsDir() bool            { return true }
func (v volume) Sys() any             { return &syscall.Stat_t{Uid: uint32(v.uid), Gid: uint32(v.gid)} }
