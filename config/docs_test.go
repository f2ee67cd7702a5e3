package config

import (
	"regexp"
	"testing"
)

// Each account block in docs/sign-in.md is valid.
func TestSignInPage(t *testing.T) {
	page := readFiles(t, "../docs/sign-in.md")["../docs/sign-in.md"]
	blocks := regexp.MustCompile("`(\\{[^{`][^`]*\\})`").FindAllSubmatch(page, -1)
	if len(blocks) < 20 {
		t.Fatalf("found only %d blocks", len(blocks))
	}
	example := regexp.MustCompile("(?s)```yaml\n(organizations:.*?)```").FindSubmatch(page)
	if example == nil {
		t.Fatal("the example of organizations is not found")
	}
	if _, err := load(example[1], "sign-in.md"); err != nil {
		t.Error(err)
	}
	for _, b := range blocks {
		if _, err := load([]byte("accounts:\n  - "+string(b[1])), "sign-in.md"); err != nil {
			t.Errorf("%s\n%v", b[1], err)
		}
	}
}
