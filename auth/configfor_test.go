package auth

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

func (w *fixture) configFor(s *Sessions, a config.Account) aws.Config {
	w.t.Helper()
	cfg, err := s.ConfigFor(w.t.Context(), a)
	if err != nil {
		w.t.Fatal(err)
	}
	return cfg
}

// ConfigFor sends a key nowhere: it may belong to a store that is not AWS's.
func TestConfigForKey(t *testing.T) {
	w := newFixture(t, awsfake.Options{})
	cfg := w.configFor(w.sessions(Options{}), w.ak())
	c, err := cfg.Credentials.Retrieve(t.Context())
	if err != nil || c.AccessKeyID != w.key.ID {
		t.Fatalf("%s, %v", c.AccessKeyID, err)
	}
	w.count("", 0)
}

// ConfigFor shares the role session of an account with the same role.
func TestConfigForRole(t *testing.T) {
	w := newFixture(t, awsfake.Options{})
	s := w.sessions(Options{})
	a := w.ak(role(w.role.ARN))
	cfg := w.configFor(s, a)
	w.count("", 0)
	borrowed, err := cfg.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if own := retrieve(w, w.open(s, a)); own.AccessKeyID != borrowed.AccessKeyID {
		t.Error("the account has another session")
	}
	w.count("AssumeRole", 1)
	if _, ok := cfg.Credentials.(interface{ RejectCurrent() }); !ok {
		t.Error("the credentials cannot be invalidated")
	}
}

func TestConfigForWrongKey(t *testing.T) {
	w := newFixture(t, awsfake.Options{})
	k := w.key
	k.ID = "AKIAI44QH8DHBEXAMPLE"
	cfg := w.configFor(w.sessions(Options{}), block(key(k), role(w.role.ARN)))
	if _, err := cfg.Credentials.Retrieve(t.Context()); record.ReasonOf(err) != record.BadKey {
		t.Errorf("%v", err)
	}
}
