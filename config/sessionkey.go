package config

import (
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/aws-collector/collector/secret"
)

// SessionKeySize is how many bytes a session_key has: AES-256's.
const SessionKeySize = 32

// ParseSessionKey reads 32 bytes that are written as base64, in either alphabet and with or without its padding, or as hex.
// A passphrase is refused: it is guessed sooner than a key. Its error does not repeat the text.
func ParseSessionKey(text string) (key secret.String, err error) {
	text = strings.TrimSpace(text)
	if b, err := hex.DecodeString(text); err == nil && len(b) == SessionKeySize {
		return secret.New(string(b)), nil
	}
	plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	if b, err := base64.RawStdEncoding.DecodeString(plain); err == nil && len(b) == SessionKeySize {
		return secret.New(string(b)), nil
	}
	return secret.String{}, Problem{Text: "is no key of 32 bytes in base64 or hex", Remedy: "make one: openssl rand -base64 32"}
}

// checkSessionKey judges session_key. One that stands in the file lies beside what it locks.
func (d *decoder) checkSessionKey(w *document) {
	p, ok := d.checkable(&w.SessionKey)
	if !ok {
		return
	}
	if p.references == "" {
		d.report(p, "the key stands in the file itself", "write a reference: ${file:/run/secrets/session_key} or ${env:NAME}")
		return
	}
	if _, err := ParseSessionKey(w.SessionKey.Reveal()); err != nil {
		d.reportError(p, "the value of "+p.references+" ", err)
	}
}
