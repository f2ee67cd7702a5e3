package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/query"
)

// The daemon answers what it collected, and the same as the command line says.
func TestAPI(t *testing.T) {
	t.Parallel()
	scene, s := startScene(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	write(t, config, strings.Replace(daemonConfig(dir, scene, ""), "web: {", "web: {mcp: true, ", 1))
	d := startDaemon(t, config, s.URL)
	d.waitUntil("a resource", func() bool {
		return strings.Contains(d.get("/api/v1/resources?kind=instance&limit=1"), `"kind":"ec2_instance"`)
	})
	get := func(path string, v any) {
		t.Helper()
		if text := d.get("/api/v1/" + path); json.Unmarshal([]byte(text), v) != nil {
			t.Fatalf("%s: %s", path, text)
		}
	}
	var coverage struct{ Items []query.CoverageLine }
	get("coverage", &coverage)
	var prod struct {
		AccountID string `json:"account_id"`
		Tags      map[string]string
		SignIn    struct{ ARN string } `json:"sign_in"`
	}
	get("accounts/prod", &prod)
	if len(coverage.Items) == 0 || prod.AccountID != "111111111111" || prod.SignIn.ARN == "" {
		t.Errorf("%+v %+v", coverage, prod)
	}
	var status struct {
		Ready   bool
		Version string
		Store   struct{ Type string }
		Outputs []struct{ Name string }
	}
	get("status", &status)
	if !status.Ready || status.Version == "" || status.Store.Type != "sqlite" || len(status.Outputs) == 0 {
		t.Errorf("%+v", status)
	}
	var instances struct {
		Items []struct{ ID, Account string }
	}
	get("resources?kind=instance&limit=1&fields=id,account", &instances)
	var related struct {
		Items []struct {
			Direction, Kind string
			Found           bool
		}
	}
	get("resources/instance/"+instances.Items[0].ID+"/related", &related)
	isShown := false
	for _, r := range related.Items {
		isShown = isShown || r.Direction == "to" && r.Kind == "ec2_vpc" && !r.Found // only instances are collected
	}
	if !isShown {
		t.Errorf("related: %v", related.Items)
	}
	var kinds struct{ Items query.Catalogue }
	get("kinds", &kinds)
	if len(kinds.Items) != len(account.Catalogue()) || kinds.Items[0].Doc == "" {
		t.Errorf("%d kinds", len(kinds.Items))
	}
	listed := callTool(t, d.url, "list", `{"kind":["instance"],"limit":1}`)
	if !strings.Contains(listed, instances.Items[0].ID) {
		t.Errorf("/mcp: %s", listed)
	}
}

// callTool calls a tool of the Model Context Protocol.
func callTool(t *testing.T, url, tool, arguments string) string {
	t.Helper()
	body := fmt.Sprintf(
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, tool, arguments)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/mcp", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	defer http.DefaultClient.CloseIdleConnections()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", tool, response.Status, err)
	}
	return string(answer)
}
