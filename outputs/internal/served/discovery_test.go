package served_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs/httpsd"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/outputs/prometheus"
)

// A changingStore replaces its content between two requests.
type changingStore struct {
	inventory.Reader
	now atomic.Pointer[outputstest.Store]
}

func (c *changingStore) Find(ctx context.Context, q inventory.Query) iter.Seq2[*inventory.Resource, error] {
	return c.now.Load().Find(ctx, q)
}

func (c *changingStore) Targets(ctx context.Context) iter.Seq2[inventory.Coverage, error] {
	return c.now.Load().Targets(ctx)
}

// A real Prometheus discovers its target through http_sd, with EC2's labels, and scrapes it: here the output
// prometheus. It keeps the target while the store fails, and drops it once AWS does not list it any more.
func TestPrometheusDiscovers(t *testing.T) {
	tool, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip(
			"SKIPPED, NOT PASSED: prometheus is not installed (Debian: apt-get install prometheus); " +
				"service discovery was not tested",
		)
	}
	store := new(changingStore)
	found := outputstest.Instances(outputstest.Instance("i-1", func(r *inventory.Resource) {
		r.Name, r.Tags = "web", map[string]string{"Name": "web", "metrics": metricsPath}
		r.Data = []byte(`{"PrivateIpAddress":"127.0.0.1"}`)
	}), outputstest.Instance("i-2", nil))
	store.now.Store(found)
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	defer s.Close()
	hs, w := outputstest.OpenServed(t, store, servedTypes(),
		outputstest.Options[prometheus.Options](prometheus.Type, nil), nodes(func(o *httpsd.Options) {
			o.AllowLocal = true
			o.Port, o.Labels = s.Listener.Addr().(*net.TCPAddr).Port, map[string]string{"__metrics_path__": "tags.metrics"}
		}))
	for path, h := range hs {
		mux.Handle(path, h)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(`
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: nodes
    http_sd_configs: [{url: "%s%s", refresh_interval: 1s}]
    relabel_configs:
      - {source_labels: [__meta_ec2_tag_Name, __meta_ec2_instance_id], separator: /, target_label: instance}
`, s.URL, nodesPath)), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := free.Addr().String()
	free.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(
		ctx, tool,
		"--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "tsdb"), "--web.listen-address", listen,
		"--log.level", "warn",
	)
	output := new(outputstest.Buffer)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("output of prometheus:\n%s", output.Bytes())
		}
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	get := func(path string) string {
		resp, err := client.Get("http://" + listen + path)
		if err != nil {
			return err.Error() // it is still starting
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	until := func(what string, is func() (bool, string)) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; {
			ok, got := is()
			if ok {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("timed out waiting for: %s; the last answer:\n%s", what, got)
			}
			<-time.After(100 * time.Millisecond)
		}
	}
	targets := func() (up []string, all int, text string) {
		text = get("/api/v1/targets")
		var answer struct {
			Data struct {
				ActiveTargets []struct {
					Labels            map[string]string
					Health, ScrapeURL string
				}
			}
		}
		if json.Unmarshal([]byte(text), &answer) != nil {
			return nil, -1, text
		}
		for _, a := range answer.Data.ActiveTargets {
			if a.Health == "up" {
				up = append(up, a.Labels["instance"])
			}
		}
		return up, len(answer.Data.ActiveTargets), text
	}
	query := func(q string) func() (bool, string) {
		return func() (bool, string) {
			got := get("/api/v1/query?query=" + url.QueryEscape(q))
			return strings.Contains(got, `"value":[`), got
		}
	}
	until("the target to be up", func() (bool, string) {
		up, all, text := targets()
		return all == 1 && len(up) == 1 && up[0] == "web/i-1", text
	})
	until(
		"the series of what it scrapes",
		query(`count(aws_ec2_instance_info{state="running",exported_instance=""}) == 2`),
	)

	store.now.Store(&outputstest.Store{Err: errors.New("the disk is gone")})
	until("Prometheus to get enough errors", func() (bool, string) { // it asks once a second
		w.Mu.Lock()
		defer w.Mu.Unlock()
		return w.Errs["nodes"] > 8, fmt.Sprint(w.Errs)
	})
	if _, all, text := targets(); all != 1 {
		t.Errorf("while the store fails there are %d targets:\n%s", all, text)
	}

	store.now.Store(outputstest.Instances())
	until("the target to go", func() (bool, string) {
		_, all, text := targets()
		return all == 0, text
	})
}
