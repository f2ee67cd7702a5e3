package page

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// tokens returns the colours of the style sheet: name → light and dark.
func tokens(t *testing.T) map[string][2]string {
	t.Helper()
	text, err := fs.ReadFile(assetFiles, "assets/style.css")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][2]string{}
	token := regexp.MustCompile(`--([a-z-]+): light-dark\((#\w{6}), (#\w{6})\)`)
	for _, m := range token.FindAllStringSubmatch(string(text), -1) {
		all[m[1]] = [2]string{m[2], m[3]}
	}
	if len(all) < 20 {
		t.Fatalf("%d tokens", len(all))
	}
	return all
}

// luminance is the relative luminance of a colour. https://www.w3.org/TR/WCAG22/#dfn-relative-luminance
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(colour[1:], 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	linear := func(c uint64) float64 {
		v := float64(c&255) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(n>>16) + 0.7152*linear(n>>8) + 0.0722*linear(n)
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// Text has a contrast of 4.5, shapes and the borders of controls of 3, on every ground on which they stand, in both
// themes.
func TestContrast(t *testing.T) {
	all := tokens(t)
	for least, pairs := range map[float64]string{
		4.5: "ink/canvas ink/surface ink/sunken ink/hover quiet/canvas quiet/surface quiet/sunken quiet/hover " +
			"quiet/wait-soft quiet/act-soft quiet/accent-soft ink/wait-soft ink/act-soft ink/accent-soft accent/canvas " +
			"accent/surface accent/accent-soft accent/hover accent/wait-soft accent/act-soft on-accent/accent " +
			"ok-text/surface ink/found accent/found wait/surface act/surface wait/hover act/hover",
		3: "ok/surface wait/surface act/surface idle/surface ok/hover wait/hover act/hover idle/hover ok/sunken " +
			"act/sunken wait/sunken idle/sunken line-strong/surface line-strong/canvas added/surface changed/surface " +
			"gone/surface accent/surface accent/canvas",
	} {
		for pair := range strings.FieldsSeq(pairs) {
			front, back, _ := strings.Cut(pair, "/")
			for theme, name := range []string{"light", "dark"} {
				if all[front] == ([2]string{}) || all[back] == ([2]string{}) {
					t.Fatalf("no token %s", pair)
				}
				if got := contrast(t, all[front][theme], all[back][theme]); got < least {
					t.Errorf("%s, %s: %.2f, want %v", pair, name, got, least)
				}
			}
		}
	}
	if got := fmt.Sprintf("%.0f", contrast(t, "#ffffff", "#000000")); got != "21" {
		t.Errorf("white on black is %s", got)
	}
}

// Nothing in the style sheet or the script loads something, and no template has a style or a handler of its own.
func TestNothingFromElsewhere(t *testing.T) {
	for _, files := range []fs.FS{assetFiles, templateFiles} {
		err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := fs.ReadFile(files, path)
			if err != nil {
				return err
			}
			bad := regexp.MustCompile(`(?i)@import|url\(|(src|href|action)="?(https?:)?//|\son[a-z]+="|\sstyle="|javascript:|<style`)
			if m := bad.Find(text); m != nil {
				t.Errorf("%s has %q", path, m)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Every class of the style sheet is used: by a template, the code or the script.
func TestStylesAreUsed(t *testing.T) {
	var users strings.Builder
	for _, files := range []fs.FS{os.DirFS("."), os.DirFS("templates"), os.DirFS("templates/shared"), os.DirFS("assets")} {
		for _, pattern := range []string{"*.go", "*.html", "*.js"} {
			names, err := fs.Glob(files, pattern)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				if text, err := fs.ReadFile(files, name); err != nil {
					t.Fatal(err)
				} else if !strings.HasSuffix(name, "_test.go") {
					users.Write(text)
				}
			}
		}
	}
	used := map[string]bool{}
	for _, word := range regexp.MustCompile(`[\w-]+`).FindAllString(users.String(), -1) {
		used[word] = true
	}
	for _, s := range stateTable { // classes that templates put together
		used["s-"+s.Code()], used["b-"+string(s.tone)] = true, true
	}
	for i := range maxDepth + 1 {
		used[fmt.Sprint("d", i)] = true
	}
	sheet, err := fs.ReadFile(assetFiles, "assets/style.css")
	if err != nil {
		t.Fatal(err)
	}
	rules := regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(string(sheet), "")
	classes := 0
	for _, selector := range regexp.MustCompile(`[^{}]+\{`).FindAllString(rules, -1) {
		for _, class := range regexp.MustCompile(`\.([a-zA-Z][\w-]*)`).FindAllStringSubmatch(selector, -1) {
			if classes++; !used[class[1]] {
				t.Errorf("nothing uses .%s", class[1])
			}
		}
	}
	if classes < 100 {
		t.Errorf("%d classes: the pattern is wrong", classes)
	}
}
