package auth

import (
	"testing"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// A block whose secret is wrong costs itself alone: another block with the same key id, and the same block once it is
// corrected, sign with their own secret. (The SDK's signer remembers the derived key by the key's id.)
func TestWrongSecretSpoilsNoOther(t *testing.T) {
	w := newWorld(t, awsfake.Options{})
	s := w.sessions(Options{})
	good := w.ak()
	bad := w.ak(func(a *config.Account) {
		a.Name, a.AKSecret = "bad", secret.New("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
	})
	w.refused(s, bad, record.BadSignature)
	w.open(s, good)
	w.refused(s, bad, record.BadSignature)
}
