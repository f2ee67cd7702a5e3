// Package mfastore stores the sessions of MFA devices and the codes that were sent, in files or in memory. So accounts,
// processes and restarts share one session a device, and no code is sent twice. Begin at [New].
package mfastore

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/secret"
)

// A Store stores MFA sessions and used codes.
type Store interface {
	// WithLock locks the device, for all processes that share the store, and calls fn with what is stored of it. save
	// stores fn's changes to s, durably, while the lock is held. The lock ends with fn; ctx limits the wait for it.
	WithLock(ctx context.Context, device string, fn func(s *Session, save func() error) error) error
}

// A Session is what is known of a device: its last session, which may have expired, and the codes that were sent.
// Printing it shows no secrets.
type Session struct {
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

// Credentials returns the session for calls.
func (s *Session) Credentials() aws.Credentials {
	return aws.Credentials{
		AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey.Reveal(), SessionToken: s.SessionToken.Reveal(),
		Source: "GetSessionToken", CanExpire: true, Expires: s.Expires,
	}
}

// SetCredentials stores a new session.
func (s *Session) SetCredentials(c aws.Credentials) {
	s.AccessKeyID, s.Expires = c.AccessKeyID, c.Expires
	s.SecretAccessKey, s.SessionToken = secret.New(c.SecretAccessKey), secret.New(c.SessionToken)
	s.Unusable, s.OtherKey = nil, false
}

// CodeUsed reports whether a code was sent before, or a code of a later window: AWS accepts no older code than the last
// one. A stored counter that is far ahead comes from a wrong clock, and is ignored.
func (s *Session) CodeUsed(code string, counter int64) bool {
	const far = 20 // windows
	return slices.Contains(s.UsedCodes, code) || counter > 0 && counter <= s.Counter && s.Counter-counter < far
}

const maxUsedCodes = 20 // stored hashes: a code is valid for a minute or two

// MarkUsed adds the hash of a code that is about to be sent. counter is the number of its window; 0: unknown.
func (s *Session) MarkUsed(code string, counter int64) {
	recent := s.UsedCodes[max(0, len(s.UsedCodes)-maxUsedCodes):]
	s.UsedCodes = append(slices.Clone(recent), code)
	if counter > 0 {
		s.Counter = counter
	}
}

// removeSession removes the session, and keeps the codes.
func (s *Session) removeSession(cause error) {
	*s = Session{
		UsedCodes: s.UsedCodes[max(0, len(s.UsedCodes)-maxUsedCodes):],
		Counter:   s.Counter,
		Refused:   s.Refused,
		RefusedAt: s.RefusedAt,
		Unusable:  cause,
	}
}

// New returns a store of files in dataDir/sessions, encrypted with key unless that is zero. dataDir "": in memory,
// until the process ends. If the key is invalid, the store fails, rather than store sessions unencrypted.
func New(dataDir string, key secret.String) Store {
	dir := filepath.Join(dataDir, "sessions")
	switch {
	case dataDir == "":
		return new(memoryStore)
	case key.IsZero():
		return dirStore{dir: dir}
	}
	s, err := newSessionCipher(key)
	if err != nil {
		return failingStore{err}
	}
	return dirStore{dir, s}
}

type failingStore struct{ err error }

func (s failingStore) WithLock(context.Context, string, func(*Session, func() error) error) error {
	return s.err
}

// memoryStore stores sessions until the process ends.
type memoryStore struct {
	mu  sync.Mutex
	all map[string]*memorySession
}

type memorySession struct {
	lock chan struct{} // of capacity 1: a mutex whose Lock a context can end
	Session
}

func (m *memoryStore) WithLock(ctx context.Context, device string, fn func(*Session, func() error) error) error {
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
	mine := s.Session
	mine.UsedCodes = slices.Clone(mine.UsedCodes)
	return fn(&mine, func() error {
		s.Session = mine
		s.UsedCodes = slices.Clone(mine.UsedCodes)
		return nil
	})
}
