// Package datadir makes the directory of everything that outlives the process, locks it against other collectors, and
// finds out who else can change it.
package datadir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/record"
)

// Make creates the directory.
func Make(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return writeError("data_dir", err)
	}
	return nil
}

func writeError(what string, err error) error {
	return &record.Fault{
		Reason: record.Other, Hint: "Set data_dir (or COLLECTOR_DATA_DIR) to a directory that this user may write to.",
		Err: fmt.Errorf("%s: %w", what, err),
	}
}

// DigestKey returns the key of the digests that replace sensitive values. The key is stored, because the same
// secret must give the same digest in every run: so a reader sees that a secret changed, without seeing the secret. A
// run that stores nothing uses a temporary key if there is none. A damaged key is moved aside; then all digests change
// once.
func DigestKey(dataDir string, store bool, log *slog.Logger) ([]byte, error) {
	path := filepath.Join(dataDir, "digest.key")
	key, err := statefile.Read(path)
	switch {
	case err == nil && len(key) == digestKeySize:
		return key, nil
	case err == nil:
		if err := setAsideDigestKey(path, len(key), store, log); err != nil {
			return nil, err
		}
	case errors.Is(err, statefile.ErrNotRegular) && !isSymlink(path): // a directory or a pipe never held a key
		if err := setAsideDigestKey(path, 0, store, log); err != nil {
			return nil, err
		}
	case errors.Is(err, statefile.ErrNotRegular):
		return nil, &record.Fault{
			Reason: record.Other, Hint: "Find out who created it, then remove it. A new key changes all digests once.",
			Err: err,
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, writeError("digest key", err)
	}
	key = make([]byte, digestKeySize)
	_, _ = rand.Read(key) // never fails
	if !store {
		return key, nil
	}
	if err := statefile.Write(path, key); err != nil { // data_dir is locked: no other process writes the file
		return nil, writeError("digest key", err)
	}
	return key, nil
}

const digestKeySize = 32

func isSymlink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

func setAsideDigestKey(path string, size int, store bool, log *slog.Logger) error {
	aside := ""
	if store {
		var err error
		if aside, err = statefile.MoveDamaged(path); err != nil {
			return writeError("digest key", err)
		}
	}
	log.Warn("digest key is damaged, new one created", "path", path, "bytes", size, "moved_to", aside,
		"hint", "Digests of sensitive values change once, and so does each resource that has one. "+
			"To avoid it, stop the collector and restore the file.")
	return nil
}

// Limits of the search for files in data_dir that other users can change.
const (
	maxInspected = 20_000 // entries: spools have a file for some MB
	maxReported  = 10
)

// WritableByOthers returns a warning for each part of data_dir that other users can change: they could replace a
// session, the database or a key. A user who can write to a directory above could replace data_dir itself.
func WritableByOthers(dir string) []string {
	var warnings []string
	warn := func(path, reason string) {
		if reason != "" {
			warnings = append(warnings, fmt.Sprintf("data_dir: %s can be changed by others: %s; "+
				"make the collector's user its owner, and run chmod go-w", path, reason))
		}
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil
	}
	if resolved, err := filepath.EvalSymlinks(absolute); err == nil {
		absolute = resolved
	}
	for parent := filepath.Dir(absolute); ; parent = filepath.Dir(parent) {
		if info, err := os.Stat(parent); err == nil {
			warn(parent, statefile.OthersCanRename(info))
		}
		if parent == filepath.Dir(parent) {
			break
		}
	}
	inspected := 0
	_ = filepath.WalkDir(absolute, func(path string, e fs.DirEntry, err error) error { // missing files are created by us
		if inspected++; err != nil || inspected > maxInspected {
			return fs.SkipAll
		}
		info, err := e.Info()
		if err != nil {
			return nil // it was removed meanwhile
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			warnings = append(warnings, fmt.Sprintf(
				"data_dir: %s is a link, and links are not followed; move its target into data_dir", path))
			return nil
		}
		warn(path, statefile.OthersCanWrite(info))
		return nil
	})
	if more := len(warnings) - maxReported; more > 0 {
		warnings = append(warnings[:maxReported],
			fmt.Sprintf("data_dir: %d more files and directories can be changed by others", more))
	}
	return warnings
}
