package house

import (
	"go/ast"
	"go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Words that look like metrics, each with what it is.
var notMetrics = map[string]string{
	"collector_configs": "a key of the configuration",
	"collector_prod":    "a module of Terraform, in an example",
}

// programMetrics returns the names of the metrics that the program exports: every string of the source that looks like
// one.
func programMetrics(t *testing.T) map[string]bool {
	t.Helper()
	name := regexp.MustCompile(`^(?:collector|aws_ec2)_[a-z0-9_]+$`)
	names := map[string]bool{}
	for _, p := range packages(t) {
		for _, s := range p.sources(t, token.NewFileSet(), p.GoFiles...) {
			ast.Inspect(s.file, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
					if text, err := strconv.Unquote(l.Value); err == nil && name.MatchString(text) && notMetrics[text] == "" {
						names[text] = true
					}
				}
				return true
			})
		}
	}
	return names
}

// Documents, alerts and dashboards name only metrics that the program exports, and README and the alerts name some.
func TestMetricsInDocumentsExist(t *testing.T) {
	exported := programMetrics(t)
	if len(exported) < 30 {
		t.Fatalf("only %d metrics found in the source: %v", len(exported), slices.Sorted(maps.Keys(exported)))
	}
	word := regexp.MustCompile(`(^|[^\w.$/-])(collector_[a-z0-9_]+)`)
	seen := map[string]int{}
	for name, text := range files(t) {
		document := name == "README.md" || strings.HasPrefix(name, "docs/") || strings.HasPrefix(name, "deploy/")
		if !document || !slices.Contains([]string{".md", ".yml", ".yaml", ".json", ".tpl"}, path.Ext(name)) {
			continue
		}
		lines(text, func(n int, line string) {
			for _, m := range word.FindAllStringSubmatch(line, -1) {
				metric := m[2]
				if notMetrics[metric] != "" || strings.HasSuffix(metric, "_") { // collector_…: a prefix
					continue
				}
				seen[name]++
				base := metric
				for _, suffix := range []string{"_bucket", "_count", "_sum"} { // of a histogram
					base = strings.TrimSuffix(base, suffix)
				}
				if !exported[metric] && !exported[base] {
					t.Errorf("%s:%d: the program exports no %s", name, n, metric)
				}
			}
		})
	}
	for _, name := range []string{"README.md", "deploy/prometheus/alerts.yml"} {
		if seen[name] < 10 {
			t.Errorf("%s names %d metrics: the pattern is wrong", name, seen[name])
		}
	}
}

// Every alert has its section in docs/operations.md, to which it links, and fires in alerts_test.yml; every section
// there is of an alert.
func TestAlertsHaveRunbooksAndTests(t *testing.T) {
	all := files(t)
	rules := string(all["deploy/prometheus/alerts.yml"])
	tests := string(all["deploy/prometheus/alerts_test.yml"])
	_, runbooks, _ := strings.Cut(string(all["docs/operations.md"]), "\n## Alerts\n")
	alert := regexp.MustCompile(`(?m)^ +- alert: (\w+)$`)
	found := alert.FindAllStringSubmatchIndex(rules, -1)
	if len(found) < 10 {
		t.Fatalf("alerts.yml has %d alerts", len(found))
	}
	names := map[string]bool{}
	for i, at := range found {
		name, end := rules[at[2]:at[3]], len(rules)
		names[name] = true
		if i+1 < len(found) {
			end = found[i+1][0]
		}
		url := "https://github.com/aws-collector/collector/blob/main/docs/operations.md#" + strings.ToLower(name) + "\n"
		if !strings.Contains(rules[at[0]:end], "runbook_url: "+url) {
			t.Errorf("%s has no runbook_url: %s", name, url)
		}
		section, _, _ := strings.Cut(after(runbooks, "\n### "+name+"\n"), "\n### ")
		if !strings.Contains(section, "**Means:**") || !strings.Contains(section, "**Do:**") {
			t.Errorf("docs/operations.md does not say what %s means and what to do", name)
		}
		if !strings.Contains(tests, `alertname="`+name+`"`) {
			t.Errorf("alerts_test.yml has no series for which %s fires", name)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatch(runbooks, -1) {
		if !names[m[1]] {
			t.Errorf("docs/operations.md has a section %s, but there is no such alert", m[1])
		}
	}
}

// after returns what follows the first sep in s; "" if there is none.
func after(s, sep string) string {
	_, rest, _ := strings.Cut(s, sep)
	return rest
}
