package auth

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

// An identityCenter is a fixture in which a user has logged in.
type identityCenter struct {
	*fixture
	login awsfake.SSOToken
	file  string
	sets  []*awsfake.PermissionSet
}

const ssoAccounts = 8

func newIdentityCenter(t *testing.T) *identityCenter {
	w, _ := ordinaryEnv(t)
	c := &identityCenter{fixture: w}
	profiles := "[sso-session my-sso]\nsso_region = eu-central-1\nsso_start_url = https://example.awsapps.com/start\n" +
		"sso_registration_scopes = sso:account:access\n"
	for i := range ssoAccounts {
		id := fmt.Sprintf("70000000000%d", i)
		c.sets = append(c.sets, w.aws.AddAccount(id, "aws").AddPermissionSet("ReadOnly"))
		profiles += fmt.Sprintf("[profile p%d]\nsso_session = my-sso\nsso_account_id = %s\nsso_role_name = ReadOnly\n", i, id)
	}
	profiles += "[profile other]\nsso_session = my-sso\nsso_account_id = 700000000000\nsso_role_name = Admin\n" +
		"[profile legacy]\nsso_region = eu-central-1\nsso_start_url = https://example.awsapps.com/start\n" +
		"sso_account_id = 700000000000\nsso_role_name = ReadOnly\n" +
		"[profile hop]\nsource_profile = p0\nrole_arn = " + w.role.ARN + "\n"
	t.Setenv("AWS_CONFIG_FILE", write(t, "config", profiles))
	file, err := ssocreds.StandardCachedTokenFilepath("my-sso")
	if err != nil {
		t.Fatal(err)
	}
	c.file = file
	return c
}

func (c *identityCenter) logIn() {
	c.login = c.aws.SSOLogin("alice", time.Hour, c.sets...)
	c.cache(c.file, c.login.Expires)
}

// cache writes the file that `aws sso login` writes.
func (c *identityCenter) cache(file string, expires time.Time) {
	c.t.Helper()
	b, err := json.Marshal(map[string]string{
		"accessToken":  c.login.AccessToken,
		"refreshToken": c.login.RefreshToken,
		"clientId":     c.login.ClientID,
		"clientSecret": c.login.ClientSecret,
		"expiresAt":    expires.UTC().Format(time.RFC3339),
		"region":       "eu-central-1",
	})
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o700)
	}
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// TestSSO: a profile of IAM Identity Center, alone, under a role and in the old form, with AWS_ENDPOINT_URL and our
// transport.
func TestSSO(t *testing.T) {
	c := newIdentityCenter(t)
	c.logIn()
	old, err := ssocreds.StandardCachedTokenFilepath("https://example.awsapps.com/start")
	if err != nil {
		t.Fatal(err)
	}
	c.cache(old, c.login.Expires)
	c.role.SetTrust(awsfake.Trust{Principals: []string{"700000000000"}})
	s := c.sessions(Options{})
	for name, arn := range map[string]string{
		"p0":     "arn:aws:sts::700000000000:assumed-role/" + c.sets[0].Role.Name + "/alice",
		"p7":     "arn:aws:sts::700000000007:assumed-role/" + c.sets[7].Role.Name + "/alice",
		"legacy": "arn:aws:sts::700000000000:assumed-role/" + c.sets[0].Role.Name + "/alice",
		"hop":    "arn:aws:sts::222222222222:assumed-role/reader/collector",
	} {
		if got := c.open(s, block(profile(name))); got.Identity.ARN != arn {
			t.Errorf("%s is %s, want %s", name, got.Identity.ARN, arn)
		}
	}
	c.count("CreateToken", 0)
	for _, call := range c.calls("GetRoleCredentials") {
		if !strings.Contains(call.UserAgent, "collector/1.2.3") {
			t.Errorf("by %q", call.UserAgent)
		}
	}
	c.refused(s, block(profile("other")), record.AccessDenied,
		"permission set Admin", "account 700000000000", "sso_role_name")
}

// TestSSORefresh: many accounts of one session find its token expired at the same time. It is renewed once, because a
// refresh token works once, and all accounts use the new token.
func TestSSORefresh(t *testing.T) {
	c := newIdentityCenter(t)
	c.logIn()
	c.cache(c.file, time.Now().Add(-time.Minute))
	// The delay lets all accounts join the renewal.
	remove := c.aws.Inject(awsfake.Fault{Kind: awsfake.Delay, Action: "CreateToken", Delay: 100 * time.Millisecond})
	s := c.sessions(Options{})
	var wg sync.WaitGroup
	for i := range ssoAccounts {
		wg.Go(func() {
			if _, err := s.Open(t.Context(), block(profile(fmt.Sprint("p", i)))); err != nil {
				t.Error(err, record.HintOf(err))
			}
		})
	}
	wg.Wait()
	remove()
	c.count("CreateToken", 1)
	c.count("GetRoleCredentials", ssoAccounts)

	// A late call, which read the file before it was written, has the used refresh token.
	late, err := s.sso.renewOnce(t.Context(), c.file, c.login.RefreshToken, nil)
	if err != nil || late.ExpiresIn < 3500 || *late.RefreshToken == c.login.RefreshToken {
		t.Errorf("%v, %v", late, err)
	}
	b, err := os.ReadFile(c.file)
	text := string(b)
	if err != nil || strings.Contains(text, c.login.RefreshToken) || !strings.Contains(text, *late.RefreshToken) {
		t.Errorf("the file does not hold the new tokens (%v)", err)
	}
	if info, err := os.Stat(c.file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// TestSSOOtherProcess: if another process has renewed the token, the file has the new one.
func TestSSOOtherProcess(t *testing.T) {
	c := newIdentityCenter(t)
	c.logIn()
	spent := c.login
	c.aws.SSOLogout("alice")
	c.logIn()
	s := c.sessions(Options{})
	step := s.profileStep("p0", "us-east-1")
	r := ssoTokenClient{ssooidc.New(ssooidc.Options{Region: "eu-central-1"}), c.file, step}
	in := &ssooidc.CreateTokenInput{
		ClientId:     &spent.ClientID,
		ClientSecret: &spent.ClientSecret,
		RefreshToken: &spent.RefreshToken,
		GrantType:    aws.String("refresh_token"),
	}
	out, err := r.CreateToken(t.Context(), in)
	if err != nil || *out.AccessToken != c.login.AccessToken || *out.RefreshToken != c.login.RefreshToken ||
		out.ExpiresIn < 3500 {
		t.Errorf("%v, %v", out, err)
	}
	c.count("CreateToken", 1)

	c.cache(c.file, time.Now().Add(-time.Minute)) // the file's token has expired too
	s = c.sessions(Options{})
	r.step = s.profileStep("p0", "us-east-1")
	if _, err := r.CreateToken(t.Context(), in); record.ReasonOf(err) != record.SSOLogin {
		t.Error(err)
	}
}

// TestSSOWrong: if a login is needed, the hint names the command; a network error is not taken for that.
func TestSSOWrong(t *testing.T) {
	login := []string{"`aws sso login --profile p0`"}
	for name, tt := range map[string]struct {
		set  func(c *identityCenter)
		want record.Reason
		say  []string
	}{
		"never logged in": {func(*identityCenter) {}, record.SSOLogin, login},
		"logged out": {func(c *identityCenter) {
			c.logIn()
			c.aws.SSOLogout("alice")
		}, record.SSOLogin, login},
		"refresh token spent": {func(c *identityCenter) {
			c.logIn()
			c.aws.SSOLogout("alice")
			c.cache(c.file, time.Now().Add(-time.Minute))
		}, record.SSOLogin, login},
		"no refresh token": {func(c *identityCenter) {
			c.logIn()
			c.login.RefreshToken = ""
			c.cache(c.file, time.Now().Add(-time.Minute))
		}, record.SSOLogin, login},
		"portal resets the connection": {func(c *identityCenter) {
			c.logIn()
			c.aws.Inject(awsfake.Fault{Kind: awsfake.Reset, Service: "sso"})
		}, record.Network, []string{"eu-central-1", "HTTPS_PROXY"}},
		"token service too busy": {func(c *identityCenter) {
			c.logIn()
			c.cache(c.file, time.Now().Add(-time.Minute))
			c.aws.Inject(awsfake.Fault{Kind: awsfake.Reset, Service: "sso-oidc"})
		}, record.Network, []string{"eu-central-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newIdentityCenter(t)
			tt.set(c)
			s := c.sessions(Options{})
			err := c.refused(s, block(profile("p0")), tt.want, tt.say...)
			for _, secret := range []string{c.login.AccessToken, c.login.RefreshToken, c.login.ClientSecret} {
				if secret != "" && strings.Contains(fmt.Sprintf("%+v", err)+record.HintOf(err)+c.log.String(), secret) {
					t.Errorf("shows a token: %v", err)
				}
			}
		})
	}
}

// TestBoto: boto 2's files are read in boto3's order: after the shared files, before the container and the instance.
func TestBoto(t *testing.T) {
	key := func(w *fixture, k awsfake.Key) string {
		return "# of 2012\n[Boto]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\n\n[Credentials]\naws_access_key_id=" + k.ID +
			"\nAWS_Secret_Access_Key : " + k.Secret + "\n[GSUtil]\nx = y\n"
	}
	home := func(name string) string {
		if name == "HOME" || name == "BOTO_CONFIG" {
			return os.Getenv(name)
		}
		return ""
	}
	w, url := ordinaryEnv(t)
	dot := filepath.Join(os.Getenv("HOME"), ".boto")
	if err := os.WriteFile(dot, []byte(key(w, w.key)), 0o600); err != nil {
		t.Fatal(err)
	}
	r := w.home.AddRole("instance", trusting("ec2.amazonaws.com", "pods.eks.amazonaws.com"))
	w.aws.SetIMDS(&awsfake.IMDS{Role: r, Region: "us-east-1", InstanceID: "i-1"})
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
	is := func(what string, a config.Account, arn, path string) {
		t.Helper()
		got := w.open(w.sessions(Options{Getenv: home}), a)
		if got.Identity.ARN != arn || !strings.Contains(got.Path()[0], path) {
			t.Errorf("%s: %s by %q, want %s by %q", what, got.Identity.ARN, got.Path(), arn, path)
		}
	}
	is("before the instance", block(), w.user.ARN, "default chain (boto: "+dot+")")
	is("not for credential_source", block(source("Ec2InstanceMetadata")),
		"arn:aws:sts::111111111111:assumed-role/instance/i-1", "instance role")
	w.aws.AddContainer(awsfake.Container{Path: "/v1/credentials", Role: r, Token: "sesame", Task: "pod-1"})
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url+"/v1/credentials")
	is("before the container", block(), w.user.ARN, "boto")

	carol := w.other.AddUser("carol")
	t.Setenv("BOTO_CONFIG", write(t, "boto.cfg", key(w, carol.NewKey())))
	is("BOTO_CONFIG", block(), carol.ARN, "boto.cfg")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", write(t, "credentials", "[default]\n"+keyLines(w.key)))
	is("after the shared files", block(), w.user.ARN, "SharedConfigCredentials")

	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
	t.Setenv("BOTO_CONFIG", write(t, "boto.cfg", "[Credentials]\naws_access_key_id = "+w.key.ID+"\n"))
	w.refused(w.sessions(Options{Getenv: home}), block(), record.NoCredentials, "aws_secret_access_key", "boto.cfg")
}
