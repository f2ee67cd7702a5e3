package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws-collector/collector/internal/awsfake"
)

// Response fields that this version does not know are delivered and counted. Without such fields there is no series.
func TestUnknownMembersMetric(t *testing.T) {
	scene, d, dir := startCollecting(t)
	if text := d.get("/metrics"); strings.Contains(text, "collector_unknown_response_fields_total{") {
		t.Error("unknown fields are counted, but AWS sent none")
	}
	scene.AWS.Inject(awsfake.Fault{Kind: awsfake.UnknownMembers, Action: "DescribeInstances"})
	some := regexp.MustCompile(`(?m)^collector_unknown_response_fields_total\{kind="ec2_instance"\} [1-9]`)
	d.waitUntil("unknown fields", func() bool { return some.MatchString(d.get("/metrics")) })
	d.waitUntil("records with them", func() bool {
		return strings.Contains(mustRead(t, filepath.Join(dir, "records.jsonl")), `"memberOf2031":{"deep":"new & nested"`)
	})
}

// Throttling lowers the budget ratio of its region, and of no other.
func TestThrottlesLowerBudgetRatio(t *testing.T) {
	scene, d, _ := startCollecting(t)
	if text := d.get("/metrics"); strings.Contains(text, "collector_api_budget_ratio{") {
		t.Error("a reduced budget is exported without throttling")
	}
	scene.AWS.Inject(awsfake.Fault{Kind: awsfake.Throttling, Action: "DescribeInstances", Count: 1})
	d.waitUntil("half the budget", d.hasMetric(`collector_api_budget_ratio{account="prod",region="us-east-1"} 0.5`))
}

// startCollecting starts a daemon and waits for its first run. It returns the folder of its files.
func startCollecting(t *testing.T) (*awsfake.Simulation, *daemon, string) {
	t.Helper()
	scene, s := startScene(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	write(t, config, daemonConfig(dir, scene, ""))
	d := startDaemon(t, config, s.URL)
	d.waitUntil("a run", d.hasMetric(`collector_runs_total{account="prod",status="success"} 1`))
	return scene, d, dir
}
