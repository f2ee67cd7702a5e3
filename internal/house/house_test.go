// Package house tests the rules for the whole repository: which package may import which, no mutable package variables,
// no access keys and no private paths in files. It has tests only. Exceptions are listed here in tables with their
// reasons, so that a reviewer sees a new one.
package house

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/aws-collector/collector"

// root is the directory of go.mod. Tests run in the directory of their package.
const root = "../.."

// A pkg is a package of this module, from `go list`. Its path is relative to the module: "auth", "cmd/collector".
type pkg struct {
	ImportPath   string
	Dir          string
	Name         string
	GoFiles      []string
	IgnoredFiles []string `json:"IgnoredGoFiles"` // for other systems
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func (p pkg) path() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

func (p pkg) importsOfTests() []string {
	all := slices.Concat(p.TestImports, p.XTestImports)
	slices.Sort(all)
	return slices.Compact(all)
}

// goList runs `go list`. With -e it also lists packages that do not build, which other tests report.
func goList(args ...string) ([]byte, error) {
	cmd := exec.Command("go", append([]string{"list", "-e"}, args...)...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, nil
}

var loadPackages = sync.OnceValues(func() ([]pkg, error) {
	out, err := goList(
		"-json=ImportPath,Dir,Name,GoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports",
		"./...",
	)
	if err != nil {
		return nil, err
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
})

func packages(t *testing.T) []pkg {
	t.Helper()
	all, err := loadPackages()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("go list finds only %d packages: it does not list this module", len(all))
	}
	return all
}

// A source is a parsed Go file of a package.
type source struct {
	path string // relative to the module
	file *ast.File
	fset *token.FileSet
	text []byte
}

func (s source) at(p token.Pos) string { return fmt.Sprintf("%s:%d", s.path, s.fset.Position(p).Line) }

// sources parses files of the package.
func (p pkg) sources(t *testing.T, fset *token.FileSet, names ...string) []source {
	t.Helper()
	var all []source
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		path := strings.TrimPrefix(p.path()+"/"+name, "/")
		file, err := parser.ParseFile(fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, source{path, file, fset, text})
	}
	return all
}

func (p pkg) ownFiles() []string { return slices.Concat(p.GoFiles, p.IgnoredFiles) }

// files returns the content of every file of the project by its path below root. It skips what git ignores by name,
// because the tests must also run without git.
func files(t *testing.T) map[string][]byte {
	t.Helper()
	skip := map[string]bool{
		".git":           true,
		"data":           true,
		"out":            true,
		"dist":           true,
		"collector":      true,
		"deploy/secrets": true,

		"web/browser/node_modules": true,
	}
	all := map[string][]byte{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator)))
		switch {
		case skip[name] && d.IsDir():
			return fs.SkipDir
		case skip[name] || !d.Type().IsRegular() || strings.HasSuffix(name, ".test") || strings.HasSuffix(name, ".prof"):
			return nil
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) { // a concurrent test has removed it
			return nil
		}
		all[name] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if all["go.mod"] == nil {
		t.Fatalf("%s is not the root of the module", root)
	}
	return all
}

// lines calls f with each line of text and its number.
func lines(text []byte, f func(n int, line string)) {
	sc := bufio.NewScanner(bytes.NewReader(text))
	sc.Buffer(nil, len(text)+1)
	for n := 1; sc.Scan(); n++ {
		f(n, sc.Text())
	}
}
