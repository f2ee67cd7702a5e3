package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// readmeQueries returns the PromQL of README's table, in its order.
func readmeQueries(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "| question | PromQL |\n|---|---|\n")
	if !found {
		t.Fatal("README has no table of questions and their PromQL")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	var all []string
	for row := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(row), " | ")
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[len(cells)-1], -1) {
			all = append(all, m[1])
		}
	}
	return all
}

// informs reports whether a query also has an answer while all is well.
func informs(query string) bool {
	return strings.Contains(query, "collector_api_budget_wait_seconds_total")
}

const (
	stepTime = 30 * time.Minute
	steps    = 2 * 40 // forty hours: a nightly kind is forty hours old, and has been listed again since
)

// A setupFunc sets the state of a collector at an instant.
type setupFunc = func(now time.Time, live *fixedStatus, m *Metrics)

// seriesOf scrapes the metrics of a setup every half hour, in promtool's format. Its clock begins at the epoch.
func seriesOf(t *testing.T, setup setupFunc) []map[string]string {
	t.Helper()
	live := &fixedStatus{}
	m, reg := newMetrics(t, live, MetricsOptions{Detail: true})
	m.Observe(runner.Configured{Kinds: kinds("prod")})
	values := map[string][]string{}
	line := regexp.MustCompile(`^(\w+(?:\{.*\})?) (\S+)$`)
	for i := range steps + 1 {
		setup(time.Unix(0, 0).Add(time.Duration(i)*stepTime), live, m)
		for text := range strings.Lines(scrape(t, reg)) {
			if one := line.FindStringSubmatch(strings.TrimSpace(text)); one != nil && !strings.HasPrefix(text, "#") {
				for len(values[one[1]]) < i {
					values[one[1]] = append(values[one[1]], "_")
				}
				values[one[1]] = append(values[one[1]], one[2])
			}
		}
		for name, v := range values {
			if len(v) == i {
				values[name] = append(v, "stale")
			}
		}
	}
	var all []map[string]string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		all = append(all, map[string]string{"series": name, "values": strings.Join(values[name], " ")})
	}
	return all
}

// listed returns a target with the time of its last complete listing and of the next one.
func listed(region, kind string, s record.State, success, due time.Time) Target {
	t := target("prod", region, kind, s, success, 3)
	t.Due = due
	return t
}

// The queries of README return nothing on a healthy setup: a kind that is listed every quarter of an hour, a nightly
// one, a role session of an hour, outputs that deliver. Each query returns something for its own problem, and nothing
// for others.
func TestReadmeQueries(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip(
			"SKIPPED, NOT PASSED: promtool is not installed (Debian: apt-get install prometheus); README's queries were not run",
		)
	}
	queries := readmeQueries(t)
	if len(queries) < 10 {
		t.Fatalf("README has %d queries: %q", len(queries), queries)
	}
	healthy := func(now time.Time, live *fixedStatus, m *Metrics) {
		quarter, night := now.Truncate(15*time.Minute).Add(20*time.Second), now.Truncate(24*time.Hour).Add(40*time.Second)
		live.accounts = []Account{
			{Name: "prod", Identity: record.Identity{AccountID: "222222222222"}, Next: quarter.Add(15 * time.Minute)},
		}
		live.targets = []Target{
			listed("us-east-1", "ec2_instance", record.OK, quarter, quarter.Truncate(15*time.Minute).Add(16*time.Minute)),
			listed("us-east-1", "ec2_image", record.OK, night, night.Truncate(24*time.Hour).Add(25*time.Hour)),
			listed("eu-west-1", "ec2_instance", record.RegionDisabled, time.Time{}, time.Time{}),
		}
		m.Reloaded(true)
		m.Observe(
			runner.CallEnded{Account: "prod", Region: "us-east-1", Op: "DescribeInstances", Code: "", Took: time.Second},
		)
		m.OutputUp("siem", true)
		m.OutputSpool("siem", 3, 4096, now.Add(-time.Minute))
		m.OutputSpool("idle", 0, 0, time.Time{})
	}
	broken := func(change setupFunc) setupFunc {
		return func(now time.Time, live *fixedStatus, m *Metrics) {
			healthy(now, live, m)
			change(now, live, m)
		}
	}
	const (
		failed = "collector_target_failed"
		late   = "collector_success_due"
		never  = "collector_never_succeeded"
		lapse  = "collector_credentials_expiry"
	)
	noon := time.Unix(0, 0).Add(36 * time.Hour)
	for name, c := range map[string]struct {
		setup    setupFunc
		answered []string // parts of the queries that return something
	}{
		"all ok": {healthy, nil},
		"the frequent kind fails since noon": {broken(func(now time.Time, live *fixedStatus, _ *Metrics) {
			if now.After(noon) {
				live.targets[0] = listed("us-east-1", "ec2_instance", record.Denied, noon, noon.Add(16*time.Minute))
			}
		}), []string{failed, late}},
		"the nightly kind failed last night": {broken(func(now time.Time, live *fixedStatus, _ *Metrics) {
			live.targets[1] = listed("us-east-1", "ec2_image", record.Throttled, time.Unix(40, 0),
				time.Unix(0, 0).Add(25*time.Hour))
		}), []string{failed, late}},
		"a new account, never listed": {broken(func(_ time.Time, live *fixedStatus, _ *Metrics) {
			live.targets = []Target{listed("us-east-1", "ec2_instance", record.AuthFailed, time.Time{}, time.Time{})}
		}), []string{failed, never}},
		"runs stopped, and nothing fails": {broken(func(now time.Time, live *fixedStatus, _ *Metrics) {
			live.targets = []Target{listed("us-east-1", "ec2_instance", record.OK, noon, noon.Add(16*time.Minute))}
		}), []string{late}},
		"an expected denial": {broken(func(_ time.Time, live *fixedStatus, _ *Metrics) {
			expected := listed("us-east-1", "ec2_host", record.Denied, time.Time{}, time.Time{})
			expected.Expected = true
			live.targets = append(live.targets, expected)
		}), nil},
		"an MFA session that ends": {broken(func(_ time.Time, live *fixedStatus, _ *Metrics) {
			live.accounts[0].Expires = time.Unix(0, 0).Add(41 * time.Hour)
		}), []string{lapse}},
		"an MFA session that has ended": {broken(func(_ time.Time, live *fixedStatus, _ *Metrics) {
			live.accounts[0].Expires = noon
		}), []string{lapse}},
		"an MFA session of a day": {broken(func(now time.Time, live *fixedStatus, _ *Metrics) {
			live.accounts[0].Expires = now.Add(24 * time.Hour)
		}), nil},
		"a refused reload": {broken(func(_ time.Time, _ *fixedStatus, m *Metrics) { m.Reloaded(false) }),
			[]string{"collector_config_last_reload_successful"}},
		"a receiver that does not answer": {broken(func(_ time.Time, _ *fixedStatus, m *Metrics) {
			m.OutputSpool("siem", 3, 4096, noon)
		}), []string{"collector_output_spool_oldest"}},
		"records lost": {broken(func(_ time.Time, _ *fixedStatus, m *Metrics) {
			m.OutputDropped("siem", 5, "full")
			m.OutputDeadLetter("siem")
		}), []string{"collector_output_dropped_records_total", "collector_output_dead_letters_total"}},
	} {
		t.Run(name, func(t *testing.T) {
			var tests []map[string]any
			for _, q := range queries {
				if informs(q) {
					continue
				}
				want := []any{}
				if slices.ContainsFunc(c.answered, func(s string) bool { return strings.Contains(q, s) }) {
					want = []any{map[string]any{"labels": "{}", "value": 1}}
				}
				tests = append(tests,
					map[string]any{
						"expr":        "count(" + q + ") > bool 0",
						"eval_time":   fmt.Sprint(int(steps*stepTime/time.Minute)) + "m",
						"exp_samples": want,
					},
				)
			}
			file, err := json.Marshal(
				map[string]any{
					"tests": []any{map[string]any{"interval": "30m", "input_series": seriesOf(t, c.setup), "promql_expr_test": tests}},
				},
			)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "test.yaml") // JSON is YAML
			if err := os.WriteFile(path, file, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), tool, "test", "rules", path).CombinedOutput(); err != nil {
				t.Errorf("promtool test rules: %v\n%s", err, bytes.TrimSpace(out))
			}
		})
	}
}
