package check

import (
	"os"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const kustomizeDir = "../kustomize/"

// ofChart has the files of deploy/kustomize that are written from the chart, so that the two do not differ.
// UPDATE_DEPLOY=1 writes them.
func ofChart() map[string]values {
	own := func(v values) values {
		v["existingConfigMap"], v["existingSecret"] = "collector-config", "collector-secrets"
		return v
	}
	return map[string]values{
		"statefulset/collector.yaml": own(values{}),
		"cronjob/collector.yaml":     own(values{"cronJob": values{"enabled": true}}),
		"monitoring/collector.yaml": own(values{
			"serviceMonitor": values{"enabled": true}, "prometheusRule": values{"enabled": true},
		}),
	}
}

func TestKustomizeEqualsChart(t *testing.T) {
	for name, v := range ofChart() {
		documents := render(t, v, "Kustomize")
		if strings.HasPrefix(name, "monitoring/") {
			documents = slices.DeleteFunc(documents, func(d string) bool {
				return !strings.Contains(d, "monitoring.coreos.com")
			})
		}
		slices.Sort(documents)
		want := "# Code generated from deploy/helm/collector; DO NOT EDIT. To write it, run\n" +
			"# UPDATE_DEPLOY=1 go -C deploy/check test -run Kustomize .\n" + strings.Join(documents, "---\n")
		if os.Getenv("UPDATE_DEPLOY") != "" {
			if err := os.WriteFile(kustomizeDir+name, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := readFile(t, kustomizeDir+name); got != want {
			t.Errorf("%s is not what the chart renders: run UPDATE_DEPLOY=1 go test", name)
		}
	}
}

func TestKustomizeBuilds(t *testing.T) {
	for folder, want := range map[string][]string{
		"statefulset": {"ConfigMap", "Secret", "Service", "ServiceAccount", "StatefulSet"},
		"cronjob":     {"ConfigMap", "CronJob", "PersistentVolumeClaim", "Secret", "ServiceAccount"},
		"example": {
			"ConfigMap", "PrometheusRule", "Secret", "Service", "ServiceAccount", "ServiceMonitor", "StatefulSet",
		},
	} {
		t.Run(folder, func(t *testing.T) {
			built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), kustomizeDir+folder)
			if err != nil {
				t.Fatal(err)
			}
			text, err := built.AsYaml()
			if err != nil {
				t.Fatal(err)
			}
			objects := decode(t, splitDocuments(string(text)))
			if got := kinds(objects); !slices.Equal(got, want) {
				t.Errorf("built %v, want %v", got, want)
			}
			holdsAgainstProgram(t, objects)
		})
	}
}
