package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/aws-collector/collector/internal/filelock"
	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/record"
)

// fileVersion is the version of the file format.
const fileVersion = 1

type identityFile struct {
	Version    int              `json:"version"`
	Identities []*BlockIdentity `json:"claims"`
}

// Load reads the file. A damaged file is moved aside, or ignored if the store must not write it.
func (f *Store) Load() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.loadLocked()
}

// loadLocked is Load if the file has changed since. f.mu is held.
func (f *Store) loadLocked() error {
	if f.options.Path == "" || f.writing { // nobody else changes the file while it is written: it is locked
		return nil
	}
	info, err := os.Lstat(f.options.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if f.fileInfo != nil { // it was removed while this process had it loaded
			f.rewriteAll()
		}
		f.fileInfo = nil
		return nil
	case err != nil:
		return fmt.Errorf("read the identity file: %w", err)
	case unchanged(f.fileInfo, info):
		return nil
	}
	saved, damage, err := readIdentityFile(f.options.Path)
	if err == nil && damage != nil {
		if err = f.moveDamaged(damage); err == nil {
			f.fileInfo = nil
			if f.options.ReadOnly || f.options.Checking {
				f.fileInfo = info // it stays in place, and is logged once
			}
			f.rewriteAll() // it was damaged while this process had it loaded
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("read the identity file: %w", err)
	}
	fresh := make(map[blockKey]*BlockIdentity, len(saved.Identities))
	for _, c := range saved.Identities {
		if c != nil && c.Block != "" && c.AccountID != "" {
			fresh[c.key()] = c
		}
	}
	for key := range f.pending { // not in the file yet
		mine := f.identities[key]
		if theirs := fresh[key]; theirs != nil && theirs.Since.After(mine.Since) {
			delete(f.pending, key) // a person has accepted another account meanwhile
			continue
		}
		fresh[key] = mine
	}
	for key, c := range f.identities { // a process that does not write keeps its own
		if fresh[key] == nil && (f.options.Checking || f.options.ReadOnly) {
			fresh[key] = c
		}
	}
	f.identities, f.fileInfo = fresh, info
	return nil
}

// rewriteAll schedules all identities for writing after the file was lost. f.mu is held.
func (f *Store) rewriteAll() {
	if !f.canWrite() {
		return
	}
	for _, c := range f.identities {
		f.put(c)
	}
	f.scheduleFlush()
}

// unchanged reports whether the file is still the one that was read.
func unchanged(previous, current fs.FileInfo) bool {
	return previous != nil && os.SameFile(previous, current) && previous.ModTime().Equal(current.ModTime()) &&
		previous.Size() == current.Size()
}

// readIdentityFile returns the content of the file; damage is why it cannot be used.
func readIdentityFile(path string) (saved identityFile, damage, err error) {
	b, err := statefile.Read(path)
	switch {
	case errors.Is(err, statefile.ErrNotRegular):
		return saved, err, nil
	case err != nil:
		return saved, nil, err
	}
	if err := json.Unmarshal(b, &saved); err != nil {
		return identityFile{}, err, nil
	}
	if saved.Version != fileVersion {
		return identityFile{}, fmt.Errorf("unknown version %d", saved.Version), nil
	}
	return saved, nil, nil
}

func (f *Store) moveDamaged(cause error) error {
	if f.options.ReadOnly || f.options.Checking {
		f.options.Log.Warn("identity file not usable", "path", f.options.Path, "error", cause,
			"hint", "Make sure that each block is the right account: the next `collector run` accepts what it finds.")
		return nil
	}
	aside, err := statefile.MoveDamaged(f.options.Path)
	if err != nil {
		return errors.Join(cause, err)
	}
	hint := "Run `collector check` and make sure that each block is the right account: the next run accepts what it finds."
	if len(f.identities) > 0 {
		hint = "Nothing to do: the file is written again from memory."
	}
	f.options.Log.Error("identity file damaged; moved aside",
		"path", f.options.Path, "moved_to", aside, "error", cause, "hint", hint)
	return nil
}

const (
	flushDelay  = 2 * time.Second // for changes that can wait
	lockTimeout = 10 * time.Second
	maxRemoved  = 1000 // of blocks that are in no configuration: a block may come back

	writeHint = "Make data_dir writable, and free space there."
)

// scheduleFlush schedules a write after flushDelay, for changes that the next run would find again if they were lost.
// f.mu is held.
func (f *Store) scheduleFlush() {
	if len(f.pending) > 0 && f.timer == nil && f.options.Path != "" && !f.options.ReadOnly {
		f.timer = time.AfterFunc(flushDelay, func() { _ = f.Flush() })
	}
}

// flushNow starts a write at once, and does not wait for it. f.mu is held.
func (f *Store) flushNow() {
	if f.timer != nil {
		f.timer.Stop()
	}
	f.timer = nil
	if f.options.Path != "" && !f.options.ReadOnly {
		f.timer = time.AfterFunc(0, func() { _ = f.Flush() })
	}
}

func (f *Store) canWrite() bool {
	return f.options.Path != "" && !f.options.ReadOnly && !f.options.Checking
}

// save returns when the identity is on disk. Concurrent calls share one write.
func (f *Store) save(key blockKey) error {
	if !f.canWrite() {
		return nil
	}
	f.writeMu.Lock()
	defer f.writeMu.Unlock()
	f.mu.Lock()
	written := !f.pending[key]
	f.mu.Unlock()
	if written {
		return nil
	}
	if err := f.update(nil); err != nil {
		f.mu.Lock()
		delete(f.identities, key) // else the next Check would take it for a stored one
		delete(f.pending, key)
		f.mu.Unlock()
		return &record.Fault{
			Reason: record.Other, Err: fmt.Errorf("write the identity file: %w", err),
			Hint: writeHint + " Without the file, the program would not notice that a block signs in to another account.",
		}
	}
	return nil
}

// Flush writes pending changes.
func (f *Store) Flush() error {
	f.writeMu.Lock()
	defer f.writeMu.Unlock()
	f.mu.Lock()
	if f.timer != nil {
		f.timer.Stop()
		f.timer = nil
	}
	nothing := len(f.pending) == 0
	f.mu.Unlock()
	if nothing || f.options.Path == "" || f.options.ReadOnly {
		return nil
	}
	err := f.update(nil)
	f.mu.Lock()
	first := err != nil && f.lastErr == nil
	f.lastErr = err
	f.mu.Unlock()
	if first {
		f.options.Log.Error("identity file not written", "path", f.options.Path, "error", err, "hint", writeHint)
	}
	return err
}

// update writes the file: its current content, with the pending changes and those of change. f.writeMu is held.
func (f *Store) update(change func() error) error {
	errLocked := fmt.Errorf("%s.lock is locked by another process", f.options.Path)
	ctx, cancel := context.WithTimeoutCause(context.Background(), lockTimeout, errLocked)
	defer cancel()
	unlock, err := filelock.Lock(ctx, f.options.Path+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	statefile.ChownToDirOwner(f.options.Path + ".lock")
	f.mu.Lock()
	if err = f.loadLocked(); err == nil && change != nil {
		err = change()
	}
	var s identityFile
	var done []*BlockIdentity
	if err == nil {
		s, done = f.snapshot()
	}
	f.writing = len(done) > 0
	f.mu.Unlock()
	if err != nil || len(done) == 0 {
		return err
	}
	info, err := writeIdentityFile(f.options.Path, s)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writing = false
	if err != nil {
		return err
	}
	if info != nil {
		f.fileInfo = info
	}
	for _, c := range done {
		if f.identities[c.key()] == c {
			delete(f.pending, c.key())
		}
	}
	return nil
}

// writeIdentityFile writes the file. info is that of the new file; nil: it cannot be had.
func writeIdentityFile(path string, s identityFile) (info fs.FileInfo, err error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	if err := statefile.Write(path, append(text, '\n')); err != nil {
		return nil, err
	}
	statefile.ChownToDirOwner(path)
	info, err = os.Lstat(path)
	if err != nil {
		return nil, nil // the next load reads the file
	}
	return info, nil
}

// snapshot returns the content to write, and which of it is pending. f.mu is held.
func (f *Store) snapshot() (s identityFile, done []*BlockIdentity) {
	s.Version = fileVersion
	var removed []*BlockIdentity
	for _, key := range f.keys() {
		c := f.identities[key]
		if f.pending[key] {
			done = append(done, c)
		}
		if c.Removed {
			removed = append(removed, c)
			continue
		}
		s.Identities = append(s.Identities, c)
	}
	slices.SortStableFunc(removed, func(a, b *BlockIdentity) int { return b.Since.Compare(a.Since) })
	s.Identities = append(s.Identities, removed[:min(len(removed), maxRemoved)]...)
	return s, done
}
