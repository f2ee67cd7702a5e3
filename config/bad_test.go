package config

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the reported problems to testdata/bad; review the diff")

// Each file of testdata/bad has a mistake. Its first lines say how it must be reported: a line "# want: " for each
// problem.
func TestBad(t *testing.T) {
	for path, b := range readFiles(t, "testdata/bad/*.yaml") {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			_, err := load(b, "")
			if err == nil {
				t.Fatal("nothing is reported")
			}
			checkNoSecret(t, path, err)
			var want []string
			rest := b
			for bytes.HasPrefix(rest, []byte("# want:")) {
				line, after, _ := bytes.Cut(rest, []byte("\n"))
				want, rest = append(want, strings.TrimSpace(strings.TrimPrefix(string(line), "# want:"))), after
			}
			if *update {
				rewrite(t, path, rest)
				return
			}
			if got := err.Error(); got != strings.Join(want, "\n") {
				t.Errorf("got:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
			}
		})
	}
}

// rewrite replaces the first lines of a file. Their number changes the reported line numbers, so it repeats this.
func rewrite(t *testing.T, path string, body []byte) {
	head := ""
	for range 3 {
		_, err := load([]byte(head+string(body)), "")
		head = "# want: " + strings.ReplaceAll(err.Error(), "\n", "\n# want: ") + "\n"
	}
	if err := os.WriteFile(path, []byte(head+string(body)), 0o644); err != nil {
		t.Fatal(err)
	}
}
