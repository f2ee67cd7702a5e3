package auth

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("AUTH_TEST_RACER"); dir != "" {
		racer(dir)
		return
	}
	_ = os.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	goleak.VerifyTestMain(m)
}

// A fixture is a fake AWS and a program that signs in to it, without a socket.
type fixture struct {
	t   *testing.T
	aws *awsfake.AWS
	srv *awsfake.Server
	log *buffer

	home  *awsfake.Account // 111111111111
	other *awsfake.Account // 222222222222
	china *awsfake.Account // 333333333333, aws-cn
	user  *awsfake.User
	key   awsfake.Key
	mfa   *awsfake.MFA
	role  *awsfake.Role // in other; trusts home
	load  LoadOptions
}

func newFixture(t *testing.T, o awsfake.Options) *fixture {
	t.Helper()
	w := &fixture{t: t, aws: awsfake.New(o), log: new(buffer)}
	w.srv = w.aws.InMemory()
	t.Cleanup(w.srv.Close)
	w.home = w.aws.AddAccount("111111111111", "aws")
	w.other = w.aws.AddAccount("222222222222", "aws")
	w.china = w.aws.AddAccount("333333333333", "aws-cn")
	w.user = w.home.AddUser("alice")
	w.key = w.user.NewKey()
	w.mfa = w.user.AddMFA("alice")
	w.role = w.other.AddRole("reader", trusting(w.home.ID))
	w.load = LoadOptions{
		Isolated:     true,
		Endpoint:     w.srv.URL,
		IMDSEndpoint: w.srv.URL,
		DialContext:  w.srv.DialContext,
		Version:      "1.2.3",
	}
	return w
}

// sessions starts the program again.
func (w *fixture) sessions(o Options) *Sessions {
	w.t.Helper()
	cfg, err := LoadAWS(w.t.Context(), w.load)
	if err != nil {
		w.t.Fatal(err)
	}
	o.AWS = cfg
	o.Log = slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := NewSessions(o)
	w.t.Cleanup(func() {
		s.Close()
		cfg.HTTPClient.(*http.Client).CloseIdleConnections()
	})
	return s
}

// ak is a block with alice's key.
func (w *fixture) ak(edit ...func(*config.Account)) config.Account {
	return block(append([]func(*config.Account){key(w.key)}, edit...)...)
}

func block(edit ...func(*config.Account)) config.Account {
	a := config.Account{Name: "prod", Collect: config.Collect{Regions: []string{"us-east-1"}}}
	for _, f := range edit {
		f(&a)
	}
	return a
}

func key(k awsfake.Key) func(*config.Account) {
	return func(a *config.Account) { a.AKID, a.AKSecret = k.ID, secret.New(k.Secret) }
}

func role(arn string) func(*config.Account) {
	return func(a *config.Account) { a.Role.ARN = arn }
}

func device(serial, code string) func(*config.Account) {
	return func(a *config.Account) { a.SerialNumber, a.TokenCode = serial, secret.New(code) }
}

func (w *fixture) calls(action string) []awsfake.Call {
	return w.aws.Calls(func(c *awsfake.Call) bool { return action == "" || c.Action == action })
}

func (w *fixture) count(action string, want int) {
	w.t.Helper()
	if got := len(w.calls(action)); got != want {
		w.t.Errorf("%s was called %d times, want %d", action, got, want)
	}
}

func (w *fixture) open(s *Sessions, a config.Account) *Session {
	w.t.Helper()
	got, err := s.Open(w.t.Context(), a)
	if err != nil {
		w.t.Fatalf("open: %v (reason %s, hint %s)", err, record.ReasonOf(err), record.HintOf(err))
	}
	return got
}

// refused opens an account that cannot sign in, checks the Fault and returns it.
func (w *fixture) refused(s *Sessions, a config.Account, want record.Reason, words ...string) error {
	w.t.Helper()
	_, err := s.Open(w.t.Context(), a)
	if err == nil {
		w.t.Fatalf("opened, want %s", want)
	}
	if got := record.ReasonOf(err); got != want {
		w.t.Errorf("reason %s, want %s: %v", got, want, err)
	}
	hint := record.HintOf(err)
	if hint == "" {
		w.t.Errorf("no hint: %v", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error()+"\n"+hint, word) {
			w.t.Errorf("%q is neither in the error nor in the hint:\n%v\n%s", word, err, hint)
		}
	}
	return err
}

// trusting returns the options of a role that these principals may assume.
func trusting(principals ...string) awsfake.RoleOptions {
	return awsfake.RoleOptions{Trust: []awsfake.Trust{{Principals: principals}}}
}

// trustingWithMFA returns the options of a role that an account may assume with MFA.
func trustingWithMFA(account string) awsfake.RoleOptions {
	return awsfake.RoleOptions{Trust: []awsfake.Trust{{Principals: []string{account}, MFA: true}}}
}

// keyLines returns a key as the lines of a shared AWS file.
func keyLines(k awsfake.Key) string {
	return "aws_access_key_id = " + k.ID + "\naws_secret_access_key = " + k.Secret + "\n"
}

// buffer is a log for concurrent writers.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestModes tests each way to sign in: the identity, the path, and what CloudTrail would show.
func TestModes(t *testing.T) {
	w := newFixture(t, awsfake.Options{})
	instance := w.home.AddRole("instance", trusting("ec2.amazonaws.com"))
	task := w.home.AddRole("task", trusting("ecs-tasks.amazonaws.com"))
	w.aws.SetIMDS(&awsfake.IMDS{Role: instance, Region: "us-east-1", InstanceID: "i-0123456789abcdef0"})
	w.aws.AddContainer(awsfake.Container{Path: "/v2/credentials/abc", Role: task, Task: "task", Token: "sesame"})
	trust := awsfake.Trust{Principals: []string{w.role.ARN}, ExternalID: "ext-1"}
	final := w.home.AddRole("final", awsfake.RoleOptions{Trust: []awsfake.Trust{trust}})
	guarded := w.other.AddRole("guarded", trustingWithMFA(w.home.ID))
	bob := w.china.AddUser("bob")
	bobKey := bob.NewKey()
	cnRole := w.china.AddRole("reader", trusting(w.china.ID))
	session, err := w.sessions(Options{}).Open(t.Context(), w.ak(role(w.role.ARN)))
	if err != nil {
		t.Fatal(err)
	}
	temp, err := session.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	config1 := write(t, "config", strings.NewReplacer(
		"$ID", w.key.ID,
		"$SECRET", w.key.Secret,
		"$ROLE", w.role.ARN,
		"$FINAL", final.ARN,
		"$GUARDED", guarded.ARN,
		"$SERIAL", w.mfa.Serial,
	).Replace(`
[profile user]
aws_access_key_id = $ID
aws_secret_access_key = $SECRET
[profile role]
role_arn = $ROLE
source_profile = user
role_session_name = from-profile
[profile chain]
role_arn = $FINAL
source_profile = role
external_id = ext-1
[profile mfa]
role_arn = $GUARDED
source_profile = user
mfa_serial = $SERIAL
[profile imds]
role_arn = $ROLE
credential_source = Ec2InstanceMetadata
`))
	env := func(vars ...string) func(string) string {
		return func(name string) string {
			if i := slices.Index(vars, name); i >= 0 && i%2 == 0 {
				return vars[i+1]
			}
			return ""
		}
	}
	ak := "ak " + maskID(w.key.ID)
	tempKey := awsfake.Key{ID: temp.AccessKeyID, Secret: temp.SecretAccessKey}
	container := func(o *LoadOptions) { o.ContainerEndpoint = w.srv.URL + "/v2/credentials/abc" }
	containerToken := env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "sesame")
	keyInEnv := env("AWS_ACCESS_KEY_ID", w.key.ID, "AWS_SECRET_ACCESS_KEY", w.key.Secret)
	userProfile := []string{"profile user (SharedConfigCredentials: " + config1 + ")"}
	const (
		readerARN   = "arn:aws:sts::222222222222:assumed-role/reader/collector"
		instanceARN = "arn:aws:sts::111111111111:assumed-role/instance/i-0123456789abcdef0"
		taskARN     = "arn:aws:sts::111111111111:assumed-role/task/task"
		finalARN    = "arn:aws:sts::111111111111:assumed-role/final/collector"
	)
	for _, tt := range []struct {
		name    string
		block   config.Account
		load    func(*LoadOptions)
		getenv  func(string) string
		arn     string
		path    []string
		session string // role session name of the last hop
	}{
		{"ak", w.ak(), nil, nil, w.user.ARN, []string{ak}, ""},
		{"ak and role", w.ak(role(w.role.ARN), func(a *config.Account) { a.Role.SessionName = "seed-session" }), nil, nil,
			"arn:aws:sts::222222222222:assumed-role/reader/seed-session", []string{ak, "role " + w.role.ARN}, "seed-session"},
		{"session name by default", w.ak(role(w.role.ARN)), nil, nil,
			readerARN, []string{ak, "role " + w.role.ARN}, "collector"},
		{"ak with session token", block(key(tempKey), func(a *config.Account) {
			a.SessionToken = secret.New(temp.SessionToken)
		}), nil, nil, readerARN, []string{"ak " + maskID(temp.AccessKeyID)}, ""},
		{"chain with external id", w.ak(func(a *config.Account) {
			last := config.RoleSession{ExternalID: "ext-1", SessionName: "last", Duration: config.Duration(4 * time.Hour)}
			a.Roles = []config.Role{{ARN: w.role.ARN}, {ARN: final.ARN, RoleSession: last}}
		}), nil, nil, "arn:aws:sts::111111111111:assumed-role/final/last",
			[]string{ak, "role " + w.role.ARN, "role " + final.ARN}, "last"},
		{"china", block(key(bobKey), role(cnRole.ARN), func(a *config.Account) {
			a.Collect.Regions = []string{"cn-northwest-1"}
		}), nil, nil, "arn:aws-cn:sts::333333333333:assumed-role/reader/collector",
			[]string{"ak " + maskID(bobKey.ID), "role " + cnRole.ARN}, "collector"},
		{"nothing but extra_tags", config.Account{ExtraTags: map[string]string{"account_name": "x"}}, nil, nil,
			instanceARN, []string{"instance role"}, ""},
		{"instance role and a role elsewhere", block(role(w.role.ARN)), nil, nil,
			readerARN, []string{"instance role", "role " + w.role.ARN}, "collector"},
		{"container before instance", block(), container, containerToken, taskARN, []string{"container"}, ""},
		{"Ec2InstanceMetadata before container", block(source("Ec2InstanceMetadata")), container, nil,
			instanceARN, []string{"instance role"}, ""},
		{"EcsContainer", block(source("EcsContainer")), container, containerToken, taskARN, []string{"container"}, ""},
		{"Environment", block(source("Environment")), nil, keyInEnv, w.user.ARN, []string{"environment"}, ""},
		{"profile", block(profile("user")), nil, nil, w.user.ARN, userProfile, ""},
		{"profile before ak", block(profile("user"), key(bobKey)), nil, nil, w.user.ARN, userProfile, ""},
		{"profile with a role", block(profile("role")), nil, nil,
			"arn:aws:sts::222222222222:assumed-role/reader/from-profile",
			[]string{"profile role (AssumeRoleProvider)"}, "from-profile"},
		{"profile with a chain", block(profile("chain")), nil, nil,
			finalARN, []string{"profile chain (AssumeRoleProvider)"}, "collector"},
		{"profile with credential_source", block(profile("imds")), nil, nil,
			readerARN, []string{"profile imds (AssumeRoleProvider)"}, "collector"},
		{"profile and a role of the block", block(profile("role"), func(a *config.Account) {
			a.Role = config.Role{ARN: final.ARN, RoleSession: config.RoleSession{ExternalID: "ext-1"}}
		}), nil, nil, finalARN, []string{"profile role (AssumeRoleProvider)", "role " + final.ARN}, "collector"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := *w
			w.t = t
			w.load.ConfigFiles = []string{config1}
			if tt.load != nil {
				tt.load(&w.load)
			}
			w.aws.ResetCalls()
			s := w.sessions(Options{Getenv: tt.getenv})
			got := w.open(s, tt.block)
			if got.Identity.ARN != tt.arn || got.Identity.AccountID != record.AccountOfARN(tt.arn) ||
				got.Identity.Partition != record.PartitionOfARN(tt.arn) {
				t.Errorf("identity %+v, want %s", got.Identity, tt.arn)
			}
			if !slices.Equal(got.Path(), tt.path) {
				t.Errorf("path %q, want %q", got.Path(), tt.path)
			}
			hops := w.calls("AssumeRole")
			asked := 1
			if len(hops) > 0 || len(w.calls("AssumeRoleWithWebIdentity")) > 0 {
				asked = 0 // STS names the identity with the session
			}
			w.count("GetCallerIdentity", asked)
			wantsHop := tt.session != ""
			if wantsHop != (len(hops) > 0) || wantsHop && hops[len(hops)-1].RoleSessionName != tt.session {
				t.Errorf("role sessions %v, want the last to be %q", hops, tt.session)
			}
			if again := w.open(s, tt.block); again.resolver != got.resolver || again.Identity != got.Identity {
				t.Error("a second Open made another session")
			}
			w.count("GetCallerIdentity", asked)
			for _, c := range w.calls("") {
				if !strings.Contains(c.UserAgent, "collector/1.2.3") {
					t.Errorf("%s by user agent %q", c.Action, c.UserAgent)
				}
			}
		})
	}
	t.Run("mfa", func(t *testing.T) {
		for i, tt := range []struct {
			name string
			edit []func(*config.Account)
			arn  string
		}{
			{"without a role", nil, w.user.ARN},
			{"with a role that requires MFA", []func(*config.Account){role(guarded.ARN)},
				"arn:aws:sts::222222222222:assumed-role/guarded/collector"},
			{"profile with mfa_serial", []func(*config.Account){profile("mfa")},
				"arn:aws:sts::222222222222:assumed-role/guarded/collector"},
		} {
			w := *w
			w.t = t
			w.load.ConfigFiles = []string{config1}
			w.aws.ResetCalls()
			// AWS accepts the codes of neighbouring windows, so three codes are valid at the same time.
			code := w.mfa.Code(w.aws.Now().Add(time.Duration(i-1) * 30 * time.Second))
			a := w.ak(append(tt.edit, device(w.mfa.Serial, code))...)
			if a.Profile != "" {
				a.SerialNumber = ""
			}
			got := w.open(w.sessions(Options{}), a)
			if got.Identity.ARN != tt.arn {
				t.Errorf("%s: %s, want %s", tt.name, got.Identity.ARN, tt.arn)
			}
			if got.Path()[1] != "mfa "+w.mfa.Serial {
				t.Errorf("%s: path %q", tt.name, got.Path())
			}
			if c := w.calls("GetSessionToken"); len(c) != 1 || c[0].Params["DurationSeconds"] != "129600" {
				t.Errorf("%s: GetSessionToken calls: %v", tt.name, c)
			}
			for _, c := range w.calls("AssumeRole") {
				if c.Params["TokenCode"] != "" || c.Params["SerialNumber"] != "" {
					t.Errorf("%s: a code was sent with AssumeRole", tt.name)
				}
			}
			if until, ok := got.Expires(); !ok || time.Until(until) < 35*time.Hour {
				t.Errorf("%s: expires %v %t, want the MFA session's end", tt.name, until, ok)
			}
		}
	})
}

func source(s string) func(*config.Account) {
	return func(a *config.Account) { a.CredentialSource = s }
}
func profile(s string) func(*config.Account) { return func(a *config.Account) { a.Profile = s } }

// TestRegion: calls go to the right STS region, and never to the global endpoint.
func TestRegion(t *testing.T) {
	arn := func(p string) func(*config.Account) { return role("arn:" + p + ":iam::222222222222:role/r") }
	regions := func(r ...string) func(*config.Account) {
		return func(a *config.Account) { a.Collect.Regions = r }
	}
	for _, tt := range []struct {
		name string
		a    config.Account
		want string
	}{
		{"sts_region wins", block(func(a *config.Account) { a.STSRegion = "eu-west-1" }), "eu-west-1"},
		{"first literal region", block(regions("eu-*", "!us-east-1", "sa-east-1", "us-west-2")), "sa-east-1"},
		{"the role's partition", block(regions("*"), arn("aws-cn")), "cn-north-1"},
		{"gov", block(regions("*"), arn("aws-us-gov")), "us-gov-west-1"},
		{"partition", block(regions("*"), func(a *config.Account) { a.Partition = "aws-cn" }), "cn-north-1"},
		{"nothing", block(regions()), "us-east-1"},
	} {
		if got := stsRegion(tt.a); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}

	w := newFixture(t, awsfake.Options{})
	w.open(w.sessions(Options{}), w.ak(role(w.role.ARN), func(a *config.Account) { a.STSRegion = "eu-central-1" }))
	for _, c := range w.calls("") {
		if c.Region != "eu-central-1" {
			t.Errorf("%s in %s", c.Action, c.Region)
		}
	}

	// Without an endpoint override, the SDK derives the host from the region.
	for want, edit := range map[string]func(*config.Account){
		"sts.eu-west-1.amazonaws.com:443":     func(a *config.Account) { a.STSRegion = "eu-west-1" },
		"sts.us-east-1.amazonaws.com:443":     func(a *config.Account) {},
		"sts.cn-north-1.amazonaws.com.cn:443": func(a *config.Account) { a.Collect.Regions = []string{"cn-north-1"} },
		"sts.us-gov-west-1.amazonaws.com:443": func(a *config.Account) { a.STSRegion = "us-gov-west-1" },
		"sts.eusc-de-east-1.amazonaws.eu:443": func(a *config.Account) { a.STSRegion = "eusc-de-east-1" },
		"sts.us-iso-east-1.c2s.ic.gov:443":    func(a *config.Account) { a.STSRegion = "us-iso-east-1" },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newFixture(t, awsfake.Options{})
			var dialled string
			w.load = LoadOptions{Isolated: true, DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
				dialled = addr
				return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("refused")}
			}}
			w.refused(w.sessions(Options{}), w.ak(edit), record.Network)
			if dialled != want {
				t.Errorf("asked %s, want %s", dialled, want)
			}
		})
	}
}

// TestReload: the key of a session is how its block signs in.
func TestReload(t *testing.T) {
	w := newFixture(t, awsfake.Options{})
	s := w.sessions(Options{})
	a := w.ak(role(w.role.ARN))
	first := w.open(s, a)
	a.Name, a.ExtraTags, a.Schedule = "renamed", map[string]string{"team": "x"}, "@daily"
	if w.open(s, a).resolver != first.resolver {
		t.Error("a renamed block lost its session")
	}
	w.count("AssumeRole", 1)
	a.Role.SessionName = "other"
	if w.open(s, a).resolver == first.resolver {
		t.Error("a changed role kept the old session")
	}
	w.count("AssumeRole", 2)
	a.AKSecret = secret.New("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
	w.refused(s, a, record.BadSignature, maskID(w.key.ID))
}
