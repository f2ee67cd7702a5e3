package auth

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

// A profileCase is a set of shared AWS files and an environment, with the identity that they lead to. Text in braces is
// replaced from the scene. The behaviour is what the AWS SDKs have in common; where the SDK for Go differs, we do not
// follow it.
type profileCase struct {
	name        string
	config      string // the config file
	credentials string // the credentials file
	env         string // NAME=VALUE, separated by spaces
	profile     string // named in the block; "": the default chain
	want        string // the identity's name (user/… or role/…) in its account; "": the sign-in fails
	not         string // why boto3 is not compared: it is known to differ
}

// Users of different accounts are u, v and w; {u} stands for the lines of a key, and {p} for a credential_process.
var profileCases = []profileCase{
	// One source.
	{name: "key in the credentials file", credentials: "[x]\n{u}", profile: "x", want: "user/u"},
	{name: "key in the config file", config: "[profile x]\n{u}", profile: "x", want: "user/u"},
	{name: "key in both: the credentials file", config: "[profile x]\n{u}", credentials: "[x]\n{v}", profile: "x",
		want: "user/v"},
	{name: "process", config: "[profile x]\n{p}", profile: "x", want: "user/process"},
	{name: "SSO", config: "[profile x]\n{sso}", profile: "x", want: "role/sso"},
	{name: "SSO in the old form", config: "[profile x]\n{oldsso}", profile: "x", want: "role/sso"},
	{name: "web identity", config: "[profile x]\n{web}", profile: "x", want: "role/web"},

	// Two sources in one profile.
	{name: "SSO before a key of the config file", config: "[profile x]\n{u}{sso}", profile: "x", want: "role/sso"},
	{name: "SSO before a key of the credentials file", config: "[profile x]\n{sso}", credentials: "[x]\n{u}",
		profile: "x", want: "role/sso"},
	{name: "SSO before a process", config: "[profile x]\n{p}{sso}", profile: "x", want: "role/sso"},
	{name: "web identity before a key", config: "[profile x]\n{web}", credentials: "[x]\n{u}", profile: "x",
		want: "role/web"},
	{name: "web identity before SSO", config: "[profile x]\n{sso}{web}", profile: "x", want: "role/web"},
	{name: "web identity before a process", config: "[profile x]\n{p}{web}", profile: "x", want: "role/web"},
	{name: "web identity before source_profile", config: "[profile x]\n{web}source_profile = u\n[profile u]\n{u}",
		profile: "x", want: "role/web"},
	{name: "web identity before credential_source", config: "[profile x]\n{web}credential_source = Environment\n",
		env: "{env:u}", profile: "x", want: "role/web"},
	{name: "a key of the credentials file before a process", config: "[profile x]\n{p}", credentials: "[x]\n{u}",
		profile: "x", want: "user/u"},
	{name: "a process before a key of the config file", config: "[profile x]\n{u}{p}", profile: "x",
		want: "user/process"},
	{name: "a role before its profile's key",
		config: "[profile x]\n{u}{role:onlyv}source_profile = v\n[profile v]\n{v}", profile: "x", want: "role/onlyv"},
	{name: "credential_source before its profile's key", config: "[profile x]\n{u}{role:onlyv}credential_source = " +
		"Environment\n", env: "{env:v}", profile: "x", want: "role/onlyv"},
	{name: "a role before SSO", config: "[profile x]\n{sso}{role:onlyu}source_profile = u\n[profile u]\n{u}",
		profile: "x", want: "role/onlyu"},
	{name: "a role before a process", config: "[profile x]\n{p}{role:onlyv}source_profile = v\n[profile v]\n{v}",
		profile: "x", want: "role/onlyv"},

	// Roles and their sources.
	{name: "role by source_profile", config: "[profile x]\n{role:a}source_profile = u\n[profile u]\n{u}",
		profile: "x", want: "role/a"},
	{name: "role by source_profile in the credentials file", config: "[profile x]\n{role:a}source_profile = u\n",
		credentials: "[u]\n{u}", profile: "x", want: "role/a"},
	{name: "role in the credentials file", credentials: "[x]\n{role:a}source_profile = u\n[u]\n{u}", profile: "x",
		want: "role/a"},
	{name: "role by default", config: "[profile x]\n{role:a}source_profile = default\n[default]\n{u}", profile: "x",
		want: "role/a"},
	{name: "role by a process", config: "[profile x]\n{role:a}source_profile = p\n[profile p]\n{p}", profile: "x",
		want: "role/a"},
	{name: "role by SSO", config: "[profile x]\n{role:a}source_profile = s\n[profile s]\n{sso}", profile: "x",
		want: "role/a"},
	{name: "role by web identity", config: "[profile x]\n{role:a}source_profile = w\n[profile w]\n{web}",
		profile: "x", want: "role/a"},
	{name: "role by a role", config: "[profile x]\n{role:b}source_profile = y\n[profile y]\n{role:a}source_profile " +
		"= u\n[profile u]\n{u}", profile: "x", want: "role/b"},
	{name: "role by a role of the environment", config: "[profile x]\n{role:b}source_profile = y\n[profile " +
		"y]\n{role:a}credential_source = Environment\n", env: "{env:u}", profile: "x", want: "role/b"},
	{name: "role by the environment", config: "[profile x]\n{role:a}credential_source = Environment\n",
		env: "{env:u}", profile: "x", want: "role/a"},
	{name: "role by itself, with keys", config: "[profile x]\n{role:a}source_profile = x\n{u}", profile: "x",
		want: "role/a"},
	{name: "role by itself, with keys in the other file", config: "[profile x]\n{role:a}source_profile = x\n",
		credentials: "[x]\n{u}", profile: "x", want: "role/a"},
	{name: "a source's keys, not its role", config: "[profile x]\n{role:onlyu}source_profile = y\n[profile " +
		"y]\n{role:c}source_profile = v\n{u}[profile v]\n{v}", profile: "x", want: "role/onlyu"},
	{name: "a source's keys, not its circle", config: "[profile x]\n{role:a}source_profile = y\n[profile " +
		"y]\n{role:c}source_profile = x\n{u}", profile: "x", want: "role/a"},
	{name: "a source's SSO, not its keys or role", config: "[profile x]\n{role:onlysso}source_profile = " +
		"y\n[profile y]\n{u}{sso}", profile: "x", want: "role/onlysso"},
	{name: "a source's settings of the environment do not count",
		config: "[profile x]\n{role:onlyv}source_profile = v\n[profile v]\n{v}", env: "{irsa}", profile: "x",
		want: "role/onlyv"},
	{name: "chain: nor those of the default chain", config: "[default]\n{role:onlyv}source_profile = v\n[profile " +
		"v]\n{v}", env: "{irsa}", want: "role/onlyv"},

	// Errors.
	{name: "role without a source", config: "[profile x]\n{role:a}", profile: "x"},
	{name: "role without a source, with a key", config: "[profile x]\n{role:a}{u}", profile: "x"},
	{name: "role without a source, with keys in the environment", config: "[profile x]\n{role:a}", env: "{env:u}",
		profile: "x"},
	{name: "role behind a role for 12 hours", config: "[profile x]\n{role:b}duration_seconds = 43200\n" +
		"source_profile = y\n[profile y]\n{role:a}source_profile = u\n[profile u]\n{u}", profile: "x", want: "role/b",
		not: "STS refuses it: with temporary credentials a role lasts an hour"},
	{name: "session name with a space", config: "[profile x]\n{role:a}source_profile = u\nrole_session_name = my " +
		"laptop\n[profile u]\n{u}", profile: "x"},
	{name: "session name of one character", config: "[profile x]\n{role:a}source_profile = u\nrole_session_name = " +
		"a\n[profile u]\n{u}", profile: "x"},
	{name: "session name of web identity", config: "[profile x]\n{web}role_session_name = my laptop\n", profile: "x"},
	{name: "two sources of a role", config: "[profile x]\n{role:a}source_profile = u\ncredential_source = " +
		"Environment\n[profile u]\n{u}", env: "{env:u}", profile: "x"},
	{name: "source that is in no file", config: "[profile x]\n{role:a}source_profile = nobody\n", profile: "x"},
	{name: "source without credentials", config: "[profile x]\n{role:a}source_profile = y\n[profile y]\nregion = " +
		"us-east-1\n", profile: "x"},
	{name: "source without credentials, with keys in the environment",
		config: "[profile x]\n{role:a}source_profile = y\n[profile y]\nregion = us-east-1\n", env: "{env:u}", profile: "x"},
	{name: "credential_source of another name", config: "[profile x]\n{role:a}credential_source = environment\n",
		env: "{env:u}", profile: "x"},
	{name: "credential_source without credentials", config: "[profile x]\n{role:a}credential_source = Environment\n",
		profile: "x"},
	{name: "credential_source of a container that is none", config: "[profile x]\n{role:a}credential_source = " +
		"EcsContainer\n", profile: "x"},
	{name: "circle of two",
		config: "[profile x]\n{role:a}source_profile = y\n[profile y]\n{role:b}source_profile = x\n", profile: "x"},
	{name: "circle of two, with the first one's keys", config: "[profile x]\n{u}{role:a}source_profile = " +
		"y\n[profile y]\n{role:b}source_profile = x\n", profile: "x"},
	{name: "circle of one", config: "[profile x]\n{role:a}source_profile = x\n", profile: "x"},
	{name: "circle of one, with a process", config: "[profile x]\n{role:a}source_profile = x\n{p}", profile: "x"},
	{name: "half a key", config: "[profile x]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\n", profile: "x"},
	{name: "half a key in the credentials file before a whole one", config: "[profile x]\n{u}",
		credentials: "[x]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\n", profile: "x"},
	{name: "half a key in each file", config: "[profile x]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\n",
		credentials: "[x]\naws_secret_access_key = x\n", profile: "x"},
	{name: "half an SSO", config: "[profile x]\nsso_account_id = 444444444444\nsso_region = " +
		"eu-central-1\nsso_start_url = https://example.awsapps.com/start\n", profile: "x"},
	{name: "half an SSO with a key", config: "[profile x]\nsso_account_id = 444444444444\n{u}", profile: "x"},
	{name: "SSO session that is in no file", config: "[profile x]\nsso_session = nobody\nsso_account_id = " +
		"444444444444\nsso_role_name = sso\n", profile: "x"},
	{name: "SSO that says two things", config: "[profile x]\n{sso}sso_region = us-east-1\n", profile: "x"},
	{name: "web identity without a role", config: "[profile x]\nweb_identity_token_file = {token}\n", profile: "x"},
	{name: "a source without a role", config: "[profile x]\nsource_profile = u\n[profile u]\n{u}", profile: "x"},
	{name: "an SSO session without an account", config: "[profile x]\nsso_session = my-sso\n", profile: "x"},
	{name: "a profile that is in no file", config: "[profile y]\n{u}", profile: "x"},
	{name: "a profile in a config file without the word", config: "[x]\n{u}", profile: "x"},
	{name: "nothing", config: "[profile x]\nregion = us-east-1\n", profile: "x"},

	// Headers and empty settings.
	{name: "the mark of a comment in a name", config: "[profile a#b]\n{u}", profile: "a#b", want: "user/u"},
	{name: "it does not belong to the section before", config: "[profile x]\nregion = us-east-1\n[profile a;b]\n{u}",
		profile: "x"},
	{name: "more behind a header", config: "[profile y]\nregion = us-east-1\n[profile x] of alice\n{u}", profile: "x",
		want: "user/u"},
	{name: "a header that is not closed", config: "[profile x]\nregion = us-east-1\n[profile y\n{u}", profile: "x"},
	{name: "a comment with a bracket behind a header", config: "[profile x] # [y]\n{u}", profile: "x", want: "user/u",
		not: "it takes it for a part of the name"},
	{name: "an empty role with a key", config: "[profile x]\nrole_arn =\n{u}", profile: "x"},
	{name: "an empty role with a key and a source", config: "[profile x]\nrole_arn =\nsource_profile = v\n{u}[profile " +
		"v]\n{v}", profile: "x"},
	{name: "an empty source with another", config: "[profile x]\n{role:a}source_profile =\ncredential_source = " +
		"Environment\n", env: "{env:u}", profile: "x"},
	{name: "an empty source in the credentials file", config: "[profile x]\n{role:a}source_profile = u\n[profile " +
		"u]\n{u}", credentials: "[x]\nsource_profile =\n", profile: "x"},
	{name: "an empty token's file", config: "[profile x]\n{role:a}web_identity_token_file =\nsource_profile = u\n" +
		"[profile u]\n{u}", profile: "x"},

	// Settings that must have no effect.
	{name: "source_profile without a role", config: "[profile x]\n{u}source_profile = v\n[profile v]\n{v}",
		profile: "x", want: "user/u"},
	{name: "sso_session without an account", config: "[profile x]\n{u}sso_session = s\n[sso-session s]\nsso_region " +
		"= eu-central-1\nsso_start_url = https://example.awsapps.com/start\n", profile: "x", want: "user/u"},
	{name: "a quoted name", config: "[profile 'my x']\n{u}", profile: "my x", want: "user/u"},
	{name: "a name in double quotes", config: "[profile \"my x\"]\n{u}", profile: "my x", want: "user/u"},
	{name: "a name with a quoted part", config: "[profile my' 'x]\n{u}", profile: "my x", want: "user/u"},
	{name: "a name with an escaped space", config: "[profile my\\ x]\n{u}", profile: "my x", want: "user/u"},
	{name: "a name with a quote in quotes", config: "[profile \"bob's\"]\n{u}", profile: "bob's", want: "user/u"},
	{name: "a name with a quote", config: "[profile bob's]\n{u}", profile: "bob's", want: "user/u",
		not: "it ignores the section"},
	{name: "a name with spaces", config: "[profile my x]\n{u}", profile: "my x", want: "user/u",
		not: "it ignores the section"},
	{name: "a quoted sso-session", config: "[profile x]\nsso_session = my sso\nsso_account_id = 444444444444\n" +
		"sso_role_name = sso\n[sso-session 'my sso']\nsso_region = eu-central-1\n" +
		"sso_start_url = https://example.awsapps.com/start\n", profile: "x", want: "role/sso"},
	{name: "a process that begins and ends with a quote", config: "[profile x]\ncredential_process = \"cat\" " +
		"\"{printed}\"\n", profile: "x", want: "user/process"},
	{name: "a process with the marks of comments", config: "[profile x]\ncredential_process = sh -c \"true ; cat " +
		"{printed} # mine\"\n", profile: "x", want: "user/process"},
	{name: "a process that continues on the next line", config: "[profile x]\ncredential_process = cat\n  " +
		"{printed}\n", profile: "x", want: "user/process"},
	{name: "spaces around all", config: "[ profile x ]\naws_access_key_id={id:u}\naws_secret_access_key   =   " +
		"{secret:u}\n", profile: "x", want: "user/u", not: "it takes the section's name as it stands"},
	{name: "an explicit profile before the environment's key", config: "[profile x]\n{u}", env: "{env:v}",
		profile: "x", want: "user/u"},
	{name: "an explicit profile before the environment's web identity", config: "[profile x]\n{u}", env: "{irsa}",
		profile: "x", want: "user/u"},
	{name: "an explicit profile before AWS_PROFILE", config: "[profile x]\n{u}[profile v]\n{v}", env: "AWS_PROFILE=v",
		profile: "x", want: "user/u"},

	// The default chain.
	{name: "chain: default", credentials: "[default]\n{u}", want: "user/u"},
	{name: "chain: default of the config file", config: "[default]\n{u}", want: "user/u"},
	{name: "chain: [profile default]", config: "[profile default]\n{u}", want: "user/u"},
	{name: "chain: AWS_PROFILE", config: "[default]\n{v}[profile x]\n{u}", env: "AWS_PROFILE=x", want: "user/u"},
	{name: "chain: AWS_DEFAULT_PROFILE", config: "[default]\n{v}[profile x]\n{u}", env: "AWS_DEFAULT_PROFILE=x",
		want: "user/u"},
	{name: "chain: two profiles", config: "[profile y]\n{v}[profile x]\n{u}",
		env: "AWS_PROFILE=x AWS_DEFAULT_PROFILE=y", not: "it takes the second, and the CLI the first"},
	{name: "chain: AWS_PROFILE of an unknown profile", config: "[default]\n{u}", env: "AWS_PROFILE=nobody"},
	{name: "chain: AWS_PROFILE of an unknown profile with a key", config: "[default]\n{u}",
		env: "AWS_PROFILE=nobody {env:v}"},
	{name: "chain: the environment's key first", config: "[default]\n{u}", env: "{env:v}", want: "user/v"},
	{name: "chain: the environment's key before AWS_PROFILE", config: "[profile x]\n{u}",
		env: "{env:v} AWS_PROFILE=x", want: "user/v"},
	{name: "chain: the environment's key before its web identity", env: "{env:v} {irsa}", want: "user/v"},
	{name: "chain: half a key", config: "[default]\n{u}", env: "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE"},
	{name: "chain: a secret alone is nothing", config: "[default]\n{u}", env: "AWS_SECRET_ACCESS_KEY=x", want: "user/u"},
	{name: "chain: web identity", env: "{irsa}", want: "role/web"},
	{name: "chain: web identity before a key", config: "[default]\n{u}", env: "{irsa}", want: "role/web"},
	{name: "chain: web identity before SSO and process", config: "[default]\n{sso}{p}", env: "{irsa}", want: "role/web"},
	{name: "chain: web identity before a key of AWS_PROFILE", config: "[profile x]\n{u}", env: "{irsa} AWS_PROFILE=x",
		want: "role/web"},
	{name: "chain: a role of AWS_PROFILE before web identity",
		config: "[profile x]\n{role:a}source_profile = u\n[profile u]\n{u}", env: "{irsa} AWS_PROFILE=x", want: "role/a"},
	{name: "chain: a role of default before web identity", config: "[default]\n{role:a}source_profile = " +
		"u\n[profile u]\n{u}", env: "{irsa}", want: "role/a"},
	{name: "chain: the environment's role with the profile's token", config: "[default]\n{web}",
		env: "AWS_ROLE_ARN={arn:web2}", want: "role/web2"},
	{name: "chain: the environment's token with the profile's",
		config: "[default]\nweb_identity_token_file = /nowhere\nrole_arn = {arn:web}\n",
		env:    "AWS_WEB_IDENTITY_TOKEN_FILE={token}", want: "role/web"},
	{name: "chain: web identity without a role", config: "[default]\n{u}", env: "AWS_WEB_IDENTITY_TOKEN_FILE={token}"},
	{name: "chain: role without a source", config: "[default]\n{role:a}", env: "AWS_EC2_METADATA_DISABLED=true"},
	{name: "chain: role by the environment's key, which goes first",
		config: "[default]\n{role:a}credential_source = Environment\n", env: "{env:u}", want: "user/u"},
	{name: "chain: role by itself", config: "[default]\n{role:a}source_profile = default\n{u}", want: "role/a"},
	{name: "chain: SSO before a key", config: "[default]\n{u}{sso}", want: "role/sso"},
	{name: "chain: a process before a key of the config file", config: "[default]\n{u}{p}", want: "user/process"},
	{name: "chain: nothing"},
}

// profileScene is the accounts of profileCases, and the replacements for texts in braces.
type profileScene struct {
	*fixture
	url string
	in  map[string]string
}

func newProfileScene(t *testing.T) *profileScene {
	w, url := ordinaryEnv(t)
	s := &profileScene{w, url, map[string]string{}}
	key := func(name string, a *awsfake.Account) awsfake.Key {
		k := a.AddUser(name).NewKey()
		s.in["{"+name+"}"] = keyLines(k)
		s.in["{env:"+name+"}"] = "AWS_ACCESS_KEY_ID=" + k.ID + " AWS_SECRET_ACCESS_KEY=" + k.Secret
		s.in["{id:"+name+"}"], s.in["{secret:"+name+"}"] = k.ID, k.Secret
		return k
	}
	key("u", w.home)
	key("v", w.other)
	k := key("process", w.home)
	printed := write(t, "printed.json", fmt.Sprintf(`{"Version":1,"AccessKeyId":%q,"SecretAccessKey":%q}`, k.ID,
		k.Secret))
	s.in["{p}"], s.in["{printed}"] = "credential_process = cat "+printed+"\n", printed

	allAccounts := []string{w.home.ID, w.other.ID, "444444444444"}
	for name, trusted := range map[string][]string{ // a wrong source cannot assume the role
		"a": allAccounts, "b": allAccounts, "c": {"555555555555"}, "onlyu": {w.home.ID}, "onlyv": {w.other.ID},
		"onlysso": {"444444444444"},
	} {
		r := w.other.AddRole(name, awsfake.RoleOptions{Trust: []awsfake.Trust{{Principals: trusted}}})
		s.in["{role:"+name+"}"] = "role_arn = " + r.ARN + "\n"
	}
	const sub = "system:serviceaccount:default:collector"
	s.in["{token}"] = write(t, "token", w.aws.WebIdentityToken(sub, time.Hour))
	for _, name := range []string{"web", "web2"} {
		r := w.home.AddRole(name, awsfake.RoleOptions{Trust: []awsfake.Trust{{WebIdentities: []string{sub}}}})
		s.in["{arn:"+name+"}"] = r.ARN
	}
	s.in["{web}"] = "web_identity_token_file = " + s.in["{token}"] + "\nrole_arn = " + s.in["{arn:web}"] + "\n"
	s.in["{irsa}"] = "AWS_WEB_IDENTITY_TOKEN_FILE=" + s.in["{token}"] + " AWS_ROLE_ARN=" + s.in["{arn:web}"]

	c := &identityCenter{fixture: w}
	set := w.aws.AddAccount("444444444444", "aws").AddPermissionSet("sso")
	c.login = w.aws.SSOLogin("alice", time.Hour, set)
	const start = "https://example.awsapps.com/start"
	for _, session := range []string{"my-sso", "my sso", start} {
		file, err := ssocreds.StandardCachedTokenFilepath(session)
		if err != nil {
			t.Fatal(err)
		}
		c.cache(file, c.login.Expires)
	}
	s.in["{sso}"] = "sso_session = my-sso\nsso_account_id = 444444444444\nsso_role_name = sso\n"
	s.in["{oldsso}"] = "sso_start_url = " + start + "\nsso_region = eu-central-1\nsso_account_id = " +
		"444444444444\nsso_role_name = sso\n"
	return s
}

func (s *profileScene) fill(text string) string {
	for name, with := range s.in {
		text = strings.ReplaceAll(text, name, with)
	}
	return text
}

// set writes the files of a case, and returns its environment variables.
func (s *profileScene) set(t *testing.T, dir string, c profileCase) (vars []string) {
	t.Helper()
	text := s.fill(c.config)
	if strings.Contains(text, "my-sso") {
		text += "[sso-session my-sso]\nsso_region = eu-central-1\nsso_start_url = https://example.awsapps.com/start\n"
	}
	for name, text := range map[string]string{"config": text, "credentials": s.fill(c.credentials)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	vars = append(strings.Fields(s.fill(c.env)), "AWS_CONFIG_FILE="+filepath.Join(dir, "config"),
		"AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(dir, "credentials"),
		"AWS_ENDPOINT_URL="+s.url, "AWS_EC2_METADATA_DISABLED=true")
	return vars
}

// who returns the kind and name in an ARN: "user/u", "role/a".
func who(arn string) string {
	switch parts := strings.Split(arn[strings.LastIndex(arn, ":")+1:], "/"); {
	case len(parts) < 2:
		return arn
	case strings.HasPrefix(parts[1], "AWSReservedSSO_"):
		return "role/sso"
	case parts[0] == "assumed-role":
		return "role/" + parts[1]
	default:
		return parts[0] + "/" + parts[1]
	}
}

// TestProfiles: the identity that each profile and the default chain lead to, and which of them fail.
func TestProfiles(t *testing.T) {
	s := newProfileScene(t)
	for _, c := range profileCases {
		t.Run(c.name, func(t *testing.T) {
			for _, v := range s.set(t, t.TempDir(), c) {
				name, value, _ := strings.Cut(v, "=")
				t.Setenv(name, value)
			}
			inner := *s.fixture
			inner.t = t
			sessions := inner.sessions(Options{Getenv: os.Getenv})
			got, err := sessions.Open(t.Context(), block(func(a *config.Account) { a.Profile = c.profile }))
			switch {
			case c.want == "" && err == nil:
				t.Errorf("opened as %s, want it refused", got.Identity.ARN)
			case c.want == "" && (record.ReasonOf(err) != record.NoCredentials || record.HintOf(err) == ""):
				t.Errorf("%s: %v (hint %q)", record.ReasonOf(err), err, record.HintOf(err))
			case c.want != "" && err != nil:
				t.Errorf("%v (hint %s), want %s", err, record.HintOf(err), c.want)
			case c.want != "" && who(got.Identity.ARN) != c.want:
				t.Errorf("opened as %s, want %s", got.Identity.ARN, c.want)
			}
		})
	}
}

// askBoto3 prints boto3's identity for each case, as JSON. It reads the cases from standard input.
const askBoto3 = `
import json, os, sys
import boto3, botocore.loaders, botocore.session
models = botocore.loaders.create_loader()
for case in json.load(sys.stdin):
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(v.split("=", 1) for v in case["env"])
    try:
        inner = botocore.session.Session(profile=case["profile"] or None)
        inner.register_component("data_loader", models)
        s = boto3.Session(botocore_session=inner, region_name="us-east-1")
        print(json.dumps(s.client("sts").get_caller_identity()["Arn"]))
    except Exception as e:
        print(json.dumps(""), json.dumps(type(e).__name__), file=sys.stdout)
`

// TestProfilesAsBoto3: boto3 finds the identities that TestProfiles expects.
func TestProfilesAsBoto3(t *testing.T) {
	if err := exec.Command("python3", "-c", "import boto3").Run(); err != nil {
		t.Skip("NOT TESTED against boto3: python3 has no module boto3:", err)
	}
	s := newProfileScene(t)
	type asked struct {
		Env     []string `json:"env"`
		Profile string   `json:"profile"`
	}
	var all []asked
	var cases []profileCase
	for _, c := range profileCases {
		if c.not == "" {
			all, cases = append(all, asked{s.set(t, t.TempDir(), c), c.profile}), append(cases, c)
		}
	}
	in, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("python3", "-c", askBoto3)
	cmd.Stdin = strings.NewReader(string(in))
	cmd.Stderr = s.log
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err, s.log.String())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(cases) {
		t.Fatalf("%d results for %d cases", len(lines), len(cases))
	}
	for i, c := range cases {
		var arn string
		if err := json.NewDecoder(strings.NewReader(lines[i])).Decode(&arn); err != nil {
			t.Fatal(err)
		}
		if arn != "" {
			arn = who(arn)
		}
		if arn != c.want {
			t.Errorf("%s: boto3 is %q (%s), want %q", c.name, arn, lines[i], c.want)
		}
	}
}
