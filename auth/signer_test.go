package auth

import (
	"testing"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// A wrong secret affects only its own block: another block with the same key id, and the same block once it is
// corrected, sign with their own secret. (The SDK's signer caches the derived key by key id.)
func TestWrongSecretAffectsNoOther(t *testing.T) {
	w := newFixture(t, awsfake.Options{})
	s := w.sessions(Options{})
	good := w.ak()
	bad := w.ak(func(a *config.Account) {
		a.Name, a.AKSecret = "bad", secret.New("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
	})
	w.refused(s, bad, record.BadSignature)
	w.open(s, good)
	w.refused(s, bad, record.BadSignature)
}
