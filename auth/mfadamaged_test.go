package auth

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// TestUnusableSession: an account with a seed signs in although its stored session cannot be used: the log names the
// file, a damaged file is moved aside, and a new session begins. Without a seed, the hint says what a person can do.
func TestUnusableSession(t *testing.T) {
	key, otherKey := secret.New(strings.Repeat("0f", 32)), secret.New(strings.Repeat("f0", 32))
	rewrite := func(to func(b []byte) []byte) func(path string) error {
		return func(path string) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, to(b), 0o600)
		}
	}
	replace := func(text string) func(path string) error {
		return rewrite(func([]byte) []byte { return []byte(text) })
	}
	const unreadable = "cannot be read as a session"
	for name, c := range map[string]struct {
		before, after secret.String
		do            func(path string) error
		say           string
		aside         bool
	}{
		"empty":        {do: replace(""), say: unreadable, aside: true},
		"torn":         {do: rewrite(func(b []byte) []byte { return b[:len(b)/2] }), say: unreadable, aside: true},
		"zeros":        {do: rewrite(func(b []byte) []byte { return make([]byte, len(b)) }), say: unreadable, aside: true},
		"garbage":      {do: replace("\xff\xfe wJalrXUtnFEMI"), say: unreadable, aside: true},
		"two":          {do: rewrite(func(b []byte) []byte { return append(b, b...) }), say: unreadable, aside: true},
		"another type": {do: replace(`{"AccessKeyId": 5}`), say: unreadable, aside: true},
		"a list":       {do: replace(`[]`), say: unreadable, aside: true},
		"half": {do: replace(`{"AccessKeyId": "ASIAIOSFODNN7EXAMPLE"}`),
			say: "holds an incomplete session", aside: true},
		"huge": {do: func(path string) error { return os.Truncate(path, 2<<20) }, say: unreadable, aside: true},
		"a link": {do: func(path string) error {
			return errors.Join(os.Rename(path, path+".real"), os.Symlink(path+".real", path))
		}, say: "is not a regular file", aside: true},
		"encrypted, altered": {before: key, after: key, do: rewrite(func(b []byte) []byte {
			i := bytes.Index(b, []byte(`"Sealed":"`)) + 20
			b[i] = map[bool]byte{true: 'B', false: 'A'}[b[i] == 'A'] // another letter of base64, whichever it was
			return b
		}), say: "was altered", aside: true},
		"encrypted, torn": {before: key, after: key, do: rewrite(func(b []byte) []byte { return b[:len(b)-20] }),
			say: "cannot be read", aside: true},
		"encrypted, cut inside": {before: key, after: key, do: rewrite(func(b []byte) []byte {
			return []byte(string(b[:bytes.Index(b, []byte(`"Sealed":"`))]) + `"Sealed":"AAAA"}`)
		}), say: "was altered", aside: true},
		"another key":          {before: key, after: otherKey, say: "was encrypted with another session_key"},
		"the key was removed":  {before: key, say: "session_key is not set"},
		"a key, not encrypted": {after: key, say: "is not encrypted"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *fixture) {
				data := t.TempDir()
				withSeed := w.ak(seed(w.mfa))
				first := retrieve(w, w.open(w.sessions(Options{DataDir: data, SessionKey: c.before}), withSeed))
				found, err := filepath.Glob(filepath.Join(data, "sessions", "*.json"))
				if err != nil || len(found) != 1 {
					t.Fatalf("%v %v", found, err)
				}
				damage := func() {
					if c.do == nil {
						return
					}
					if err := c.do(found[0]); err != nil {
						t.Fatal(err)
					}
				}
				damage()
				stored, err := os.ReadFile(found[0])
				if err != nil {
					t.Fatal(err)
				}
				o := Options{DataDir: data, SessionKey: c.after}
				withoutSeed := w.ak(func(a *config.Account) { a.SerialNumber = w.mfa.Serial })
				w.refused(w.sessions(o), withoutSeed, w.reasonWithout(c.aside, name), c.say, "collector login")
				time.Sleep(codePeriod)
				if c.aside {
					if err := os.Rename(found[0]+".damaged", found[0]); err != nil {
						t.Fatal(err)
					}
				} else if b, err := os.ReadFile(found[0]); err != nil || !bytes.Equal(b, stored) {
					t.Errorf("an unusable file was changed: %v", err)
				}

				second := retrieve(w, w.open(w.sessions(o), withSeed))
				if second.SessionToken == first.SessionToken {
					t.Error("the session was used")
				}
				log := w.log.String()
				if !strings.Contains(log, "stored MFA session not usable") || !strings.Contains(log, c.say) ||
					strings.Contains(log, "wJalrXUtnFEMI") {
					t.Errorf("log: %s", log)
				}
				if _, err := os.Lstat(found[0] + ".damaged"); (err == nil) != c.aside {
					t.Errorf("moved aside: %v", err)
				}
				if third := retrieve(w, w.open(w.sessions(o), withSeed)); third.SessionToken != second.SessionToken {
					t.Error("the new session was not stored")
				}
				w.count("GetSessionToken", 2)
			})
		})
	}
}

// reasonWithout is the reason of a failure without a seed.
func (w *fixture) reasonWithout(aside bool, name string) record.Reason {
	if aside || name == "a key, not encrypted" {
		return record.MFANeeded
	}
	return record.Other
}

// TestUsedCodesSurvive: if an unencrypted session is not used, its used codes are still known: no code is sent twice.
func TestUsedCodesSurvive(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		data := t.TempDir()
		code := w.mfa.Now()
		w.open(w.sessions(Options{DataDir: data}), w.ak(device(w.mfa.Serial, code)))
		o := Options{DataDir: data, SessionKey: secret.New(strings.Repeat("0f", 32))}
		w.refused(w.sessions(o), w.ak(device(w.mfa.Serial, code)), record.MFANeeded, "is not encrypted")
		w.open(w.sessions(o), w.ak(seed(w.mfa)))
		w.count("GetSessionToken", 2) // the seed's code of that window was not sent
	})
}
