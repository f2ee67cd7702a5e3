package auth

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 6238's, and that of every MFA device of AWS
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/aws-collector/collector/config"
)

// totpCode is the device's code in the window of this number, counted from 1970.
// https://www.rfc-editor.org/rfc/rfc6238, https://www.rfc-editor.org/rfc/rfc4226#section-5.3
func totpCode(t config.TOTP, counter int64) string {
	h := map[string]func() hash.Hash{"SHA256": sha256.New, "SHA512": sha512.New}[t.Algorithm]
	if h == nil {
		h = sha1.New
	}
	m := hmac.New(h, []byte(t.Key.Reveal()))
	_, _ = m.Write(binary.BigEndian.AppendUint64(nil, uint64(counter))) // a hash's Write does not fail
	sum := m.Sum(nil)
	at := sum[len(sum)-1] & 15
	n := binary.BigEndian.Uint32(sum[at:]) & 0x7fffffff
	mod := uint32(1)
	for range t.Digits {
		mod *= 10
	}
	return fmt.Sprintf("%0*d", t.Digits, n%mod)
}
