package auth

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws-collector/collector/auth/internal/mfastore"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// TestMFAOnce: a code makes one session, for all accounts of the device, across restarts, for 36 hours. After that, the
// hint says what to do, without a call to STS; the next code is accepted.
func TestMFAOnce(t *testing.T) {
	for _, where := range []string{"directory", "memory"} {
		t.Run(where, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *fixture) {
				o, memory := Options{DataDir: t.TempDir()}, mfastore.New("", secret.String{})
				newSessions := func() *Sessions {
					s := w.sessions(o)
					if where == "memory" {
						s.store = memory
					}
					return s
				}
				code := w.mfa.Now()
				var accounts []config.Account
				for i := range 50 {
					r := w.other.AddRole(fmt.Sprint("r", i), trustingWithMFA(w.home.ID))
					accounts = append(accounts, w.ak(device(w.mfa.Serial, code), role(r.ARN)))
				}
				for run := range 7 { // a new process every five hours
					s := newSessions()
					var wg sync.WaitGroup
					for _, a := range accounts {
						wg.Go(func() {
							if _, err := s.Open(t.Context(), a); err != nil {
								t.Errorf("run %d: %v", run, err)
							}
						})
					}
					wg.Wait()
					time.Sleep(5 * time.Hour)
				}
				w.count("GetSessionToken", 1)
				w.count("AssumeRole", 7*50)

				time.Sleep(time.Hour)
				w.aws.ResetCalls()
				s := newSessions()
				for range 3 {
					w.refused(s, accounts[0], record.MFANeeded, "the session expired at", "`token_code`")
					time.Sleep(time.Hour)
				}
				w.count("", 0)
				next := accounts[0]
				device(w.mfa.Serial, w.mfa.Now())(&next)
				w.open(s, next)
				w.count("GetSessionToken", 1)
			})
		})
	}
}

// TestMFAUsedCodes: a code that was refused, or whose response did not arrive, is not sent again; a code that never
// left this machine is.
func TestMFAUsedCodes(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		o := Options{DataDir: t.TempDir()}
		a := w.ak(device(w.mfa.Serial, "000000"))
		w.refused(w.sessions(o), a, record.MFAInvalid)
		w.refused(w.sessions(o), a, record.MFANeeded, "used before")
		w.count("GetSessionToken", 1)

		device(w.mfa.Serial, w.mfa.Now())(&a)
		mend := w.aws.Inject(awsfake.Fault{Kind: awsfake.Reset, Action: "GetSessionToken"})
		if _, err := w.sessions(o).Open(t.Context(), a); err == nil {
			t.Fatal("opened without a response")
		}
		mend()
		w.refused(w.sessions(o), a, record.MFANeeded)
		w.count("GetSessionToken", 2)
	})
	bubble(t, func(t *testing.T, w *fixture) {
		o := Options{DataDir: t.TempDir()}
		a := w.ak(device(w.mfa.Serial, w.mfa.Now()))
		bad := a
		bad.AKSecret = unknown2
		w.refused(w.sessions(o), bad, record.BadSignature)
		w.count("GetSessionToken", 0)
		w.open(w.sessions(o), a) // the wrong secret did not cost a code
	})
}

// TestMFANeverSent: a failed connection costs no code.
func TestMFAUnsent(t *testing.T) {
	w := newFixture(t, awsfake.Options{})
	cfg, err := LoadAWS(t.Context(), w.load)
	if err != nil {
		t.Fatal(err)
	}
	real := cfg.HTTPClient.(*http.Client).Transport
	broken := true
	cfg.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(strings.NewReader(string(b)))
		if broken && strings.Contains(string(b), "GetSessionToken") {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
		}
		return real.RoundTrip(r)
	})}
	s := NewSessions(Options{AWS: cfg})
	defer s.Close()
	a := w.ak(device(w.mfa.Serial, w.mfa.Now()))
	w.refused(s, a, record.Network)
	broken = false
	w.open(s, a)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestMFALastMinutes: without a new code, a session is used until it expires.
func TestMFALastMinutes(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		a := w.ak(device(w.mfa.Serial, w.mfa.Now()))
		a.MFASessionDuration = config.Duration(time.Hour)
		s := w.open(w.sessions(Options{}), a)
		until, ok := s.Expires()
		if !ok {
			t.Fatal("an MFA session without an end")
		}
		time.Sleep(time.Until(until) - time.Second)
		if !w.works(s) {
			t.Error("not good a second before the end")
		}
		time.Sleep(2 * time.Second)
		if _, err := s.Retrieve(t.Context()); record.ReasonOf(err) != record.MFANeeded {
			t.Errorf("after the end: %v", err)
		}
		w.count("GetSessionToken", 1)
	})
}

// TestStore: the content of the directory, its modes, and what is refused.
func TestStore(t *testing.T) {
	w := newFixture(t, awsfake.Options{})
	data := filepath.Join(t.TempDir(), "data")
	o := Options{DataDir: data}
	code := w.mfa.Now()
	a := w.ak(device(w.mfa.Serial, code))
	w.open(w.sessions(o), a)
	dir := filepath.Join(data, "sessions")
	for path, want := range map[string]os.FileMode{
		dir:                          0o700,
		filepath.Join(dir, "*.json"): 0o600,
		filepath.Join(dir, "*.lock"): 0o600,
	} {
		found, err := filepath.Glob(path)
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %v %v", path, found, err)
		}
		info, err := os.Stat(found[0])
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", found[0], got, want)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.new"))
	if err != nil || len(left) != 0 {
		t.Errorf("left over: %v %v", left, err)
	}
	file, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file[0])
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), code) {
		t.Error("the code itself is stored")
	}

	// A crash during a write leaves the old file, and does not prevent the next write.
	if err := os.WriteFile(file[0]+".new", b[:len(b)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	store, device := mfastore.New(data, secret.String{}), strings.TrimSuffix(filepath.Base(file[0]), ".json")
	if err := store.WithLock(t.Context(), device, func(stored *mfastore.Session, save func() error) error {
		stored.UsedCodes = []string{"x"}
		return save()
	}); err != nil {
		t.Error(err)
	}
	if err := store.WithLock(t.Context(), device, func(got *mfastore.Session, _ func() error) error {
		if len(got.UsedCodes) != 1 {
			t.Errorf("read %v", got)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}

	for _, tt := range []struct {
		name string
		do   func() error
		say  string
	}{
		{"open file", func() error { return os.Chmod(file[0], 0o640) }, "chmod 600"},
		{"open directory", func() error { return errors.Join(os.Chmod(file[0], 0o600), os.Chmod(dir, 0o755)) }, "chmod 700"},
		{"torn file", func() error {
			return errors.Join(os.Chmod(dir, 0o700), os.WriteFile(file[0], b[:len(b)/2], 0o600))
		}, "collector login"},
		{"no directory", func() error {
			return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600))
		}, "is not a directory"},
	} {
		if err := tt.do(); err != nil {
			t.Fatal(err)
		}
		_, err := w.sessions(o).Open(t.Context(), a)
		if err == nil || !strings.Contains(err.Error()+record.HintOf(err), tt.say) {
			t.Errorf("%s: %v (hint %q), want %q", tt.name, err, record.HintOf(err), tt.say)
		}
		if err != nil && strings.Contains(err.Error(), "SecretAccessKey") {
			t.Errorf("%s: the error quotes the file: %v", tt.name, err)
		}
	}
}
