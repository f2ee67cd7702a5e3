package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// The daemon serves the inventory outputs on its own listener after the first listing, with the options of the last
// reload. A removed output is no longer served.
func TestInventoryEndpoints(t *testing.T) {
	t.Parallel()
	scene, s := startScene(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	with := func(outputs string) string {
		return strings.Replace(daemonConfig(dir, scene, ""), "outputs: [", "outputs: ["+outputs, 1)
	}
	write(t, config, with(`{type: prometheus}, {type: http_sd, name: nodes, port: 9100}, `))
	d := startDaemon(t, config, s.URL)
	status := func(path string) int {
		t.Helper()
		resp, err := http.Get(d.url + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	defer http.DefaultClient.CloseIdleConnections()
	d.waitUntil("metrics of the first listing", func() bool {
		got := d.get("/metrics/inventory")
		if strings.Contains(got, "aws_ec2_instance_info{") {
			return true
		}
		if !strings.Contains(got, "no listing is complete yet") {
			t.Fatalf("before the first listing: %s", got)
		}
		return false
	})
	if got := d.get("/api/v1/sd/nodes"); !strings.HasPrefix(got, `[{"targets":["10.`) ||
		!strings.Contains(got, `:9100"],"labels":{"__meta_collector_account":"prod"`) {
		t.Errorf("targets: %.300s", got)
	}
	if !d.hasMetric(`collector_output_up{output="nodes"} 1`)() ||
		d.hasMetric(`collector_output_served_resources{output="nodes"} 0`)() {
		t.Errorf("the output's own metrics are missing:\n%s", d.get("/metrics"))
	}
	write(t, config, with(`{type: prometheus, path: /metrics/mine, where: "state=no-such-state"}, `))
	d.waitUntil("the reload", func() bool { return status("/metrics/mine") == http.StatusOK })
	for _, path := range []string{"/metrics/inventory", "/api/v1/sd/nodes"} {
		if code := status(path); code != http.StatusNotFound {
			t.Errorf("%s after the reload: %d", path, code)
		}
	}
	if strings.Contains(d.get("/metrics/mine"), "aws_ec2_instance_info") {
		t.Error("the new condition does not hold")
	}
	d.waitUntil(
		"the series of the output to go",
		func() bool { return !strings.Contains(d.get("/metrics"), `output="nodes"`) },
	)
	if got := d.get("/-/ready"); !strings.Contains(got, "is ready") {
		t.Errorf("/-/ready: %s", got)
	}
}
