package all_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/aws-collector/collector/docs/docstest"
	"github.com/aws-collector/collector/outputs/all"
)

// Each type has a page with an example of its block, and a row in docs/outputs.md that leads to it.
func TestOutputsHavePages(t *testing.T) {
	index, err := os.ReadFile("../../docs/outputs.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range all.Types {
		row := "(?m)^\\|.*\\[`" + typ.Name + "`\\]\\(outputs/" + typ.Name + "\\.md\\)"
		if !regexp.MustCompile(row).Match(index) {
			t.Errorf("docs/outputs.md has no row for the output %s", typ.Name)
		}
		page, err := os.ReadFile("../../docs/outputs/" + typ.Name + ".md")
		if err != nil {
			t.Error(err)
			continue
		}
		example := "(?s)```yaml\noutputs:\n[^`]*type: " + typ.Name + "\\b"
		if !regexp.MustCompile("^# "+typ.Name+"\n").Match(page) || !regexp.MustCompile(example).Match(page) {
			t.Errorf("docs/outputs/%s.md has no heading or no example", typ.Name)
		}
	}
}

// Prometheus accepts the scrape configurations in the documents.
func TestDocumentedScrapes(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip(
			"SKIPPED, NOT PASSED: promtool is not installed (Debian: apt-get install prometheus); " +
				"the scrape configurations in the documents were not checked",
		)
	}
	checked := 0
	for _, page := range docstest.Pages(t, "../..") {
		for _, b := range page.Blocks() {
			if b.Language != "yaml" || b.Argument != "prometheus" {
				continue
			}
			checked++
			path := filepath.Join(t.TempDir(), "prometheus.yml")
			if err := os.WriteFile(path, []byte(b.Text), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), tool, "check", "config", path).CombinedOutput(); err != nil {
				t.Errorf("%s:%d: %v\n%s", page.Path, b.Line, err, out)
			}
		}
	}
	if checked < 2 {
		t.Errorf("%d blocks found", checked)
	}
}
