package auth

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

// badSettings are settings with an invalid value, and whether the SDK takes it for false in a file.
var badSettings = []struct {
	variable, key, bad string
	lenient            bool
}{
	{"AWS_ENABLE_ENDPOINT_DISCOVERY", "endpoint_discovery_enabled", "yes", true},
	{"AWS_S3_USE_ARN_REGION", "s3_use_arn_region", "yes", true},
	{"AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS", "s3_disable_multiregion_access_points", "yes", true},
	{"AWS_S3_DISABLE_EXPRESS_SESSION_AUTH", "s3_disable_express_session_auth", "yes", true},
	{"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ec2_metadata_service_endpoint_mode", "v6", false},
	{"AWS_EC2_METADATA_V1_DISABLED", "ec2_metadata_v1_disabled", "yes", true},
	{"AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint", "yes", true},
	{"AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint", "yes", true},
	{"AWS_DEFAULTS_MODE", "defaults_mode", "fast", false},
	{"AWS_MAX_ATTEMPTS", "max_attempts", "x", false},
	{"AWS_RETRY_MODE", "retry_mode", "eager", false},
	{"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls", "no", true},
	{"AWS_DISABLE_REQUEST_COMPRESSION", "disable_request_compression", "yes", false},
	{"AWS_DISABLE_CLOCK_SKEW_CORRECTION", "disable_clock_skew_correction", "yes", false},
	{"AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES", "request_min_compression_size_bytes", "-1", false},
	{"AWS_ACCOUNT_ID_ENDPOINT_MODE", "account_id_endpoint_mode", "on", false},
	{"AWS_REQUEST_CHECKSUM_CALCULATION", "request_checksum_calculation", "on", false},
	{"AWS_RESPONSE_CHECKSUM_VALIDATION", "response_checksum_validation", "on", false},
	{"AWS_RESTRICT_FILE_PERMISSIONS", "", "on", false},
}

// TestErrorsOfOtherProfiles: an error in the default profile, a file or a variable affects only the accounts that sign
// in with it; their error names its position.
func TestErrorsOfOtherProfiles(t *testing.T) {
	type trouble struct {
		config, credentials string // of [default]; {dir} is their directory
		env                 string // NAME=VALUE
		setting             string // logged as ignored
		say                 string // the error of the default chain; "": none
	}
	all := map[string]trouble{
		"key without a secret": {config: "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\n",
			say: "config:2: aws_access_key_id is set without aws_secret_access_key"},
		"key without a secret, of credentials": {
			credentials: "# mine\n[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\n",
			say:         "credentials:3: aws_access_key_id is set without aws_secret_access_key",
		},
		"a secret alone": {config: "[default]\naws_secret_access_key = x\n",
			say: "config:2: the access key has no aws_access_key_id"},
		"a source without its role": {config: "[default]\nsource_profile = nobody\nmax_attempts = many\n",
			say: "config:3: max_attempts"},
		"a role whose source is gone": {config: "[default]\nrole_arn = " +
			"arn:aws:iam::111111111111:role/x\nsource_profile = gone\n",
			say: "config:3: source_profile gone is not in any shared AWS file"},
		"a role without a source": {config: "[default]\nrole_arn = arn:aws:iam::111111111111:role/x\n",
			say: "config:2: role_arn without"},
		"two sources": {config: "[default]\nrole_arn = " +
			"arn:aws:iam::111111111111:role/x\nsource_profile = x\ncredential_source = Environment\n", say: "config:3"},
		"a circle": {config: "[default]\nrole_arn = " +
			"arn:aws:iam::111111111111:role/x\nsource_profile = default\n",
			say: "config:3: the source_profiles form a loop"},
		"an SSO session that is gone": {config: "[default]\nsso_session = gone\nsso_account_id = " +
			"111111111111\nsso_role_name = x\n", say: "config:2: there is no section [sso-session gone]"},
		"a bundle that is gone": {config: "[default]\nca_bundle = /nowhere/ca.pem\naws_access_key_id = " +
			"x\naws_secret_access_key = y\n", say: "config:2: ca_bundle: /nowhere/ca.pem"},
		"a profile that is gone":     {env: "AWS_PROFILE=laptop", say: "laptop"},
		"a folder for a config file": {env: "AWS_CONFIG_FILE=/tmp", say: "/tmp: cannot be read: not a regular file"},
		"a folder for credentials": {env: "AWS_SHARED_CREDENTIALS_FILE=/tmp",
			say: "/tmp: cannot be read: not a regular file"},
	}
	for _, s := range badSettings {
		all[s.variable] = trouble{env: s.variable + "=" + s.bad, setting: s.variable, say: s.variable + ": must be "}
		if s.key != "" {
			say := "config:2: " + s.key + ": must be "
			if s.lenient {
				say = ""
			}
			all[s.key] = trouble{config: "[default]\n" + s.key + " = " + s.bad +
				"\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n", setting: "{dir}/config:2", say: say}
		}
	}
	for name, c := range all {
		t.Run(name, func(t *testing.T) {
			w, _ := ordinaryEnv(t)
			keys := strings.NewReplacer("{id}", w.key.ID, "{secret}", w.key.Secret)
			dir := t.TempDir()
			for file, text := range map[string]string{"config": c.config +
				"\n[profile mine]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n",
				"credentials": c.credentials} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(keys.Replace(text)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
			if n, v, ok := strings.Cut(c.env, "="); ok {
				t.Setenv(n, v)
			}
			s := w.sessions(Options{Getenv: os.Getenv})
			if c.setting != "" && !strings.Contains(w.log.String(),
				`msg="AWS setting ignored" setting=`+strings.NewReplacer("{dir}", dir).Replace(c.setting)) {
				t.Errorf("no %s in the log: %s", c.setting, w.log)
			}
			w.open(s, w.ak())
			w.open(s, w.ak(role(w.role.ARN)))
			if os.Getenv("AWS_CONFIG_FILE") != "/tmp" {
				w.open(s, block(profile("mine")))
			}
			if c.say == "" {
				w.open(s, block())
			} else {
				w.refused(s, block(), record.NoCredentials, c.say)
			}
			for _, uses := range [][]config.Account{{w.ak()}, {w.ak(), block()}} {
				var text string
				used := false
				for _, f := range Inspect(LoadOptions{Getenv: os.Getenv}, uses) {
					text += f.Error() + "\n"
					used = used || f.Used
				}
				if !strings.Contains(text, c.say) || text == "" {
					t.Errorf("Inspect: %q, want %q", text, c.say)
				}
				if want := len(uses) == 2 && c.say != ""; used != want {
					t.Errorf("used %t, want %t: %s", used, want, text)
				}
			}
		})
	}
}

// TestInvalidSettingKeepsTheRest: if one setting is invalid, the others still apply.
func TestInvalidSettingKeepsTheRest(t *testing.T) {
	w, url := ordinaryEnv(t)
	srv := httptest.NewTLSServer(w.aws)
	defer srv.Close()
	ca := write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})))
	t.Setenv("AWS_ENDPOINT_URL", "")
	t.Setenv("AWS_CONFIG_FILE", write(t, "config", "[default]\nretry_mode = legacy\nregion = "+
		"eu-west-3\nmax_attempts = 5\nendpoint_url = "+srv.URL+"\nca_bundle = "+ca+"\n"))
	cfg, err := LoadAWS(t.Context(), w.load)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Region != "eu-west-3" || cfg.Retryer().MaxAttempts() != 5 || aws.ToString(cfg.BaseEndpoint) != srv.URL {
		t.Errorf("region %s, %d attempts, %s", cfg.Region, cfg.Retryer().MaxAttempts(), aws.ToString(cfg.BaseEndpoint))
	}
	w.open(w.sessions(Options{Getenv: os.Getenv}), w.ak()) // over TLS, with the bundle

	t.Setenv("AWS_CONFIG_FILE", write(t, "config", "[default]\nretry_mode = legacy\nuse_fips_endpoint = true\n"))
	if cfg, err = LoadAWS(t.Context(), w.load); err != nil {
		t.Fatal(err)
	}
	if o := newSTSClient(cfg).client.Options(); o.EndpointOptions.UseFIPSEndpoint != aws.FIPSEndpointStateEnabled {
		t.Error("FIPS endpoints are not used")
	}

	t.Setenv("AWS_CONFIG_FILE", "/nowhere")
	t.Setenv("AWS_MAX_ATTEMPTS", "x")
	t.Setenv("AWS_ENDPOINT_URL_STS", url)
	t.Setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
	if cfg, err = LoadAWS(t.Context(), w.load); err != nil {
		t.Fatal(err)
	}
	o := newSTSClient(cfg).client.Options()
	if o.EndpointOptions.UseDualStackEndpoint != aws.DualStackEndpointStateEnabled ||
		aws.ToString(o.BaseEndpoint) != url {
		t.Errorf("dual stack %v, endpoint %s", o.EndpointOptions.UseDualStackEndpoint, aws.ToString(o.BaseEndpoint))
	}
	t.Setenv("AWS_CA_BUNDLE", "/nowhere/ca.pem") // applies to every call
	if _, err = LoadAWS(t.Context(), w.load); err == nil || !strings.Contains(err.Error(), "/nowhere/ca.pem") {
		t.Error(err)
	}
}

// TestSharedFiles: unusual files and contents that work.
func TestSharedFiles(t *testing.T) {
	keys := func(w *fixture) string {
		return keyLines(w.key)
	}
	env := func(t *testing.T, w *fixture) {
		t.Setenv("AWS_ACCESS_KEY_ID", w.key.ID)
		t.Setenv("AWS_SECRET_ACCESS_KEY", w.key.Secret)
	}
	for name, set := range map[string]func(t *testing.T, w *fixture) config.Account{
		"no files at all": func(t *testing.T, w *fixture) config.Account { env(t, w); return block() },
		"a home that is not a directory": func(t *testing.T, w *fixture) config.Account {
			t.Setenv("HOME", os.DevNull)
			r := w.home.AddRole("pod", trusting("pods.eks.amazonaws.com"))
			w.aws.AddContainer(awsfake.Container{Path: "/v1/credentials", Role: r, Task: "pod-1"})
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", strings.Replace(os.Getenv("AWS_ENDPOINT_URL"), "127.0.0.1",
				"localhost", 1)+"/v1/credentials")
			return block()
		},
		"another user's home": func(t *testing.T, w *fixture) config.Account {
			if os.Getuid() == 0 {
				t.Skip("SKIPPED, NOT PASSED: root may read everything")
			}
			if err := os.Chmod(os.Getenv("HOME"), 0); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(os.Getenv("HOME"), 0o700) })
			env(t, w)
			return block()
		},
		"/dev/null": func(t *testing.T, w *fixture) config.Account {
			t.Setenv("AWS_CONFIG_FILE", os.DevNull)
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", write(t, "credentials", "[x]\n"+keys(w)))
			return block(profile("x"))
		},
		"a byte order mark and Windows line ends": func(t *testing.T, w *fixture) config.Account {
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", "\ufeff[profile x]\r\n"+strings.ReplaceAll(keys(w), "\n", "\r\n")))
			return block(profile("x"))
		},
		"~": func(t *testing.T, w *fixture) config.Account {
			if err := os.WriteFile(filepath.Join(os.Getenv("HOME"), "mine"), []byte("[profile x]\n"+keys(w)),
				0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("AWS_CONFIG_FILE", "~/mine")
			return block(profile("x"))
		},
		"comments, colons, quotes, capitals, indented settings": func(t *testing.T, w *fixture) config.Account {
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", "; mine\nlost = 1\n[preview]\nx = y\n[profile x] # of "+
				"alice\ns3 =\n  max_bandwidth = 1\nAWS_ACCESS_KEY_ID: \""+w.key.ID+"\" # old\n"+
				"aws_secret_access_key='"+w.key.Secret+"'\nnonsense\n[profile x]\nregion = us-east-1\n"))
			return block(profile("x"))
		},
		"[default] and [profile default]": func(t *testing.T, w *fixture) config.Account {
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", "[profile default]\n"+keys(w)+"[default]\nrole_arn = "+
				"arn:aws:iam::111111111111:role/no\n"))
			return block()
		},
		"a key of the old name": func(t *testing.T, w *fixture) config.Account {
			c := retrieve(w, w.open(w.sessions(Options{}), w.ak(role(w.role.ARN))))
			t.Setenv("AWS_CONFIG_FILE", write(t, "config",
				"[profile x]\naws_access_key_id = "+c.AccessKeyID+"\naws_secret_access_key = "+c.SecretAccessKey+
					"\naws_security_token = "+c.SessionToken+"\n"))
			return block(profile("x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := ordinaryEnv(t)
			a := set(t, w)
			w.open(w.sessions(Options{Getenv: os.Getenv}), a)
		})
	}
}

// TestMFAOfASource: the MFA device of a profile's role does not matter for a profile that uses only the former's keys.
func TestMFAOfASource(t *testing.T) {
	w, _ := ordinaryEnv(t)
	text := "[profile u]\n" + keyLines(w.key) + "mfa_serial = " + w.mfa.Serial + "\n"
	t.Setenv("AWS_CONFIG_FILE", write(t, "config", text+
		"role_arn = arn:aws:iam::222222222222:role/other\nsource_profile = u\n"+
		"[profile x]\nrole_arn = "+w.role.ARN+"\nsource_profile = u\n"))
	w.open(w.sessions(Options{Getenv: os.Getenv}), block(profile("x")))
	w.count("GetSessionToken", 0)
	t.Setenv("AWS_CONFIG_FILE", write(t, "config", text+"[profile x]\nrole_arn = "+w.role.ARN+"\nsource_profile = u\n"))
	w.open(w.sessions(Options{Getenv: os.Getenv}), block(profile("x"), device("", w.mfa.Now())))
	w.count("GetSessionToken", 1)
}
