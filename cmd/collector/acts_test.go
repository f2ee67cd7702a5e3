package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/aws-collector/collector/internal/awsfake"
)

// tell runs a command against the daemon, with its environment, and returns what it prints and its exit code.
func (d *daemon) tell(env map[string]string, args ...string) (output string, code int) {
	d.t.Helper()
	var out, errs bytes.Buffer
	err := run(d.t.Context(), append(args, "--server", d.url), func(name string) string { return env[name] }, &out, &errs)
	code = exitCode(err, &errs)
	return out.String() + errs.String(), code
}

// post asks the API to act.
func (d *daemon) post(path, body string) (answer map[string]any, status int) {
	d.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post(d.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		d.t.Fatal(err)
	}
	return answer, resp.StatusCode
}

// People act on a running daemon with commands and over the API. A pause outlives a kill.
func TestDaemonActs(t *testing.T) {
	scene, s := startScene(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	var mfa *awsfake.SimulatedAccount
	for i := range scene.Accounts {
		if scene.Accounts[i].Name == "payments" {
			mfa = &scene.Accounts[i]
		}
	}
	block := fmt.Sprintf("  - {name: payments, ak_id: %s, ak_secret: %q, serial_number: %q}",
		mfa.Key.ID, mfa.Key.Secret, mfa.MFA.Serial)
	write(t, path, daemonConfig(dir, scene, block))
	d := startDaemon(t, path, s.URL)
	expect := func(want string, wantCode int, args ...string) {
		t.Helper()
		if got, code := d.tell(nil, args...); code != wantCode || !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%q: exit %d, %s; want %d, %s", args, code, got, wantCode, want)
		}
	}
	d.waitUntil("a run", d.logMatches(`run ended" account=prod`))
	expect(`^prod: paused by loopback since \S+: migration\n$`, 0, "pause", "prod", "--note", "migration")
	d.waitUntil("a missed tick", func() bool {
		missed := regexp.MustCompile(`collector_missed_runs_total{account="prod",reason="paused"} [1-9]`)
		return missed.MatchString(d.get("/metrics"))
	})
	d.signal(os.Kill)
	d.waitExit()

	d = startDaemonWith(t, path, s.URL, []string{"run"})
	if got := d.get("/api/v1/accounts/prod"); !strings.Contains(got, `"paused":{"by":"loopback"`) {
		t.Errorf("after the kill: %s", got)
	}
	if strings.Contains(d.get("/metrics"), `collector_success_due_timestamp_seconds{account="prod"`) {
		t.Error("a paused account is due")
	}
	expect(`^prod: run \w+ started\n$`, 0, "start", "prod")
	d.waitUntil("the run", d.logMatches(`run ended" account=prod`))
	remove := scene.AWS.Inject(awsfake.Fault{Kind: awsfake.Hang, Action: "DescribeInstances"})
	expect(`^prod: run \w+ started\n$`, 0, "start", "prod")
	d.waitUntil("a listing that hangs", func() bool { return scene.AWS.Stats().InFlight > 0 })
	expect(`an earlier run is still in progress\nhint: Wait for the end of the run, or cancel it`, 1, "start", "prod")
	expect(`^prod: cancelled \w+\n$`, 0, "cancel", "prod")
	d.waitUntil("the end of the run", d.logMatches(`the run was cancelled by loopback`))
	remove()
	if result, status := d.post("/api/v1/accounts/prod/check", ""); status != 200 || result["status"] != "success" {
		t.Errorf("check: %d %v", status, result)
	}
	expect(`^prod: its schedule applies\n$`, 0, "resume", "prod")
	runs := strings.Count(d.log(), `run ended" account=prod`)
	d.waitUntil("a tick", func() bool { return strings.Count(d.log(), `run ended" account=prod`) > runs })

	expect(`payments: mfa_needed acknowledged by loopback, in all regions, for all kinds`, 0,
		"acknowledge", "payments", "--reason", "mfa_needed")
	expect(`Its listings fail with: mfa_needed`, 2, "acknowledge", "payments", "--reason", "throttled")
	session, status := d.post("/api/v1/accounts/payments/mfa", `{"code":"`+mfa.MFA.Now()+`"}`)
	if arn, _ := session["arn"].(string); status != 200 || !strings.HasSuffix(arn, ":user/alice") {
		t.Errorf("mfa: %d %v", status, session)
	}
	d.waitUntil("a run with the session", d.logMatches(`run ended" account=payments run=\w+ status=success`))
	expect(`no account has the name "nobody"`, 2, "start", "nobody")
	for _, act := range []string{"pause", "start", "cancel", "check", "resume", "acknowledge", "mfa"} {
		if !strings.Contains(d.log(), "act="+act+" by=loopback") && act != "pause" {
			t.Errorf("the log has no act %s", act)
		}
	}
}

// With web.act_users only the users named there act, with a password from a file; others are told why.
func TestDaemonActUsers(t *testing.T) {
	scene, s := startScene(t)
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file, password := filepath.Join(dir, "web.yaml"), filepath.Join(dir, "password")
	write(t, file, fmt.Sprintf("basic_auth_users:\n  alice: %s\n  scraper: %s\n", hash, hash))
	write(t, password, "open sesame\n")
	path := filepath.Join(dir, "config.yaml")
	write(t, path, strings.Replace(daemonConfig(dir, scene, ""), "web: {",
		"web: {config_file: "+file+", act_users: [alice], ", 1))
	d := startDaemon(t, path, s.URL)
	d.waitUntil("a run", d.logMatches(`run ended" account=prod`))
	for _, c := range []struct {
		env  map[string]string
		code int
		want string
	}{
		{nil, 1, "answers 401 Unauthorized"},
		{map[string]string{"COLLECTOR_USER": "scraper", "COLLECTOR_PASSWORD": "open sesame"}, 1,
			`user "scraper" may not act`},
		{map[string]string{"COLLECTOR_USER": "alice", "COLLECTOR_PASSWORD_FILE": password}, 0, "prod: paused by alice"},
		{map[string]string{"COLLECTOR_USER": "alice", "COLLECTOR_PASSWORD_FILE": dir}, 2, "COLLECTOR_PASSWORD_FILE"},
	} {
		if got, code := d.tell(c.env, "pause", "prod"); code != c.code || !strings.Contains(got, c.want) {
			t.Errorf("%v: exit %d, %s", c.env, code, got)
		}
	}
	d.waitUntil("the act in the log", d.logMatches(`act=pause by=alice account=prod`))
	d.printsTheSame(map[string]string{"COLLECTOR_USER": "scraper", "COLLECTOR_PASSWORD": "open sesame"})
	if got, code := d.tell(nil, "list"); code != 1 || !strings.Contains(got, "hint: Set COLLECTOR_USER") {
		t.Errorf("without a user: exit %d, %s", code, got)
	}
	if got, code := d.tell(nil, "sql", "select 1"); code != 2 ||
		!strings.Contains(got, "collector sql cannot ask a running collector") {
		t.Errorf("sql: exit %d, %s", code, got)
	}
}
