package config

import (
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/aws-collector/collector/secret"
)

// SessionKeySize is the length of a session_key in bytes: that of AES-256.
const SessionKeySize = 32

// ParseSessionKey decodes 32 bytes from hex, or from base64 in either alphabet, with or without padding. It rejects a
// passphrase, which is easier to guess than a key. Its error does not repeat the text.
func ParseSessionKey(text string) (key secret.String, err error) {
	text = strings.TrimSpace(text)
	if b, err := hex.DecodeString(text); err == nil && len(b) == SessionKeySize {
		return secret.New(string(b)), nil
	}
	plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	if b, err := base64.RawStdEncoding.DecodeString(plain); err == nil && len(b) == SessionKeySize {
		return secret.New(string(b)), nil
	}
	return secret.String{}, Problem{
		Text:   "is not a key of 32 bytes in base64 or hex",
		Remedy: "create one with: openssl rand -base64 32",
	}
}

// checkSessionKey checks session_key. It must not be in the file itself, which may be stored next to the sessions that
// it encrypts.
func (d *decoder) checkSessionKey(w *document) {
	p, ok := d.Checkable(&w.SessionKey)
	if !ok {
		return
	}
	if p.References == "" {
		d.Report(p, "the key is in the file itself", "write a reference: ${file:/run/secrets/session_key} or ${env:NAME}")
		return
	}
	if _, err := ParseSessionKey(w.SessionKey.Reveal()); err != nil {
		d.ReportError(p, "the value of "+p.References+" ", err)
	}
}
