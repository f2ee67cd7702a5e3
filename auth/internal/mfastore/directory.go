package mfastore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/internal/filelock"
	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// A dirStore stores one file a device: DIR/DEVICE.json, mode 0600 in a directory of mode 0700. A lock on
// DIR/DEVICE.lock excludes other processes, and other goroutines of this one.
type dirStore struct {
	dir    string
	cipher *sessionCipher // nil: the files are not encrypted
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

func (d dirStore) WithLock(ctx context.Context, device string, fn func(*Session, func() error) error) error {
	if err := d.ensureDir(); err != nil {
		return fmt.Errorf("MFA session store: %w", err)
	}
	unlock, err := filelock.Lock(ctx, filepath.Join(d.dir, device+".lock"))
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
		return fault.New(record.Other,
			fmt.Sprintf("Find out who wrote %s. Remove it, or change its owner to the user that collector runs as.", path),
			"%s holds credentials, and others may have changed it: %s", path, cause)
	}
	if m := info.Mode().Perm(); runtime.GOOS != "windows" && m&0o077 != 0 {
		fix := "600"
		if info.IsDir() {
			fix = "700"
		}
		return fault.New(record.Other, fmt.Sprintf("Run `chmod %s %s`, and find out who could have read it.", fix, path),
			"%s holds credentials and is open to others (mode %04o)", path, m)
	}
	return nil
}

const newSessionHint = "Run `collector login` with the account's name: it begins a new session and replaces the " +
	"file. An account with `totp_seed` or `token_command` begins one without a person."

// read returns what is stored of a device. It sets Unusable in a session that cannot be used, so that a new one can
// begin, and moves a damaged file aside.
func (d dirStore) read(device string) (Session, error) {
	path := d.path(device)
	b, err := d.readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Session{}, nil
	case errors.Is(err, statefile.ErrNotRegular):
		return moveDamaged(path, "is not a regular file")
	case err != nil:
		return Session{}, err
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
			return Session{Unusable: err, OtherKey: true}, nil
		}
	}
	s := stored.session()
	switch {
	case in.Sealed == nil && d.cipher != nil && s.AccessKeyID != "":
		// Anybody who may write here could have stored a session of another account.
		s.removeSession(fault.New(record.MFANeeded, newSessionHint,
			"%s is not encrypted, but session_key is set: the stored session is not used", path))
	case s.AccessKeyID == "" != s.SecretAccessKey.IsZero() || s.AccessKeyID == "" != s.SessionToken.IsZero():
		return moveDamaged(path, "holds an incomplete session")
	}
	return s, nil
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
func moveDamaged(path, cause string) (Session, error) {
	aside, err := statefile.MoveDamaged(path)
	if err != nil {
		return Session{}, fault.New(record.Other, "Remove the file; the next session needs a new code.",
			"%s %s and cannot be moved aside: %w", path, cause, err)
	}
	return Session{
		Unusable: fault.New(record.MFANeeded, newSessionHint, "%s %s: moved to %s", path, cause, filepath.Base(aside)),
	}, nil
}

func (s storedSession) session() Session {
	return Session{
		AccessKeyID: s.AccessKeyID, SecretAccessKey: secret.New(s.SecretAccessKey), SessionToken: secret.New(s.SessionToken),
		Expires: s.Expiration, UsedCodes: s.UsedCodes, Counter: s.Counter, Refused: s.Refused, RefusedAt: s.RefusedAt,
	}
}

// write replaces the file atomically and durably.
func (d dirStore) write(device string, s Session) error {
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
