package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/auth/identity"
	"github.com/aws-collector/collector/internal/awsfake"
)

// The account behind a profile changes while the daemon runs. Nothing of the new account is delivered and nothing of
// the old one ends until the change is accepted. The daemon needs no restart for that.
func TestAccountSwapWhileRunning(t *testing.T) {
	t.Parallel()
	scene, s := startScene(t)
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	process := func(k awsfake.Key, good time.Duration) {
		until := time.Now().Add(good).UTC().Format(time.RFC3339)
		text := fmt.Sprintf(
			`{"Version": 1, "AccessKeyId": %q, "SecretAccessKey": %q, "Expiration": %q}`, k.ID, k.Secret, until,
		)
		write(t, out+".new", text)
		if err := os.Rename(out+".new", out); err != nil {
			t.Fatal(err)
		}
	}
	process(scene.Accounts[0].Key, 6*time.Second)
	files := filepath.Join(dir, "aws")
	write(t, files, "[profile p]\ncredential_process = cat "+out+"\n")
	path := filepath.Join(dir, "config.yaml")
	write(t, path, fmt.Sprintf(`
schedule: "@every 1s"
jitter: 0s
drain_timeout: 2s
data_dir: %[1]s/data
collector_configs: {regions: [us-east-1]}
accounts: [{name: prod, profile: p}]
outputs: [{type: file, path: %[1]s/records.jsonl}]
web: {listen: "127.0.0.1:0"}
`, dir))
	d := startDaemon(t, path, s.URL, "AWS_CONFIG_FILE="+files, "PATH="+os.Getenv("PATH"))
	d.waitUntil(
		"the account to be collected",
		d.hasMetric(`collector_targets{account="prod",region="us-east-1",state="ok"} 1`),
	)
	other := scene.Accounts[4].Account // platform
	process(other.AddUser("carol").NewKey(), time.Hour)
	d.waitUntil("the other account to be refused", d.logMatches(`wrong_account`))
	d.waitUntil("it to be refused at sign-in", d.logMatches(`collector accept prod`))

	command := func(args ...string) string {
		t.Helper()
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(exe, append(args, "--config", path)...)
		cmd.Env = []string{runAsProgram + "=1"}
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, text)
		}
		return string(text)
	}
	if changes := command("changes", "-o", "jsonl"); strings.Contains(changes, other.ID) ||
		strings.Contains(changes, `"change":"gone"`) {
		t.Errorf("stored:\n%.2000s", changes)
	}
	if records := mustRead(t, filepath.Join(dir, "records.jsonl")); strings.Contains(records, other.ID) {
		t.Error("records of the other account were delivered")
	}
	if output := command("accept", "prod"); !strings.Contains(output, "account "+other.ID) {
		t.Errorf("accept prints %q", output)
	}
	d.waitUntil("the other account to be collected", func() bool {
		return strings.Contains(mustRead(t, filepath.Join(dir, "records.jsonl")), other.ID)
	})
	d.waitUntil(
		"the first one to end",
		d.logMatches(`marked account_removed.*account_id=`+scene.Accounts[0].Account.ID),
	)
	changes := command("changes", "-o", "jsonl")
	if strings.Contains(changes, `"ended":"absent"`) || !strings.Contains(changes, `"ended":"account_removed"`) {
		t.Errorf("stored:\n%.2000s", changes)
	}
}

// An organization is not listed with the credentials of another account: its members would replace those of the old
// one, whose resources would end.
func TestOrganizationOfAnotherAccount(t *testing.T) {
	c := newCompany(t, t.TempDir())
	c.home.AddRole("unused", awsfake.RoleOptions{})
	path := c.write("    exclude: {accounts: [\"333333333333\"]}", "")
	text := mustRead(t, path)
	for name, value := range map[string]string{"id": c.key.ID, "secret": c.key.Secret} {
		write(t, filepath.Join(c.dir, name), value)
		text = strings.Replace(
			strings.Replace(text, `"`+value+`"`, value, 1), value, `"${file:`+filepath.Join(c.dir, name)+`}"`, 1,
		)
	}
	write(t, path, text)
	if code := c.once(path); code != exitDone {
		t.Fatalf("exit %d", code)
	}
	c.wantRecords(map[string]int{"111111111111": 1, "222222222222": 1})
	live := c.liveResources(path)

	other := c.cloud.AddAccount("999999999999", "aws")
	other.AddInstances("us-east-1", 1)
	other.NewOrganization("another")
	k := other.AddUser("collector").NewKey()
	write(t, filepath.Join(c.dir, "id"), k.ID)
	write(t, filepath.Join(c.dir, "secret"), k.Secret)
	if code := c.once(path); code == exitDone {
		t.Error("listed as another account")
	}
	identities, err := accounts.OpenIdentities(filepath.Join(c.dir, "data"), identity.Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := identities.Refusals()
	if len(all) != 1 || all[0].Block != "organization:key" || all[0].AccountID != "111111111111" ||
		all[0].Refused.AccountID != "999999999999" {
		t.Errorf("identities %+v", all)
	}
	if now := c.liveResources(path); now != live || live == "" {
		t.Errorf("live is\n%s\nand was\n%s", now, live)
	}
}

// The credentials change to another account between two pages of a listing. The pages before are delivered and stored,
// nothing of the other account is, and what was not listed does not end.
func TestAccountSwapBetweenPages(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		// The latency makes the credentials old enough to be refused.
		cloud := awsfake.New(awsfake.Options{Latency: 6 * time.Second})
		home, other := cloud.AddAccount("111111111111", "aws"), cloud.AddAccount("999999999999", "aws")
		home.AddInstances("us-east-1", 1200)
		other.AddInstances("us-east-1", 1200)
		server := cloud.InMemory()
		defer server.Close()
		process := func(name string, k awsfake.Key) {
			write(
				t, filepath.Join(dir, name),
				fmt.Sprintf(`{"Version": 1, "AccessKeyId": %q, "SecretAccessKey": %q}`, k.ID, k.Secret),
			)
		}
		process("out", home.AddUser("alice").NewKey())
		script := filepath.Join(dir, "process.sh") // it may print other credentials the next time
		write(t, script, "cd "+dir+"; cat out; if [ -e next ]; then mv next out; fi\n")
		files := filepath.Join(dir, "aws")
		write(t, files, "[profile p]\ncredential_process = sh "+script+"\n")
		path := filepath.Join(dir, "config.yaml")
		write(t, path, fmt.Sprintf("data_dir: %[1]s/data\ncollector_configs: {regions: [us-east-1], kinds: [ec2_instance]}\n"+
			"accounts: [{name: prod, profile: p}]\noutputs: [{type: file, path: %[1]s/records.jsonl}]\n", dir))
		var output safeBuffer
		c := newCLI(path, &output, &output)
		load := auth.LoadOptions{
			Isolated:    true,
			Endpoint:    server.URL,
			DialContext: server.DialContext,
			ConfigFiles: []string{files},
		}
		once := func() int {
			return exitCode(c.collect(t.Context(), runOptions{once: true, flushTimeout: time.Minute, aws: load}), &output)
		}
		if code := once(); code != exitDone {
			t.Fatalf("exit %d\n%s", code, output.String())
		}
		process("next", other.AddUser("carol").NewKey())
		cloud.Inject(awsfake.Fault{Kind: awsfake.Expire, Action: "DescribeInstances", Pages: true, Count: 1})
		if code := once(); code == exitDone || !strings.Contains(output.String(), "(wrong_account)") {
			t.Errorf("exit %d\n%s", code, output.String())
		}
		if strings.Contains(mustRead(t, filepath.Join(dir, "records.jsonl")), other.ID) {
			t.Error("records of the other account were delivered")
		}
		for command, want := range map[string]int{"list": 1200, "changes": 1200} {
			var out, stderr safeBuffer
			if err := run(t.Context(), []string{"--config", path, command, "-o", "jsonl"}, c.getenv, &out, &stderr); err != nil {
				t.Fatal(err)
			}
			if text := out.String(); strings.Count(text, "\n") != want || strings.Contains(text, other.ID) ||
				strings.Contains(text, `"gone"`) {
				t.Errorf("%s: %d lines, want %d, none of them of the other account or gone",
					command, strings.Count(text, "\n"), want)
			}
		}
	})
}
