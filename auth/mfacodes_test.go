package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

func seed(m *awsfake.MFA) func(*config.Account) {
	return func(a *config.Account) { a.SerialNumber, a.TOTPSeed = m.Serial, secret.New(m.Seed) }
}

func command(m *awsfake.MFA, argv ...string) func(*config.Account) {
	return func(a *config.Account) { a.SerialNumber, a.TokenCommand = m.Serial, argv }
}

// TestMFASeed: fifty accounts of one device, three runs an hour apart, each in a new process, need one code. In a
// process that stays, the session is renewed, but not more often than needed.
func TestMFASeed(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		o := Options{DataDir: t.TempDir()}
		var accounts []config.Account
		for i := range 50 {
			r := w.other.AddRole(fmt.Sprint("r", i), trustingWithMFA(w.home.ID))
			accounts = append(accounts, w.ak(seed(w.mfa), role(r.ARN)))
		}
		run := func(s *Sessions, accounts []config.Account) {
			var wg sync.WaitGroup
			for _, a := range accounts {
				wg.Go(func() {
					if _, err := s.Open(t.Context(), a); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		for range 3 {
			run(w.sessions(o), accounts)
			time.Sleep(time.Hour)
		}
		w.count("GetSessionToken", 1)
		w.count("AssumeRole", 150)

		s := w.sessions(o)
		for range 4 * 72 { // a run every 15 minutes for three days
			run(s, accounts[:3])
			time.Sleep(15 * time.Minute)
		}
		w.count("GetSessionToken", 3)
		if log := w.log.String(); strings.Contains(log, "WARN") {
			t.Errorf("warned: %.300s", log[strings.Index(log, "WARN"):])
		}
	})
}

// TestMFAProfile: a profile that names the device shares its session with a block that does, and needs only the first
// code.
func TestMFAProfile(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		w.role.SetTrust(awsfake.Trust{Principals: []string{w.home.ID}, MFA: true})
		w.load.ConfigFiles = []string{write(t, "config", "[profile user]\n"+keyLines(w.key)+"[profile admin-role]\n"+
			"role_arn = "+w.role.ARN+"\nmfa_serial = "+w.mfa.Serial+"\nsource_profile = user\n")}
		o := Options{DataDir: t.TempDir()}
		a := block(profile("admin-role"))
		w.refused(w.sessions(o), a, record.MFANeeded, "no source gives a code", "`collector login`")
		a.TOTPSeed = secret.New(w.mfa.Seed)
		w.open(w.sessions(o), a)
		w.open(w.sessions(o), w.ak(seed(w.mfa)))
		a.TOTPSeed = secret.String{} // the session is stored: no code is needed
		w.open(w.sessions(o), a)
		w.count("GetSessionToken", 1)
	})
}

// TestMFAOverAnyKey: the key below a profile that requires MFA may come from a process or the environment. When it was
// rotated there, the new one is used for the next session.
func TestMFAOverAnyKey(t *testing.T) {
	for name, tt := range map[string]struct {
		source string
		give   func(t *testing.T, dir string, k awsfake.Key)
	}{
		"process": {"source_profile = p\n[profile p]\ncredential_process = cat {dir}/key.json\n",
			func(t *testing.T, dir string, k awsfake.Key) {
				text := fmt.Sprintf(`{"Version":1,"AccessKeyId":%q,"SecretAccessKey":%q}`, k.ID, k.Secret)
				if err := os.WriteFile(filepath.Join(dir, "key.json"), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}},
		"environment": {"credential_source = Environment\n", func(t *testing.T, _ string, k awsfake.Key) {
			t.Setenv("AWS_ACCESS_KEY_ID", k.ID)
			t.Setenv("AWS_SECRET_ACCESS_KEY", k.Secret)
		}},
		"file": {"source_profile = u\n", func(t *testing.T, dir string, k awsfake.Key) {
			file := filepath.Join(dir, "credentials")
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
			if err := os.WriteFile(file, []byte("[u]\n"+keyLines(k)), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := ordinaryEnv(t)
			dir := t.TempDir()
			w.role.SetTrust(awsfake.Trust{Principals: []string{w.home.ID}, MFA: true})
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", "[profile m]\nrole_arn = "+w.role.ARN+"\nmfa_serial = "+
				w.mfa.Serial+"\n"+strings.ReplaceAll(tt.source, "{dir}", dir)))
			tt.give(t, dir, w.key)
			data := t.TempDir()
			s := w.sessions(Options{Getenv: os.Getenv, DataDir: data})
			open := func(code string) *Session {
				t.Helper()
				got := w.open(s, block(profile("m"), device("", code)))
				if want := []string{"profile m (", "mfa " + w.mfa.Serial, "role " + w.role.ARN}; len(got.Path()) != 3 ||
					!strings.HasPrefix(got.Path()[0], want[0]) || !slices.Equal(got.Path()[1:], want[1:]) {
					t.Errorf("path %q", got.Path())
				}
				return got
			}
			open(w.mfa.Code(w.aws.Now().Add(-codePeriod)))
			next := w.user.NewKey()
			tt.give(t, dir, next)
			w.user.DeleteKey(w.key.ID)
			w.count("GetSessionToken", 1)
			if err := os.RemoveAll(filepath.Join(data, "sessions")); err != nil { // as if the session had ended
				t.Fatal(err)
			}
			if !w.works(open(w.mfa.Now())) {
				t.Error("the new key was not used")
			}
			w.count("GetSessionToken", 2)
		})
	}
}

// TestMFACommandEnvironment: a command gets the environment that the program gives it, and no other.
func TestMFACommandEnvironment(t *testing.T) {
	t.Setenv("HIDDEN", "123456")
	c := commandCodes{argv: []string{"sh", "-c", `test -z "$HIDDEN" && printf "$CODE"`}, limit: commandTimeout,
		env: func() []string { return []string{"CODE=654321", "PATH=" + os.Getenv("PATH")} }}
	if code, _, err := c.code(t.Context(), time.Now()); err != nil || code.Reveal() != "654321" {
		t.Errorf("%q, %v", code.Reveal(), err)
	}
	a := config.Account{SignIn: config.SignIn{TokenCommand: c.argv}}
	if source, err := newCodeSource(a, c.env); err != nil || source.(commandCodes).env == nil {
		t.Errorf("the command of a block has another environment: %v", err)
	}
}

// TestMFAWindow: a code is sent once, and early enough in its window; the wait for the next is one window at most.
func TestMFAWindow(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		s := w.sessions(Options{DataDir: t.TempDir()})
		_, left := codeWindow(time.Now(), codePeriod)
		time.Sleep(left + codePeriod - time.Second) // a second before the end of a window
		a := w.ak(seed(w.mfa))
		took := func() time.Duration {
			began := time.Now()
			w.open(s, a)
			return time.Since(began)
		}
		if d := took(); d < time.Second || d > minWindowLeft {
			t.Errorf("a code with a second left: waited %s", d)
		}
		for range 3 { // the session is revoked, so another code is needed at once
			got := w.open(s, a)
			got.Reject(retrieve(w, got))
			if d := took(); d < codePeriod/2 || d > codePeriod+minWindowLeft {
				t.Errorf("a code that was used: waited %s", d)
			}
		}
		codes := map[string]bool{}
		for _, c := range w.calls("GetSessionToken") {
			codes[c.Params["TokenCode"]] = true
			if c.Code != "" {
				t.Errorf("refused: %s", c.Code)
			}
		}
		if len(codes) != 4 {
			t.Errorf("%d different codes in 4 calls", len(codes))
		}
	})
}

// TestMFAWrongSeed: after two codes, STS is not called for an hour.
func TestMFAWrongSeed(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		o := Options{DataDir: t.TempDir()}
		wrong := w.ak(seed(w.mfa))
		wrong.TOTPSeed = secret.New("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")
		began := time.Now()
		w.refused(w.sessions(o), wrong, record.MFAInvalid, "`totp_seed`", "two codes in a row")
		if d := time.Since(began); d > codePeriod+minWindowLeft {
			t.Errorf("two tries took %s", d)
		}
		for range 4 {
			w.refused(w.sessions(o), wrong, record.MFAInvalid, "two codes of `totp_seed` were refused", "called again after")
			time.Sleep(14 * time.Minute)
		}
		w.count("GetSessionToken", 2)
		_, err := w.sessions(o).Open(t.Context(), wrong)
		sent := w.calls("GetSessionToken")
		secrets := []string{wrong.TOTPSeed.Reveal(), sent[0].Params["TokenCode"], sent[1].Params["TokenCode"]}
		for _, secret := range secrets {
			if text := fmt.Sprintf("%+v %s %s", err, record.HintOf(err), w.log.String()); strings.Contains(text, secret) {
				t.Errorf("shows %s: %s", secret, text)
			}
		}
		time.Sleep(5 * time.Minute)
		w.refused(w.sessions(o), wrong, record.MFAInvalid)
		w.count("GetSessionToken", 4)
		w.open(w.sessions(o), w.ak(seed(w.mfa))) // another seed is tried
		w.open(w.sessions(o), wrong)             // its session is the device's
		w.count("GetSessionToken", 5)
	})
}

// TestMFAClock: codes follow AWS's clock, known from the response to the call before the first code, else from the
// refusal of that code. (If the clock is wrong by more than five minutes, AWS refuses the call before it checks a
// code.)
func TestMFAClock(t *testing.T) {
	for _, off := range []time.Duration{20 * time.Minute, -20 * time.Minute, 4 * time.Minute, -4 * time.Minute} {
		for _, blind := range []bool{false, true} {
			if blind && off.Abs() > 5*time.Minute {
				continue
			}
			t.Run(fmt.Sprint(off, blind), func(t *testing.T) {
				bubbleWith(t, awsfake.Options{ClockOffset: off}, func(t *testing.T, w *fixture) {
					cfg, err := LoadAWS(t.Context(), w.load)
					if err != nil {
						t.Fatal(err)
					}
					real := cfg.HTTPClient.(*http.Client)
					defer real.CloseIdleConnections()
					dates := 0
					cfg.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
						out, err := real.Transport.RoundTrip(r)
						if err == nil && blind && out.StatusCode == http.StatusOK {
							out.Header.Del("Date")
							dates++
						}
						return out, err
					})}
					s := NewSessions(Options{AWS: cfg, DataDir: t.TempDir(), Log: slog.New(slog.NewTextHandler(w.log, nil))})
					defer s.Close()
					w.open(s, w.ak(seed(w.mfa)))
					want := 1
					if blind {
						want = 2
					}
					w.count("GetSessionToken", want)
					if blind && dates == 0 {
						t.Error("no Date header was removed")
					}
				})
			})
		}
	}
}

// TestMFACommand: the program runs when a code is needed, and no code is sent twice.
func TestMFACommand(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		file := write(t, "code", w.mfa.Now()+"\n")
		runs := filepath.Join(t.TempDir(), "runs")
		a := w.ak(command(w.mfa, "/bin/sh", "-c", `echo run >>"$1" && cat "$2"`, "sh", runs, file))
		s := w.sessions(Options{DataDir: t.TempDir()})
		got := w.open(s, a)
		w.open(s, a)
		w.count("GetSessionToken", 1)
		go func() {
			_, left := codeWindow(time.Now(), codePeriod)
			time.Sleep(left - time.Millisecond)
			_ = os.WriteFile(file, []byte(w.mfa.Code(time.Now().Add(time.Second))), 0o600)
		}()
		got.Reject(retrieve(w, got))
		w.open(s, a)
		w.count("GetSessionToken", 2)
		if b, err := os.ReadFile(runs); err != nil || strings.Count(string(b), "run") != 3 {
			t.Errorf("ran %q %v, want 3 runs: the second gave the used code", b, err)
		}
		got.Reject(retrieve(w, got)) // the program repeats its code
		w.refused(s, a, record.MFAInvalid, "used before", "`token_command`")
		w.count("GetSessionToken", 2)
	})
}

// TestMFACommandWrong: the error for a program that gives no code does not show its output.
func TestMFACommandWrong(t *testing.T) {
	w := newFixture(t, awsfake.Options{})
	for name, tt := range map[string]struct {
		argv []string
		say  string
	}{
		"no program": {[]string{"no-such-program-here"}, "PATH"},
		"fails": {[]string{"/bin/sh", "-c", "echo CANARY-out; echo CANARY-err >&2; exit 3", "CANARY-arg"},
			"exit status 3"},
		"no code":    {[]string{"/bin/sh", "-c", "echo CANARY-out"}, "instead of a code of 6 digits"},
		"two codes":  {[]string{"/bin/sh", "-c", "echo 012345; echo 012346"}, "instead of a code of 6 digits"},
		"too much":   {[]string{"/bin/sh", "-c", "yes | head -c 100000"}, "instead of a code of 6 digits"},
		"shell word": {[]string{"echo 012345"}, "PATH"},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			s := w.sessions(Options{})
			a := w.ak(command(w.mfa, tt.argv...))
			w.refused(s, a, record.MFANeeded, tt.say)
			_, err := s.Open(t.Context(), a)
			if text := fmt.Sprintf("%+v %s %s", err, record.HintOf(err), w.log.String()); strings.Contains(text, "CANARY") {
				t.Errorf("shows the program's arguments or output: %s", text)
			}
		})
	}
	w.count("GetSessionToken", 0)

	t.Run("hangs", func(t *testing.T) {
		// The shell's child would keep the pipe open for an hour.
		child := filepath.Join(t.TempDir(), "pid")
		hang := commandCodes{
			argv:  []string{"/bin/sh", "-c", `sleep 3600 & echo $! >"$1"; wait; echo 012345`, "sh", child},
			limit: 200 * time.Millisecond,
		}
		_, _, err := hang.code(t.Context(), time.Now())
		pid, perr := os.ReadFile(child)
		if perr != nil {
			t.Fatal(perr)
		}
		stat, _ := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")       // without /proc, not checked
		if _, state, ok := strings.Cut(string(stat), "(sleep) "); ok && state[0] == 'S' { // still sleeping
			t.Errorf("the command's child still runs: %s", stat)
		}
		if record.ReasonOf(err) != record.MFANeeded || !strings.Contains(err.Error(), "timed out after 200ms") {
			t.Error(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(io.ErrUnexpectedEOF)
		hang.limit = time.Hour
		if _, _, err := hang.code(ctx, time.Now()); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
	})
}

// TestMFAWarnsOfExpiry: two hours before the expiry of a session that only a person can renew, one warning is logged; a
// login in another process is noticed.
func TestMFAWarnsOfExpiry(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		o := Options{DataDir: t.TempDir()}
		s := w.sessions(o)
		a := w.ak(device(w.mfa.Serial, w.mfa.Now()))
		var began time.Time
		runs := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(15 * time.Minute) {
				w.open(s, a)
			}
		}
		warned := func(want int) {
			t.Helper()
			if got := strings.Count(w.log.String(), "MFA session expires soon"); got != want {
				t.Errorf("%s after the login: warned %d times, want %d", time.Since(began), got, want)
			}
		}
		began = time.Now()
		runs(33*time.Hour + 45*time.Minute)
		warned(0)
		runs(90 * time.Minute)
		warned(1)
		if !strings.Contains(w.log.String(), "collector login") {
			t.Error("the warning has no hint")
		}
		next := a
		device(w.mfa.Serial, w.mfa.Now())(&next)
		if _, err := w.sessions(o).Login(t.Context(), next, nil); err != nil { // another process
			t.Fatal(err)
		}
		runs(30 * time.Hour)
		w.count("GetSessionToken", 2)
		warned(1)
	})
}

// TestLogin: when a person is asked for a code, and what it is used for.
func TestLogin(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		o := Options{DataDir: t.TempDir()}
		asked := 0
		gives := func(code string) func(context.Context, string) (secret.String, error) {
			return func(_ context.Context, device string) (secret.String, error) {
				asked++
				if device != w.mfa.Serial {
					t.Errorf("asked for a code of %s", device)
				}
				return secret.New(code), nil
			}
		}
		refused := func(a config.Account, code string, want record.Reason, calls int) {
			t.Helper()
			_, err := w.sessions(o).Login(t.Context(), a, gives(code))
			if record.ReasonOf(err) != want || record.HintOf(err) == "" {
				t.Errorf("%v (hint %q), want %s", err, record.HintOf(err), want)
			}
			w.count("GetSessionToken", calls)
		}
		a := w.ak(device(w.mfa.Serial, ""))
		bad := a
		bad.AKSecret = unknown2
		refused(bad, w.mfa.Now(), record.BadSignature, 0)
		refused(w.ak(), w.mfa.Now(), record.MFASerial, 0)
		if asked != 0 {
			t.Error("asked for a code that could not be sent")
		}
		refused(a, "000000", record.MFAInvalid, 1)

		code := w.mfa.Now()
		first, err := w.sessions(o).Login(t.Context(), a, gives(code))
		if err != nil || first.Device != w.mfa.Serial || time.Until(first.Expires) != defaultMFASession {
			t.Errorf("%+v, %v", first, err)
		}
		refused(a, code, record.MFANeeded, 2) // used before, so AWS is not called
		s := w.sessions(o)
		w.open(s, a)

		// Another login renews a session that is still valid, and the process that asked uses it.
		time.Sleep(time.Hour)
		second, err := s.Login(t.Context(), a, gives(w.mfa.Now()))
		if err != nil || second.Expires.Sub(first.Expires) != time.Hour {
			t.Errorf("%+v, %v", second, err)
		}
		if until, _ := w.open(s, a).Expires(); !until.Equal(second.Expires) {
			t.Errorf("session until %s, want %s", until, second.Expires)
		}

		before := asked
		if _, err := s.Login(t.Context(), w.ak(seed(w.mfa)), gives("000000")); err != nil || asked != before {
			t.Errorf("a block with a seed: asked %d times, %v", asked-before, err)
		}
		stop := errors.New("no, thanks")
		refuse := func(context.Context, string) (secret.String, error) { return secret.String{}, stop }
		if _, err := s.Login(t.Context(), a, refuse); !errors.Is(err, stop) {
			t.Error(err)
		}
	})
}

// TestLoginDue: a login is due if the MFA session has no source of codes, whatever roles follow; a role's own expiry
// does not matter.
func TestLoginDue(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		r := w.other.AddRole("hourly", trusting(w.home.ID))
		for _, c := range []struct {
			name    string
			account func() config.Account
			lapses  bool
		}{
			{"key", func() config.Account { return w.ak() }, false},
			{"role", func() config.Account { return w.ak(role(r.ARN)) }, false},
			{"seed", func() config.Account { return w.ak(seed(w.mfa)) }, false},
			{"seed, role", func() config.Account { return w.ak(seed(w.mfa), role(r.ARN)) }, false},
			{"command", func() config.Account { return w.ak(command(w.mfa, "/bin/echo", w.mfa.Now())) }, false},
			{"token_code", func() config.Account { return w.ak(device(w.mfa.Serial, w.mfa.Now())) }, true},
			{"token_code, role", func() config.Account { return w.ak(device(w.mfa.Serial, w.mfa.Now()), role(r.ARN)) }, true},
		} {
			time.Sleep(2 * codePeriod) // each code works once
			until, ok := w.open(w.sessions(Options{DataDir: t.TempDir()}), c.account()).LoginDue()
			if ok != c.lapses || ok && time.Until(until) < 35*time.Hour {
				t.Errorf("%s: %v %t, want %t", c.name, until, ok, c.lapses)
			}
		}
	})
}
