// Package docstest reads the project's documents for tests of what they show: blocks of code, commands and code spans.
package docstest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A Page is a document for people who run the program.
type Page struct {
	Path string // relative to the root of the repository, with slashes
	Text string
}

// Pages returns README and what is below docs, sorted by path. root is the directory of go.mod.
func Pages(t testing.TB, root string) (all []Page) {
	t.Helper()
	add := func(name string) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, Page{filepath.ToSlash(name), string(text)})
	}
	readmes, err := filepath.Glob(filepath.Join(root, "README*.md"))
	if err != nil || len(readmes) == 0 {
		t.Fatalf("%d READMEs in %s: %v", len(readmes), root, err)
	}
	for _, path := range readmes {
		add(filepath.Base(path))
	}
	err = filepath.WalkDir(filepath.Join(root, "docs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".md" {
			var name string
			name, err = filepath.Rel(root, path)
			add(name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b Page) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// A Block is a fenced block.
type Block struct {
	Line     int    // of its first fence
	Language string // the first word of the fence; "" if there is none
	Argument string // the rest: the name of a file, or the format that is imported
	Text     string // without the indentation of the fence
}

// Replace writes the page's file with another text in a block, for tests that update what documents show.
func (p Page) Replace(t testing.TB, root string, b Block, text string) {
	t.Helper()
	lines := strings.Split(p.Text, "\n")
	indent := fence.FindStringSubmatch(lines[b.Line-1])[1]
	var made []string
	for line := range strings.Lines(text) {
		made = append(made, strings.TrimRight(indent+line, " \n"))
	}
	lines = slices.Replace(lines, b.Line, b.Line+strings.Count(b.Text, "\n"), made...)
	path := filepath.Join(root, filepath.FromSlash(p.Path))
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}

var fence = regexp.MustCompile("^( *)```(.*)$")

// Blocks returns the fenced blocks of the page.
func (p Page) Blocks() (all []Block) {
	var open *Block
	indent := ""
	for i, line := range strings.Split(p.Text, "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case m != nil && open == nil:
			language, argument, _ := strings.Cut(m[2], " ")
			indent, open = m[1], &Block{Line: i + 1, Language: language, Argument: argument}
		case m != nil:
			all, open = append(all, *open), nil
		case open != nil:
			open.Text += strings.TrimPrefix(line, indent) + "\n"
		}
	}
	if open != nil {
		all = append(all, *open) // without an end
	}
	return all
}

// Prose returns the page without its blocks; their lines are empty.
func (p Page) Prose() string {
	lines := strings.Split(p.Text, "\n")
	fenced := false
	for i, line := range lines {
		if fence.MatchString(line) {
			fenced, lines[i] = !fenced, ""
		} else if fenced {
			lines[i] = ""
		}
	}
	return strings.Join(lines, "\n")
}

var span = regexp.MustCompile("`([^`]+)`")

// Spans returns the code spans outside of blocks, each on one line.
func (p Page) Spans() (all []string) {
	for _, m := range span.FindAllStringSubmatch(p.Prose(), -1) {
		all = append(all, strings.Join(strings.Fields(m[1]), " "))
	}
	return all
}

// substitution is a command whose output a shell puts in its place.
var substitution = regexp.MustCompile(`[$<]\(([^()]*)\)`)

// Commands returns the commands of a shell script as words: without comments, redirections and variables that are set
// for one command. A substituted command is one of them; its place in the other is the word "substituted". It knows
// what the documents use, no loops and no functions.
func Commands(script string) (all [][]string) {
	script = strings.ReplaceAll(script, "\\\n", " ")
	for _, m := range substitution.FindAllStringSubmatch(script, -1) {
		all = append(all, Commands(m[1])...)
	}
	l := lexer{}
	for _, c := range substitution.ReplaceAllString(script, "substituted") {
		l.read(c)
	}
	l.endCommand()
	return append(all, l.all...)
}

type lexer struct {
	all               [][]string
	words             []string
	word              strings.Builder
	quote             rune
	in, skip, comment bool // in a word; the next word is the file of a redirection; in a comment
}

func (l *lexer) read(c rune) {
	switch {
	case l.comment:
		if c == '\n' {
			l.comment = false
			l.endCommand()
		}
	case l.quote != 0:
		if c == l.quote {
			l.quote = 0
		} else {
			l.word.WriteRune(c)
		}
	case c == '\'' || c == '"':
		l.quote, l.in = c, true
	case c == ' ' || c == '\t':
		l.endWord()
	case c == '#' && !l.in:
		l.comment = true
	case c == '&' && l.skip: // 2>&1
	case c == '\n' || c == ';' || c == '|' || c == '&':
		l.endCommand()
	case c == '>' || c == '<':
		if w := l.word.String(); w == "2" || w == "1" {
			l.word.Reset()
			l.in = false
		}
		l.endWord()
		l.skip = true
	default:
		l.word.WriteRune(c)
		l.in = true
	}
}

var assignment = regexp.MustCompile(`^[A-Za-z_]\w*=`)

func (l *lexer) endWord() {
	word := l.word.String()
	if l.in && !l.skip && (len(l.words) > 0 || !assignment.MatchString(word)) {
		l.words = append(l.words, word)
	}
	l.skip = l.skip && !l.in
	l.in = false
	l.word.Reset()
}

func (l *lexer) endCommand() {
	l.endWord()
	if len(l.words) > 0 {
		l.all = append(l.all, l.words)
	}
	l.words, l.skip = nil, false
}
