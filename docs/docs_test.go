package docs

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/config/importers"
	"github.com/aws-collector/collector/docs/docstest"
	"github.com/aws-collector/collector/outputs/all"
)

const root = ".."

// Languages whose blocks no test of this package reads, each with what holds them.
var otherLanguages = map[string]string{
	"sh":      "cmd/collector: programs, commands and flags exist",
	"console": "cmd/collector: run against the fake AWS, and what they print is compared",
	"promql":  "internal/house: the metrics exist",
	"sql":     "for other databases and tools",
	"python":  "of another program", "hcl": "of another program", "ini": "of another program",
	"text": "what is no command and no configuration",
}

// names is what a configuration may name: the kinds of kinds.md, which is made from the catalogue, and the outputs.
func names(t *testing.T) config.Registry {
	t.Helper()
	page, err := os.ReadFile("kinds.md")
	if err != nil {
		t.Fatal(err)
	}
	known := config.Registry{Outputs: map[string]func() any{}}
	for _, m := range regexp.MustCompile("(?m)^\\| `(ec2_[a-z0-9_]+)` \\|").FindAllSubmatch(page, -1) {
		known.Kinds = append(known.Kinds, string(m[1]))
	}
	if len(known.Kinds) < 100 {
		t.Fatalf("kinds.md has %d kinds", len(known.Kinds))
	}
	for _, typ := range all.Types {
		known.Outputs[typ.Name] = typ.NewOptions
	}
	return known
}

// Each block says its language, and is valid: a configuration is accepted, JSON is JSON, and below the file of another
// tool is what `collector import` prints for it. UPDATE_DOCS=1 writes that.
func TestBlocks(t *testing.T) {
	known := names(t)
	valid := 0
	for _, page := range docstest.Pages(t, root) {
		blocks := page.Blocks()
		for i, b := range blocks {
			var err error
			switch {
			case format(b) != nil:
				testImport(t, page, b, blocks[i+1:], known.Kinds)
				continue
			case b.Language == "yaml" && b.Argument == "prometheus": // outputs/all asks promtool
			case b.Language == "yaml":
				_, err = config.Parse([]byte(completed(b.Text)), page.Path, known)
			case b.Language == "json":
				err = validJSON(b.Text)
			case otherLanguages[b.Language] == "":
				t.Errorf("%s:%d: nothing checks a block with the language %q", page.Path, b.Line, b.Language)
				continue
			default:
				continue
			}
			if valid++; err != nil {
				t.Errorf("%s:%d: %v", page.Path, b.Line, err)
			}
		}
	}
	if valid < 20 {
		t.Errorf("only %d blocks were found", valid)
	}
}

// completed returns a configuration with an account if it has none.
func completed(text string) string {
	if regexp.MustCompile(`(?m)^(accounts|account|organizations|profiles):`).MatchString(text) {
		return text
	}
	return "accounts: [{profile: example}]\n" + text
}

func validJSON(text string) error {
	for line := range strings.Lines(text) {
		if err := json.Unmarshal([]byte(line), new(any)); err != nil {
			return json.Unmarshal([]byte(text), new(any)) // not lines, but one value
		}
	}
	return nil
}

// format returns what imports the block: its argument begins with the name of a format.
func format(b docstest.Block) *importers.Format {
	name, _, _ := strings.Cut(b.Argument, " ")
	i := slices.IndexFunc(importers.Formats, func(f importers.Format) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return &importers.Formats[i]
}

// testImport imports a block and expects the result in the next configuration. The second word of its argument names
// the file.
func testImport(t *testing.T, page docstest.Page, from docstest.Block, after []docstest.Block, kinds []string) {
	t.Helper()
	i := slices.IndexFunc(after, func(b docstest.Block) bool { return b.Language == "yaml" && b.Argument == "" })
	if i < 0 {
		t.Errorf("%s:%d: no configuration follows", page.Path, from.Line)
		return
	}
	to := after[i]
	_, file, _ := strings.Cut(from.Argument, " ")
	got, err := format(from).Import(file, []byte(from.Text), kinds)
	if err != nil {
		t.Errorf("%s:%d: %v", page.Path, from.Line, err)
		return
	}
	if got == to.Text {
		return
	}
	t.Errorf("%s:%d: the next configuration is not what import prints:\n%s", page.Path, from.Line, got)
	if os.Getenv("UPDATE_DOCS") != "" {
		page.Replace(t, root, to, got)
	}
}

// Every relative link leads to a file of the repository and to a heading in it.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	seen := 0
	for _, page := range docstest.Pages(t, root) {
		for _, m := range link.FindAllStringSubmatch(page.Prose(), -1) {
			file, heading, _ := strings.Cut(m[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			seen++
			target := path.Join(path.Dir(page.Path), file)
			if file == "" {
				target = page.Path
			}
			text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(target)))
			if _, missing := os.Stat(filepath.Join(root, filepath.FromSlash(target))); missing != nil {
				t.Errorf("%s: %s: there is no %s", page.Path, m[1], target)
			} else if heading != "" && (err != nil || !slices.Contains(anchors(string(text)), heading)) {
				t.Errorf("%s: %s: %s has no such heading", page.Path, m[1], target)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d links were found", seen)
	}
}

// anchors returns the anchors that GitHub gives to the headings of a page.
func anchors(text string) (all []string) {
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(docstest.Page{Text: text}.Prose(), -1) {
		all = append(all, strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return all
}

// README is read in one sitting. What is longer belongs into a page of docs.
func TestREADMEIsShort(t *testing.T) {
	for _, page := range docstest.Pages(t, root) {
		if n := strings.Count(page.Text, "\n"); path.Dir(page.Path) == "." && n > 200 {
			t.Errorf("%s has %d lines, of at most 200", page.Path, n)
		}
	}
}

// Every page begins with its heading, so `collector help` can list it.
func TestTopics(t *testing.T) {
	topics := Topics()
	if len(topics) < 15 {
		t.Fatalf("%d topics", len(topics))
	}
	seen := map[string]bool{}
	for _, topic := range topics {
		seen[topic.Name] = true
		if of, _, part := strings.Cut(topic.Name, " "); part && !seen[of] {
			t.Errorf("%s comes before %s", topic.Name, of)
		}
		if !strings.HasPrefix(topic.Text, "# ") || topic.About == "" {
			t.Errorf("%s does not begin with a heading", topic.Name)
		}
	}
}

// Each account block in a table of sign-in.md is valid.
func TestAccountBlocks(t *testing.T) {
	known := names(t)
	for _, page := range docstest.Pages(t, root) {
		if path.Base(page.Path) != "sign-in.md" {
			continue
		}
		blocks := 0
		for _, span := range page.Spans() {
			if !strings.HasPrefix(span, "{") || strings.HasPrefix(span, "{{") {
				continue
			}
			blocks++
			if _, err := config.Parse([]byte("accounts:\n  - "+span), page.Path, known); err != nil {
				t.Errorf("%s\n%v", span, err)
			}
		}
		if blocks < 20 {
			t.Errorf("%s: found only %d blocks", page.Path, blocks)
		}
	}
}

// The pages in Chinese have the blocks of the English ones, and the same commands, keys and names in code spans.
func TestTranslations(t *testing.T) {
	english := map[string]docstest.Page{}
	for _, page := range docstest.Pages(t, root) {
		english[page.Path] = page
	}
	for translated, original := range map[string]string{
		"README.zh-CN.md": "README.md", "docs/zh-CN/sign-in.md": "docs/sign-in.md",
	} {
		got, want := english[translated], english[original]
		if got.Text == "" || want.Text == "" {
			t.Errorf("%s or %s is missing", translated, original)
			continue
		}
		shown, blocks := got.Blocks(), want.Blocks()
		for i := range max(len(shown), len(blocks)) {
			if i >= len(shown) || i >= len(blocks) || shown[i].Language != blocks[i].Language ||
				shown[i].Argument != blocks[i].Argument || shown[i].Text != blocks[i].Text {
				t.Errorf("%s: block %d is not that of %s", translated, i+1, original)
				break
			}
		}
		spans, wanted := unique(got.Spans()), unique(want.Spans())
		for _, span := range wanted {
			if !slices.Contains(spans, span) {
				t.Errorf("%s lacks `%s`", translated, span)
			}
		}
		for _, span := range spans {
			if !slices.Contains(wanted, span) {
				t.Errorf("%s has `%s`, and %s does not", translated, span, original)
			}
		}
	}
}

func unique(all []string) []string {
	slices.Sort(all)
	return slices.Compact(all)
}
