package mfastore

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// A sessionCipher encrypts the stored sessions with AES-256-GCM and a new nonce each time. The device is authenticated
// data, so that the file of one device cannot replace another's.
type sessionCipher struct {
	aead  cipher.AEAD
	keyID string // distinguishes keys, and reveals nothing of the key
}

// An encryptedSession is the content of an encrypted file.
type encryptedSession struct {
	KeyID  string `json:"KeyId,omitempty"`
	Sealed []byte `json:",omitempty"` // nonce, ciphertext, tag
}

func newSessionCipher(key secret.String) (*sessionCipher, error) {
	raw, err := config.ParseSessionKey(key.Reveal())
	if err != nil {
		return nil, fault.New(record.Other, "Check the value that `session_key` refers to.", "session_key %w", err)
	}
	block, err := aes.NewCipher([]byte(raw.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("session_key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("session_key: %w", err)
	}
	sum := sha256.Sum256([]byte("collector session_key\n" + raw.Reveal()))
	return &sessionCipher{aead, hex.EncodeToString(sum[:4])}, nil
}

// encrypt returns the encrypted session of a device.
func (s *sessionCipher) encrypt(device string, v storedSession) (encryptedSession, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return encryptedSession{}, err
	}
	return encryptedSession{s.keyID, s.aead.Seal(nil, nil, plain, []byte(device))}, nil
}

// errAltered is the error for data that the right key cannot decrypt.
var errAltered = errors.New("altered after it was encrypted")

// decrypt returns a stored session. s is nil if there is no key. An unreadable file stays: the right key may come back.
func (s *sessionCipher) decrypt(device, path string, from encryptedSession) (v storedSession, err error) {
	const orLogin = ", or run `collector login` with the account's name: a new session replaces the file."
	switch {
	case s == nil:
		return v, fault.New(record.Other, "Set `session_key` again"+orLogin,
			"%s is encrypted, but session_key is not set", path)
	case s.keyID != from.KeyID:
		return v, fault.New(record.Other, "Set `session_key` to the key that it was encrypted with"+orLogin,
			"%s was encrypted with another session_key, of id %.8s; this one's id is %s", path, from.KeyID, s.keyID)
	}
	plain, err := s.aead.Open(nil, nil, from.Sealed, []byte(device))
	if err == nil {
		err = json.Unmarshal(plain, &v)
	}
	if err != nil { // a decoder's error may quote what it read
		return v, fmt.Errorf("%s: %w", path, errAltered)
	}
	return v, nil
}
