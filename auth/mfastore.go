package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// lockPoll is how often a lock that another process holds is tried. A blocking flock could not be ended by a context.
const lockPoll = 50 * time.Millisecond

// An MFAStore is where MFA sessions and used codes are kept: a directory, or a table that replicas share.
type MFAStore interface {
	// With locks the device, across processes where the store is shared, and hands fn what is stored of it. save keeps what
	// fn has made of s, at once and durably, while the lock is held. The lock ends with fn; ctx ends the wait for it.
	With(ctx context.Context, device string, fn func(s *MFASession, save func() error) error) error
}

// An MFASession is what is known of a device: its last session, which may be over, and the codes that were sent. It prints
// without its secrets, wherever it stands.
type MFASession struct {
	AccessKeyID     string
	SecretAccessKey secret.String
	SessionToken    secret.String
	Expires         time.Time
	Spent           []string  // digests of codes, the newest last
	Counter         int64     // of the last window whose code was made from a seed and sent; 0: none
	Refused         string    // digest of what gave two codes that were both refused
	RefusedAt       time.Time // then
}

func (s *MFASession) credentials() aws.Credentials {
	return aws.Credentials{
		AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey.Reveal(), SessionToken: s.SessionToken.Reveal(),
		Source: "GetSessionToken", CanExpire: true, Expires: s.Expires,
	}
}

func (s *MFASession) keep(c aws.Credentials) {
	s.AccessKeyID, s.SecretAccessKey, s.SessionToken, s.Expires = c.AccessKeyID, secret.New(c.SecretAccessKey), secret.New(c.SessionToken), c.Expires
}

// used reports whether a code was sent before, or one of a later window was: AWS takes none from before the last.
// A counter far ahead was made by a clock that was wrong, and says nothing.
func (s *MFASession) used(code string, counter int64) bool {
	const far = 20 // windows
	return slices.Contains(s.Spent, code) || counter > 0 && counter <= s.Counter && s.Counter-counter < far
}

// A dirStore keeps a file a device: DIR/DEVICE.json, mode 0600 in a directory of mode 0700. Processes are kept apart by a
// lock on DIR/DEVICE.lock, goroutines of one process by the same.
type dirStore struct {
	dir  string
	seal *seal // nil: the files are in clear
}

// newDirStore is a store that refuses all work where the key is none: to keep sessions in clear then would be worse.
func newDirStore(dir string, key secret.String) MFAStore {
	if key.IsZero() {
		return dirStore{dir: dir}
	}
	s, err := newSeal(key)
	if err != nil {
		return noStore{err}
	}
	return dirStore{dir, s}
}

type noStore struct{ err error }

func (n noStore) With(context.Context, string, func(*MFASession, func() error) error) error {
	return n.err
}

// storedSession is the file. The names are those of the AWS CLI's caches.
type storedSession struct {
	AccessKeyID     string    `json:"AccessKeyId,omitempty"`
	SecretAccessKey string    `json:",omitempty"`
	SessionToken    string    `json:",omitempty"`
	Expiration      time.Time `json:",omitzero"`
	Spent           []string  `json:",omitempty"`
	Counter         int64     `json:",omitempty"`
	Refused         string    `json:",omitempty"`
	RefusedAt       time.Time `json:",omitzero"`
}

func (d dirStore) With(ctx context.Context, device string, fn func(*MFASession, func() error) error) error {
	if err := d.open(); err != nil {
		return fmt.Errorf("mfa store: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Join(d.dir, device+".lock"))
	if err != nil {
		return fmt.Errorf("mfa store: lock: %w", err)
	}
	defer unlock()
	s, clear, err := d.read(device)
	if err == nil && clear && d.seal != nil { // from before there was a key
		err = d.write(device, s)
	}
	if err != nil {
		return fmt.Errorf("mfa store: %w", err)
	}
	return fn(&s, func() error {
		if err := d.write(device, s); err != nil {
			return fmt.Errorf("mfa store: %w", err)
		}
		return nil
	})
}

func (d dirStore) file(device string) string { return filepath.Join(d.dir, device+".json") }

// open makes the directory. One that was there before must belong to us alone.
func (d dirStore) open() error {
	if err := os.MkdirAll(filepath.Dir(d.dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(d.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(d.dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", d.dir)
	}
	return private(d.dir, info)
}

func private(path string, info fs.FileInfo) error {
	if m := info.Mode().Perm(); modesMatter && m&0o077 != 0 {
		fix := "600"
		if info.IsDir() {
			fix = "700"
		}
		return fault(record.Other, fmt.Sprintf("chmod %s %s, and think about who may have read it", fix, path),
			"%s holds credentials and is open to others (mode %04o)", path, m)
	}
	return nil
}

// read is what is stored of a device, and whether that stands there in clear.
func (d dirStore) read(device string) (s MFASession, clear bool, err error) {
	path := d.file(device)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return MFASession{}, false, nil
	}
	if err != nil {
		return MFASession{}, false, err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return MFASession{}, false, err
	}
	if err := private(path, info); err != nil {
		return MFASession{}, false, err
	}
	var in struct {
		sealed
		storedSession
	}
	if err := json.NewDecoder(f).Decode(&in); err != nil {
		// Not wrapped: a decoder's error may quote what it read.
		return MFASession{}, false, fault(record.Other, "remove the file; a new code will be needed", "%s cannot be read as a session", path)
	}
	stored := in.storedSession
	if in.Sealed != nil {
		if stored, err = d.seal.open(device, path, in.sealed); err != nil {
			return MFASession{}, false, err
		}
	}
	return stored.session(), in.Sealed == nil, nil
}

func (s storedSession) session() MFASession {
	return MFASession{
		AccessKeyID: s.AccessKeyID, SecretAccessKey: secret.New(s.SecretAccessKey), SessionToken: secret.New(s.SessionToken),
		Expires: s.Expiration, Spent: s.Spent, Counter: s.Counter, Refused: s.Refused, RefusedAt: s.RefusedAt,
	}
}

// write replaces the file at once and for good: a reader sees the old one or the new one, also after a power cut.
func (d dirStore) write(device string, s MFASession) error {
	var v any
	var err error
	stored := storedSession{
		AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey.Reveal(), SessionToken: s.SessionToken.Reveal(),
		Expiration: s.Expires, Spent: s.Spent, Counter: s.Counter, Refused: s.Refused, RefusedAt: s.RefusedAt,
	}
	if v = stored; d.seal != nil {
		if v, err = d.seal.close(device, stored); err != nil {
			return err
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	path := d.file(device)
	next := path + ".new" // one name, as the lock is held: what a crash left is replaced, not added to
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// memoryStore keeps sessions for as long as the process lasts.
type memoryStore struct {
	mu  sync.Mutex
	all map[string]*memorySession
}

type memorySession struct {
	lock chan struct{} // a place for one: a mutex whose wait a context can end
	MFASession
}

func (m *memoryStore) With(ctx context.Context, device string, fn func(*MFASession, func() error) error) error {
	m.mu.Lock()
	if m.all == nil {
		m.all = make(map[string]*memorySession)
	}
	s := m.all[device]
	if s == nil {
		s = &memorySession{lock: make(chan struct{}, 1)}
		m.all[device] = s
	}
	m.mu.Unlock()
	select {
	case s.lock <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.lock }()
	mine := s.MFASession
	mine.Spent = slices.Clone(mine.Spent)
	return fn(&mine, func() error {
		s.MFASession = mine
		s.Spent = slices.Clone(mine.Spent)
		return nil
	})
}
