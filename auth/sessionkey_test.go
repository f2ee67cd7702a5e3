package auth

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// TestSessionKey: with a key, nothing of a session can be read from the disk. With another key, or none, the error says
// what is wrong, and nothing is lost.
func TestSessionKey(t *testing.T) {
	bubble(t, sessionKey)
}

func sessionKey(t *testing.T, w *fixture) {
	data := t.TempDir()
	key, other := secret.New(strings.Repeat("0f", 32)), secret.New(strings.Repeat("f0", 32))
	with := func(key secret.String) *Sessions { return w.sessions(Options{DataDir: data, SessionKey: key}) }
	a := w.ak(device(w.mfa.Serial, w.mfa.Now()))
	content := func() []byte {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(data, "sessions", "*.json"))
		if err != nil || len(found) != 1 {
			t.Fatalf("%v %v", found, err)
		}
		b, err := os.ReadFile(found[0])
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := w.open(with(secret.String{}), a)
	c := retrieve(w, first)
	if b := content(); !bytes.Contains(b, []byte(c.SessionToken)) {
		t.Fatalf("encrypted: %s", b)
	}

	// With a key, an unencrypted session is not used: anybody who can write here could have stored it. A login replaces
	// it.
	w.refused(with(key), a, record.MFANeeded, "is not encrypted", "collector login")
	if b := content(); !bytes.Contains(b, []byte(c.SessionToken)) {
		t.Errorf("it was encrypted: %s", b)
	}
	w.count("GetSessionToken", 1)
	time.Sleep(codePeriod)
	ask := func(context.Context, string) (secret.String, error) { return secret.New(w.mfa.Now()), nil }
	if _, err := with(key).Login(t.Context(), a, ask); err != nil {
		t.Fatal(err)
	}
	c = retrieve(w, w.open(with(key), a))
	stored := content()
	for _, s := range []string{c.AccessKeyID, c.SecretAccessKey, c.SessionToken, "Spent", "Expiration", key.Reveal()} {
		if bytes.Contains(stored, []byte(s)) {
			t.Errorf("%s can be read: %s", s, stored)
		}
	}
	w.refused(with(other), a, record.Other, "another session_key", "`session_key`")
	w.refused(with(secret.String{}), a, record.Other, "session_key is not set")
	w.refused(with(secret.New("passphrase")), a, record.Other, "32 bytes")
	if !bytes.Equal(stored, content()) {
		t.Error("the file was changed although it could not be read")
	}
	if got := retrieve(w, w.open(with(key), a)); got.SessionToken != c.SessionToken {
		t.Error("the session is lost")
	}
	w.count("GetSessionToken", 2)
}
