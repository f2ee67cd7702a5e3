package prometheus_test

import (
	"bytes"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/outputs/prometheus"
)

const path = "/metrics/inventory"

func types() []outputs.Type { return []outputs.Type{prometheus.Type} }

// difficultStore returns a store with difficult values: other scripts, quotes, newlines, invalid UTF-8, kinds without a
// state, several values.
func difficultStore() *outputstest.Store {
	volume := func(r *inventory.Resource) {
		r.Kind, r.Type, r.State, r.Name = "ec2_volume", "gp3", "in-use", "disk\xff"
	}
	return &outputstest.Store{
		Coverage: []inventory.Coverage{
			outputstest.Coverage("prod", "us-east-1", "ec2_instance", outputstest.Noon),
			outputstest.Coverage("prod", "us-west-1", "ec2_instance", outputstest.Noon.Add(-1500e6)),
			outputstest.Coverage("prod", "us-east-1", "ec2_volume", outputstest.Noon),
			outputstest.Coverage("dev", "us-east-1", "ec2_vpc", outputstest.Noon),
		},
		Resources: []*inventory.Resource{
			outputstest.Instance("i-1", func(r *inventory.Resource) {
				r.Name, r.Tags = "web-1", map[string]string{"team": "platform", "cost center": "42", "a": "1"}
				r.ExtraTags = map[string]string{"env": "prod"}
				r.Data = []byte(
					`{"VpcId":"vpc-1","CpuOptions":{"CoreCount":2},"EbsOptimized":true,` +
						`"SecurityGroups":[{"GroupId":"sg-1"},{"GroupId":"sg-2"}]}`,
				)
			}),
			outputstest.Instance("i-2", func(r *inventory.Resource) {
				r.Name, r.State = "Datenbank für \"Prüfung\"\nund 测试 \\", "stopped"
				r.Tags = map[string]string{"team": "\xff\xfe", "cost center": "{}=,#\t"}
			}),
			outputstest.Instance("vol-1", volume),
			outputstest.Instance("vol-2", volume),
			outputstest.Instance("vpc-1", func(r *inventory.Resource) {
				r.Kind, r.State, r.Type, r.Account, r.AccountID = "ec2_vpc", "", "", "dev", "111111111111"
			}),
		},
	}
}

func inventoryOptions(o *prometheus.Options) {
	o.Kinds = []string{"ec2_*", "!ec2_vpc"}
	o.Labels = map[string]string{
		"team":        "tags.team",
		"cost center": "tags.cost center",
		"env":         "extra_tags.env",
		"vpc":         "data.VpcId",
		"groups":      "data.SecurityGroups.GroupId",
		"cores":       "data.CpuOptions.CoreCount",
		"1st":         "tags.a",
		"ebs":         "data.EbsOptimized",
		"since":       "state_since",
	}
}

const golden = `# HELP collector_inventory_listed_timestamp_seconds ` +
	`When the targets of this account and kind were last ` +
	`completely listed, the oldest of them, in Unix seconds.` + "\n" +
	`# TYPE collector_inventory_listed_timestamp_seconds gauge` + "\n" +
	`collector_inventory_listed_timestamp_seconds{account="prod",account_id="222222222222",` +
	`kind="ec2_instance"} 1795262398.5` + "\n" +
	`collector_inventory_listed_timestamp_seconds{account="prod",account_id="222222222222",` +
	`kind="ec2_volume"} 1795262400` + "\n" +
	`# HELP aws_ec2_instance_info 1 for each ec2_instance in the last complete listing of its account and ` +
	`region, with its fields as labels.` + "\n" +
	`# TYPE aws_ec2_instance_info gauge` + "\n" +
	`aws_ec2_instance_info{account="prod",account_id="222222222222",region="us-east-1",id="i-1",name="web-1",` +
	`state="running",type="t3.micro",_1st="1",cores="2",cost_center="42",ebs="true",env="prod",` +
	`groups="sg-1,sg-2",since="",team="platform",vpc="vpc-1"} 1` + "\n" +
	`aws_ec2_instance_info{account="prod",account_id="222222222222",region="us-east-1",id="i-2",` +
	`name="Datenbank für \"Prüfung\"\nund 测试 \\",state="stopped",type="t3.micro",_1st="",cores="",` +
	`cost_center="{}=,#	",ebs="",env="",groups="",since="",team="` + "\uFFFD" + `",vpc=""} 1` + "\n" +
	`# HELP aws_ec2_volume_info 1 for each ec2_volume in the last complete listing of its account and ` +
	`region, with its fields as labels.` + "\n" +
	`# TYPE aws_ec2_volume_info gauge` + "\n" +
	`aws_ec2_volume_info{account="prod",account_id="222222222222",region="us-east-1",id="vol-1",name="disk` +
	"\uFFFD" + `",` +
	`state="in-use",type="gp3",_1st="",cores="",cost_center="",ebs="",env="",groups="",since="",team="",` +
	`vpc=""} 1` + "\n" +
	`# HELP collector_inventory_omitted_series Resources of a kind without a series because of max_series: ` +
	`the last by kind, account, region and id.` + "\n" +
	`# TYPE collector_inventory_omitted_series gauge` + "\n" +
	`collector_inventory_omitted_series{kind="ec2_instance"} 0` + "\n" +
	`collector_inventory_omitted_series{kind="ec2_volume"} 1` + "\n"

func TestExposition(t *testing.T) {
	hs, w := outputstest.OpenServed(t, difficultStore(), types(),
		outputstest.Options(prometheus.Type, func(o *prometheus.Options) {
			inventoryOptions(o)
			o.MaxSeries = 3
		}))
	h := hs[path]
	for _, c := range []struct{ accept, contentType, end string }{
		{"", "text/plain; version=0.0.4; charset=utf-8", ""},
		{"text/html", "text/plain; version=0.0.4; charset=utf-8", ""},
		{"application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
			"application/openmetrics-text; version=1.0.0; charset=utf-8", "# EOF\n"},
		{"application/openmetrics-text;version=0.0.1,text/plain;q=0.5",
			"application/openmetrics-text; version=0.0.1; charset=utf-8", "# EOF\n"},
		{"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,text/plain;q=0.3",
			"text/plain; version=0.0.4; charset=utf-8", ""},
	} {
		got := outputstest.Ask(h, "Accept", c.accept)
		if ct := got.Header().Get("Content-Type"); got.Code != http.StatusOK || !strings.HasPrefix(ct, c.contentType) {
			t.Errorf("Accept %q: %d %s, want %s", c.accept, got.Code, ct, c.contentType)
		}
		if body := got.Body.String(); body != golden+c.end {
			t.Errorf("Accept %q: got\n%s\nwant\n%s", c.accept, body, golden+c.end)
		}
	}
	if w.LoggedLines() != 1 || !strings.Contains(w.Log.String(), "reason=max_series resources=1 shown=3") {
		t.Errorf("omitted resources must be logged once; the log says:\n%s", w.Log.String())
	}
	if got := w.Answers[0]; got != "prometheus 3 map[max_series:1]" {
		t.Errorf("answered: %s", got)
	}
}

// The lines equal those of package expfmt, byte by byte.
func TestExpositionEqualsExpfmt(t *testing.T) {
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(strings.NewReader(golden))
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	for _, name := range []string{"collector_inventory_listed_timestamp_seconds", "aws_ec2_instance_info",
		"aws_ec2_volume_info", "collector_inventory_omitted_series"} {
		f := families[name]
		if f == nil {
			t.Fatalf("no %s", name)
		}
		if _, err := expfmt.MetricFamilyToText(&again, f); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.ReplaceAll(again.String(), "1.7952623985e+09", "1795262398.5"); strings.ReplaceAll(
		got,
		"1.7952624e+09",
		"1795262400",
	) != golden {
		t.Errorf("got\n%s\nwant\n%s", got, golden)
	}
}

func TestExpositionPassesPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip(
			"SKIPPED, NOT PASSED: promtool is not installed (Debian: apt-get install prometheus); the metrics were not linted",
		)
	}
	hs, _ := outputstest.OpenServed(t, difficultStore(), types(), outputstest.Options(prometheus.Type, inventoryOptions))
	cmd := exec.CommandContext(t.Context(), tool, "check", "metrics")
	cmd.Stdin = outputstest.Ask(hs[path]).Body
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// Each error of the options begins with its key, so that config can report the line.
func TestPrometheusOptions(t *testing.T) {
	label := func(name, field string) func(*prometheus.Options) {
		return func(o *prometheus.Options) { o.Labels = map[string]string{name: field} }
	}
	equalLabels := func(o *prometheus.Options) {
		o.Labels = map[string]string{"cost center": "tags.a", "cost_center": "tags.b"}
	}
	for want, change := range map[string]func(*prometheus.Options){
		"": inventoryOptions,
		"where: at character 7 of \"state=(\": expected a value": func(o *prometheus.Options) { o.Where = "state=(" },
		"max_age: -1s is negative":                               func(o *prometheus.Options) { o.MaxAge = -1e9 },
		"kinds: is empty":                                        func(o *prometheus.Options) { o.Kinds = nil },
		"max_series: 0 is less than 1":                           func(o *prometheus.Options) { o.MaxSeries = 0 },
		"path: \"/metrics\" is not a path":                       func(o *prometheus.Options) { o.Path = "/metrics" },
		"path: \"/metrics/\" is not a path":                      func(o *prometheus.Options) { o.Path = "/metrics/" },
		"path: \"/metrics/../-/reload\" is not a path": func(o *prometheus.Options) {
			o.Path = "/metrics/../-/reload"
		},
		"path: \"/metrics/a b\" is not a path":                     func(o *prometheus.Options) { o.Path = "/metrics/a b" },
		"labels.team: unknown field Team: did you mean data.Team?": label("team", "Team"),
		"labels.region: the label region is built in":              label("region", "tags.region"),
		"labels.account-id: the label account_id is built in":      label("account-id", "tags.x"),
		"labels.__name__: the label __name__ is Prometheus's own":  label("__name__", "tags.x"),

		"labels.cost_center: it and \"cost center\" would both become the label cost_center; remove one": equalLabels,
	} {
		err := outputstest.Options(prometheus.Type, change).Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
