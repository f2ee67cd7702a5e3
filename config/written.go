package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/aws-collector/collector/secret"
)

// setDigests gives each sign-in its mark. The first pass makes the marks, because there references still stand as they are
// written; the second takes them over.
func (d *decoder) setDigests(blocks []*Account, orgs []Organization) {
	signIns := make([]*SignIn, 0, len(blocks)+len(orgs))
	for _, a := range blocks {
		signIns = append(signIns, &a.SignIn)
	}
	for i := range orgs {
		signIns = append(signIns, &orgs[i].Via)
	}
	if d.signInDigests == nil {
		d.signInDigests = make([]string, len(signIns))
		for i, s := range signIns {
			d.signInDigests[i] = d.signInDigest(s)
		}
	}
	for i, s := range signIns {
		s.Digest = d.signInDigests[i]
	}
}

// signInDigest digests what decides whose credentials a sign-in has: as it is written, so that a reference keeps its mark
// when its value changes. account_id is no part of it: it says who the account must be, not where credentials come
// from. Secrets that stand in the file are no part either: an id of a key belongs to one account whatever its secret
// is.
func (d *decoder) signInDigest(s *SignIn) string {
	written := []string{
		s.AKID, d.referenceText(&s.AKSecret), d.referenceText(&s.SessionToken), s.Profile, s.CredentialSource, s.ARN, s.RoleName,
	}
	for i := range s.Roles {
		written = append(written, s.Roles[i].ARN)
	}
	text, err := json.Marshal(written)
	if err != nil {
		panic(err) // a list of texts
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}

// referenceText is the text of a secret that is a reference, "" if it is the secret itself.
func (d *decoder) referenceText(s *secret.String) string {
	if text := s.Reveal(); strings.Contains(text, "${") && d.positions[s].state == unresolved {
		return text
	}
	return ""
}
