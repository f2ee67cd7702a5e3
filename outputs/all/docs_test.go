package all_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs/all"
)

// The configuration examples in docs/outputs.md are valid.
func TestOutputsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/outputs.md")
	if err != nil {
		t.Fatal(err)
	}
	known := config.Registry{Kinds: []string{"ec2_instance", "ec2_volume"}, Outputs: map[string]func() any{}}
	for _, typ := range all.Types {
		known.Outputs[typ.Name] = typ.NewOptions
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(outputs:.*?)```").FindAllSubmatch(page, -1)
	if len(blocks) < 3 {
		t.Fatalf("%d blocks: docs/outputs.md was parsed wrongly", len(blocks))
	}
	for _, b := range blocks {
		if _, err := config.Parse([]byte("accounts: [{profile: a}]\n"+string(b[1])), "outputs.md", known); err != nil {
			t.Errorf("%s\n%v", b[1], err)
		}
	}
}

// docs/outputs.md has a row and a section for each type.
func TestOutputsPageHasEachType(t *testing.T) {
	page, err := os.ReadFile("../../docs/outputs.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range all.Types {
		for what, want := range map[string]string{
			"section": "(?m)^## " + typ.Name + "$",
			"row":     "(?m)^\\|.*\\[`" + typ.Name + "`\\]\\(#" + typ.Name + "\\)",
		} {
			if !regexp.MustCompile(want).Match(page) {
				t.Errorf("docs/outputs.md has no %s for the output %s", what, typ.Name)
			}
		}
	}
}

// Prometheus accepts the scrape configurations in docs/outputs.md.
func TestOutputsPageScrapes(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip(
			"SKIPPED, NOT PASSED: promtool is not installed (Debian: apt-get install prometheus); " +
				"the scrape configurations in docs/outputs.md were not checked",
		)
	}
	page, err := os.ReadFile("../../docs/outputs.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(scrape_configs:.*?)```").FindAllSubmatch(page, -1)
	if len(blocks) < 2 {
		t.Fatalf("%d blocks: docs/outputs.md was parsed wrongly", len(blocks))
	}
	for _, b := range blocks {
		path := filepath.Join(t.TempDir(), "prometheus.yml")
		if err := os.WriteFile(path, b[1], 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), tool, "check", "config", path).CombinedOutput(); err != nil {
			t.Errorf("%s\n%v\n%s", b[1], err, out)
		}
	}
}
