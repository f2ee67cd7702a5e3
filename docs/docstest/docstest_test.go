package docstest

import (
	"fmt"
	"slices"
	"testing"
)

func TestCommands(t *testing.T) {
	for script, want := range map[string]string{
		"a b 'c d' \"e  f\" g\\\n h # i\n# j\nk": `[["a" "b" "c d" "e  f" "g" "h"] ["k"]]`,
		"a | b && c; d":                          `[["a"] ["b"] ["c"] ["d"]]`,
		"X=1 a --y=2 >out 2>err <in b 2>&1":      `[["a" "--y=2" "b"]]`,
		"a \"$(b -c)\" <(d e)":                   `[["b" "-c"] ["d" "e"] ["a" "substituted" "substituted"]]`,
		"":                                       `[]`,
	} {
		if got := fmt.Sprintf("%q", Commands(script)); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", script, got, want)
		}
	}
}

func TestBlocks(t *testing.T) {
	page := Page{Text: "a `b\nc`\n```sh\nd `e`\n```\n1. f\n\n   ```yaml config.yaml\n   g:\n     h: 1\n   ```\n"}
	want := []Block{{3, "sh", "", "d `e`\n"}, {8, "yaml", "config.yaml", "g:\n  h: 1\n"}}
	if got := page.Blocks(); !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	if got := fmt.Sprintf("%q", page.Spans()); got != `["b c"]` {
		t.Errorf("spans: %s", got)
	}
}
