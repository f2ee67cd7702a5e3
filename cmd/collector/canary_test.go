package main

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/aws-collector/collector/internal/awsfake"
)

// Planted secrets never leave the program: not in records, debug logs, errors, metrics, the web page or the dump of a
// process that SIGQUIT kills, nor in its files.
func TestSecretsDoNotLeak(t *testing.T) {
	scene, s := startScene(t)
	prod, payments, audit := scene.Accounts[0], scene.Accounts[2], scene.Accounts[3]
	canaries := map[string]string{
		"the secret of a key that works":       prod.Key.Secret,
		"a secret that does not fit its key":   "canary/" + strings.Repeat("W", 33),
		"an unknown session token":             "canary-token-" + strings.Repeat("T", 64),
		"the secret behind an MFA session":     payments.Key.Secret,
		"a one-time code that is wrong":        "000017",
		"the seed of an MFA device":            audit.MFA.Seed,
		"the key that encrypts sessions":       strings.Repeat("0e", 32),
		"a secret that is read from a file":    "canary-file-" + strings.Repeat("F", 28),
		"a secret that comes from environment": "canary-env-" + strings.Repeat("E", 29),
		"what a program prints":                "canary-process-" + strings.Repeat("P", 25),
		"what an endpoint answers":             "canary-endpoint-" + strings.Repeat("A", 24),
		"the content of a shared AWS file":     "canary-shared-" + strings.Repeat("S", 26),
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	write(t, file, canaries["a secret that is read from a file"]+"\n")
	secrets := t.TempDir()
	write(t, filepath.Join(secrets, "seed"), audit.MFA.Seed)
	write(t, filepath.Join(secrets, "key"), canaries["the key that encrypts sessions"])
	awsFiles, answers := plantSharedFiles(t, canaries["what a program prints"], canaries["what an endpoint answers"],
		canaries["the content of a shared AWS file"])
	config := filepath.Join(dir, "config.yaml")
	write(t, config, daemonConfig(dir, scene, fmt.Sprintf(`
  - {name: wrong, ak_id: %[1]s, ak_secret: %[2]q}
  - {name: session, ak_id: ASIAIOSFODNN7EXAMPLE, ak_secret: %[2]q, session_token: %[3]q}
  - {name: mfa, ak_id: %[4]s, ak_secret: %[5]q, serial_number: %[6]q, token_code: %[7]q}
  - {name: file, ak_id: %[1]s, ak_secret: "${file:%[8]s}"}
  - {name: env, ak_id: %[1]s, ak_secret: "${env:CANARY}"}
  - {name: seed, ak_id: %[9]s, ak_secret: %[10]q, serial_number: %[11]q, totp_seed: "${file:%[12]s/seed}"}
  - {name: talkative, profile: talkative}
  - {name: late, profile: late}
  - {name: token, profile: token}
  - {name: cut, profile: cut}
  - {name: container, credential_source: EcsContainer}
`, prod.Key.ID, canaries["a secret that does not fit its key"], canaries["an unknown session token"],
		payments.Key.ID, payments.Key.Secret, payments.MFA.Serial, canaries["a one-time code that is wrong"], file,
		audit.Key.ID, audit.Key.Secret, audit.MFA.Serial, secrets)+"session_key: ${file:"+secrets+"/key}\n"))
	env := []string{"AWS_ENDPOINT_URL=" + s.URL, "AWS_EC2_METADATA_DISABLED=true", "CANARY=" +
		canaries["a secret that comes from environment"], "COLLECTOR_LOG_LEVEL=debug",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + answers, "AWS_CONFIG_FILE=" + awsFiles, "HOME=" + filepath.Dir(awsFiles)}

	leaks := func(where, text string) {
		t.Helper()
		for what, secret := range canaries {
			shows := strings.Contains(text, secret)
			if shows && len(secret) == len("000017") { // a dump's addresses hold any six digits
				shows = regexp.MustCompile(`(^|[^0-9a-fx])` + secret + `([^0-9a-f]|$)`).MatchString(text)
			}
			if shows {
				t.Errorf("%s shows %s", where, what)
			}
		}
	}
	stdout, stderr, code := runProcess(t, env, "run", "--once", "--config", config)
	if code != exitPartial {
		t.Errorf("exit %d, want %d\n%s", code, exitPartial, stderr)
	}
	for _, reason := range []string{"signature", "mfa_invalid", "bad_key", "sso_login",
		"credential_process: exit status 0", "container: "} {
		if !strings.Contains(stderr, reason) {
			t.Errorf("no account failed with %s: the canaries were not tried", reason)
		}
	}
	if sessions, err := filepath.Glob(filepath.Join(dir, "*", "sessions", "*.json")); err != nil || len(sessions) == 0 {
		t.Errorf("no session was stored: %v", err)
	}
	leaks("run --once", stdout+stderr)
	for _, command := range [][]string{
		{"validate"}, {"run", "--once", "--account", "none"}, {"check"}, {"check", "-o", "json"}, {"policy"},
	} {
		stdout, stderr, _ := runProcess(t, env, append(command, "--config", config)...)
		leaks(command[0], stdout+stderr)
	}

	t.Setenv("CANARY", canaries["a secret that comes from environment"])
	write(
		t, config,
		strings.ReplaceAll(mustRead(t, config), "${env:CANARY}", canaries["a secret that comes from environment"]),
	)
	for _, v := range env[3:] {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	d := startDaemon(t, config, s.URL)
	d.waitUntil("runs of all accounts", d.logMatches(`run ended" account=mfa`))
	leaks("/metrics", d.get("/metrics"))
	leaks("the page", d.get("/"))
	remove := scene.AWS.Inject(awsfake.Fault{Kind: awsfake.Hang, Action: "DescribeInstances"})
	defer remove()
	d.waitUntil("a call that hangs", func() bool { return scene.AWS.Stats().InFlight > 0 })
	d.signal(syscall.SIGQUIT)
	d.waitExit()
	if !strings.Contains(d.log(), "goroutine ") {
		t.Error("SIGQUIT made no dump")
	}
	leaks("the daemon's log and dump", d.log())

	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && path != config && path != file {
			leaks(path, mustRead(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// plantSharedFiles writes shared AWS files that fail in each way that may put a secret into an error. It also serves a
// container endpoint that fails so.
func plantSharedFiles(t *testing.T, printed, answered, kept string) (configFile, endpoint string) {
	t.Helper()
	home := t.TempDir()
	answer := fmt.Sprintf(
		`{"Version":1,"AccessKeyId":"ASIAIOSFODNN7EXAMPLE","SecretAccessKey":%q,"SessionToken":%[1]q,"Expiration":%[1]q}`,
		printed,
	)
	write(t, filepath.Join(home, "talkative"), "Session refreshed.\n"+answer)
	write(t, filepath.Join(home, "late"), answer)
	session := sha1.Sum([]byte("sso"))
	cache := filepath.Join(home, ".aws", "sso", "cache")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(cache, hex.EncodeToString(session[:])+".json"),
		fmt.Sprintf(`{"accessToken":%q,"expiresAt":%[1]q}`, kept))
	configFile = filepath.Join(home, "config")
	write(t, configFile, fmt.Sprintf(`[profile talkative]
credential_process = cat %[1]s/talkative
[profile late]
credential_process = cat %[1]s/late
[profile token]
sso_session = sso
sso_account_id = 111111111111
sso_role_name = reader
[sso-session sso]
sso_region = us-east-1
sso_start_url = https://example.awsapps.com/start
[profile cut]
aws_secret_access_key = %[2]s
max_attempts = %[2]s
`, home, kept))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, answered,
			http.StatusForbidden)
	}))
	t.Cleanup(srv.Close)
	return configFile, srv.URL
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
