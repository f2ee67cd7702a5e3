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
		return unwritable("data_dir", err)
	}
	return nil
}

// openDataDir makes the data_dir and keeps it from every other collector, until unlock: two would send and remember twice what
// each of them collects, and two spools of one output are a riddle to it. Commands that only look are let in.
func openDataDir(dir string, log *slog.Logger) (unlock func(), err error) {
	if err := makeDataDir(dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unwritable("data_dir", err)
	}
	unlock = func() { _ = f.Close() } // nothing was written
	switch err := filelock.Try(f); {
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

func unwritable(what string, err error) error {
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
		if err := digestKeyDamaged(path, len(key), keep, log); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, unwritable("digest key", err)
	}
	key = make([]byte, digestKeySize)
	_, _ = rand.Read(key) // never fails
	if !keep {
		return key, nil
	}
	if err := statefile.Write(path, key); err != nil { // data_dir is locked: nobody else makes one
		return nil, unwritable("digest key", err)
	}
	return key, nil
}

const digestKeySize = 32

func digestKeyDamaged(path string, size int, keep bool, log *slog.Logger) error {
	aside := ""
	if keep {
		var err error
		if aside, err = statefile.SetAside(path); err != nil {
			return unwritable("digest key", err)
		}
	}
	log.Warn("digest key is damaged; a new one is used", "path", path, "bytes", size, "moved", aside,
		"hint", "Digests of sensitive members change once, and so does each resource that has one. To avoid it, stop the collector and restore the file.")
	return nil
}
