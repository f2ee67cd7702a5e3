package auth

import (
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/auth/internal/mfastore"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// ordinaryEnv is a fixture for a program that is not isolated: it uses loopback and the standard variables, with no
// others set.
func ordinaryEnv(t *testing.T) (*fixture, string) {
	t.Helper()
	cleanEnv(t)
	w := newFixture(t, awsfake.Options{})
	srv, err := w.aws.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	t.Setenv("AWS_ENDPOINT_URL", srv.URL)
	w.load = LoadOptions{Version: "1.2.3", Getenv: os.Getenv}
	return w, srv.URL
}

// cleanEnv removes AWS's variables and sets an empty home directory. Calls to the metadata service go to loopback.
func cleanEnv(t *testing.T) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1") // nothing listens there
	t.Setenv("HOME", t.TempDir())
}

// TestEnvironment: every client follows the SDK's environment variables, including the STS client inside the SDK's
// chains.
func TestEnvironment(t *testing.T) {
	user := func(w *fixture) string {
		return "[profile user]\n" + keyLines(w.key)
	}
	for _, tt := range []struct {
		name string
		set  func(t *testing.T, w *fixture, url string) config.Account
		arn  string
		path string
	}{
		{"keys", func(t *testing.T, w *fixture, _ string) config.Account {
			t.Setenv("AWS_ACCESS_KEY_ID", w.key.ID)
			t.Setenv("AWS_SECRET_ACCESS_KEY", w.key.Secret)
			return block()
		}, "arn:aws:iam::111111111111:user/alice", "default chain (EnvConfigCredentials)"},
		{"AWS_CONFIG_FILE, AWS_PROFILE with a role", func(t *testing.T, w *fixture, _ string) config.Account {
			config := user(w) + "[profile r]\nsource_profile = user\nrole_arn = " + w.role.ARN + "\n"
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", config))
			t.Setenv("AWS_PROFILE", "r")
			return block()
		}, "arn:aws:sts::222222222222:assumed-role/reader/collector", "default chain (AssumeRoleProvider)"},
		{"environment keys before AWS_PROFILE, named profile first", func(t *testing.T, w *fixture, _ string) config.Account {
			carol := w.other.AddUser("carol").NewKey()
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", user(w)))
			t.Setenv("AWS_ACCESS_KEY_ID", carol.ID)
			t.Setenv("AWS_SECRET_ACCESS_KEY", carol.Secret)
			t.Setenv("AWS_PROFILE", "user")
			if got := w.open(w.sessions(Options{}), block()); got.Identity.AccountID != w.other.ID {
				t.Errorf("the chain found %s", got.Identity.ARN)
			}
			return block(profile("user"))
		}, "arn:aws:iam::111111111111:user/alice", "profile user (SharedConfigCredentials: …)"},
		{"AWS_ENDPOINT_URL_STS beats AWS_ENDPOINT_URL", func(t *testing.T, w *fixture, url string) config.Account {
			t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
			t.Setenv("AWS_ENDPOINT_URL_STS", url)
			config := user(w) + "[profile r]\nsource_profile = user\nrole_arn = " + w.role.ARN + "\n"
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", config))
			return block(profile("r"))
		}, "arn:aws:sts::222222222222:assumed-role/reader/collector", "profile r (AssumeRoleProvider)"},
		{"AWS_SHARED_CREDENTIALS_FILE", func(t *testing.T, w *fixture, _ string) config.Account {
			credentials := strings.Replace(user(w), "profile user", "default", 1)
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", write(t, "credentials", credentials))
			return block(role(w.role.ARN))
		}, "arn:aws:sts::222222222222:assumed-role/reader/collector", "default chain (SharedConfigCredentials: …)"},
		{"instance role", func(t *testing.T, w *fixture, url string) config.Account {
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
			r := w.home.AddRole("instance", trusting("ec2.amazonaws.com"))
			w.aws.SetIMDS(&awsfake.IMDS{Role: r, Region: "us-east-1", InstanceID: "i-1"})
			return block()
		}, "arn:aws:sts::111111111111:assumed-role/instance/i-1", "default chain (EC2RoleProvider)"},
		{"container, its token in a file with a newline", func(t *testing.T, w *fixture, url string) config.Account {
			r := w.home.AddRole("pod", trusting("pods.eks.amazonaws.com"))
			w.aws.AddContainer(awsfake.Container{Path: "/v1/credentials", Role: r, Token: "sesame", Task: "pod-1"})
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url+"/v1/credentials")
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", write(t, "token", "sesame\n"))
			got := w.open(w.sessions(Options{Getenv: os.Getenv}), block(source("EcsContainer")))
			if got.Path()[0] != "container" {
				t.Error(got.Path())
			}
			return block()
		}, "arn:aws:sts::111111111111:assumed-role/pod/pod-1", "default chain (CredentialsEndpointProvider)"},
		{"web identity, its token with a newline", func(t *testing.T, w *fixture, _ string) config.Account {
			sub := "system:serviceaccount:default:collector"
			r := w.home.AddRole("irsa", awsfake.RoleOptions{Trust: []awsfake.Trust{{WebIdentities: []string{sub}}}})
			t.Setenv("AWS_ROLE_ARN", r.ARN)
			t.Setenv("AWS_ROLE_SESSION_NAME", "pod-1")
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write(t, "token", w.aws.WebIdentityToken(sub, time.Hour)+"\n"))
			return block()
		}, "arn:aws:sts::111111111111:assumed-role/irsa/pod-1", "default chain (WebIdentityCredentials)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, url := ordinaryEnv(t)
			a := tt.set(t, w, url)
			got := w.open(w.sessions(Options{Getenv: os.Getenv}), a)
			if got.Identity.ARN != tt.arn {
				t.Errorf("identity %s, want %s", got.Identity.ARN, tt.arn)
			}
			before, _, _ := strings.Cut(tt.path, "…")
			if !strings.HasPrefix(got.Path()[0], before) {
				t.Errorf("path %q, want %q", got.Path(), tt.path)
			}
			for _, c := range w.calls("") {
				if c.Action != "" && !strings.Contains(c.UserAgent, "collector/1.2.3") {
					t.Errorf("%s by %q", c.Action, c.UserAgent)
				}
			}
		})
	}
}

// TestEnvironmentWrong: errors in the environment.
func TestEnvironmentWrong(t *testing.T) {
	t.Run("metadata disabled", func(t *testing.T) {
		w, _ := ordinaryEnv(t)
		t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
		s := w.sessions(Options{Getenv: os.Getenv})
		w.refused(s, block(source("Ec2InstanceMetadata")), record.NoCredentials, "AWS_EC2_METADATA_DISABLED")
		w.refused(s, block(), record.NoCredentials, "AWS_EC2_METADATA_DISABLED", "AWS_PROFILE", "container")
		// The SDK itself reads the variable.
		w.refused(w.sessions(Options{}), block(), record.NoCredentials, "AWS_EC2_METADATA_DISABLED")
	})
	t.Run("AWS_PROFILE that is not there", func(t *testing.T) {
		w, _ := ordinaryEnv(t)
		t.Setenv("AWS_PROFILE", "nowhere")
		t.Setenv("AWS_CONFIG_FILE", write(t, "config",
			"[profile x]\n"+keyLines(w.key)))
		s := w.sessions(Options{Getenv: os.Getenv})
		w.refused(s, block(), record.NoCredentials, "nowhere", os.Getenv("AWS_CONFIG_FILE"))
		w.open(s, w.ak())
		w.open(s, block(profile("x")))
	})
	t.Run("container that is another machine", func(t *testing.T) {
		w, _ := ordinaryEnv(t)
		t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/x")
		w.refused(w.sessions(Options{Getenv: os.Getenv}), block(source("EcsContainer")), record.NoCredentials, "https")
		w.refused(w.sessions(Options{Getenv: os.Getenv}), block(), record.NoCredentials)
	})
	t.Run("isolated", func(t *testing.T) {
		w, url := ordinaryEnv(t)
		t.Setenv("AWS_ACCESS_KEY_ID", w.key.ID)
		t.Setenv("AWS_SECRET_ACCESS_KEY", w.key.Secret)
		t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
		t.Setenv("AWS_PROFILE", "nowhere")
		t.Setenv("AWS_CA_BUNDLE", "/nowhere")
		w.load = LoadOptions{Isolated: true, Endpoint: url, IMDSEndpoint: url}
		w.refused(w.sessions(Options{}), block(), record.NoCredentials, "instance role")
		w.open(w.sessions(Options{}), w.ak())
	})
}

// TestRotatedFile: changed keys in a file are noticed without a restart, once AWS refuses the old ones.
func TestRotatedFile(t *testing.T) {
	w, _ := ordinaryEnv(t)
	file := write(t, "credentials", "[x]\n"+keyLines(w.key))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	s := w.sessions(Options{})
	got := w.open(s, block(profile("x"), role(w.role.ARN)))
	next := w.user.NewKey()
	w.user.DeleteKey(w.key.ID)
	if err := os.WriteFile(file, []byte("[x]\n"+keyLines(next)), 0o600); err != nil {
		t.Fatal(err)
	}
	got.Reject(retrieve(w, got))
	if !w.works(got) {
		t.Error("the new key was not read")
	}
}

// TestCheckKey: when EC2 does not know a key, STS decides. A key that was rotated in its file is read again, and its
// identity is asked; a key that STS knows stays, and costs one call for all who ask.
func TestCheckKey(t *testing.T) {
	w, _ := ordinaryEnv(t)
	file := write(t, "credentials", "[x]\n"+keyLines(w.key))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	s := w.sessions(Options{})
	got := w.open(s, block(profile("x")))
	old := retrieve(w, got)
	w.aws.ResetCalls()
	for range 5 {
		if renewed, valid := got.CheckKey(t.Context(), old); renewed || !valid {
			t.Errorf("a key that STS knows: renewed %t, valid %t", renewed, valid)
		}
	}
	w.count("GetCallerIdentity", 1)

	next := w.other.AddUser("carol").NewKey() // of another account
	w.user.DeleteKey(w.key.ID)
	if err := os.WriteFile(file, []byte("[x]\n"+keyLines(next)), 0o600); err != nil {
		t.Fatal(err)
	}
	got.resolver.keyCheck.until = 1 // as if half a minute had passed
	if renewed, _ := got.CheckKey(t.Context(), old); !renewed {
		t.Error("the new key was not read")
	}
	if _, err := got.Retrieve(t.Context()); record.ReasonOf(err) != record.WrongAccount {
		t.Errorf("the key of another account was used: %v", err)
	}

	got.resolver.keyCheck.until = 1
	now := w.open(s, block(profile("x"), func(a *config.Account) { a.Name = "carol" }))
	gone := retrieve(w, now)
	w.other.AddUser("dan")
	if err := os.WriteFile(file, []byte("[x]\n"+keyLines(w.key)), 0o600); err != nil { // deleted
		t.Fatal(err)
	}
	now.Reject(gone)
	if renewed, valid := now.CheckKey(t.Context(), gone); renewed || valid {
		t.Errorf("a deleted key: renewed %t, valid %t", renewed, valid)
	}
}

// TestBusyIMDS: a call to a metadata service that responds with 429 is repeated.
func TestBusyIMDS(t *testing.T) {
	w, url := ordinaryEnv(t)
	r := w.home.AddRole("instance", trusting("ec2.amazonaws.com"))
	w.aws.SetIMDS(&awsfake.IMDS{Role: r, Region: "us-east-1", InstanceID: "i-1"})
	busy := true
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if busy && r.Method == http.MethodGet {
			busy = false
			rw.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.aws.ServeHTTP(rw, r)
	}))
	defer srv.Close()
	w.load = LoadOptions{Isolated: true, Endpoint: url, IMDSEndpoint: srv.URL}
	w.open(w.sessions(Options{}), block())
	if busy {
		t.Error("no call was made")
	}
}

// TestCheckIdentity: the identity is compared with the block.
func TestCheckIdentity(t *testing.T) {
	identity := record.Identity{
		AccountID: "111111111111", Partition: "aws", ARN: "arn:aws:sts::111111111111:assumed-role/r/s",
	}
	for say, a := range map[string]config.Account{
		"": block(role("arn:aws:iam::111111111111:role/r"), func(a *config.Account) {
			a.AccountID, a.Partition = "111111111111", "aws"
		}),
		"444444444444": block(func(a *config.Account) { a.AccountID = "444444444444" }),
		"aws-cn":       block(func(a *config.Account) { a.Partition = "aws-cn" }),
		"the account of arn:aws:iam::222222222222:role/r":      block(role("arn:aws:iam::222222222222:role/r")),
		"the partition of arn:aws-cn:iam::111111111111:role/r": block(role("arn:aws-cn:iam::111111111111:role/r")),
	} {
		err := checkIdentity(a, identity, []string{"default chain"})
		refused := record.ReasonOf(err) == record.WrongAccount && strings.Contains(err.Error(), say)
		if say == "" && err != nil || say != "" && !refused {
			t.Errorf("%q: %v", say, err)
		}
	}
}

// TestOneTransport: all calls use one CA bundle and one set of connections.
func TestOneTransport(t *testing.T) {
	w, _ := ordinaryEnv(t)
	srv := httptest.NewUnstartedServer(w.aws)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	defer srv.Close()
	t.Setenv("AWS_ENDPOINT_URL", srv.URL)
	w.refused(w.sessions(Options{}), w.ak(), record.Network, "AWS_CA_BUNDLE", "unknown authority") // not trusted yet
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	t.Setenv("AWS_CA_BUNDLE", write(t, "ca.pem", string(bundle)))
	config1 := "[profile user]\n" + keyLines(w.key) +
		"[profile r]\nsource_profile = user\nrole_session_name = of-the-profile\nrole_arn = " + w.role.ARN + "\n"
	t.Setenv("AWS_CONFIG_FILE", write(t, "config", config1))
	s := w.sessions(Options{})
	for _, region := range []string{"us-east-1", "us-west-2", "eu-west-1", "eu-north-1", "sa-east-1"} {
		for _, a := range []config.Account{w.ak(), w.ak(role(w.role.ARN)), block(profile("r")), block(profile("user"))} {
			a.STSRegion = region
			w.open(s, a)
		}
	}
	// Two transports never share a connection. One transport may open a second connection if a call begins before the
	// previous one has returned its connection, so not all calls must use the same.
	by := map[string]map[string]bool{"ours": {}, "chain": {}}
	for _, c := range w.calls("") {
		caller := "ours"
		if c.Params["RoleSessionName"] == "of-the-profile" {
			caller = "chain"
		}
		by[caller][c.RemoteAddr] = true
	}
	shared := 0
	for addr := range by["chain"] {
		if by["ours"][addr] {
			shared++
		}
	}
	if shared == 0 || len(by["ours"]) > 10 {
		t.Errorf("the SDK's chain calls over connections of its own: %v", by)
	}
}

// TestCanary plants secrets and searches for them in everything that can be printed.
func TestCanary(t *testing.T) {
	w, _ := ordinaryEnv(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAI44QH8DHBEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "CANARY-env-secret")
	t.Setenv("AWS_SESSION_TOKEN", "CANARY-env-token")
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "CANARY-container")
	const fileKey = "[default]\naws_access_key_id = AKIAI44QH8DHBEXAMPLE\naws_secret_access_key = CANARY-file-secret\n"
	t.Setenv("AWS_CONFIG_FILE", write(t, "config", fileKey))
	cfg, err := LoadAWS(t.Context(), w.load)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		AWS:        cfg,
		Getenv:     os.Getenv,
		DataDir:    t.TempDir(),
		SessionKey: secret.New(strings.Repeat("0f", 32)),
		Log:        slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	s := NewSessions(o)
	defer s.Close()
	code := w.mfa.Now()
	a := w.ak(device(w.mfa.Serial, code), role(w.role.ARN))
	got := w.open(s, a)
	planted := []string{"CANARY", w.key.Secret, code, w.mfa.Seed, o.SessionKey.Reveal()}
	byseed := w.ak(seed(w.user.AddMFA("second")))
	w.open(s, byseed)
	planted = append(planted, byseed.TOTPSeed.Reveal(), seedKey(t, byseed))
	for l := got.last; l != nil; l = l.prev {
		c, err := l.Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if planted = append(planted, c.SecretAccessKey); c.SessionToken != "" {
			planted = append(planted, c.SessionToken)
		}
	}
	_, err1 := s.Open(t.Context(), block())                       // with the environment's key: refused
	_, err2 := s.Open(t.Context(), block(source("EcsContainer"))) // no container
	bad := w.ak()
	bad.AKSecret = secret.New("CANARY-block")
	_, err3 := s.Open(t.Context(), bad)
	mfa := mfastore.Session{
		AccessKeyID:     "ASIAIOSFODNN7EXAMPLE",
		SecretAccessKey: secret.New("CANARY-mfa"),
		SessionToken:    secret.New("CANARY-mfa"),
	}
	seedSteps, _, err := s.plan(t.Context(), byseed)
	if err != nil {
		t.Fatal(err)
	}
	logged := new(buffer)
	for _, h := range []slog.Handler{slog.NewTextHandler(logged, nil), slog.NewJSONHandler(logged, nil)} {
		slog.New(h).Info("x", "session", got, "options", o, "sessions", s, "err", err1, "mfa", mfa, "seed", seedSteps[1])
	}
	texts := []string{logged.String(), w.log.String()}
	steps, _, err := s.plan(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{
		got, o, &o, s, cfg, w.load, err1, err2, err3, seedSteps, seedSteps[1], byseed, s.store,
		mfa, &mfa, struct{ m mfastore.Session }{mfa}, steps, steps[0], steps[1], got.last.step,
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			texts = append(texts, fmt.Sprintf(verb, v))
		}
	}
	for _, text := range texts {
		if i := slices.IndexFunc(planted, func(p string) bool { return strings.Contains(text, p) }); i >= 0 {
			t.Errorf("a secret (%s…) shows in: %.300s", planted[i][:6], text[max(0, strings.Index(text, planted[i])-150):])
		}
	}
}

func seedKey(t *testing.T, a config.Account) string {
	t.Helper()
	k, err := config.ParseTOTP(a.TOTPSeed.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return k.Key.Reveal()
}

// TestBadCABundle: an invalid bundle is an error at start that names it.
func TestBadCABundle(t *testing.T) {
	noPEM := write(t, "ca.pem", "certificates, says the mail")
	for name, file := range map[string]string{"absent": "/nowhere/ca.pem", "no PEM": noPEM} {
		ordinaryEnv(t)
		t.Setenv("AWS_CA_BUNDLE", file)
		_, err := LoadAWS(t.Context(), LoadOptions{})
		if err == nil || !strings.Contains(record.HintOf(err), "AWS_CA_BUNDLE") {
			t.Errorf("%s: %v (%s)", name, err, record.HintOf(err))
		}
	}
}
