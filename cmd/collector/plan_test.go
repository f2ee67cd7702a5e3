package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/cmd/collector/internal/plan"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

// A run makes exactly the planned calls: for an account without resources, and for one with the assumed resources. It
// takes as long as planned, or slightly longer.
func TestRunMakesPlannedCalls(t *testing.T) {
	const scalingGroups = 4 // that launched some of the 20 instances; half of them are behind a load balancer of each API
	const users = 3         // also of an empty account
	for _, c := range []struct {
		name   string
		fill   int // instances in eu-west-1
		assume map[string]int
	}{
		{"an empty account", 0, map[string]int{"iam_user": users}},
		{"a full one", 20, map[string]int{
			"ec2_vpc": 1, "ec2_launch_template": 1, "ec2_image": 2, "autoscaling_group": scalingGroups,
			"elb_load_balancer": 2, "elbv2_load_balancer": 2, "elbv2_listener": 4, "elbv2_rule": 6, "elbv2_target_group": 2,
			"elbv2_trust_store": 1, "iam_user": users,
			"cloudformation_stack": 2 + scalingGroups, "cloudformation_stack_set": 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				cloud := awsfake.New(awsfake.Options{Latency: plan.CallDuration})
				a := cloud.AddAccount("111111111111", "aws")
				regions := `["*"]`
				if c.fill > 0 {
					a.AddInstances("eu-west-1", c.fill)
					regions = "[eu-west-1]"
				}
				k := a.AddUser("collector").NewKey()
				server := cloud.InMemory()
				defer server.Close()
				file := filepath.Join(dir, "config.yaml")
				text := fmt.Sprintf(
					"data_dir: %s/data\ncollector_configs: {regions: %s, kinds: [\"*\"]}\n"+
						"accounts: [{name: a, ak_id: %s, ak_secret: %q}]\n",
					dir,
					regions,
					k.ID,
					k.Secret,
				)
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				var stdout, stderr bytes.Buffer
				cli := newCLI(file, &stdout, &stderr)
				cfg, err := cli.loadConfig(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				p, err := plan.Make(cfg.File, accounts.NewDirectory(nil, "", slog.New(slog.DiscardHandler)), plan.Options{
					Once: true, Assume: c.assume, CallsInFlight: cfg.File.Limits.CallsInFlight,
				})
				if err != nil {
					t.Fatal(err)
				}
				if n := len(cloud.Calls(nil)); n != 0 {
					t.Fatalf("planning called AWS %d times", n)
				}
				began := time.Now()
				if err := cli.collect(t.Context(), runOptions{once: true, dryRun: true, flushTimeout: time.Minute,
					aws: auth.LoadOptions{Isolated: true, Endpoint: server.URL, DialContext: server.DialContext}}); err != nil {
					t.Fatalf("%v\n%s", err, stderr.String())
				}
				took := time.Since(began).Seconds()
				want, got := map[string]int{}, map[string]int{}
				for _, r := range p.Regions {
					if r.Calls > 0 && !r.OptIn {
						want[r.Region] = r.Calls
					}
				}
				actions := map[string]int{}
				listing := func(c *awsfake.Call) bool { return c.Service != "sts" }
				for _, call := range cloud.Calls(listing) {
					if call.Service == "iam" {
						call.Region = record.GlobalRegion
					}
					got[call.Region]++
					actions[operations(call.Service+":"+call.Action)]++
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("calls (-planned +made):\n%s", diff)
				}
				plannedActions := map[string]int{}
				for _, k := range p.Costs {
					if k.Calls > 0 {
						plannedActions[operations(k.Action)] += k.Calls
					}
				}
				if diff := cmp.Diff(plannedActions, actions); diff != "" {
					t.Errorf("calls (-planned +made):\n%s", diff)
				}
				t.Logf("%d calls, planned %.2f s, took %.2f s", p.Total.Calls, p.Total.Seconds, took)
				if took < p.Total.Seconds || took > 1.5*p.Total.Seconds+1 {
					t.Errorf("took %.2f s; planned at least %.2f s", took, p.Total.Seconds)
				}
			})
		})
	}
}

// operations is what the calls of a plan are compared by: the action, or the service where tags are a call of their own
// and so not all calls of a kind are of its action.
func operations(action string) string {
	if service, _, _ := strings.Cut(action, ":"); service == "elasticloadbalancing" {
		return service
	}
	return action
}
