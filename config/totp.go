package config

import (
	"encoding/base32"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws-collector/collector/config/internal/yamldoc"
	"github.com/aws-collector/collector/secret"
)

// A TOTP holds the parameters of an MFA device, as an authenticator app does: RFC 6238.
type TOTP struct {
	Key       secret.String // the raw key, not base32
	Algorithm string        // SHA1, SHA256 or SHA512
	Digits    int           // 6 to 8
	Period    time.Duration
}

// minTOTPKey is the shortest key that apps make. RFC 4226 requires 16 bytes; a code pasted by mistake is far shorter.
const minTOTPKey = 10

// ParseTOTP parses a seed in the forms that people have. One is base32 as AWS shows it when a device is created: in any
// case, with spaces or dashes, with or without padding. The other is the otpauth://totp/… URI of the QR code, with its
// algorithm, digits and period: https://github.com/google/google-authenticator/wiki/Key-Uri-Format. Its error does not
// repeat the seed.
func ParseTOTP(seed string) (TOTP, error) {
	t := TOTP{Algorithm: "SHA1", Digits: 6, Period: 30 * time.Second}
	seed = strings.TrimSpace(seed)
	if scheme, _, ok := strings.Cut(seed, "://"); ok {
		var err error
		if seed, err = t.parseURI(scheme, seed); err != nil {
			return TOTP{}, err
		}
	}
	plain := strings.NewReplacer(" ", "", "-", "", "\t", "", "\n", "", "\r", "").Replace(seed)
	plain = strings.TrimRight(strings.ToUpper(plain), "=")
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(plain)
	switch {
	case err != nil:
		return TOTP{}, Problem{
			Text:   "is not a seed, which is base32: letters and the digits 2 to 7",
			Remedy: "use the secret key that AWS shows for the device, or the otpauth:// URI of its QR code",
		}
	case len(key) < minTOTPKey:
		return TOTP{}, Problem{
			Text:   "is too short for a seed",
			Remedy: "use the secret key that AWS shows for the device, not a code",
		}
	}
	t.Key = secret.New(string(key))
	return t, nil
}

// parseURI sets the parameters from an otpauth URI and returns its seed.
func (t *TOTP) parseURI(scheme, s string) (seed string, err error) {
	u, err := url.Parse(s)
	if err != nil || !strings.EqualFold(scheme, "otpauth") {
		return "", Problem{Text: "is not an otpauth:// URI"} // url's error quotes it
	}
	if !strings.EqualFold(u.Host, "totp") {
		return "", Problem{
			Text:   "is a URI of counter-based codes",
			Remedy: "use otpauth://totp/…: AWS's codes are time-based",
		}
	}
	q := u.Query()
	if v := q.Get("algorithm"); v != "" {
		t.Algorithm = strings.ReplaceAll(strings.ToUpper(v), "-", "")
		if known := []string{"SHA1", "SHA256", "SHA512"}; !slices.Contains(known, t.Algorithm) {
			return "", Problem{Text: "names an unknown algorithm", Remedy: "write algorithm=" + yamldoc.JoinOr(known)}
		}
	}
	if v := q.Get("digits"); v != "" {
		if t.Digits, err = strconv.Atoi(v); err != nil || t.Digits < 6 || t.Digits > 8 {
			return "", Problem{Text: "has an invalid number of digits", Remedy: "write digits=6, 7 or 8"}
		}
	}
	if v := q.Get("period"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 5 || n > 300 {
			return "", Problem{Text: "has an invalid period", Remedy: "write period=5 to 300, in seconds"}
		}
		t.Period = time.Duration(n) * time.Second
	}
	return q.Get("secret"), nil
}
