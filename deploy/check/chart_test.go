// Package check holds the files of deploy against the tools that read them and against the program: Helm and Kustomize
// render, the Kubernetes API's types decode strictly, no member is missing that its OpenAPI document requires, and what
// is rendered (ports, paths, volumes, users) is what the image and the program have. It is a module of its own because
// of its many dependencies. It needs no cluster and no network, and so does not check what only a cluster knows:
// defaulting and admission.
package check

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
)

const chartDir = "../helm/collector"

type values = map[string]any

// everything switches on all of the chart that goes together with the StatefulSet.
func everything() values {
	return values{
		"image":               values{"repository": "registry.example.com/collector", "tag": "1.2.3"},
		"imagePullSecrets":    []any{values{"name": "registry"}},
		"secrets":             values{"prod_ak": "EXAMPLE", "prod_seed": "EXAMPLE"},
		"env":                 []any{values{"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}},
		"serviceAccount":      values{"annotations": values{"example.com/owner": "platform"}},
		"aws":                 values{"irsaRoleARN": "arn:aws:iam::111111111111:role/collector", "podIdentity": true},
		"persistence":         values{"storageClass": "gp3"},
		"service":             values{"annotations": values{"example.com/owner": "platform"}},
		"podDisruptionBudget": values{"enabled": true, "maxUnavailable": 0},
		"networkPolicy": values{
			"enabled":     true,
			"ingressFrom": []any{values{"namespaceSelector": values{"matchLabels": values{"name": "monitoring"}}}},
			"extraEgress": []any{values{"ports": []any{values{"port": 5432, "protocol": "TCP"}}}},
		},
		"serviceMonitor":    values{"enabled": true, "inventory": true, "labels": values{"release": "prometheus"}},
		"prometheusRule":    values{"enabled": true, "labels": values{"release": "prometheus"}},
		"dashboards":        values{"enabled": true},
		"nodeSelector":      values{"kubernetes.io/os": "linux"},
		"tolerations":       []any{values{"key": "dedicated", "operator": "Exists"}},
		"affinity":          values{"nodeAffinity": values{}},
		"podLabels":         values{"team": "platform"},
		"podAnnotations":    values{"example.com/owner": "platform"},
		"priorityClassName": "high",
		"config": values{
			"accounts": []any{values{
				"name": "prod", "ak_id": "AKIAIOSFODNN7EXAMPLE", "ak_secret": "${file:/run/secrets/collector/prod_ak}",
			}},
		},
	}
}

// variants are the values that tests render, by name.
func variants() map[string]values {
	once := everything()
	once["cronJob"] = values{"enabled": true}
	return map[string]values{
		"defaults":     {},
		"everything":   everything(),
		"once":         once,
		"own objects":  {"existingConfigMap": "mine", "existingSecret": "mine", "serviceAccount": values{"create": false}},
		"no volume":    {"persistence": values{"enabled": false}},
		"once, simple": {"cronJob": values{"enabled": true}, "persistence": values{"enabled": false}},
	}
}

// render returns the objects that Helm renders, as `helm template` does.
func render(t *testing.T, v values, service string) (documents []string) {
	t.Helper()
	chart, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	release := chartutil.ReleaseOptions{Name: "collector", Namespace: "inventory", IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, v, release, nil)
	if err != nil {
		t.Fatal(err)
	}
	all["Release"].(map[string]any)["Service"] = service
	files, err := engine.Render(chart, all)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if strings.HasSuffix(name, ".yaml") {
			documents = append(documents, splitDocuments(text)...)
		}
	}
	return documents
}

func splitDocuments(text string) (all []string) {
	for doc := range strings.SplitSeq("\n"+text, "\n---\n") {
		if strings.TrimSpace(doc) != "" {
			all = append(all, strings.Trim(doc, "\n")+"\n")
		}
	}
	return all
}

func TestChartLints(t *testing.T) {
	for name, v := range variants() {
		for _, m := range lint.AllWithKubeVersion(chartDir, v, "inventory", nil).Messages {
			if m.Severity >= support.WarningSev {
				t.Errorf("%s: %s", name, m)
			}
		}
	}
}

// The schema of the values refuses an unknown key and a wrong type at every level.
func TestChartRefusesValues(t *testing.T) {
	chart, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	for want, v := range map[string]values{
		"replicas": {"replicas": 2},
		"tga":      {"image": values{"tga": "1"}},
		"maxUn":    {"podDisruptionBudget": values{"maxUnavailable": 2}},
		"irsaRole": {"aws": values{"irsaRoleARN": "collector"}},
		"enabled":  {"cronJob": values{"enabled": "yes"}},
		"size":     {"persistence": values{"size": "10"}},
		"interval": {"serviceMonitor": values{"interval": 30}},
	} {
		_, err := chartutil.ToRenderValues(chart, v, chartutil.ReleaseOptions{Name: "collector"}, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v does not name %s", v, err, want)
		}
	}
	both := values{"secrets": values{"a": "b"}, "existingSecret": "c"}
	all, err := chartutil.ToRenderValues(chart, both, chartutil.ReleaseOptions{Name: "collector"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Render(chart, all); err == nil || !strings.Contains(err.Error(), "not both") {
		t.Errorf("secrets and existingSecret together: error %v", err)
	}
}

// Each value is used in a template, and each is in values.yaml: a template cannot use a value that is not documented.
func TestChartUsesEachValue(t *testing.T) {
	chart, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	var templates strings.Builder
	for _, f := range chart.Templates {
		templates.Write(f.Data)
	}
	var walk func(path string, v values)
	used := map[string]bool{}
	walk = func(path string, v values) {
		for key, below := range v {
			at := path + "." + key
			used[at] = true
			if sub, ok := below.(values); ok && len(sub) > 0 && at != ".Values.config" && at != ".Values.resources" &&
				!strings.HasSuffix(at, "abels") {
				walk(at, sub)
			} else if !regexp.MustCompile(regexp.QuoteMeta(at) + `\b`).MatchString(templates.String()) {
				t.Errorf("no template uses %s", at)
			}
		}
	}
	walk(".Values", chart.Values)
	for _, name := range regexp.MustCompile(`\.Values[\w.]+`).FindAllString(templates.String(), -1) {
		if !used[name] {
			t.Errorf("a template uses %s, which values.yaml does not have", name)
		}
	}
}

// The links in the chart's folder lead into deploy: Helm packs what they lead to.
func TestChartHasItsFiles(t *testing.T) {
	chart, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	packed := map[string]string{}
	for _, f := range chart.Files {
		packed[f.Name] = string(f.Data)
	}
	want := map[string]string{"files/alerts.yml": "../prometheus/alerts.yml"}
	dashboards, err := filepath.Glob("../grafana/dashboards/*.json")
	if err != nil || len(dashboards) == 0 {
		t.Fatalf("%d dashboards, %v", len(dashboards), err)
	}
	for _, path := range dashboards {
		want["files/dashboards/"+filepath.Base(path)] = path
	}
	for name, path := range want {
		if packed[name] != readFile(t, path) {
			t.Errorf("the chart's %s is not %s", name, path)
		}
	}
	err = filepath.WalkDir(chartDir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&fs.ModeSymlink != 0 {
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
