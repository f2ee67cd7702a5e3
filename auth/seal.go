package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// A seal encrypts what is kept of a device, by AES-256-GCM with a nonce of its own each time. The device's name is
// authenticated with it, so that one device's file cannot stand in another's place.
type sessionCipher struct {
	aead  cipher.AEAD
	keyID string // tells keys apart, and tells nothing of the key
}

// A sealed session is what then stands in the file.
type encryptedSession struct {
	KeyID  string `json:"KeyId,omitempty"`
	Sealed []byte `json:",omitempty"` // nonce, ciphertext, tag
}

func newSessionCipher(key secret.String) (*sessionCipher, error) {
	raw, err := config.ParseSessionKey(key.Reveal())
	if err != nil {
		return nil, fault(record.Other, "look at what `session_key` refers to", "session_key %w", err)
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

// encrypt encrypts.
func (s *sessionCipher) encrypt(device string, v storedSession) (encryptedSession, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return encryptedSession{}, err
	}
	return encryptedSession{s.keyID, s.aead.Seal(nil, nil, plain, []byte(device))}, nil
}

// errAltered is of what no key opens, or the right one does not.
var errAltered = errors.New("altered since it was encrypted")

// decrypt decrypts. s is nil where there is no key. What cannot be read is left as it is: the right key may come back.
func (s *sessionCipher) decrypt(device, path string, from encryptedSession) (v storedSession, err error) {
	const orElse = "; or run `collector login` with the account's name: a new session replaces it"
	switch {
	case s == nil:
		return v, fault(record.Other, "give the configuration its `session_key` again"+orElse, "%s is encrypted, and there is no session_key", path)
	case s.keyID != from.KeyID:
		return v, fault(record.Other, "give `session_key` the key back that it was encrypted with"+orElse,
			"%s was encrypted with another session_key: that one's id is %.8s, this one's %s", path, from.KeyID, s.keyID)
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
