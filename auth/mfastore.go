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

// lockPoll is how often a lock that another process holds is tried. A blocking flock could not be ended by a context.
const lockPoll = 50 * time.Millisecond

// An MFAStore is where MFA sessions and used codes are kept: a directory, or a table that replicas share.
type MFAStore interface {
	// WithLock locks the device, across processes where the store is shared, and hands fn what is stored of it. save keeps what
	// fn has made of s, at once and durably, while the lock is held. The lock ends with fn; ctx ends the wait for it.
	WithLock(ctx context.Context, device string, fn func(s *MFASession, save func() error) error) error
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

	// Unusable is why the session that is stored cannot be used, with a hint; nil: it can, or there is none. What is known of
	// codes is kept where it could be read.
	Unusable error
	Locked   bool // by another session_key, which may come back: only a code that is surely new replaces it
}

func (s *MFASession) credentials() aws.Credentials {
	return aws.Credentials{
		AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey.Reveal(), SessionToken: s.SessionToken.Reveal(),
		Source: "GetSessionToken", CanExpire: true, Expires: s.Expires,
	}
}

func (s *MFASession) setCredentials(c aws.Credentials) {
	s.AccessKeyID, s.SecretAccessKey, s.SessionToken, s.Expires = c.AccessKeyID, secret.New(c.SecretAccessKey), secret.New(c.SessionToken), c.Expires
	s.Unusable, s.Locked = nil, false
}

// codeUsed reports whether a code was sent before, or one of a later window was: AWS takes none from before the last.
// A counter far ahead was made by a clock that was wrong, and says nothing.
func (s *MFASession) codeUsed(code string, counter int64) bool {
	const far = 20 // windows
	return slices.Contains(s.Spent, code) || counter > 0 && counter <= s.Counter && s.Counter-counter < far
}

// A dirStore keeps a file a device: DIR/DEVICE.json, mode 0600 in a directory of mode 0700. Processes are kept apart by a
// lock on DIR/DEVICE.lock, goroutines of one process by the same.
type dirStore struct {
	dir    string
	cipher *sessionCipher // nil: the files are in clear
}

// newDirStore is a store that refuses all work where the key is none: to keep sessions in clear then would be worse.
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

func (n failingStore) WithLock(context.Context, string, func(*MFASession, func() error) error) error {
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

func (d dirStore) WithLock(ctx context.Context, device string, fn func(*MFASession, func() error) error) error {
	if err := d.ensureDir(); err != nil {
		return fmt.Errorf("mfa store: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Join(d.dir, device+".lock"))
	if err != nil {
		return fmt.Errorf("mfa store: lock: %w", err)
	}
	defer unlock()
	s, err := d.read(device)
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

func (d dirStore) path(device string) string { return filepath.Join(d.dir, device+".json") }

// ensureDir makes the directory. One that was there before must belong to us alone.
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
		return fault(record.Other, fmt.Sprintf("Look at who wrote %s. Remove it, or give it to the user that collector runs as.", path),
			"%s holds credentials, and others may have changed it: %s", path, cause)
	}
	if m := info.Mode().Perm(); hasFileModes && m&0o077 != 0 {
		fix := "600"
		if info.IsDir() {
			fix = "700"
		}
		return fault(record.Other, fmt.Sprintf("chmod %s %s, and think about who may have read it", fix, path),
			"%s holds credentials and is open to others (mode %04o)", path, m)
	}
	return nil
}

const newSessionHint = "Run `collector login` with the account's name: it begins a new session and replaces the file. `totp_seed` or `token_command` do so by themselves."

// read returns what is stored of a device. It marks a session that cannot be used, so that a new one can begin, and moves a
// damaged file aside.
func (d dirStore) read(device string) (MFASession, error) {
	path := d.path(device)
	b, err := d.readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return MFASession{}, nil
	case errors.Is(err, statefile.ErrNotRegular):
		return setDamagedAside(path, "is not a regular file")
	case err != nil:
		return MFASession{}, err
	}
	var in struct {
		encryptedSession
		storedSession
	}
	if err := json.Unmarshal(b, &in); err != nil { // not wrapped: a decoder's error may quote what it read
		return setDamagedAside(path, "cannot be read as a session")
	}
	stored := in.storedSession
	if in.Sealed != nil {
		stored, err = d.cipher.decrypt(device, path, in.encryptedSession)
		switch {
		case errors.Is(err, errAltered):
			return setDamagedAside(path, "was altered since it was encrypted")
		case err != nil: // of another key, which may come back
			return MFASession{Unusable: err, Locked: true}, nil
		}
	}
	s := stored.session()
	switch {
	case in.Sealed == nil && d.cipher != nil && s.AccessKeyID != "":
		// Whoever may write here could have put their own session there, and with it their own account.
		s.discard(fault(record.MFANeeded, newSessionHint, "%s is not encrypted, and there is a session_key: it is not used", path))
	case s.AccessKeyID == "" != s.SecretAccessKey.IsZero() || s.AccessKeyID == "" != s.SessionToken.IsZero():
		return setDamagedAside(path, "holds half a session")
	}
	return s, nil
}

// discard drops the session, and keeps what is known of codes.
func (s *MFASession) discard(cause error) {
	*s = MFASession{Spent: s.Spent[max(0, len(s.Spent)-maxSpentCodes):], Counter: s.Counter, Refused: s.Refused, RefusedAt: s.RefusedAt, Unusable: cause}
}

// readFile is the file's, if it is ours alone.
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
	const most = 1 << 20
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if len(b) > most {
		return nil, nil // no session: it is damaged
	}
	return b, err
}

// setDamagedAside moves a file aside of which nothing can be used.
func setDamagedAside(path, cause string) (MFASession, error) {
	aside, err := statefile.MoveDamaged(path)
	if err != nil {
		return MFASession{}, fault(record.Other, "Remove the file: a new code will be needed.", "%s %s and cannot be moved aside: %w", path, cause, err)
	}
	return MFASession{Unusable: fault(record.MFANeeded, newSessionHint, "%s %s: it was moved to %s", path, cause, filepath.Base(aside))}, nil
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
	if v = stored; d.cipher != nil {
		if v, err = d.cipher.encrypt(device, stored); err != nil {
			return err
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return statefile.Write(d.path(device), b) // its one writer holds the lock
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
	mine.Spent = slices.Clone(mine.Spent)
	return fn(&mine, func() error {
		s.MFASession = mine
		s.Spent = slices.Clone(mine.Spent)
		return nil
	})
}
