package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// canaries are planted secrets, by a description of each.
type canaries map[string]string

// requireAbsent fails if text has one of the secrets, plain or encoded: as base64, as a URL escape or in hexadecimal.
func (c canaries) requireAbsent(t *testing.T, where, text string) {
	t.Helper()
	for what, planted := range c {
		forms := map[string]string{
			"":                 planted,
			", escaped":        url.QueryEscape(planted),
			", in hexadecimal": hex.EncodeToString([]byte(planted)),
		}
		for i := range 3 { // at each offset in the encoded text: only the digits that depend on the secret
			b := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", i) + planted))
			forms[fmt.Sprint(", as base64 ", i)] = b[min(4*((i+2)/3), len(b)) : len(b)/4*4-4]
		}
		for how, form := range forms {
			if len(form) > 5 && strings.Contains(text, form) {
				t.Errorf("%s shows %s%s", where, what, how)
			}
		}
	}
}

// echoServer is a receiver whose refusals repeat the whole request.
type echoServer struct {
	mu    sync.Mutex
	heard map[string]int // requests, by the first part of their path
	taken strings.Builder
}

func (g *echoServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	part := strings.Split(r.URL.Path, "/")[1]
	g.mu.Lock()
	g.heard[part]++
	g.taken.Write(body)
	g.mu.Unlock()
	switch part {
	case "good":
		w.WriteHeader(http.StatusNoContent)
		return
	case "away":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "closed":
		w.WriteHeader(http.StatusUnauthorized)
	default:
		w.WriteHeader(http.StatusBadRequest)
	}
	_ = r.Header.Write(w)
	fmt.Fprintln(w, r.URL, r.URL.Query())
}

func (g *echoServer) count(part string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.heard[part]
}

// Secrets of outputs, organizations and the store never leave the program: whether a receiver accepts records, is
// unavailable, refuses them or is no receiver at all, and whatever it answers. Spools, dead letters and the list of
// members do not have them either.
func TestOutputSecretsDoNotLeak(t *testing.T) {
	t.Parallel()
	scene, s := startScene(t)
	g := &echoServer{heard: map[string]int{}}
	receiver := httptest.NewServer(g)
	defer receiver.Close()
	planted := func(name string) string { return "canary/" + name + "/" + strings.Repeat("K7MDENG", 3) + "+EXAMPLEKEY" }
	c := canaries{
		"the secret of a key that works":              scene.Accounts[0].Key.Secret,
		"the secret of an organization":               scene.Organization.Key.Secret,
		"the secret of an organization that is wrong": planted("organization"),
	}
	for _, what := range []string{
		"bearer", "hmac", "header", "basic", "query", "user", "datakit", "influx", "otlp", "kafka", "s3", "s3-session", "dsn",
		"path", "bare", "where", "folder",
	} {
		c[what] = planted(what)
	}
	for i, text := range scene.AWS.Secrets() {
		c[fmt.Sprintf("a sensitive member of a resource, %d", i)] = text
	}

	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	referred := t.TempDir()
	for _, what := range []string{"path", "folder", "where"} {
		write(t, filepath.Join(referred, what), c[what])
	}
	write(t, filepath.Join(dir, "no-folder"), "a file, so that nothing can be written below it")
	withUser := strings.Replace(receiver.URL, "http://", "http://u:"+url.QueryEscape(c["user"])+"@", 1)
	write(t, config, fmt.Sprintf(
		`
schedule: "@every 1s"
jitter: 0s
drain_timeout: 2s
data_dir: %[1]s/data
collector_configs: {regions: [us-east-1], kinds: [ec2_instance, ec2_vpn_connection, ec2_launch_template_version]}
accounts:
  - {name: prod, ak_id: %[2]s, ak_secret: %[3]q}
organizations:
  - {via: {ak_id: %[4]s, ak_secret: %[5]q}, role: %[6]s, name: "{{.Name}}"}
  - {via: {ak_id: %[2]s, ak_secret: %[7]q}, role: %[6]s}
outputs:
  - {type: file, path: %[1]s/records.jsonl, ends: true}
  - {type: prometheus}
  - {type: http_sd, name: nodes, port: 9100}
  - {type: http, name: good, url: "%[8]s/good", bearer_token: %[9]q}
  - {type: http, name: bad, url: "%[8]s/bad", hmac: {key: %[10]q}, headers: {X-Key: %[11]q}}
  - {type: http, name: away, url: "%[8]s/away?token=%[12]s", basic_auth: {username: u, password: %[13]q}}
  - {type: http, name: closed, url: "%[14]s/closed", send: both}
  - {type: datakit, url: "%[8]s/bad", token: %[15]q}
  - {type: influx, url: "%[8]s/bad/write?db=x", token: %[16]q}
  - {type: otlp, url: "%[8]s/away/v1/logs", bearer_token: %[17]q}
  - {type: kafka, brokers: ["%[18]s"], topic: aws, sasl: {mechanism: PLAIN, username: u, password: %[19]q}}
  - {type: http, name: path, url: "%[8]s/bad/%[22]s"}
  - {type: http, name: bare, url: "%[8]s/away?%[23]s"}
  - {type: http, name: referred, url: "%[8]s/closed/${file:%[24]s/path}"}
  - {type: http, name: dead, url: "http://127.0.0.1:1/${file:%[24]s/path}?%[23]s"}
  - {type: s3, bucket: bad, endpoint: "%[8]s", ak_id: ASIAIOSFODNN7EXAMPLE, ak_secret: %[20]q, session_token: %[21]q}
web: {listen: "127.0.0.1:0"}
`,
		dir,
		scene.Accounts[0].Key.ID,
		scene.Accounts[0].Key.Secret,
		scene.Organization.Key.ID,
		scene.Organization.Key.Secret,
		scene.Organization.Role,
		c["the secret of an organization that is wrong"],
		receiver.URL,
		c["bearer"],
		c["hmac"],
		c["header"],
		url.QueryEscape(c["query"]),
		c["basic"],
		withUser,
		c["datakit"],
		c["influx"],
		c["otlp"],
		strings.TrimPrefix(receiver.URL, "http://"),
		c["kafka"],
		c["s3"],
		c["s3-session"],
		url.PathEscape(c["path"]),
		url.QueryEscape(c["bare"]),
		referred,
	))
	env := []string{"AWS_ENDPOINT_URL=" + s.URL, "AWS_EC2_METADATA_DISABLED=true", "COLLECTOR_LOG_LEVEL=debug"}
	command := func(args ...string) string {
		t.Helper()
		stdout, stderr, code := runProcess(t, env, append(args, "--config", config)...)
		if code == exitUsage && args[0] != "login" && args[0] != "list" {
			t.Errorf("%q was not tried: %s", args, stderr)
		}
		c.requireAbsent(t, strings.Join(args, " "), stdout+stderr)
		return stdout + stderr
	}

	if output := command("run", "--once", "--flush-timeout", "3s"); !strings.Contains(output, "reason=signature") {
		t.Errorf("the organization did not fail, so its secret was not tested:\n%s", output)
	}
	for _, part := range []string{"good", "bad", "away", "closed"} {
		if g.count(part) == 0 {
			t.Errorf("nothing was sent to %s, so its secrets were not tested", part)
		}
	}
	if letters, err := filepath.Glob(filepath.Join(dir, "data", "spools", "*", "dead-letter.jsonl")); err != nil ||
		len(letters) == 0 {
		t.Errorf("no dead letters: %v", err)
	}
	instance := regexp.MustCompile(`"(i-[0-9a-f]+)"`).FindStringSubmatch(command("db", "export"))
	if instance == nil {
		t.Fatal("nothing was exported")
	}
	for _, args := range [][]string{
		{"validate"}, {"schema"}, {"check", "-o", "json"}, {"check"}, {"policy"},
		{"policy", "all", "--account-id", "123456789012"}, {"policy", "organization"}, {"run", "--plan"},
		{"run", "--dry-run", "--once"}, {"list", "instance", "-o", "json"}, {"history", instance[1], "-o", "jsonl"},
		{"changes", "-o", "jsonl"}, {"db", "check"},
		{"db", "export", "--history"}, {"sql", "select * from resources"}, {"login", "organization:key"}, {"healthcheck"},
	} {
		command(args...)
	}

	d := startDaemon(t, config, s.URL)
	d.waitUntil(
		"what is shown",
		func() bool { return strings.Contains(d.get("/metrics/inventory"), "aws_ec2_instance_info{") },
	)
	d.waitUntil("the organization's run", d.logMatches(`run ended" account=organization:key-`))
	for _, path := range []string{"/metrics", "/metrics/inventory", "/api/v1/sd/nodes", "/", "/-/ready", "/-/healthy"} {
		c.requireAbsent(t, path, d.get(path))
	}
	d.signal(syscall.SIGQUIT)
	d.waitExit()
	c.requireAbsent(t, "the daemon's log and dump", d.log())

	g.mu.Lock()
	c.requireAbsent(t, "what receivers were sent", g.taken.String())
	g.mu.Unlock()
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && path != config {
			files++
			c.requireAbsent(t, strings.TrimPrefix(path, dir), mustRead(t, path))
		}
		return err
	})
	if err != nil || files < 10 {
		t.Errorf("%d files stored: %v", files, err)
	}

	good := mustRead(t, config)
	for _, option := range []string{
		"where: 'name = ${file:%s/where} (('", "rename: {data.A: 'b.${file:%s/where}..c'}", "max_bytes: '${file:%s/where}'",
		"nosuch: '${file:%s/where}'",
	} {
		write(t, config, strings.Replace(good, "name: good,", "name: good, "+fmt.Sprintf(option, referred)+",", 1))
		for _, args := range [][]string{{"validate"}, {"run", "--plan"}, {"run", "--once"}, {"check"}, {"list"}} {
			stdout, stderr, code := runProcess(t, env, append(args, "--config", config)...)
			if code != exitUsage && args[0] != "list" {
				t.Errorf("%s: %q is accepted: %d %s", option, args, code, stderr)
			}
			c.requireAbsent(t, strings.Join(args, " ")+" with "+option, stdout+stderr)
		}
	}

	write(
		t,
		config,
		strings.Replace(
			good, "\noutputs:",
			fmt.Sprintf("\noutputs:\n  - {type: file, name: folder, path: '%s/no-folder/${file:%s/folder}/x'}", dir, referred),
			1,
		),
	)
	if output := command("run", "--once"); !strings.Contains(output, "one of its parents is a file") {
		t.Errorf("the output was not tested: %s", output)
	}

	write(t, config, strings.Replace(good, "\noutputs:", fmt.Sprintf("\nstore: {type: postgres, dsn: %q}\noutputs:",
		"postgres://collector:"+url.QueryEscape(c["dsn"])+"@127.0.0.1:1/collector"), 1))
	if output := command("validate"); !strings.Contains(output, ": ok, ") {
		t.Errorf("the file was not accepted: %s", output)
	}
	for _, args := range [][]string{
		{"run", "--once", "--flush-timeout", "1s"}, {"list"}, {"db", "check"}, {"db", "vacuum"}, {"db", "export"},
		{"sql", "select 1"}, {"check", "-o", "json"},
	} {
		command(args...)
	}
}
