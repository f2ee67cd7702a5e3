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

// checkCodeSources checks the keys that give MFA codes, of which a block may have one. It returns the key that the
// block has.
func (d *decoder) checkCodeSources(a *SignIn) (key string) {
	device := d.IsSet(&a.SerialNumber) || d.IsSet(&a.Profile) // a profile may name a device itself
	for _, s := range []struct {
		key string
		at  any
	}{{"totp_seed", &a.TOTPSeed}, {"token_command", &a.TokenCommand}, {"token_code", &a.TokenCode}} {
		p, ok := d.Position(s.at)
		switch {
		case !ok:
			continue
		case key != "":
			d.Report(p, s.key+" is set together with "+key, "remove one of them")
			continue
		case !device:
			d.Report(p, s.key+" is set without serial_number", "add serial_number: the ARN of the MFA device")
		}
		key = s.key
	}
	return key
}

// checkMFA checks the device, the source of its codes, and the credentials that they are used with.
func (d *decoder) checkMFA(a *SignIn) {
	codes := d.checkCodeSources(a)
	d.checkSeed(a)
	if p, ok := d.Checkable(&a.TokenCommand); ok && len(a.TokenCommand) == 0 {
		d.Report(p, "is empty", "name a program and its arguments, as in [pass, otp, aws]")
	}
	serial, hasSerial := d.Position(&a.SerialNumber)
	if p, ok := d.Checkable(&a.TokenCode); ok {
		switch text := a.TokenCode.Reveal(); {
		case !codeForm.MatchString(text):
			remedy := `write 6 digits, in quotes so that no leading zero is lost: "012345"`
			d.Report(p, "is not a code of 6 digits: it has "+quantity(len([]rune(text)), "character"), remedy)
		case hasSerial || d.IsSet(&a.Profile):
			d.Warn(p, "a one-time code is valid for one session: when that ends, the account fails until a new code is loaded",
				"set totp_seed or token_command for a daemon, or use an instance role, which needs no codes")
		}
	}
	if p, ok := d.Position(&a.MFASessionDuration); ok && !hasSerial && !d.IsSet(&a.Profile) {
		d.Warn(p, "is not used without serial_number", "remove it")
	}
	if !hasSerial {
		return
	}
	if codes == "" {
		d.Warn(serial,
			`no MFA codes are configured: the account needs "collector login" now, and again when each session ends`,
			"set totp_seed or token_command for a daemon")
	}
	if serial.State == yamldoc.Valid {
		if text, remedy := d.deviceProblem(serial, a.SerialNumber); text != "" {
			d.Report(serial, text, remedy)
		}
	}
	source, _ := d.Checkable(&a.CredentialSource)
	switch {
	case d.IsSet(&a.Profile):
	case d.IsSet(&a.SessionToken):
		d.Report(serial, "MFA needs a long-lived key, but session_token makes this a temporary one",
			"use a key that begins with AKIA, or remove serial_number")
	case d.IsSet(&a.AKID):
	case source.Line != 0 && a.CredentialSource != "Environment":
		d.Report(serial, "MFA needs a long-lived key, but credential_source gives a temporary one",
			"use ak_id and ak_secret, or remove serial_number")
	}
}

// checkSeed checks totp_seed. It must not be in the file itself: everybody who can read the file would have the device.
func (d *decoder) checkSeed(a *SignIn) {
	p, ok := d.Checkable(&a.TOTPSeed)
	if !ok {
		return
	}
	if p.References == "" {
		d.Report(p, "the seed is in the file itself, which then holds both factors",
			"write a reference: ${file:/run/secrets/totp_seed} or ${env:NAME}")
		return
	}
	switch t, err := ParseTOTP(a.TOTPSeed.Reveal()); {
	case err != nil:
		d.ReportError(p, "the value of "+p.References+" ", err)
	case t.Digits != 6:
		d.Report(p, "the value of "+p.References+" makes codes of "+quantity(t.Digits, "digit"),
			"use a device with codes of 6 digits: STS accepts no others")
	}
}

// deviceProblem returns what is wrong with a serial number, or "".
func (d *decoder) deviceProblem(p yamldoc.Position, s string) (text, remedy string) {
	const want = "write arn:aws:iam::123456789012:mfa/name, or the number on a hardware device"
	if !strings.HasPrefix(s, "arn:") {
		if !serialForm.MatchString(s) {
			return d.Show(p, s) + " is not the serial number of an MFA device", want
		}
		return "", ""
	}
	f := strings.SplitN(s, ":", 6)
	if len(f) != 6 || f[2] != "iam" || f[3] != "" || !serialForm.MatchString(s) {
		return d.Show(p, s) + " is not the ARN of an MFA device", want
	}
	if text, remedy := d.partitionProblem(p, f[1]); text != "" {
		return text, remedy
	}
	switch typ, name, _ := strings.Cut(f[5], "/"); {
	case !accountIDForm.MatchString(f[4]):
		return d.Show(p, s) + " has an account id of " + quantity(len(f[4]), "character"),
			"write the account id with 12 digits"
	case typ == "u2f":
		return d.Show(p, s) + " is a security key, which gives no codes", "use an authenticator app or a hardware token"
	case typ != "mfa" || name == "":
		return d.Show(p, s) + " is not the ARN of an MFA device", want
	}
	return "", ""
}
