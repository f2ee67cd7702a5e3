package main

import (
	"bytes"
	"encoding/json"
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

// Fifty accounts: one hangs in every region, one is denied a region. The whole program with the SDK runs on a synctest
// clock against a fake AWS in memory. Every other account starts within five seconds and is collected completely.
func TestHungAndDeniedAccountsAmongFifty(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const hung, denied = "100000000007", "100000000009"
		cloud := awsfake.New(awsfake.Options{Latency: 80 * time.Millisecond})
		var b strings.Builder
		fmt.Fprintf(
			&b,
			"timeout: 2m\ndata_dir: %s/data\n"+
				"collector_configs: {regions: [us-east-1, us-west-2, eu-west-1, eu-central-1]}\naccounts:\n",
			dir,
		)
		for i := range 50 {
			a := cloud.AddAccount(fmt.Sprintf("1000000000%02d", i), "aws")
			a.AddInstances("us-east-1", 3)
			a.AddInstances("eu-west-1", 2)
			k := a.AddUser("collector").NewKey()
			fmt.Fprintf(&b, "  - {name: %q, ak_id: %s, ak_secret: %q}\n", a.ID, k.ID, k.Secret)
			if a.ID == denied {
				a.Deny(awsfake.Denial{Action: "ec2:DescribeInstances", Region: "eu-west-1"})
			}
		}
		cloud.Inject(awsfake.Fault{Kind: awsfake.Hang, Account: hung, Action: "DescribeInstances"})
		server := cloud.InMemory()
		defer server.Close()
		config := filepath.Join(dir, "config.yaml")
		if err := os.WriteFile(config, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		c := newCLI(config, &stdout, &stderr)
		began := time.Now()
		err := c.collect(t.Context(), runOptions{
			once: true, flushTimeout: time.Minute,
			aws: auth.LoadOptions{Isolated: true, Endpoint: server.URL, DialContext: server.DialContext},
		})
		if code := exitCode(err, &stderr); code != exitPartial {
			t.Errorf("exit %d, want %d\n%s", code, exitPartial, stderr.String())
		}
		first, last := map[string]time.Duration{}, map[string]time.Duration{}
		for _, call := range cloud.Calls(func(*awsfake.Call) bool { return true }) {
			at := call.Start.Sub(began)
			if _, ok := first[call.AccountID]; !ok || at < first[call.AccountID] {
				first[call.AccountID] = at
			}
			last[call.AccountID] = max(last[call.AccountID], at)
		}
		for id, at := range first {
			if at > 5*time.Second {
				t.Errorf("account %s started after %s", id, at)
			}
			if id != hung && last[id] > 10*time.Second {
				t.Errorf("account %s was still at work after %s", id, last[id])
			}
		}
		records := map[string]int{}
		for line := range strings.Lines(stdout.String()) {
			var r struct {
				AccountID string `json:"account_id"`
			}
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			records[r.AccountID]++
		}
		for id := range first {
			want := 5
			switch id {
			case hung:
				want = 0
			case denied:
				want = 3
			}
			if records[id] != want {
				t.Errorf("account %s: %d records, want %d", id, records[id], want)
			}
		}
		if len(first) != 50 {
			t.Errorf("%d accounts were called, want 50", len(first))
		}
		for _, want := range []string{hung + " +timeout", denied + " +partial"} {
			name, state, _ := strings.Cut(want, " +")
			if !strings.Contains(stderr.String(), name+"  "+state) {
				t.Errorf("the table does not say that %s ended %s:\n%s", name, state, stderr.String())
			}
		}
	})
}
