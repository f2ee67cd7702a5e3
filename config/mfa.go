package config

import (
	"strings"

	"github.com/aws-collector/collector/config/internal/yamldoc"
)

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
