package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
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
