package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws-collector/collector/inventory/inventorytest"
)

// CSV does not have a cell that a spreadsheet runs as a formula, unless --raw asks for the exact text.
func TestCSVFormulas(t *testing.T) {
	dir := t.TempDir()
	list := openTestStore(t, dir)
	target, identity := inventorytest.Target()
	list(target, identity, inventorytest.Item{ID: "=1+1", State: "running"})
	getenv := func(name string) string { return map[string]string{"COLLECTOR_DATA_DIR": dir}[name] }
	file := filepath.Join(dir, "all.csv")
	for _, c := range []struct {
		args       []string
		safe, want string
	}{
		{[]string{"list", "--columns", "id", "-o", "csv"}, "id\n'=1+1\n", "id\n=1+1\n"},
		{[]string{"get", "=1+1", "-o", "csv"}, "ec2_instance,'=1+1,", "ec2_instance,=1+1,"},
		{
			[]string{"sql", `SELECT -1 AS "+n", '-1' AS b, '@x' AS c`, "-o", "csv"},
			"'+n,b,c\n-1,-1,'@x\n", "+n,b,c\n-1,-1,@x\n",
		},
		{[]string{"db", "export", "-o", "csv"}, "ec2_instance,'=1+1,", "ec2_instance,=1+1,"},
		{[]string{"db", "export", "--file", file}, "ec2_instance,'=1+1,", "ec2_instance,=1+1,"},
	} {
		for _, raw := range []bool{false, true} {
			args, want := append([]string{"-c", filepath.Join(dir, "none.yaml")}, c.args...), c.safe
			if raw {
				args, want = append(args, "--raw"), c.want
			}
			var stdout, stderr bytes.Buffer
			if err := run(t.Context(), args, getenv, &stdout, &stderr); err != nil {
				t.Fatalf("%v: %v\n%s", args, err, stderr.String())
			}
			got := stdout.String()
			if got == "" {
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				got = string(b)
			}
			if !strings.Contains(got, want) {
				t.Errorf("%v: got\n%swant\n%s", args, got, want)
			}
		}
	}
}
