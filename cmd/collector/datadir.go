package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/aws-collector/collector/internal/filelock"
	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/record"
)

func makeDataDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return writeError("data_dir", err)
	}
	return nil
}

// lockDataDir makes the data_dir and keeps it from every other collector, until unlock: two would send and remember twice what
// each of them collects, and two spools of one output are a riddle to it. Commands that only look are let in.
func lockDataDir(dir string, log *slog.Logger) (unlock func(), err error) {
	if err := makeDataDir(dir); err != nil {
		return nil, err
	}
	f, err := statefile.Open(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, writeError("data_dir", err)
	}
	unlock = func() { _ = f.Close() } // nothing was written
	switch err := filelock.TryLock(f); {
	case errors.Is(err, filelock.ErrLocked):
		unlock()
		return nil, &record.Fault{
			Reason: record.Other, Hint: "stop the other one, or give this one its own data_dir (COLLECTOR_DATA_DIR); run --dry-run works beside it",
			Err: fmt.Errorf("data_dir %s: another collector uses it: %w", dir, err),
		}
	case err != nil:
		log.Warn("data_dir cannot be locked here; see that no second collector uses it", "data_dir", dir, "error", err)
	}
	return unlock, nil
}

func writeError(what string, err error) error {
	return &record.Fault{
		Reason: record.Other, Hint: "data_dir (or COLLECTOR_DATA_DIR) must name a directory that this user may write to",
		Err: fmt.Errorf("%s: %w", what, err),
	}
}

// loadDigestKey is the key of the digests that stand in place of sensitive members. It is kept, because the same secret must give
// the same digest in every run: that is how one sees that it changed, without seeing it. A run that remembers nothing makes one
// for itself where there is none yet. One that is damaged is moved aside: then all digests differ from those before, once.
func loadDigestKey(dataDir string, keep bool, log *slog.Logger) ([]byte, error) {
	path := filepath.Join(dataDir, "digest.key")
	key, err := statefile.Read(path)
	switch {
	case err == nil && len(key) == digestKeySize:
		return key, nil
	case err == nil:
		if err := setAsideDigestKey(path, len(key), keep, log); err != nil {
			return nil, err
		}
	case errors.Is(err, statefile.ErrNotRegular) && !isSymlink(path): // nobody keeps a key in a directory or a pipe
		if err := setAsideDigestKey(path, 0, keep, log); err != nil {
			return nil, err
		}
	case errors.Is(err, statefile.ErrNotRegular):
		return nil, &record.Fault{Reason: record.Other, Hint: "Look at who put it there, and remove it: digests begin anew.", Err: err}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, writeError("digest key", err)
	}
	key = make([]byte, digestKeySize)
	_, _ = rand.Read(key) // never fails
	if !keep {
		return key, nil
	}
	if err := statefile.Write(path, key); err != nil { // data_dir is locked: nobody else makes one
		return nil, writeError("digest key", err)
	}
	return key, nil
}

const digestKeySize = 32

func isSymlink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

func setAsideDigestKey(path string, size int, keep bool, log *slog.Logger) error {
	aside := ""
	if keep {
		var err error
		if aside, err = statefile.MoveDamaged(path); err != nil {
			return writeError("digest key", err)
		}
	}
	log.Warn("digest key is damaged; a new one is used", "path", path, "bytes", size, "moved", aside,
		"hint", "Digests of sensitive members change once, and so does each resource that has one. To avoid it, stop the collector and restore the file.")
	return nil
}

// What is looked at of a data_dir, and said of it.
const (
	maxInspected = 20_000 // entries: spools have a file for some MB
	maxReported  = 10
)

// writableByOthers is a warning for what others can change of data_dir: they could have the program use their session, their
// database or their key. Whoever can write to a directory above could put another in its place.
func writableByOthers(dir string) []string {
	var all []string
	say := func(path, why string) {
		if why != "" {
			all = append(all, fmt.Sprintf("data_dir: %s can be changed by others: %s; give it to the user that collector runs as, and chmod go-w", path, why))
		}
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil
	}
	if resolved, err := filepath.EvalSymlinks(absolute); err == nil {
		absolute = resolved
	}
	for above := filepath.Dir(absolute); ; above = filepath.Dir(above) {
		if info, err := os.Stat(above); err == nil {
			say(above, statefile.OthersCanRename(info))
		}
		if above == filepath.Dir(above) {
			break
		}
	}
	looked := 0
	_ = filepath.WalkDir(absolute, func(path string, e fs.DirEntry, err error) error { // what is not there yet will be ours
		if looked++; err != nil || looked > maxInspected {
			return fs.SkipAll
		}
		info, err := e.Info()
		if err != nil {
			return nil // it is gone by now
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			all = append(all, fmt.Sprintf("data_dir: %s is a link, which is not followed; move what it leads to into data_dir", path))
			return nil
		}
		say(path, statefile.OthersCanWrite(info))
		return nil
	})
	if more := len(all) - maxReported; more > 0 {
		all = append(all[:maxReported], fmt.Sprintf("data_dir: %d more files and directories can be changed by others", more))
	}
	return all
}
