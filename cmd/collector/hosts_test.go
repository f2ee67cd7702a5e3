package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// The daemon answers the hosts of web.hosts and loopback hosts, also for mounted handlers. A change of the list logs
// that it needs a restart.
func TestDaemonChecksHost(t *testing.T) {
	t.Parallel()
	scene, s := startScene(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	text := strings.Replace(daemonConfig(dir, scene, ""), "outputs: [", "outputs: [{type: prometheus}, ", 1)
	text = strings.Replace(text, "web: {", `web: {hosts: [collector.example.com, "*.svc"], `, 1)
	write(t, config, text)
	d := startDaemon(t, config, s.URL)
	d.waitUntil(
		"metrics of the first listing",
		func() bool { return strings.Contains(d.get("/metrics/inventory"), "aws_ec2_instance_info{") },
	)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for host, want := range map[string]int{
		"": 200, "localhost:9420": 200, "collector.example.com": 200, "Collector.monitoring.svc:9420": 200,
		"evil.example": 421, "svc": 421,
	} {
		for _, path := range []string{"/", "/metrics", "/metrics/inventory"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = host
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("host %q, %s: %s, want %d", host, path, resp.Status, want)
			}
		}
	}
	write(t, config, strings.Replace(text, "collector.example.com", "other.example.com", 1))
	d.waitUntil("the reload", d.logMatches(`configuration key needs a restart" key=web`))
}
