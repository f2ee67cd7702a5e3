package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/auth/identity"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

func withFingerprint(a *config.Account) { a.Fingerprint = "m" }

// identities opens the file as a new process.
func (w *fixture) identities(path string) *identity.Store {
	w.t.Helper()
	c := identity.New(identity.Options{Path: path, Log: slog.New(slog.NewTextHandler(w.log, nil))})
	if err := c.Load(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Flush() })
	return c
}

// TestSwap: if an unchanged block signs in to another account, the sign-in fails, for every way to sign in, in the same
// process and after a restart, until the block names the account or a person accepts it.
func TestSwap(t *testing.T) {
	creds := func(path string, k awsfake.Key) {
		if err := os.WriteFile(path, []byte("[x]\n"+keyLines(k)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, of := range map[string]func(w *fixture, other awsfake.Key) (a config.Account, swap func(*config.Account)){
		"profile": func(w *fixture, other awsfake.Key) (config.Account, func(*config.Account)) {
			path := filepath.Join(t.TempDir(), "credentials")
			creds(path, w.key)
			w.load.CredentialsFiles = []string{path}
			return block(profile("x")), func(*config.Account) { creds(path, other) }
		},
		"credential_process": func(w *fixture, other awsfake.Key) (config.Account, func(*config.Account)) {
			path := filepath.Join(t.TempDir(), "out")
			w.process(path, w.key, time.Time{})
			w.load.ConfigFiles = []string{write(t, "config", "[profile x]\ncredential_process = cat "+path+"\n")}
			return block(profile("x")), func(*config.Account) { w.process(path, other, time.Time{}) }
		},
		"role of a profile": func(w *fixture, _ awsfake.Key) (config.Account, func(*config.Account)) {
			path := filepath.Join(t.TempDir(), "config")
			put := func(arn string) {
				text := "[profile u]\n" + keyLines(w.key) + "[profile x]\nsource_profile = u\nrole_arn = " + arn + "\n"
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			put(w.home.AddRole("here", trusting(w.home.ID)).ARN)
			w.load.ConfigFiles = []string{path}
			return block(profile("x")), func(*config.Account) { put(w.role.ARN) }
		},
		"file reference of a key": func(w *fixture, other awsfake.Key) (config.Account, func(*config.Account)) {
			return w.ak(), func(a *config.Account) { a.AKID, a.AKSecret = other.ID, secret.New(other.Secret) }
		},
		"env reference of a role": func(w *fixture, _ awsfake.Key) (config.Account, func(*config.Account)) {
			here := w.home.AddRole("here", trusting(w.home.ID))
			return w.ak(role(here.ARN)), func(a *config.Account) { a.Role.ARN = w.role.ARN }
		},
		"instance role": func(w *fixture, _ awsfake.Key) (config.Account, func(*config.Account)) {
			put := func(c *awsfake.Account) {
				r := c.AddRole("instance", trusting("ec2.amazonaws.com"))
				w.aws.SetIMDS(&awsfake.IMDS{Role: r, Region: "us-east-1", InstanceID: "i-0123456789abcdef0"})
			}
			put(w.home)
			return block(source("Ec2InstanceMetadata")), func(*config.Account) { put(w.other) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t, awsfake.Options{})
			path := filepath.Join(t.TempDir(), "identities.json")
			a, swap := of(w, w.other.AddUser("carol").NewKey())
			a.Fingerprint = "m"
			first := w.identities(path)
			if got := w.open(w.sessions(Options{Identities: first}), a); got.Identity.AccountID != w.home.ID {
				t.Fatalf("signed in as %s", got.Identity.ARN)
			}
			if a.KnownAccountID() == "" {
				read(t, path) // written before anything is listed
			} else if err := first.Flush(); err != nil {
				t.Fatal(err)
			}
			before := read(t, path)
			swap(&a)
			again := w.identities(path)
			refused := func(s *Sessions) {
				t.Helper()
				w.refused(s, a, record.WrongAccount, w.home.ID, w.other.ID, "collector accept prod", `account_id: "222222222222"`)
			}
			restarted := w.sessions(Options{Identities: again})
			refused(w.sessions(Options{Identities: first})) // it has an old copy of the file
			refused(restarted)
			if c := again.Lookup("prod", "m"); c.AccountID != w.home.ID || c.Refused.AccountID != w.other.ID {
				t.Errorf("identity %+v", c)
			}
			if err := again.Flush(); err != nil || read(t, path) == before {
				t.Errorf("the refusal was not saved: %v", err)
			}
			refused(w.sessions(Options{Identities: w.identities(path)}))

			named := a
			named.AccountID = w.other.ID
			if name != "env reference of a role" {
				file := filepath.Join(t.TempDir(), "identities.json")
				if err := os.WriteFile(file, []byte(read(t, path)), 0o600); err != nil {
					t.Fatal(err)
				}
				s := w.sessions(Options{Identities: w.identities(file)})
				w.open(s, named)
				w.open(s, a) // the account that the block named stays accepted
			}

			previous, err := w.identities(path).Accept("prod") // another process
			if err != nil || previous.AccountID != w.home.ID {
				t.Fatalf("%+v, %v", previous, err)
			}
			if got := w.open(restarted, a); got.Identity.AccountID != w.other.ID {
				t.Errorf("signed in as %s", got.Identity.ARN)
			}
			if _, err := w.identities(path).Accept("prod"); !errors.Is(err, identity.ErrNothingRefused) {
				t.Errorf("accepted twice: %v", err)
			}
		})
	}
}

// process writes the output of a credential_process.
func (w *fixture) process(path string, k awsfake.Key, until time.Time) {
	w.t.Helper()
	end := ""
	if !until.IsZero() {
		end = `, "Expiration": "` + until.UTC().Format(time.RFC3339) + `"`
	}
	text := fmt.Sprintf(`{"Version": 1, "AccessKeyId": %q, "SecretAccessKey": %q%s}`, k.ID, k.Secret, end)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSwapEnvironment: what is constant within a process is compared after a restart.
func TestSwapEnvironment(t *testing.T) {
	w, _ := ordinaryEnv(t)
	path := filepath.Join(t.TempDir(), "identities.json")
	carol := w.other.AddUser("carol").NewKey()
	fromEnv := block(source("Environment"), withFingerprint, func(a *config.Account) { a.Name = "env" })
	for _, a := range []config.Account{block(withFingerprint), fromEnv} {
		t.Setenv("AWS_ACCESS_KEY_ID", w.key.ID)
		t.Setenv("AWS_SECRET_ACCESS_KEY", w.key.Secret)
		w.open(w.sessions(Options{Identities: w.identities(path), Getenv: os.Getenv}), a)
		t.Setenv("AWS_ACCESS_KEY_ID", carol.ID)
		t.Setenv("AWS_SECRET_ACCESS_KEY", carol.Secret)
		s := w.sessions(Options{Identities: w.identities(path), Getenv: os.Getenv})
		w.refused(s, a, record.WrongAccount, "222222222222", "111111111111")
	}
}

// TestSwapSSO: another account in the profile's section; a renewed session is checked once.
func TestSwapSSO(t *testing.T) {
	c := newIdentityCenter(t)
	c.logIn()
	path := filepath.Join(t.TempDir(), "identities.json")
	s := c.sessions(Options{Identities: c.identities(path)})
	got := c.open(s, block(profile("p0"), withFingerprint))
	c.count("GetCallerIdentity", 1)
	file := os.Getenv("AWS_CONFIG_FILE")
	text := strings.Replace(read(t, file), "sso_account_id = 700000000000", "sso_account_id = 700000000003", 1)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got.Reject(retrieve(c.fixture, got)) // the file is read again, during a listing
	for range 3 {
		if creds, err := got.Retrieve(t.Context()); record.ReasonOf(err) != record.WrongAccount || creds.HasKeys() {
			t.Errorf("gave %s of another account: %v", creds.AccessKeyID, err)
		}
	}
	c.count("GetCallerIdentity", 2)
	c.refused(s, block(profile("p0"), withFingerprint), record.WrongAccount, "700000000000", "700000000003")
	c.count("GetCallerIdentity", 2)
}

// TestSwapInMidListing: an open session never becomes another account's when it is renewed; no caller gets the other
// account's credentials. Two blocks with one source are checked separately.
func TestSwapInMidListing(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		carol := w.other.AddUser("carol").NewKey()
		path := filepath.Join(t.TempDir(), "out")
		w.process(path, w.key, time.Now().Add(time.Hour))
		w.load.ConfigFiles = []string{write(t, "config", "[profile x]\ncredential_process = cat "+path+"\n")}
		file := filepath.Join(t.TempDir(), "identities.json")
		s := w.sessions(Options{Identities: w.identities(file)})
		prod := block(profile("x"), withFingerprint)
		got := w.open(s, prod)
		time.Sleep(50 * time.Minute)
		w.process(path, carol, time.Now().Add(time.Hour))
		time.Sleep(9*time.Minute + 30*time.Second)
		if c := retrieve(w, got); c.AccessKeyID != w.key.ID {
			t.Fatalf("gave %s", c.AccessKeyID)
		}
		synctest.Wait()
		_, _ = got.Retrieve(t.Context()) // starts to resolve the owner of the new credentials
		synctest.Wait()
		for range 3 {
			c, err := got.Retrieve(t.Context())
			if record.ReasonOf(err) != record.WrongAccount || c.HasKeys() {
				t.Fatalf("gave %s: %v", c.AccessKeyID, err)
			}
		}
		w.refused(s, prod, record.WrongAccount, "accept prod")
		other := prod
		other.Name = "other" // a new block, which has no earlier account
		if got := w.open(s, other); got.Identity.AccountID != w.other.ID {
			t.Errorf("signed in as %s", got.Identity.ARN)
		}
		w.refused(s, prod, record.WrongAccount)
		synctest.Wait()
		if _, err := w.identities(file).Accept("prod"); err != nil {
			t.Fatal(err)
		}
		if got := w.open(s, prod); got.Identity.AccountID != w.other.ID {
			t.Errorf("signed in as %s", got.Identity.ARN)
		}
		if c, err := got.Retrieve(t.Context()); record.ReasonOf(err) != record.WrongAccount || c.HasKeys() {
			t.Errorf("an open session got %s: %v", c.AccessKeyID, err)
		}
		w.count("GetCallerIdentity", 2)
	})
}

// TestUnknownOwner: while the owner of new credentials cannot be found, the old ones are used until they expire, and
// none after that.
func TestUnknownOwner(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		next := w.user.NewKey()
		path := filepath.Join(t.TempDir(), "out")
		w.process(path, w.key, time.Now().Add(time.Hour))
		w.load.ConfigFiles = []string{write(t, "config", "[profile x]\ncredential_process = cat "+path+"\n")}
		got := w.open(w.sessions(Options{}), block(profile("x"), withFingerprint))
		end := time.Now().Add(time.Hour)
		w.process(path, next, time.Now().Add(3*time.Hour))
		mend := w.aws.Inject(awsfake.Fault{Kind: awsfake.Unavailable, Service: "sts"})
		for time.Sleep(59 * time.Minute); ; time.Sleep(5 * time.Second) {
			c, err := got.Retrieve(t.Context())
			synctest.Wait()
			if err != nil {
				if time.Now().Before(end) {
					t.Fatalf("valid credentials were not returned: %v", err)
				}
				break
			}
			if c.AccessKeyID != w.key.ID || !time.Now().Before(c.Expires) {
				t.Fatalf("gave %s", c.AccessKeyID)
			}
		}
		if n := strings.Count(w.log.String(), "account is unknown"); n < 1 || n > 4 {
			t.Errorf("it was logged %d times", n)
		}
		mend()
		time.Sleep(time.Minute)
		if c := retrieve(w, got); c.AccessKeyID != next.ID {
			t.Errorf("gave %s", c.AccessKeyID)
		}
	})
}

// TestAskedOnce: GetCallerIdentity is called once for each new session, and not when the same key is read again.
func TestAskedOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		path := write(t, "credentials", "[x]\n"+keyLines(w.key))
		w.load.CredentialsFiles = []string{path}
		got := w.open(w.sessions(Options{}), block(profile("x"), withFingerprint))
		for range 5 {
			time.Sleep(10 * time.Second)
			got.RejectCurrent()
			retrieve(w, got)
		}
		w.count("GetCallerIdentity", 1)
	})
	bubble(t, func(t *testing.T, w *fixture) {
		r := w.home.AddRole("instance", trusting("ec2.amazonaws.com"))
		w.aws.SetIMDS(&awsfake.IMDS{Role: r, Region: "us-east-1", InstanceID: "i-0123456789abcdef0"})
		s := w.sessions(Options{})
		ids := map[string]bool{}
		for range 3 * 24 * 60 {
			ids[retrieve(w, w.open(s, block(source("Ec2InstanceMetadata"), withFingerprint))).AccessKeyID] = true
			synctest.Wait()
			time.Sleep(time.Minute)
		}
		if n := len(w.calls("GetCallerIdentity")); n != len(ids) || n < 3 {
			t.Errorf("asked %d times about %d sessions", n, len(ids))
		}
	})
}

// TestAnotherRoleOfTheAccount: another instance profile, user or role of the same account is accepted.
func TestAnotherRoleOfTheAccount(t *testing.T) {
	w := newFixture(t, awsfake.Options{})
	path := filepath.Join(t.TempDir(), "identities.json")
	for _, name := range []string{"one", "two"} {
		r := w.home.AddRole(name, trusting("ec2.amazonaws.com"))
		w.aws.SetIMDS(&awsfake.IMDS{Role: r, Region: "us-east-1", InstanceID: "i-0123456789abcdef0"})
		a := block(source("Ec2InstanceMetadata"), withFingerprint)
		got := w.open(w.sessions(Options{Identities: w.identities(path)}), a)
		if !strings.Contains(got.Identity.ARN, "/"+name+"/") {
			t.Errorf("signed in as %s", got.Identity.ARN)
		}
	}
}

// TestRegionOfOneBlock: a region that is not enabled refuses a key; a block with the same key and another region is not
// affected, whichever comes first.
func TestRegionOfOneBlock(t *testing.T) {
	bubbleWith(t, awsfake.Options{Latency: time.Second}, func(t *testing.T, w *fixture) {
		s := w.sessions(Options{})
		bad, good := w.ak(func(a *config.Account) { a.STSRegion = "me-south-1" }), w.ak()
		var wg sync.WaitGroup
		wg.Go(func() { w.refused(s, bad, record.BadKey, "me-south-1 is not enabled") })
		synctest.Wait()
		for range 2 {
			wg.Go(func() { w.open(s, good) })
		}
		wg.Wait()
		w.count("GetCallerIdentity", 2)
	})
}

// TestIdentityFile: the file holds no secret, and a damaged one is moved aside. If it cannot be written, a new block
// cannot sign in, but known ones can.
func TestIdentityFile(t *testing.T) {
	w := newFixture(t, awsfake.Options{})
	path := filepath.Join(t.TempDir(), "data", "identities.json")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	a := w.ak(device(w.mfa.Serial, w.mfa.Now()), withFingerprint)
	dir := t.TempDir()
	got := w.open(w.sessions(Options{Identities: w.identities(path), DataDir: dir}), a)
	c := retrieve(w, got)
	secrets := []string{w.key.Secret, w.key.ID, c.SecretAccessKey, c.SessionToken, c.AccessKeyID, a.TokenCode.Reveal()}
	for _, hidden := range secrets {
		if strings.Contains(read(t, path), hidden) {
			t.Errorf("%q is in the file", hidden)
		}
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("{\"version\": 1, \"cla"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := w.identities(path)
	_, err := os.Stat(path + ".damaged")
	if err != nil || f.Lookup("prod", "m") != nil || !strings.Contains(w.log.String(), "moved aside") {
		t.Errorf("a damaged file: %v\n%s", err, w.log)
	}
	w.open(w.sessions(Options{Identities: f, DataDir: dir}), a)
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	w.open(w.sessions(Options{Identities: f, DataDir: dir}), a)
	b := w.ak(withFingerprint)
	b.Name = "new"
	w.refused(w.sessions(Options{Identities: f}), b, record.Other, "data_dir")
	w.refused(w.sessions(Options{Identities: f}), b, record.Other, "data_dir")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
