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
	"github.com/aws-collector/collector/runner/board"
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
	steps    = 2 * 40          // forty hours: a nightly kind is sixteen hours old, and has been listed again since
	week     = 2 * (6*24 + 40) // the same hour, six days later
)

// A setupFunc sets the state of a collector at an instant.
type setupFunc = func(now time.Time, live *fixedStatus, m *Metrics)

// seriesOf scrapes the metrics of a setup every half hour, in promtool's format. Its clock begins at the epoch.
func seriesOf(t *testing.T, setup setupFunc, steps int) []map[string]string {
	t.Helper()
	live := &fixedStatus{}
	m, reg := newMetrics(t, live, MetricsOptions{Detail: true})
	m.Observe(runner.Configured{Kinds: kinds("prod", "organization:company")})
	values := map[string][]string{}
	line := regexp.MustCompile(`^(\w+(?:\{.*\})?) (\S+)$`)
	for i := range steps + 1 {
		setup(time.Unix(0, 0).Add(time.Duration(i)*stepTime), live, m)
		for text := range strings.Lines(scrapeText(t, reg)) {
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
func listed(region, kind string, s record.State, success, due time.Time) board.TargetInfo {
	t := target("prod", region, kind, s, success, 3)
	t.Due = due
	return t
}

// The queries of README return nothing, and no alert of deploy fires, in a week of a healthy setup: a kind that is
// listed every quarter of an hour, a nightly one, a role session of an hour, outputs that deliver. Each query returns
// something for its own problem, and nothing for others; so does each alert whose metrics are those of this package.
func TestReadmeQueries(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip(
			"SKIPPED, NOT PASSED: promtool is not installed (Debian: apt-get install prometheus); " +
				"README's queries and the alerts were not run",
		)
	}
	queries := readmeQueries(t)
	if len(queries) < 10 {
		t.Fatalf("README has %d queries: %q", len(queries), queries)
	}
	healthy := func(now time.Time, live *fixedStatus, m *Metrics) {
		quarter, night := now.Truncate(15*time.Minute).Add(20*time.Second), now.Truncate(24*time.Hour).Add(40*time.Second)
		live.accounts = []board.AccountInfo{
			{Name: "prod", Identity: record.Identity{AccountID: "222222222222"}, Next: quarter.Add(15 * time.Minute)},
		}
		live.targets = []board.TargetInfo{
			listed("us-east-1", "ec2_instance", record.OK, quarter, quarter.Truncate(15*time.Minute).Add(16*time.Minute)),
			listed("us-east-1", "ec2_image", record.OK, night, night.Truncate(24*time.Hour).Add(25*time.Hour)),
			listed("eu-west-1", "ec2_instance", record.RegionDisabled, time.Time{}, time.Time{}),
		}
		m.Reloaded(true)
		m.Observe(runner.RunEnded{Account: "prod", Status: record.Success, Took: time.Minute})
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
	rules, err := filepath.Abs("../deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Unix(0, 0).Add(36 * time.Hour)
	for name, c := range map[string]struct {
		setup    setupFunc
		answered []string // parts of the queries that return something
		alerts   []string // the alerts that fire at some time, without "Collector"
	}{
		"all ok": {healthy, nil, nil},
		"the frequent kind fails since noon": {broken(func(now time.Time, live *fixedStatus, _ *Metrics) {
			if now.After(noon) {
				live.targets[0] = listed("us-east-1", "ec2_instance", record.Denied, noon, noon.Add(16*time.Minute))
			}
		}), []string{failed, late}, []string{"Overdue"}},
		"the nightly kind failed last night": {broken(func(now time.Time, live *fixedStatus, _ *Metrics) {
			live.targets[1] = listed("us-east-1", "ec2_image", record.Throttled, time.Unix(40, 0),
				time.Unix(0, 0).Add(25*time.Hour))
		}), []string{failed, late}, []string{"Overdue"}},
		"a new account, never listed": {broken(func(_ time.Time, live *fixedStatus, _ *Metrics) {
			live.targets = []board.TargetInfo{listed("us-east-1", "ec2_instance", record.AuthFailed, time.Time{}, time.Time{})}
		}), []string{failed, never}, []string{"CollectsNothing", "NeverComplete", "SignInFailing"}},
		"runs stopped, and nothing fails": {broken(func(now time.Time, live *fixedStatus, _ *Metrics) {
			live.targets = []board.TargetInfo{listed("us-east-1", "ec2_instance", record.OK, noon, noon.Add(16*time.Minute))}
		}), []string{late}, []string{"CollectsNothing", "Overdue"}},
		"an expected denial": {broken(func(_ time.Time, live *fixedStatus, _ *Metrics) {
			expected := listed("us-east-1", "ec2_host", record.Denied, time.Time{}, time.Time{})
			expected.Expected = true
			live.targets = append(live.targets, expected)
		}), nil, nil},
		"an MFA session that ends": {broken(func(_ time.Time, live *fixedStatus, _ *Metrics) {
			live.accounts[0].Expires = time.Unix(0, 0).Add(steps*stepTime + time.Hour)
		}), []string{lapse}, []string{"SessionExpires"}},
		"an MFA session that has ended": {broken(func(_ time.Time, live *fixedStatus, _ *Metrics) {
			live.accounts[0].Expires = noon
		}), []string{lapse}, []string{"SessionExpires"}},
		"an MFA session of a day": {broken(func(now time.Time, live *fixedStatus, _ *Metrics) {
			live.accounts[0].Expires = now.Add(24 * time.Hour)
		}), nil, nil},
		"a paused account": {broken(func(now time.Time, live *fixedStatus, m *Metrics) {
			live.accounts[0].Paused = &runner.Directive{At: noon}
			live.targets = []board.TargetInfo{listed("us-east-1", "ec2_instance", record.OK, noon, time.Time{})}
			m.Observe(runner.RunMissed{Account: "prod", Reason: runner.MissedPaused})
		}), []string{"collector_account_paused"}, nil},
		"a refused reload": {broken(func(_ time.Time, _ *fixedStatus, m *Metrics) { m.Reloaded(false) }),
			[]string{"collector_config_last_reload_successful"}, []string{"ReloadRefused"}},
		"a receiver that does not answer": {broken(func(_ time.Time, _ *fixedStatus, m *Metrics) {
			m.OutputSpool("siem", 3, 4096, noon)
		}), []string{"collector_output_spool_oldest"}, []string{"OutputBehind"}},
		"a receiver that is down": {broken(func(now time.Time, _ *fixedStatus, m *Metrics) {
			m.OutputUp("siem", false)
			m.OutputSpool("siem", 3, now.Unix(), noon)
		}), []string{"collector_output_spool_oldest"}, []string{"OutputBehind", "OutputFailing", "SpoolGrowing"}},
		"records lost": {broken(func(_ time.Time, _ *fixedStatus, m *Metrics) {
			m.OutputDropped("siem", 5, "full")
			m.OutputDeadLetter("siem")
		}), []string{"collector_output_dropped_records_total", "collector_output_dead_letters_total"},
			[]string{"DeadLetters", "RecordsLost"}},
		"an output without a spool loses records": {broken(func(_ time.Time, _ *fixedStatus, m *Metrics) {
			m.OutputFailed("siem", 5)
		}), nil, []string{"RecordsLost"}},
		"runs longer than their period": {broken(func(_ time.Time, _ *fixedStatus, m *Metrics) {
			m.Observe(runner.RunMissed{Account: "prod", Reason: runner.MissedOverlap})
			m.Observe(runner.RunEnded{Account: "prod", Status: record.RunSkipped})
		}), nil, []string{"RunsTooLong"}},
		"the machine slept": {broken(func(now time.Time, _ *fixedStatus, m *Metrics) {
			if now.Equal(noon) {
				m.Observe(runner.RunMissed{Account: "prod", Reason: runner.MissedSuspended})
			}
		}), nil, []string{"RunsMissed"}},
		"one call in two is throttled": {broken(func(_ time.Time, _ *fixedStatus, m *Metrics) {
			m.Observe(runner.CallEnded{Account: "prod", Region: "us-east-1", Op: "DescribeInstances",
				Code: "RequestLimitExceeded", Took: time.Second})
		}), nil, []string{"Throttled"}},
		"an organization that cannot be listed": {broken(func(_ time.Time, _ *fixedStatus, m *Metrics) {
			m.Observe(runner.RunEnded{Account: "organization:company", Status: record.RunFailed})
		}), nil, []string{"OrganizationFailing"}},
	} {
		t.Run(name, func(t *testing.T) {
			last := steps
			if len(c.answered) == 0 && len(c.alerts) == 0 {
				last = week
			}
			at := fmt.Sprint(int(time.Duration(last)*stepTime/time.Minute)) + "m"
			file, err := json.Marshal(map[string]any{
				"rule_files":          []string{rules},
				"evaluation_interval": "30m",
				"tests": []any{map[string]any{
					"interval":         "30m",
					"input_series":     seriesOf(t, c.setup, last),
					"promql_expr_test": append(queryTests(queries, c.answered, at), alertTest(c.alerts, at)),
				}},
			})
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

// queryTests expects something from the queries that contain one of answered, and nothing from the others.
func queryTests(queries, answered []string, at string) (tests []map[string]any) {
	for _, q := range queries {
		if informs(q) {
			continue
		}
		want := []any{}
		if slices.ContainsFunc(answered, func(s string) bool { return strings.Contains(q, s) }) {
			want = []any{map[string]any{"labels": "{}", "value": 1}}
		}
		tests = append(tests, map[string]any{
			"expr": "count(" + q + ") > bool 0", "eval_time": at, "exp_samples": want,
		})
	}
	return tests
}

// alertTest expects that these alerts, and no others, have fired by the time at.
func alertTest(alerts []string, at string) map[string]any {
	want := []any{}
	for _, a := range alerts {
		want = append(want, map[string]any{"labels": `{alertname="Collector` + a + `"}`, "value": 1})
	}
	return map[string]any{
		"expr":        `count by (alertname) (last_over_time(ALERTS{alertstate="firing"}[2w]))`,
		"eval_time":   at,
		"exp_samples": want,
	}
}
