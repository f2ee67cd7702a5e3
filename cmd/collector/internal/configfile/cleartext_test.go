package configfile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws-collector/collector/config"
)

// --strict names each output, store and listener whose traffic others can read, with the remedy. It accepts the same on
// this machine, or with TLS that verifies. No secret is shown.
func TestCleartext(t *testing.T) {
	for _, name := range []string{"PGSSLMODE", "PGSSLROOTCERT", "PGHOST", "PGSERVICE"} {
		t.Setenv(name, "")
	}
	dir := t.TempDir()
	webConfig := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const user = "basic_auth_users: {a: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi}\n"
	const tls = "tls_server_config: {cert_file: a.pem, key_file: a.key"
	password, passwordTLS := webConfig("password", user), webConfig("passwordTLS", user+tls+"}\n")
	onlyTLS := webConfig("tls", tls+"}\n")
	clients := webConfig("clients", tls+", client_ca_file: a.pem, client_auth_type: RequireAndVerifyClientCert}\n")
	for _, c := range []struct{ text, want string }{
		{"output: http, url: 'http://r.example.com', bearer_token: EXAMPLESECRET", "bearer_token: " +
			"is sent in clear text: url begins with http://; use https://, or a receiver on this machine"},
		{"output: otlp, url: 'http://r.example.com', basic_auth: {username: u, password: EXAMPLESECRET}",
			"basic_auth: is sent in clear text: url begins with http://; use https://"},
		{"output: http, url: 'http://r.example.com', headers: {X-Key: EXAMPLESECRET}", "headers: are sent in clear text"},
		{"output: http, url: 'http://u:EXAMPLESECRET@r.example.com'", "url: the user and password are sent in clear text"},
		{"output: http, url: 'http://r.example.com'", "url: records are sent in clear text"},
		{"output: influx, url: 'http://r.example.com/write', token: EXAMPLESECRET", "token: is sent in clear text"},
		{"output: datakit, url: 'http://r.example.com', token: EXAMPLESECRET", "token: is sent in clear text"},
		{"output: http, url: 'https://r.example.com', tls: {insecure_skip_verify: true}", "tls.insecure_skip_verify: the"},
		{"output: kafka, brokers: [k.example.com], tls: {insecure_skip_verify: true}", "tls.insecure_skip_verify: the"},
		{"output: s3, bucket: abc, endpoint: 'https://m.example.com', tls: {insecure_skip_verify: true}",
			"tls.insecure_skip_verify: the receiver is not verified"},
		{"output: kafka, brokers: [localhost, 'k.example.com:9092']", "tls: records are sent in clear text: TLS is off; set"},
		{"output: kafka, brokers: [k.example.com], sasl: {mechanism: PLAIN, username: u, password: EXAMPLESECRET}",
			"sasl: the password is sent in clear text"},
		{"output: s3, bucket: abc, endpoint: 'http://m.example.com'", "endpoint: objects, and the token of a session"},
		{"output: http, url: 'http://127.0.0.1:1', bearer_token: x", ""},
		{"output: http, url: 'http://[::1]:1', bearer_token: x", ""},
		{"output: otlp, url: 'http://localhost:4318'", ""},
		{"output: http, url: 'https://r.example.com', bearer_token: x", ""},
		{"output: kafka, brokers: ['127.0.0.1:9092']", ""},
		{"output: kafka, brokers: [k.example.com], tls: {enabled: true}", ""},
		{"output: s3, bucket: abc", ""},
		{"output: s3, bucket: abc, endpoint: 'http://127.0.0.1:9000'", ""},
		{"output: file, path: x", ""},
		{"output: http_sd, name: nodes", ""},

		{"store: postgres://u:EXAMPLESECRET@db.example.com/x?sslmode=disable", "store.dsn: the inventory, and"},
		{"store: postgres://u:EXAMPLESECRET@db.example.com/x", "store.dsn: the inventory, and"},
		{"store: host=db.example.com sslmode=require", "store.dsn: the server is not verified"},
		{"store: host=localhost,db.example.com sslmode=disable", "store.dsn: the inventory, and"},
		{"store: postgres://u@db.example.com/x?sslmode=verify-full", ""},
		{"store: postgres://u@localhost/x?sslmode=disable", ""},
		{"store: host=/var/run/postgresql sslmode=disable", ""},

		{"web: listen: ':9420'", `web.listen: ":9420" is open to other machines without authentication`},
		{"web: listen: '[::]:9420'", `web.listen: "[::]:9420" is open`},
		{"web: listen: '10.1.2.3:9420'", `web.listen: "10.1.2.3:9420" is open`},
		{"web: listen: ':9420', config_file: " + onlyTLS, `web.listen: ":9420" is open`},
		{"web: listen: ':9420', config_file: " + password, "web.config_file: passwords are sent in clear text"},
		{"web: listen: ':9420', config_file: " + passwordTLS, ""},
		{"web: listen: ':9420', config_file: " + clients, ""},
		{"web: listen: '127.0.0.1:9420', config_file: " + password, ""},
		{"web: listen: 'localhost:9420'", ""},
	} {
		text := "\naccounts: [{name: a}]\n"
		want := "c.yaml: " + c.want
		switch key, rest, _ := strings.Cut(c.text, ": "); key {
		case "output":
			text = "outputs: [{type: " + rest + "}]" + text
			want = "c.yaml:1: outputs[0]." + c.want
		case "store":
			text = "store: {type: postgres, dsn: '" + rest + "'}" + text
		default:
			text = "web: {" + rest + "}" + text
		}
		f, err := config.Parse([]byte(text), "c.yaml", KnownNames())
		if err == nil {
			err = f.Resolve(os.LookupEnv, nil)
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		s := &Source{Path: "c.yaml", Getenv: func(string) string { return "" }}
		got := strings.Join(s.cleartextWarnings(f), "\n")
		if c.want == "" && got != "" || c.want != "" && !strings.HasPrefix(got, want) || strings.Contains(got, "\n") ||
			strings.Contains(got, "EXAMPLESECRET") {
			t.Errorf("%s\n got %q\nwant %q", text, got, want)
		}
	}
}

// The variable or the flag that overrides web.listen is named, and --strict looks at the address that is used.
func TestCleartextListenOverridden(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	text := "accounts: [{extra_tags: {a: b}}]\nweb: {listen: '127.0.0.1:9420'}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ variable, flag, want string }{
		{"", "", ""},
		{":9420", "", `COLLECTOR_LISTEN: ":9420" is open to other machines`},
		{":9420", "127.0.0.1:9420", ""},
		{"127.0.0.1:9420", "0.0.0.0:9420", `--listen: "0.0.0.0:9420" is open to other machines`},
	} {
		env := map[string]string{"COLLECTOR_LISTEN": c.variable}
		s := &Source{Path: path, Listen: c.flag, Getenv: func(name string) string { return env[name] }, Strict: true}
		_, err := s.Load(t.Context())
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Each type of output that sends over a network says whether it is safe there.
func TestCleartextOfEveryType(t *testing.T) {
	local := []string{"stdout", "file", "parquet", "prometheus", "http_sd"}
	for name, options := range KnownNames().Outputs {
		_, ok := options().(interface{ Cleartext() []config.Problem })
		if ok == slices.Contains(local, name) {
			t.Errorf("%s: knows about cleartext: %t", name, ok)
		}
	}
}
