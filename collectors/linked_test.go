package collectors

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// One operation of EC2 is linked, whatever the program does with a Lister: 700 would be 20 MB.
func TestOneOperationIsLinked(t *testing.T) {
	if testing.Short() {
		t.Skip("links a program")
	}
	bin := filepath.Join(t.TempDir(), "linked")
	if out, err := exec.Command("go", "build", "-o", bin, "./testdata/linked").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
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
