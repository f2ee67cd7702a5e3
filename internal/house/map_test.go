package house

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// The map of imports in ARCHITECTURE.md is drawn from the imports.
func TestArchitectureHasTheImportMap(t *testing.T) {
	imports := map[string][]string{}
	for _, p := range packages(t) {
		from := component(p.path())
		for _, i := range p.Imports {
			path, ok := ownPath(i)
			to := component(path)
			if ok && to != from && !slices.Contains(imports[from], to) && !strings.HasPrefix(to, "internal/") {
				imports[from] = append(imports[from], to)
			}
		}
	}
	var drawn strings.Builder
	for _, from := range sortedByDepth(imports) {
		if strings.HasPrefix(from, "internal/") || from == "bench" {
			continue
		}
		slices.Sort(imports[from])
		fmt.Fprintf(&drawn, "%-13s → %s\n", from, strings.Join(imports[from], ", "))
	}
	text, err := os.ReadFile(root + "/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "```\n"+drawn.String()+"```\n") {
		t.Errorf("ARCHITECTURE.md does not have the map of imports, which is now:\n%s", drawn.String())
	}
}

// sortedByDepth sorts components so that each comes after those that it imports.
func sortedByDepth(imports map[string][]string) []string {
	depth := map[string]int{}
	var depthOf func(name string) int
	depthOf = func(name string) int {
		if d, ok := depth[name]; ok {
			return d
		}
		d := 0
		for _, to := range imports[name] {
			d = max(d, depthOf(to)+1)
		}
		depth[name] = d
		return d
	}
	var names []string
	for name, to := range imports {
		if len(to) > 0 {
			names = append(names, name)
		}
		depthOf(name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := depth[a] - depth[b]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return names
}
