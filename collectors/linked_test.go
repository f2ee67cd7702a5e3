package collectors

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/aws-collector/collector/internal/samebuild"
)

// A program that uses a Lister links one operation of EC2: all 700 would add 20 MB.
func TestOneOperationIsLinked(t *testing.T) {
	if testing.Short() {
		t.Skip("links a program")
	}
	bin := filepath.Join(t.TempDir(), "linked")
	if err := samebuild.Build(t.Context(), bin, "./testdata/linked"); err != nil {
		t.Fatal(err)
	}
	symbols, err := exec.Command("go", "tool", "nm", bin).Output()
	if err != nil {
		t.Fatal(err)
	}
	ops := map[string]bool{}
	for _, m := range regexp.MustCompile(`service/ec2\.\(\*Client\)\.([A-Z]\w+)`).FindAllSubmatch(symbols, -1) {
		ops[string(m[1])] = true
	}
	if len(ops) != 1 || !ops["DescribeRegions"] {
		t.Errorf("%d operations are linked", len(ops))
	}
}
