package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/internal/awsfake"
)

// runOnceWith runs the program with --once against a fake AWS in memory, and returns its exit code and its output.
func runOnceWith(t *testing.T, cloud *awsfake.AWS, config string) (code int, output string) {
	t.Helper()
	server := cloud.InMemory()
	defer server.Close()
	var stdout, stderr bytes.Buffer
	c := newCLI(config, &stdout, &stderr)
	err := c.collect(t.Context(), runOptions{
		once: true, flushTimeout: time.Minute,
		aws: auth.LoadOptions{Isolated: true, Endpoint: server.URL, DialContext: server.DialContext},
	})
	return exitCode(err, &stderr), stderr.String()
}

// Fifty accounts use one MFA device and one literal code, in three processes an hour apart: one code is used.
func TestFiftyBehindOneDevice(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cloud := awsfake.New(awsfake.Options{Latency: 20 * time.Millisecond})
		home := cloud.AddAccount("111111111111", "aws")
		u := home.AddUser("alice")
		k, m := u.NewKey(), u.AddMFA("alice")
		var b strings.Builder
		fmt.Fprintf(&b, "data_dir: %s/data\ncollector_configs: {regions: [us-east-1], kinds: [ec2_volume]}\naccounts:\n", dir)
		code := m.Now()
		for i := range 50 {
			a := cloud.AddAccount(fmt.Sprintf("2222222222%02d", i), "aws")
			a.AddRole("reader", awsfake.RoleOptions{Trust: []awsfake.Trust{{Principals: []string{home.ID}, MFA: true}}})
			fmt.Fprintf(
				&b,
				"  - {name: a%02d, ak_id: %s, ak_secret: %q, serial_number: %q, token_code: %q, account_id: %q, role: reader}\n",
				i, k.ID, k.Secret, m.Serial, code, a.ID,
			)
		}
		config := filepath.Join(dir, "config.yaml")
		if err := os.WriteFile(config, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		for run := range 3 {
			if exit, output := runOnceWith(t, cloud, config); exit != exitDone {
				t.Errorf("run %d: exit %d\n%s", run, exit, output)
			}
			time.Sleep(time.Hour)
		}
		calls := map[string]int{}
		for _, c := range cloud.Calls(func(*awsfake.Call) bool { return true }) {
			calls[c.Action]++
		}
		if calls["GetSessionToken"] != 1 || calls["AssumeRole"] != 3*50 {
			t.Errorf("calls %v: want one session for one code, and each role assumed once per run", calls)
		}
	})
}

// STS hangs for one account: that account fails with its reason, and no other account is delayed.
func TestHungSTSAmongFifty(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const hung = "100000000007"
		cloud := awsfake.New(awsfake.Options{Latency: 80 * time.Millisecond})
		var b strings.Builder
		fmt.Fprintf(
			&b,
			"data_dir: %s/data\ncollector_configs: {regions: [us-east-1], kinds: [ec2_instance]}\n"+
				"outputs: [{type: file, path: %[1]s/records.jsonl}]\naccounts:\n",
			dir,
		)
		for i := range 50 {
			a := cloud.AddAccount(fmt.Sprintf("1000000000%02d", i), "aws")
			a.AddInstances("us-east-1", 1)
			k := a.AddUser("collector").NewKey()
			fmt.Fprintf(&b, "  - {name: %q, ak_id: %s, ak_secret: %q}\n", a.ID, k.ID, k.Secret)
		}
		cloud.Inject(awsfake.Fault{Kind: awsfake.Hang, Account: hung, Service: "sts"})
		config := filepath.Join(dir, "config.yaml")
		if err := os.WriteFile(config, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		exit, output := runOnceWith(t, cloud, config)
		if exit != exitPartial ||
			!strings.Contains(output, hung+": auth_failed (timeout)") && !strings.Contains(output, hung+": timeout") {
			t.Errorf("exit %d\n%s", exit, output)
		}
		listed := map[string]time.Duration{}
		for _, c := range cloud.Calls(func(c *awsfake.Call) bool { return c.Action == "DescribeInstances" && c.Code == "" }) {
			listed[c.AccountID] = c.Start.Sub(began)
		}
		if len(listed) != 49 {
			t.Errorf("%d accounts were listed", len(listed))
		}
		for id, at := range listed {
			if at > 5*time.Second {
				t.Errorf("%s was listed after %s", id, at)
			}
		}
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("the one that hangs held the run for %s", took)
		}
	})
}
