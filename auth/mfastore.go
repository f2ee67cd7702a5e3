package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// lockPoll is the interval between attempts to take a lock. A context could not end a blocking flock.
const lockPoll = 50 * time.Millisecond

// An MFAStore stores MFA sessions and used codes: a directory, or a table that replicas share.
type MFAStore interface {
	// WithLock locks the device, for all processes that share the store, and calls fn with what is stored of it. save
	// stores fn's changes to s, durably, while the lock is held. The lock ends with fn; ctx limits the wait for it.
	WithLock(ctx context.Context, device string, fn func(s *MFASession, save func() error) error) error
}

// An MFASession is what is known of a device: its last session, which may have expired, and the codes that were sent.
// Printing it shows no secrets.
type MFASession struct {
	AccessKeyID     string
	SecretAccessKey secret.String
	SessionToken    secret.String
	Expires         time.Time
	UsedCodes       []string  // hashes of codes, the newest last
	Counter         int64     // of the last window whose code was computed from a seed and sent; 0: none
	Refused         string    // hash of the source of two refused codes
	RefusedAt       time.Time // when they were refused

	// Unusable is why the stored session cannot be used, with a hint; nil: it can, or there is none. The codes in it are
	// kept if they could be read.
	Unusable error
	OtherKey bool // encrypted with another session_key, which may come back: only a code that is surely new replaces it
}

func (s *MFASession) credentials() aws.Credentials {
	return aws.Credentials{
		AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey.Reveal(), SessionToken: s.SessionToken.Reveal(),
		Source: "GetSessionToken", CanExpire: true, Expires: s.Expires,
	}
}

func (s *MFASession) setCredentials(c aws.Credentials) {
	s.AccessKeyID, s.Expires = c.AccessKeyID, c.Expires
	s.SecretAccessKey, s.SessionToken = secret.New(c.SecretAccessKey), secret.New(c.SessionToken)
	s.Unusable, s.OtherKey = nil, false
}

// codeUsed reports whether a code was sent before, or a code of a later window: AWS accepts no older code than the last
// one. A stored counter that is far ahead comes from a wrong clock, and is ignored.
func (s *MFASession) codeUsed(code string, counter int64) bool {
	const far = 20 // windows
	return slices.Contains(s.UsedCodes, code) || counter > 0 && counter <= s.Counter && s.Counter-counter < far
}

// A dirStore stores one file a device: DIR/DEVICE.json, mode 0600 in a directory of mode 0700. A lock on
// DIR/DEVICE.lock excludes other processes, and other goroutines of this one.
type dirStore struct {
	dir    string
	cipher *sessionCipher // nil: the files are not encrypted
}

// newDirStore returns a store that fails if the key is invalid, rather than one that stores sessions unencrypted.
func newDirStore(dir string, key secret.String) MFAStore {
	if key.IsZero() {
		return dirStore{dir: dir}
	}
	s, err := newSessionCipher(key)
	if err != nil {
		return failingStore{err}
	}
	return dirStore{dir, s}
}

type failingStore struct{ err error }

func (s failingStore) WithLock(context.Context, string, func(*MFASession, func() error) error) error {
	return s.err
}

// storedSession is the content of the file. The names are those of the AWS CLI's caches.
type storedSession struct {
	AccessKeyID     string    `json:"AccessKeyId,omitempty"`
	SecretAccessKey string    `json:",omitempty"`
	SessionToken    string    `json:",omitempty"`
	Expiration      time.Time `json:",omitzero"`
	UsedCodes       []string  `json:"Spent,omitempty"`
	Counter         int64     `json:",omitempty"`
	Refused         string    `json:",omitempty"`
	RefusedAt       time.Time `json:",omitzero"`
}

func (d dirStore) WithLock(ctx context.Context, device string, fn func(*MFASession, func() error) error) error {
	if err := d.ensureDir(); err != nil {
		return fmt.Errorf("MFA session store: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Join(d.dir, device+".lock"))
	if err != nil {
		return fmt.Errorf("MFA session store: lock: %w", err)
	}
	defer unlock()
	s, err := d.read(device)
	if err != nil {
		return fmt.Errorf("MFA session store: %w", err)
	}
	return fn(&s, func() error {
		if err := d.write(device, s); err != nil {
			return fmt.Errorf("MFA session store: %w", err)
		}
		return nil
	})
}

func (d dirStore) path(device string) string { return filepath.Join(d.dir, device+".json") }

// ensureDir creates the directory. An existing one must be private.
func (d dirStore) ensureDir() error {
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
	return checkPrivate(d.dir, info)
}

func checkPrivate(path string, info fs.FileInfo) error {
	if cause := statefile.OthersCanWrite(info); cause != "" {
		return fault(record.Other,
			fmt.Sprintf("Find out who wrote %s. Remove it, or change its owner to the user that collector runs as.", path),
			"%s holds credentials, and others may have changed it: %s", path, cause)
	}
	if m := info.Mode().Perm(); hasFileModes && m&0o077 != 0 {
		fix := "600"
		if info.IsDir() {
			fix = "700"
		}
		return fault(record.Other, fmt.Sprintf("Run `chmod %s %s`, and find out who could have read it.", fix, path),
			"%s holds credentials and is open to others (mode %04o)", path, m)
	}
	return nil
}

const newSessionHint = "Run `collector login` with the account's name: it begins a new session and replaces the " +
	"file. An account with `totp_seed` or `token_command` begins one without a person."

// read returns what is stored of a device. It sets Unusable in a session that cannot be used, so that a new one can
// begin, and moves a damaged file aside.
func (d dirStore) read(device string) (MFASession, error) {
	path := d.path(device)
	b, err := d.readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return MFASession{}, nil
	case errors.Is(err, statefile.ErrNotRegular):
		return moveDamaged(path, "is not a regular file")
	case err != nil:
		return MFASession{}, err
	}
	var in struct {
		encryptedSession
		storedSession
	}
	if err := json.Unmarshal(b, &in); err != nil { // not wrapped: a decoder's error may quote what it read
		return moveDamaged(path, "cannot be read as a session")
	}
	stored := in.storedSession
	if in.Sealed != nil {
		stored, err = d.cipher.decrypt(device, path, in.encryptedSession)
		switch {
		case errors.Is(err, errAltered):
			return moveDamaged(path, "was altered after it was encrypted")
		case err != nil: // encrypted with another key, which may come back
			return MFASession{Unusable: err, OtherKey: true}, nil
		}
	}
	s := stored.session()
	switch {
	case in.Sealed == nil && d.cipher != nil && s.AccessKeyID != "":
		// Anybody who may write here could have stored a session of another account.
		s.removeSession(fault(record.MFANeeded, newSessionHint,
			"%s is not encrypted, but session_key is set: the stored session is not used", path))
	case s.AccessKeyID == "" != s.SecretAccessKey.IsZero() || s.AccessKeyID == "" != s.SessionToken.IsZero():
		return moveDamaged(path, "holds an incomplete session")
	}
	return s, nil
}

// removeSession removes the session, and keeps the codes.
func (s *MFASession) removeSession(cause error) {
	*s = MFASession{
		UsedCodes: s.UsedCodes[max(0, len(s.UsedCodes)-maxUsedCodes):],
		Counter:   s.Counter,
		Refused:   s.Refused,
		RefusedAt: s.RefusedAt,
		Unusable:  cause,
	}
}

// readFile returns the content of a file, which must be private.
func (d dirStore) readFile(path string) ([]byte, error) {
	f, err := statefile.Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := checkPrivate(path, info); err != nil {
		return nil, err
	}
	const maxSize = 1 << 20
	b, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if len(b) > maxSize {
		return nil, nil // not valid JSON, so read treats it as damaged
	}
	return b, err
}

// moveDamaged moves a damaged session file aside.
func moveDamaged(path, cause string) (MFASession, error) {
	aside, err := statefile.MoveDamaged(path)
	if err != nil {
		return MFASession{}, fault(record.Other, "Remove the file; the next session needs a new code.",
			"%s %s and cannot be moved aside: %w", path, cause, err)
	}
	return MFASession{
		Unusable: fault(record.MFANeeded, newSessionHint, "%s %s: moved to %s", path, cause, filepath.Base(aside)),
	}, nil
}

func (s storedSession) session() MFASession {
	return MFASession{
		AccessKeyID: s.AccessKeyID, SecretAccessKey: secret.New(s.SecretAccessKey), SessionToken: secret.New(s.SessionToken),
		Expires: s.Expiration, UsedCodes: s.UsedCodes, Counter: s.Counter, Refused: s.Refused, RefusedAt: s.RefusedAt,
	}
}

// write replaces the file atomically and durably.
func (d dirStore) write(device string, s MFASession) error {
	var v any
	var err error
	stored := storedSession{
		AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey.Reveal(), SessionToken: s.SessionToken.Reveal(),
		Expiration: s.Expires, UsedCodes: s.UsedCodes, Counter: s.Counter, Refused: s.Refused, RefusedAt: s.RefusedAt,
	}
	if v = stored; d.cipher != nil {
		if v, err = d.cipher.encrypt(device, stored); err != nil {
			return err
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return statefile.Write(d.path(device), b) // the lock excludes other writers
}

// memoryStore stores sessions until the process ends.
type memoryStore struct {
	mu  sync.Mutex
	all map[string]*memorySession
}

type memorySession struct {
	lock chan struct{} // of capacity 1: a mutex whose Lock a context can end
	MFASession
}

func (m *memoryStore) WithLock(ctx context.Context, device string, fn func(*MFASession, func() error) error) error {
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
	mine.UsedCodes = slices.Clone(mine.UsedCodes)
	return fn(&mine, func() error {
		s.MFASession = mine
		s.UsedCodes = slices.Clone(mine.UsedCodes)
		return nil
	})
}
