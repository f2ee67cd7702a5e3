// Package docs has the pages of this folder as texts, so that `collector help` prints them without a network.
package docs

import (
	"embed"
	"io/fs"
	"path"
	"slices"
	"strings"
)

//go:embed *.md outputs
var pages embed.FS

// A Topic is a page.
type Topic struct {
	Name  string // the words after `collector help`: "sign-in", "outputs kafka"
	About string // the heading of the page
	Text  string // Markdown
}

// Topics returns the pages, sorted by name: a page comes before those about its parts. The page of the kinds is not
// among them, because `collector kinds` prints its table.
func Topics() (all []Topic) {
	err := fs.WalkDir(pages, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".md" || name == "kinds.md" {
			return err
		}
		text, err := pages.ReadFile(name)
		heading, _, _ := strings.Cut(strings.TrimPrefix(string(text), "# "), "\n")
		topic := strings.ReplaceAll(strings.TrimSuffix(name, ".md"), "/", " ")
		all = append(all, Topic{Name: topic, About: heading, Text: string(text)})
		return err
	})
	if err != nil {
		panic(err) // of files that are part of the program
	}
	slices.SortFunc(all, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
	return all
}
