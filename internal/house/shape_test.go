package house

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
)

// A folder is named after its subject.
func TestFoldersAreNouns(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range []string{path.Base(p.path()), p.Name} {
			if slices.Contains(
				[]string{"util", "utils", "common", "helper", "helpers", "types", "models", "misc", "shared"},
				name,
			) {
				t.Errorf("%s: %q is not a subject; move each function to its caller", p.path(), name)
			}
		}
	}
}

// Only main may read the environment and exit, so that tests can call everything else.
func TestOnlyMainExitsAndReadsTheEnvironment(t *testing.T) {
	exits := []string{"os.Exit", "log.Fatal", "log.Fatalf", "log.Fatalln"}
	reads := []string{"os.Getenv", "os.LookupEnv", "os.Environ", "os.Setenv", "os.Unsetenv", "os.Clearenv", "os.ExpandEnv"}
	for _, p := range packages(t) {
		if p.Name == "main" {
			continue
		}
		for _, s := range p.sources(t, token.NewFileSet(), p.ownFiles()...) {
			ast.Inspect(s.file, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				x, ok := sel.X.(*ast.Ident)
				if !ok {
					return true
				}
				switch call := x.Name + "." + sel.Sel.Name; {
				case slices.Contains(exits, call):
					t.Errorf("%s: %s: return an error", s.at(sel.Pos()), call)
				case slices.Contains(reads, call):
					t.Errorf("%s: %s: take it as an argument", s.at(sel.Pos()), call)
				}
				return true
			})
		}
	}
}

// A package that starts a goroutine must wait for it: its tests check for leaks.
func TestGoroutineLeaksAreChecked(t *testing.T) {
	for _, p := range packages(t) {
		var starts string
		for _, s := range p.sources(t, token.NewFileSet(), p.ownFiles()...) {
			ast.Inspect(s.file, func(n ast.Node) bool {
				if g, ok := n.(*ast.GoStmt); ok {
					starts = s.at(g.Pos())
				}
				if c, ok := n.(*ast.CallExpr); ok {
					if sel, ok := c.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Go" && len(c.Args) == 1 { // WaitGroup, errgroup
						starts = s.at(c.Pos())
					}
				}
				return true
			})
		}
		if starts == "" || strings.HasSuffix(p.Name, "test") { // a test suite runs in the tests of its users
			continue
		}
		if !slices.Contains(p.importsOfTests(), "go.uber.org/goleak") {
			t.Errorf("%s starts a goroutine (%s), but no test of the package uses goleak", p.path(), starts)
		}
	}
}

// A file can be read in one sitting. Generated files are exempt.
func TestFilesAreShort(t *testing.T) {
	const limit = 700
	for _, p := range packages(t) {
		for _, s := range p.sources(t, token.NewFileSet(), p.ownFiles()...) {
			if n := strings.Count(string(s.text), "\n"); n > limit && !ast.IsGenerated(s.file) {
				t.Errorf("%s has %d lines, more than %d", s.path, n, limit)
			}
		}
	}
}

// Each package has a package comment.
func TestPackagesHaveComments(t *testing.T) {
	for _, p := range packages(t) {
		var docs []string
		for _, s := range p.sources(t, token.NewFileSet(), slices.Concat(p.GoFiles, p.TestGoFiles)...) {
			if s.file.Doc != nil {
				docs = append(docs, s.file.Doc.Text())
			}
		}
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command "
		}
		if !slices.ContainsFunc(docs, func(d string) bool { return strings.HasPrefix(d, want) }) {
			t.Errorf("%s has no package comment that begins with %q", p.path(), want)
		}
	}
}
