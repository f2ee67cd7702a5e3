package auth

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

func (w *world) lend(s *Sessions, a config.Account) aws.Config {
	w.t.Helper()
	cfg, err := s.ConfigFor(w.t.Context(), a)
	if err != nil {
		w.t.Fatal(err)
	}
	return cfg
}

// A key that is lent is shown to nobody here: it may be that of a store which is not AWS's.
func TestLendKey(t *testing.T) {
	w := newWorld(t, awsfake.Options{})
	cfg := w.lend(w.sessions(Options{}), w.ak())
	c, err := cfg.Credentials.Retrieve(t.Context())
	if err != nil || c.AccessKeyID != w.key.ID {
		t.Fatalf("%s, %v", c.AccessKeyID, err)
	}
	w.count("", 0)
}

// A role that is lent is the one that an account entered by it has.
func TestLendRole(t *testing.T) {
	w := newWorld(t, awsfake.Options{})
	s := w.sessions(Options{})
	a := w.ak(role(w.role.ARN))
	cfg := w.lend(s, a)
	w.count("", 0)
	lent, err := cfg.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if own := retrieve(w, w.open(s, a)); own.AccessKeyID != lent.AccessKeyID {
		t.Error("the account has another session")
	}
	w.count("AssumeRole", 1)
	if _, ok := cfg.Credentials.(interface{ Invalidate() }); !ok {
		t.Error("whoever is refused cannot say so")
	}
}

func TestLendWrongKey(t *testing.T) {
	w := newWorld(t, awsfake.Options{})
	k := w.key
	k.ID = "AKIAI44QH8DHBEXAMPLE"
	cfg := w.lend(w.sessions(Options{}), block(key(k), role(w.role.ARN)))
	if _, err := cfg.Credentials.Retrieve(t.Context()); record.ReasonOf(err) != record.BadKey {
		t.Errorf("%v", err)
	}
}
