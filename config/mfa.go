package config

import (
	"strings"
)

// The keys that give codes, of which a block has one at most.
func (d *decoder) checkCodeSources(a *SignIn) (key string) {
	device := d.isSet(&a.SerialNumber) || d.isSet(&a.Profile) // a profile may name a device itself
	for _, s := range []struct {
		key string
		at  any
	}{{"totp_seed", &a.TOTPSeed}, {"token_command", &a.TokenCommand}, {"token_code", &a.TokenCode}} {
		p, ok := d.positions[s.at]
		switch {
		case !ok:
			continue
		case key != "":
			d.report(p, s.key+" stands beside "+key, "one of them gives the codes; remove the other")
			continue
		case !device:
			d.report(p, s.key+" stands without serial_number", "add serial_number: the ARN of the MFA device")
		}
		key = s.key
	}
	return key
}

// checkMFA judges the device, what gives its codes, and what they are used with.
func (d *decoder) checkMFA(a *SignIn) {
	codes := d.checkCodeSources(a)
	d.checkSeed(a)
	if p, ok := d.checkable(&a.TokenCommand); ok && len(a.TokenCommand) == 0 {
		d.report(p, "is empty", "name a program and its arguments, as in [pass, otp, aws]")
	}
	serial, hasSerial := d.positions[&a.SerialNumber]
	if p, ok := d.checkable(&a.TokenCode); ok {
		switch text := a.TokenCode.Reveal(); {
		case !codeForm.MatchString(text):
			remedy := `want 6 digits, in quotes so that no leading zero is lost: "012345"`
			d.report(p, "a code has 6 digits, and here are "+quantity(len([]rune(text)), "character"), remedy)
		case hasSerial || d.isSet(&a.Profile):
			d.warn(p, "a one-time code is good for one session: when that has ended, the account fails until a new code is loaded", "for a daemon give totp_seed or token_command; an instance role needs no codes at all")
		}
	}
	if p, ok := d.positions[&a.MFASessionDuration]; ok && !hasSerial && !d.isSet(&a.Profile) {
		d.warn(p, "is not used without serial_number", "remove it")
	}
	if !hasSerial {
		return
	}
	if codes == "" {
		d.warn(serial, `nothing gives the device's codes: the account needs "collector login" now, and again when each session ends`, "for a daemon add totp_seed or token_command")
	}
	if serial.state == valid {
		if text, remedy := d.deviceProblem(serial, a.SerialNumber); text != "" {
			d.report(serial, text, remedy)
		}
	}
	source, _ := d.checkable(&a.CredentialSource)
	switch {
	case d.isSet(&a.Profile):
	case d.isSet(&a.SessionToken):
		d.report(serial, "MFA needs a long-lived key, and session_token makes this a temporary one", "use a key that begins with AKIA, or remove serial_number")
	case d.isSet(&a.AKID):
	case source.line != 0 && a.CredentialSource != "Environment":
		d.report(serial, "MFA needs a long-lived key, and credential_source gives a temporary one", "use ak_id and ak_secret, or remove serial_number")
	}
}

// checkSeed judges totp_seed. One that stands in the file makes whoever reads the file the device.
func (d *decoder) checkSeed(a *SignIn) {
	p, ok := d.checkable(&a.TOTPSeed)
	if !ok {
		return
	}
	if p.references == "" {
		d.report(p, "a seed stands in the file itself, and so both factors in one place", "write a reference: ${file:/run/secrets/totp_seed} or ${env:NAME}")
		return
	}
	switch t, err := ParseTOTP(a.TOTPSeed.Reveal()); {
	case err != nil:
		d.reportError(p, "the value of "+p.references+" ", err)
	case t.Digits != 6:
		d.report(p, "the value of "+p.references+" makes codes of "+quantity(t.Digits, "digit"), "STS takes 6")
	}
}

// deviceProblem says what is wrong with a serial number.
func (d *decoder) deviceProblem(p position, s string) (text, remedy string) {
	const want = "want arn:aws:iam::123456789012:mfa/name, or the number on a hardware device"
	if !strings.HasPrefix(s, "arn:") {
		if !serialForm.MatchString(s) {
			return d.show(p, s) + " is no serial number of an MFA device", want
		}
		return "", ""
	}
	f := strings.SplitN(s, ":", 6)
	if len(f) != 6 || f[2] != "iam" || f[3] != "" || !serialForm.MatchString(s) {
		return d.show(p, s) + " is no ARN of an MFA device", want
	}
	if text, remedy := d.partitionProblem(p, f[1]); text != "" {
		return text, remedy
	}
	switch typ, name, _ := strings.Cut(f[5], "/"); {
	case !accountIDForm.MatchString(f[4]):
		return d.show(p, s) + " holds an account id of " + quantity(len(f[4]), "character"), "an account id is 12 digits"
	case typ == "u2f":
		return d.show(p, s) + " is a security key, which gives no codes", "STS takes the codes of an authenticator app or a hardware token"
	case typ != "mfa" || name == "":
		return d.show(p, s) + " is no ARN of an MFA device", want
	}
	return "", ""
}
