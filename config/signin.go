package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/aws-collector/collector/config/internal/yamldoc"
	"github.com/aws-collector/collector/secret"
)

// setFingerprints sets the fingerprint of each sign-in. The first pass computes them, because references are then as
// written. The second pass reuses them.
func (d *decoder) setFingerprints(blocks []*Account, orgs []Organization) {
	signIns := make([]*SignIn, 0, len(blocks)+len(orgs))
	for _, a := range blocks {
		signIns = append(signIns, &a.SignIn)
	}
	for i := range orgs {
		signIns = append(signIns, &orgs[i].Via)
	}
	if d.fingerprints == nil {
		d.fingerprints = make([]string, len(signIns))
		for i, s := range signIns {
			d.fingerprints[i] = d.fingerprint(s)
		}
	}
	for i, s := range signIns {
		s.Fingerprint = d.fingerprints[i]
	}
}

// fingerprint returns a hash of what determines whose credentials a sign-in has. It uses the text as written, so
// changing the value behind a reference keeps the fingerprint. account_id is left out: it says which account the result
// must belong to, not where credentials come from. Secrets written in the file are left out, too: a key id belongs to
// one account, whatever its secret is.
func (d *decoder) fingerprint(s *SignIn) string {
	written := []string{
		s.AKID,
		d.referenceText(&s.AKSecret),
		d.referenceText(&s.SessionToken),
		s.Profile,
		s.CredentialSource,
		s.ARN,
		s.RoleName,
	}
	for i := range s.Roles {
		written = append(written, s.Roles[i].ARN)
	}
	return fingerprintOf(written)
}

func fingerprintOf(written []string) string {
	text, err := json.Marshal(written)
	if err != nil {
		panic(err) // a list of strings cannot fail
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}

// referenceText returns the text of a secret that is a reference, or "" if it is the secret itself.
func (d *decoder) referenceText(s *secret.String) string {
	if text := s.Reveal(); strings.Contains(text, "${") && d.At(s).State == yamldoc.Unresolved {
		return text
	}
	return ""
}
