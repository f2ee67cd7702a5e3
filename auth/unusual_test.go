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
	"unicode/utf16"

	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"

	"github.com/aws-collector/collector/auth/internal/awsfiles"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// TestKeyCharacters: a key with a line break or a space is refused before a call, with the name of its part.
func TestKeyCharacters(t *testing.T) {
	for name, tt := range map[string]struct {
		id, secret, token string
		say               string
	}{
		"id":                   {"AKIAIOSFODNN7EXAMPLE\n", "s", "", "ID ends with a line break"},
		"id of Windows":        {"AKIAIOSFODNN7EXAMPLE\r\n", "s", "", "ID ends with a line break"},
		"secret":               {"AKIAIOSFODNN7EXAMPLE", "s\n", "", "SECRET ends with a line break"},
		"token":                {"ASIAIOSFODNN7EXAMPLE", "s", "t\n\n", "TOKEN ends with a line break"},
		"space at the end":     {"AKIAIOSFODNN7EXAMPLE", "s ", "", "SECRET begins or ends with a space"},
		"space at the start":   {" AKIAIOSFODNN7EXAMPLE", "s", "", "ID begins or ends with a space"},
		"line break in middle": {"AKIAIOSFODNN7EXAMPLE", "a\nb", "", "SECRET contains a character"},
		"no-break space":       {"AKIAIOSFODNN7EXAMPLE", "a\u00a0b", "", "SECRET contains a character"},
	} {
		names := func(id, secret, token string) string {
			return strings.NewReplacer("ID", id, "SECRET", secret, "TOKEN", token).Replace(tt.say)
		}
		variables := names("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
		inJSON := func(s string) string { b, _ := json.Marshal(s); return string(b) } // a string cannot fail
		t.Run(name, func(t *testing.T) {
			w, _ := ordinaryEnv(t)
			t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", "[profile p]\ncredential_process = cat "+write(t, "key.json",
				fmt.Sprintf(`{"Version":1,"AccessKeyId":%s,"SecretAccessKey":%s,"SessionToken":%s}`,
					inJSON(tt.id), inJSON(tt.secret), inJSON(tt.token)))+"\n"))
			s := w.sessions(Options{Getenv: os.Getenv})
			w.refused(s, block(profile("p")), record.NoCredentials,
				names("the access key id", "the secret access key", "the session token"))
			w.refused(s, block(func(a *config.Account) {
				a.AKID, a.AKSecret, a.SessionToken = tt.id, secret.New(tt.secret), secret.New(tt.token)
			}), record.NoCredentials, names("ak_id", "ak_secret", "session_token"))
			t.Setenv("AWS_ACCESS_KEY_ID", tt.id)
			t.Setenv("AWS_SECRET_ACCESS_KEY", tt.secret)
			t.Setenv("AWS_SESSION_TOKEN", tt.token)
			w.refused(s, block(source("Environment")), record.NoCredentials, variables)
			w.refused(s, block(), record.NoCredentials, variables)
			w.count("", 0)
		})
	}
}

// TestOldTokenVariable: the token's old variable comes first, as in boto3, wherever the environment is read.
func TestOldTokenVariable(t *testing.T) {
	w, _ := ordinaryEnv(t)
	c := retrieve(w, w.open(w.sessions(Options{}), w.ak(role(w.role.ARN))))
	t.Setenv("AWS_ACCESS_KEY_ID", c.AccessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", c.SecretAccessKey)
	t.Setenv("AWS_SECURITY_TOKEN", c.SessionToken)
	s := w.sessions(Options{Getenv: os.Getenv})
	w.open(s, block())
	w.open(s, block(source("Environment")))
}

// TestProfileGaps: a profile without credentials is named with its line, and with the setting that it lacks.
func TestProfileGaps(t *testing.T) {
	for text, say := range map[string][]string{
		"region = us-east-1\n":         {"config:1: the profile has no credentials", "Add to the profile aws_access_key_id"},
		"source_profile = u\n":         {"config:2: source_profile is set without role_arn", "Add role_arn"},
		"credential_source = x\n":      {"config:2: credential_source is set without role_arn"},
		"sso_session = my\n":           {"config:2: sso_session is set without sso_account_id", "aws configure sso"},
		"sso_start_url = https://x\n":  {"config:2: sso_start_url is set without sso_account_id"},
		"mfa_serial = arn:aws:iam::\n": {"mfa_serial is set"},
	} {
		t.Run(text, func(t *testing.T) {
			w, _ := ordinaryEnv(t)
			t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", "[profile x]\n"+text))
			w.refused(w.sessions(Options{Getenv: os.Getenv}), block(profile("x")), record.NoCredentials, say...)
		})
	}
}

// TestUTF16: a file that PowerShell wrote as UTF-16 is named, with the cause.
func TestUTF16(t *testing.T) {
	w, _ := ordinaryEnv(t)
	text := "[profile x]\n" + keyLines(w.key)
	for name, encode := range map[string]func(b []byte, u uint16) []byte{
		"little endian": func(b []byte, u uint16) []byte { return append(b, byte(u), byte(u>>8)) },
		"big endian":    func(b []byte, u uint16) []byte { return append(b, byte(u>>8), byte(u)) },
	} {
		for _, mark := range []string{"\ufeff", ""} {
			var b []byte
			for _, u := range utf16.Encode([]rune(mark + text)) {
				b = encode(b, u)
			}
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", string(b)))
			s := w.sessions(Options{Getenv: os.Getenv})
			_, err := s.Open(t.Context(), block(profile("x")))
			if err == nil || !strings.Contains(err.Error(), "config: cannot be read: it is encoded as UTF-16") ||
				!strings.Contains(record.HintOf(err), "Save the file as UTF-8") {
				t.Errorf("%s, mark %q: %v (%s)", name, mark, err, record.HintOf(err))
			}
			w.open(s, w.ak())
		}
	}
}

// TestPathsOfFiles: variables and ~ in the paths of shared files are expanded, as by the AWS CLI.
func TestPathsOfFiles(t *testing.T) {
	for _, path := range []string{"~/mine", "$HOME/mine", "${HOME}/mine"} {
		for _, variable := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "BOTO_CONFIG"} {
			t.Run(variable+"="+path, func(t *testing.T) {
				w, _ := ordinaryEnv(t)
				head := map[string]string{"BOTO_CONFIG": "[Credentials]\n"}[variable]
				if head == "" {
					head = "[default]\n"
				}
				if err := os.WriteFile(filepath.Join(os.Getenv("HOME"), "mine"), []byte(head+keyLines(w.key)),
					0o600); err != nil {
					t.Fatal(err)
				}
				t.Setenv(variable, path)
				w.open(w.sessions(Options{Getenv: os.Getenv}), block())
			})
		}
	}
}

// TestEndpointOfAProfile: an endpoint of a named profile that differs from the process's is refused with its line,
// because all accounts use the endpoints of the process. Before, it had no effect.
func TestEndpointOfAProfile(t *testing.T) {
	for name, tt := range map[string]struct {
		config, env string
		say         string // "": it opens
	}{
		"endpoint_url":           {"endpoint_url = http://127.0.0.1:9\n", "", "config:4: endpoint_url"},
		"services, sts":          {"services = s\n[services s]\nsts =\n  endpoint_url = http://127.0.0.1:9\n", "", "of sts"},
		"services, ec2":          {"services = s\n[services s]\nec2 =\n  endpoint_url = http://127.0.0.1:9\n", "", "of ec2"},
		"services, another":      {"services = s\n[services s]\ns3 =\n  endpoint_url = http://127.0.0.1:9\n", "", ""},
		"the environment's":      {"endpoint_url = http://127.0.0.1:9\n", "AWS_ENDPOINT_URL={url}", ""},
		"ignored by the profile": {"endpoint_url = http://x\nignore_configured_endpoint_urls = true\n", "", ""},
		"ignored":                {"endpoint_url = http://x\n", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true", ""},
		"the same":               {"endpoint_url = {url}\n[default]\nendpoint_url = {url}\n", "", ""},
		"AWS_PROFILE":            {"endpoint_url = {url}\n", "AWS_PROFILE=x", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, url := ordinaryEnv(t)
			t.Setenv("AWS_ENDPOINT_URL", "")
			t.Setenv("AWS_CONFIG_FILE", write(t, "config",
				"[profile x]\n"+keyLines(w.key)+strings.ReplaceAll(tt.config, "{url}", url)))
			w.load.Endpoint = url // in place of AWS
			if variable, value, ok := strings.Cut(tt.env, "="); ok {
				t.Setenv(variable, strings.ReplaceAll(value, "{url}", url))
			}
			problems := Inspect(LoadOptions{Getenv: os.Getenv}, []config.Account{block(profile("x"))})
			if tt.say == "" {
				if len(problems) > 0 {
					t.Error(problems)
				}
				w.open(w.sessions(Options{Getenv: os.Getenv}), block(profile("x")))
				return
			}
			w.refused(w.sessions(Options{Getenv: os.Getenv}), block(profile("x")), record.NoCredentials, tt.say,
				"AWS_ENDPOINT_URL")
			if len(problems) != 1 || !problems[0].Used || !strings.Contains(problems[0].Error(), tt.say) {
				t.Error(problems)
			}
		})
	}
}

// TestRegionOfAProfile: if the block says nothing of its regions, the region of its profile decides where STS is, and
// so in which partition.
func TestRegionOfAProfile(t *testing.T) {
	w, _ := ordinaryEnv(t)
	t.Setenv("AWS_CONFIG_FILE", write(t, "config",
		"[profile x]\nregion = cn-northwest-1\n"+keyLines(w.china.AddUser("bob").NewKey())))
	for name, tt := range map[string]struct {
		regions []string
		want    string
	}{
		"no regions": {nil, "cn-northwest-1"}, "globs": {[]string{"*"}, "cn-northwest-1"},
		"a region": {[]string{"cn-north-1"}, "cn-north-1"},
	} {
		w.aws.ResetCalls()
		got := w.open(w.sessions(Options{}), block(profile("x"), func(a *config.Account) { a.Collect.Regions = tt.regions }))
		if calls := w.calls("GetCallerIdentity"); got.Identity.Partition != "aws-cn" || calls[0].Region != tt.want {
			t.Errorf("%s: %s in %s, want %s", name, got.Identity.ARN, calls[0].Region, tt.want)
		}
	}
}

// TestExpirationAsBoto3: the times that boto3 reads are read alike, in the output of a process and of a login.
func TestExpirationAsBoto3(t *testing.T) {
	texts := []string{
		"2026-11-30T12:00:00Z", "2026-11-30T12:00:00+00:00", "2026-11-30T12:00:00+0000", "2026-11-30T12:00:00+00",
		"2026-11-30T12:00:00 UTC", "2026-11-30T12:00:00UTC", "2026-11-30 12:00:00 UTC", "2026-11-30 12:00:00+00:00",
		"2026-11-30 12:00:00 +0000", "2026-11-30T12:00:00.123Z", "2026-11-30T12:00:00,123Z", "2026-11-30T12:00Z",
		"20261130T120000Z", "20261130T120000+0000", "Mon, 30 Nov 2026 12:00:00 GMT", "Mon Nov 30 12:00:00 UTC 2026",
		"30 Nov 2026 12:00 UTC", "2026-11-30T14:00:00+02:00", "2026-11-30T14:00:00.5+0200", "2026-11-30T12:00:00z",
		"2026-11-30t12:00:00z", "2026-11-30T12:00:00 Z", "2026/11/30 12:00:00Z", "Mon, 30 Nov 2026 12:00:00 +0000",
		"2026-11-30T12:00:00 GMT", "Monday, 30-Nov-26 12:00:00 UTC", "2026-11-30T12:00:00-0800",
		"2026-11-30T12:00:00+02", "2026-12-01T08:00:00.123456Z",
		"2026-11-30", "2026-11-30T12:00:00", "1796040000", "tomorrow", "2026-11-30T12:00:00 CET",
	}
	if err := exec.Command("python3", "-c", "import boto3").Run(); err != nil {
		t.Skip("NOT TESTED against boto3: python3 has no module boto3:", err)
	}
	// boto3 reads the text like this, and cannot compare a time without a zone.
	cmd := exec.Command("python3", "-W", "ignore", "-c", `
import json, sys
from datetime import timezone
from botocore.credentials import parse
for text in json.load(sys.stdin):
    try:
        at = parse(text)
        print(at.astimezone(timezone.utc).isoformat() if at.tzinfo else "")
    except Exception:
        print("")
`)
	in, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = strings.NewReader(string(in))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	theirs := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(theirs) != len(texts) {
		t.Fatalf("%d times for %d texts", len(theirs), len(texts))
	}
	for i, text := range texts {
		at, ok := awsfiles.ParseTime(text)
		want, err := time.Parse(time.RFC3339, theirs[i])
		if ok != (err == nil) || ok && !at.Equal(want) {
			t.Errorf("%q is %v, %t; boto3 reads %q", text, at, ok, theirs[i])
		}
	}
}

// TestSSOTimes: the token of a login is valid in each form of its time that the AWS CLI has written.
func TestSSOTimes(t *testing.T) {
	c := newIdentityCenter(t)
	c.logIn()
	old, err := ssocreds.StandardCachedTokenFilepath("https://example.awsapps.com/start")
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05UTC", "2006-01-02T15:04:05+0000"} {
		for file, name := range map[string]string{c.file: "p0", old: "legacy"} {
			b, err := json.Marshal(map[string]string{"accessToken": c.login.AccessToken,
				"expiresAt": c.login.Expires.UTC().Format(form)})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			c.open(c.sessions(Options{}), block(profile(name)))
		}
	}
	c.count("CreateToken", 0)
}
