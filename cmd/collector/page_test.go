package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/outputs/deliver"
)

// The daemon's page shows what it collected, on every view, and a refused reload while it lasts.
func TestPage(t *testing.T) {
	t.Parallel()
	scene, s := startScene(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	write(t, config, daemonConfig(dir, scene, ""))
	d := startDaemon(t, config, s.URL)
	d.waitUntil("a resource", func() bool {
		return strings.Contains(d.get("/inventory"), `href="/resources/ec2_instance/`)
	})
	has := func(path string, words ...string) string {
		t.Helper()
		text := d.get(path)
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("%s lacks %q:\n%.1000s", path, w, text)
			}
		}
		return text
	}
	has("/", `href="/accounts/prod"`, "Accounts and regions", "What changed in 24 h")
	has("/accounts/prod", "111111111111", "Identity", "Runs of 24 hours")
	has("/changes", "added", "collector changes --since 1d")
	run := regexp.MustCompile(`/runs/[0-9A-Z]{26}`).FindString(has("/runs", "Success"))
	has(run, "Run of ")
	resource := regexp.MustCompile(`/resources/ec2_instance/[^"]+`).FindString(d.get("/inventory"))
	has(strings.ReplaceAll(resource, "&amp;", "&"), "first seen", "VpcId", "Relations")
	asset := regexp.MustCompile(`/assets/style\.\w+\.css`).FindString(d.get("/"))
	has(asset, "--canvas")

	write(t, config, daemonConfig(dir, scene, "  - {name: prod}"))
	d.waitUntil("the refusal", func() bool { return strings.Contains(d.get("/runs"), "configuration was refused") })
	write(t, config, daemonConfig(dir, scene, ""))
	d.waitUntil("its end", func() bool { return !strings.Contains(d.get("/runs"), "configuration was refused") })
}

// A receiver that restarts is no problem on the page: nothing is lost, and it works again. What loses records is one at
// once.
func TestOutputProblem(t *testing.T) {
	now := time.Now()
	spool := func(age time.Duration) *deliver.SpoolState { return &deliver.SpoolState{Oldest: now.Add(-age)} }
	for name, c := range map[string]struct {
		state deliver.State
		want  string
	}{
		"works":           {deliver.State{Up: true, Ready: true, Since: now}, ""},
		"restarts":        {deliver.State{Ready: true, Error: "refused", Since: now.Add(-20 * time.Second)}, ""},
		"fails":           {deliver.State{Ready: true, Error: "refused", Since: now.Add(-2 * time.Minute)}, "Output x fails"},
		"loses":           {deliver.State{Error: "refused", Since: now}, "Output x fails"},
		"late":            {deliver.State{Up: true, Ready: true, Spool: spool(6 * time.Minute)}, "Output x is late"},
		"late, fails now": {deliver.State{Ready: true, Error: "e", Since: now, Spool: spool(time.Hour)}, "Output x is late"},
	} {
		c.state.Name = "x"
		problem, ok := outputProblem(c.state, now)
		if problem.Title != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q, want %q", name, problem.Title, c.want)
		}
	}
}
