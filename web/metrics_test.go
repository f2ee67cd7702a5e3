package web

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fixedStatus is a StatusSource that does not change.
type fixedStatus struct {
	accounts []board.AccountInfo
	targets  []board.TargetInfo
}

func (s *fixedStatus) Accounts() iter.Seq[board.AccountInfo] { return slices.Values(s.accounts) }
func (s *fixedStatus) Targets() iter.Seq[board.TargetInfo]   { return slices.Values(s.targets) }

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func target(account, region, kind string, s record.State, success time.Time, n int) board.TargetInfo {
	return board.TargetInfo{
		Outcome: record.Outcome{Target: record.Target{Account: account, Region: region, Kind: kind}, State: s, Records: n,
			Started: noon, Ended: noon.Add(1500 * time.Millisecond)},
		LastSuccess: success,
		Resources:   n,
	}
}

// scrapeText returns the metrics of the program in text format.
func scrapeText(t *testing.T, reg prometheus.Gatherer) string {
	t.Helper()
	fams, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, f := range fams {
		if strings.HasPrefix(f.GetName(), "go_") || strings.HasPrefix(f.GetName(), "process_") {
			continue
		}
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// has reports each missing series; a line that begins with ! must not be there.
func has(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if w, not := strings.CutPrefix(w, "!"); not {
			if strings.Contains(text, w) {
				t.Errorf("there is %s in\n%s", w, text)
			}
		} else if !strings.Contains(text, w+"\n") {
			t.Errorf("there is no %s in\n%s", w, text)
		}
	}
}

func newMetrics(t *testing.T, live StatusSource, o MetricsOptions) (*Metrics, prometheus.Gatherer) {
	t.Helper()
	reg := prometheus.NewRegistry()
	m, err := NewMetrics(reg, live, o)
	if err != nil {
		t.Fatal(err)
	}
	return m, m.Gatherer(reg)
}

func kinds(accounts ...string) map[string][]string {
	k := map[string][]string{}
	for _, a := range accounts {
		k[a] = []string{"ec2_instance"}
	}
	return k
}

// full returns metrics with at least one value of everything.
func full(t *testing.T) (*Metrics, prometheus.Gatherer, *fixedStatus) {
	live := &fixedStatus{
		accounts: []board.AccountInfo{
			{Name: "prod", Identity: record.Identity{AccountID: "222222222222", Partition: "aws"}, Expires: noon.Add(time.Hour)},
			{Name: "dev"},
			{Name: "organization:company", Task: true},
		},
		targets: []board.TargetInfo{
			target("prod", "us-east-1", "ec2_instance", record.OK, noon, 5),
			target("prod", "us-east-1", "ec2_volume", record.Denied, noon.Add(-time.Hour), 7),
			target("prod", "eu-west-1", "ec2_instance", record.OK, noon, 3),
			target("prod", "eu-west-1", "ec2_volume", record.Throttled, time.Time{}, 0),
			target("prod", "ap-east-1", "ec2_instance", record.RegionDisabled, time.Time{}, 0),
		},
	}
	expected := target("prod", "us-east-1", "ec2_image", record.Denied, time.Time{}, 0)
	expected.Expected = true
	live.targets[0].Due, live.targets[1].Due = noon.Add(15*time.Minute), noon.Add(-45*time.Minute)
	live.targets = append(live.targets,
		expected,
		board.TargetInfo{Outcome: record.Outcome{Target: record.Target{Account: "prod", Region: "sa-east-1", Kind: "x"}}},
	)
	m, reg := newMetrics(t,
		live,
		MetricsOptions{Version: "1.2.3", Revision: "abc", LabelTags: []string{"team", "cost.center"}},
	)
	m.Observe(runner.Configured{Kinds: kinds("prod", "dev", "organization:company")})
	m.SetTags(maps.All(map[string]map[string]string{"prod": {"team": "platform", "other": "x"}}))
	m.Reloaded(true)
	m.Observe(runner.RunStarted{Account: "prod", Run: "r1", Tick: noon})
	m.Observe(runner.RunEnded{Account: "prod", Run: "r1", Status: record.RunPartial, Took: 42 * time.Second})
	m.Observe(runner.RunEnded{Account: "prod", Run: "r2", Status: record.RunSkipped, Took: 0})
	m.Observe(runner.RunMissed{Account: "prod", Reason: "overlap"})
	m.Observe(
		runner.CallEnded{
			Account: "prod",
			Region:  "us-east-1",
			Op:      "DescribeInstances",
			Code:    "",
			Took:    80 * time.Millisecond,
		},
	)
	m.Observe(
		runner.CallEnded{
			Account: "prod",
			Region:  "us-east-1",
			Op:      "DescribeInstances",
			Code:    "RequestLimitExceeded",
			Took:    time.Millisecond,
		},
	)
	m.Observe(runner.BudgetWaited{Account: "prod", Region: "us-east-1", Wait: 1500 * time.Millisecond})
	m.OutputUp("stdout", true)
	m.OutputSent("stdout", 8)
	m.OutputFailed("stdout", 2)
	m.OutputUp("stdout", false)
	m.OutputAnswered("nodes", 7, map[string]int{"no_address": 2})
	m.OutputSpool("siem", 30, 4096, noon)
	m.OutputSpool("idle", 0, 0, time.Time{})
	m.OutputDropped("siem", 12, "full")
	m.OutputDeadLetter("siem")
	m.OutputRetried("siem")
	return m, reg, live
}

func TestMetrics(t *testing.T) {
	_, reg, _ := full(t)
	has(t, scrapeText(t, reg),
		`collector_runs_total{account="prod",status="partial"} 1`,
		`collector_runs_total{account="prod",status="skipped"} 1`,
		`collector_runs_total{account="dev",status="success"} 0`,
		`collector_runs_total{account="dev",status="expired"} 0`,
		`collector_output_spool_records{output="siem"} 30`,
		`collector_output_spool_bytes{output="siem"} 4096`,
		fmt.Sprintf(`collector_output_spool_oldest_timestamp_seconds{output="siem"} %s`,
			strconv.FormatFloat(float64(noon.Unix()), 'g', -1, 64)),
		`!collector_output_spool_oldest_timestamp_seconds{output="idle"`,
		`collector_output_dropped_records_total{output="siem",reason="full"} 12`,
		`collector_output_dropped_records_total{output="idle",reason="damaged"} 0`,
		`collector_output_dead_letters_total{output="siem"} 1`,
		`collector_output_retries_total{output="siem"} 1`,
		`collector_run_duration_seconds_count 1`, // a skipped run has no duration
		`collector_run_duration_seconds_bucket{le="30"} 0`,
		`collector_run_duration_seconds_bucket{le="60"} 1`,
		`collector_missed_runs_total{account="prod",reason="overlap"} 1`,
		`collector_missed_runs_total{account="dev",reason="downtime"} 0`,
		`collector_targets{account="prod",region="us-east-1",state="ok"} 1`,
		`collector_targets{account="prod",region="us-east-1",state="denied"} 2`,
		`collector_targets{account="prod",region="ap-east-1",state="ok"} 0`,
		`collector_targets{account="prod",region="ap-east-1",state="region_disabled"} 1`,
		`!sa-east-1`, // no state yet
		`collector_target_failed{account="prod",kind="ec2_volume",region="us-east-1",state="denied"} 1`,
		`!collector_target_failed{account="prod",kind="ec2_image"`, // as expected
		`!collector_target_failed{account="prod",kind="ec2_instance"`,
		`collector_target_failed_omitted 0`,
		fmt.Sprintf(`collector_last_success_timestamp_seconds{account="prod",region="us-east-1"} %v`,
			float64(noon.Add(-time.Hour).Unix())),
		fmt.Sprintf(`collector_last_success_timestamp_seconds{account="prod",region="eu-west-1"} %v`,
			float64(noon.Unix())), // one of its kinds never succeeded
		`collector_never_succeeded_targets{account="prod",region="eu-west-1"} 1`,
		`!collector_never_succeeded_targets{account="prod",region="us-east-1"}`, // an expected denial does not count
		`!collector_never_succeeded_targets{account="prod",region="ap-east-1"}`,
		fmt.Sprintf(`collector_success_due_timestamp_seconds{account="prod",region="us-east-1"} %v`,
			float64(noon.Add(-45*time.Minute).Unix())), // the earliest
		`!collector_success_due_timestamp_seconds{account="prod",region="eu-west-1"}`, // it has no schedule
		`!collector_last_success_timestamp_seconds{account="prod",region="ap-east-1"}`,
		`collector_resources{account="prod",kind="ec2_instance"} 8`,
		`collector_resources{account="prod",kind="ec2_volume"} 7`, // from the last complete listing
		`collector_api_requests_total{account="prod",code="ok",region="us-east-1"} 1`,
		`collector_api_requests_total{account="prod",code="RequestLimitExceeded",region="us-east-1"} 1`,
		`collector_api_request_duration_seconds_count{operation="DescribeInstances"} 2`,
		`collector_api_budget_wait_seconds_total{account="prod",region="us-east-1"} 1.5`,
		fmt.Sprintf(`collector_credentials_expiry_timestamp_seconds{account="prod"} %v`, float64(noon.Add(time.Hour).Unix())),
		`!collector_credentials_expiry_timestamp_seconds{account="dev"}`,
		`collector_config_last_reload_successful 1`,
		`!collector_config_last_reload_success_timestamp_seconds 0`,
		`collector_account_info{account="prod",account_id="222222222222",partition="aws",`+
			`tag_cost_center="",tag_team="platform"} 1`,
		`collector_account_info{account="dev",account_id="",partition="",tag_cost_center="",tag_team=""} 1`,
		`!collector_account_info{account="organization:company"`,
		`!collector_target_state`,
		`collector_output_records_total{output="stdout"} 8`,
		`collector_output_lost_records_total{output="stdout"} 2`,
		`collector_output_errors_total{output="stdout"} 1`,
		`collector_output_up{output="stdout"} 0`,
		`collector_output_served_resources{output="nodes"} 7`,
		`collector_output_omitted_resources{output="nodes",reason="no_address"} 2`,
	)
	if text := scrapeText(t, reg); !strings.Contains(text, `collector_build_info{goversion="go`) ||
		!strings.Contains(text, `revision="abc",version="1.2.3"} 1`) {
		t.Error("collector_build_info is wrong or missing")
	}
}

// The documented metrics have exactly these labels.
func TestLabels(t *testing.T) {
	_, reg, _ := full(t)
	fams, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range fams {
		var ls []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			ls = append(ls, l.GetName())
		}
		got[f.GetName()] = strings.Join(ls, ",")
	}
	for name, labels := range map[string]string{
		"collector_runs_total":                           "account,status",
		"collector_run_duration_seconds":                 "",
		"collector_missed_runs_total":                    "account,reason",
		"collector_targets":                              "account,region,state",
		"collector_target_failed":                        "account,kind,region,state",
		"collector_last_success_timestamp_seconds":       "account,region",
		"collector_success_due_timestamp_seconds":        "account,region",
		"collector_never_succeeded_targets":              "account,region",
		"collector_resources":                            "account,kind",
		"collector_api_requests_total":                   "account,code,region",
		"collector_api_request_duration_seconds":         "operation",
		"collector_api_budget_wait_seconds_total":        "account,region",
		"collector_credentials_expiry_timestamp_seconds": "account",
		"collector_config_last_reload_successful":        "",
		"collector_build_info":                           "goversion,revision,version",
		"collector_account_info":                         "account,account_id,partition,tag_cost_center,tag_team",
	} {
		if have, ok := got[name]; !ok || have != labels {
			t.Errorf("%s has labels %q (there: %v), want %q", name, have, ok, labels)
		}
	}
}

func TestDetail(t *testing.T) {
	partial := target("prod", "us-east-1", "ec2_volume", record.Partial, time.Time{}, 4)
	live := &fixedStatus{targets: []board.TargetInfo{partial}}
	m, reg := newMetrics(t, live, MetricsOptions{Detail: true})
	m.Observe(runner.Configured{Kinds: kinds("prod")})
	l := `{account="prod",kind="ec2_volume",region="us-east-1"} `
	has(t, scrapeText(t, reg),
		`collector_target_state{account="prod",kind="ec2_volume",region="us-east-1",state="partial"} 1`,
		"collector_target_records"+l+"4",
		"collector_target_duration_seconds"+l+"1.5",
		"!collector_target_last_success_timestamp_seconds{",
	)
}

// Before a configuration, a listing or a sign-in there is no series, rather than 1970.
func TestNoSeriesBeforeTheFirstValue(t *testing.T) {
	m, reg := newMetrics(t,
		&fixedStatus{
			targets:  []board.TargetInfo{target("prod", "us-east-1", "ec2_volume", record.Denied, time.Time{}, 0)},
			accounts: []board.AccountInfo{{Name: "prod"}},
		},
		MetricsOptions{Detail: true},
	)
	m.Observe(runner.Configured{Kinds: kinds("prod")})
	m.OutputSpool("siem", 0, 0, time.Time{})
	has(t, scrapeText(t, reg),
		"!_timestamp_seconds",
		"!collector_config_last_reload_successful",
		`collector_never_succeeded_targets{account="prod",region="us-east-1"} 1`,
	)
}

// A removed account has no series, and its run in progress does not add them again.
func TestRemovedAccount(t *testing.T) {
	m, reg, _ := full(t)
	m.Observe(runner.Configured{Kinds: kinds("dev", "new")})
	m.Observe(runner.RunEnded{Account: "prod", Run: "r3", Status: record.Success, Took: time.Second})
	m.Observe(runner.RunMissed{Account: "prod", Reason: "drain"})
	m.Observe(runner.CallEnded{Account: "prod", Region: "us-east-1", Op: "DescribeInstances", Code: "", Took: time.Second})
	m.Observe(runner.BudgetWaited{Account: "prod", Region: "us-east-1", Wait: time.Second})
	has(t, scrapeText(t, reg),
		`!account="prod"`,
		`collector_runs_total{account="dev",status="success"} 0`,
		`collector_runs_total{account="new",status="success"} 0`,
	)
	m.OutputClosed("stdout")
	m.OutputClosed("nodes")
	m.OutputClosed("siem")
	m.OutputClosed("idle")
	has(t, scrapeText(t, reg), `!output="`)
}

// A reload that keeps an account keeps its counters.
func TestKeptAccount(t *testing.T) {
	m, reg, _ := full(t)
	m.Observe(runner.Configured{Kinds: kinds("prod")})
	m.Reloaded(false)
	has(t, scrapeText(t, reg),
		`collector_runs_total{account="prod",status="partial"} 1`,
		`collector_config_last_reload_successful 0`,
		`!account="dev"`,
	)
}

func TestFailedCap(t *testing.T) {
	live := &fixedStatus{}
	for i := range maxFailedSeries + 5 {
		live.targets = append(live.targets,
			target("prod", "us-east-1", fmt.Sprintf("k%05d", i), record.Error, time.Time{}, 0),
		)
	}
	m, reg := newMetrics(t, live, MetricsOptions{})
	m.Observe(runner.Configured{Kinds: kinds("prod")})
	text := scrapeText(t, reg)
	if n := strings.Count(text, "\ncollector_target_failed{"); n != maxFailedSeries {
		t.Errorf("%d failed targets have a series, want %d", n, maxFailedSeries)
	}
	has(t, text,
		"collector_target_failed_omitted 5",
		"!k10000",
		fmt.Sprintf(`collector_targets{account="prod",region="us-east-1",state="error"} %d`, maxFailedSeries+5),
	)
}

// Unknown error codes can neither create an unlimited number of series nor break the scrape.
func TestCodesAreBounded(t *testing.T) {
	m, reg := newMetrics(t, &fixedStatus{}, MetricsOptions{})
	m.Observe(runner.Configured{Kinds: kinds("prod")})
	for i := range maxCodes + 50 {
		m.Observe(
			runner.CallEnded{Account: "prod", Region: "us-east-1", Op: "DescribeX", Code: fmt.Sprintf("Code%d", i), Took: 0},
		)
	}
	m.Observe(runner.CallEnded{Account: "prod", Region: "us-east-1", Op: "DescribeX", Code: "\xff<html>", Took: 0})
	text := scrapeText(t, reg)
	if n := strings.Count(text, "\ncollector_api_requests_total{"); n != maxCodes+1 {
		t.Errorf("%d series, want %d", n, maxCodes+1)
	}
	has(t, text, `collector_api_requests_total{account="prod",code="other",region="us-east-1"} 51`)
}

func TestLabelTags(t *testing.T) {
	for _, tags := range [][]string{{"a.b", "a_b"}, {"team", "team"}, {""}} {
		if _, err := NewMetrics(prometheus.NewRegistry(), &fixedStatus{}, MetricsOptions{LabelTags: tags}); err == nil ||
			!strings.Contains(err.Error(), "web.label_tags") {
			t.Errorf("label_tags %q: %v", tags, err)
		}
	}
	if _, err := NewMetrics(prometheus.NewRegistry(), &fixedStatus{},
		MetricsOptions{LabelTags: []string{"aws:cost/center", "équipe", "9"}}); err != nil {
		t.Error(err)
	}
}

// Registering twice is an error, not a panic.
func TestRegisterTwice(t *testing.T) {
	reg := prometheus.NewRegistry()
	if _, err := NewMetrics(reg, &fixedStatus{}, MetricsOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := NewMetrics(reg, &fixedStatus{}, MetricsOptions{}); err == nil {
		t.Error("registered twice")
	}
}

func TestInvalidUTF8(t *testing.T) {
	live := &fixedStatus{targets: []board.TargetInfo{target("prod", "us\xff", "k", record.Error, time.Time{}, 0)}}
	m, reg := newMetrics(t, live, MetricsOptions{})
	m.Observe(runner.Configured{Kinds: kinds("prod")})
	has(t, scrapeText(t, reg),
		"collector_target_failed{account=\"prod\",kind=\"k\",region=\"us\uFFFD\",state=\"error\"} 1")
}

// Concurrent events, reloads and scrapes, for the race detector.
func TestConcurrent(t *testing.T) {
	m, reg, _ := full(t)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				a := fmt.Sprint("a", i%3)
				switch g {
				case 0:
					m.Observe(
						runner.CallEnded{
							Account: a,
							Region:  "us-east-1",
							Op:      "Describe",
							Code:    fmt.Sprint("C", i),
							Took:    time.Millisecond,
						},
					)
					m.Observe(runner.RunEnded{Account: a, Run: "r", Status: record.Success, Took: time.Second})
				case 1:
					m.Observe(runner.Configured{Kinds: kinds(a, "prod")})
					m.SetTags(maps.All(map[string]map[string]string{a: {"team": "x"}}))
				case 2:
					m.OutputUp(a, i%2 == 0)
					m.OutputSent(a, 1)
					m.OutputClosed(a)
				case 3:
					if i%20 == 0 {
						_, _ = reg.Gather()
					}
				}
			}
		})
	}
	wg.Wait()
	m.Observe(runner.Configured{Kinds: kinds("prod")})
	has(t, scrapeText(t, reg), `!account="a`)
}

// Prometheus's own linter finds nothing.
func TestPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip(
			"SKIPPED, NOT PASSED: promtool is not installed (Debian: apt-get install prometheus); the metrics were not linted",
		)
	}
	live := &fixedStatus{}
	_, reg, seen := full(t)
	live.targets = seen.targets
	m, detailed := newMetrics(t, live, MetricsOptions{Detail: true})
	m.Observe(runner.Configured{Kinds: kinds("prod")})
	for name, r := range map[string]prometheus.Gatherer{"all": reg, "detail": detailed} {
		fams, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var in bytes.Buffer
		for _, f := range fams {
			if _, err := expfmt.MetricFamilyToText(&in, f); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), tool, "check", "metrics")
		cmd.Stdin = &in
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: promtool check metrics: %v\n%s", name, err, out)
		}
	}
}

// The observer methods as package outputs declares them: this package does not import it.
var _ interface {
	OutputSent(output string, records int)
	OutputFailed(output string, lost int)
	OutputUp(output string, up bool)
	OutputClosed(output string)
	OutputAnswered(output string, shown int, leftOut map[string]int)
	OutputSpool(output string, records int, bytes int64, oldest time.Time)
	OutputDropped(output string, records int, reason string)
	OutputDeadLetter(output string)
	OutputRetried(output string)
} = (*Metrics)(nil)
