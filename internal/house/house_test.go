// Package house holds what the whole tree promises: who may import whom, that nothing is kept in package variables, that no
// key or private path got into a file. It has tests only. Where a rule has an exception, the exception and its reason stand
// in a table here, so that a new one is an edit that a reviewer sees.
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

// root is the folder that holds go.mod. A test runs in the folder of its package.
const root = "../.."

// A pkg is what `go list` says of a package of ours. Paths of ours are below the module: "auth", "cmd/collector".
type pkg struct {
	ImportPath   string
	Dir          string
	Name         string
	GoFiles      []string
	IgnoredFiles []string `json:"IgnoredGoFiles"` // for another system
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

// goList asks the go command that runs the test. -e: a package that does not build is another test's business.
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
	out, err := goList("-json=ImportPath,Dir,Name,GoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports", "./...")
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
		t.Fatalf("go list finds %d packages: it does not look at this module", len(all))
	}
	return all
}

// A source is a Go file of a package, parsed.
type source struct {
	path string // below the module
	file *ast.File
	fset *token.FileSet
	text []byte
}

func (s source) at(p token.Pos) string { return fmt.Sprintf("%s:%d", s.path, s.fset.Position(p).Line) }

// sources parses the package's own files, those for other systems too.
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

// files is every file that belongs to the project, below root, with its text. What git ignores is left out by name, since
// the tests also run where there is no git.
func files(t *testing.T) map[string][]byte {
	t.Helper()
	skip := map[string]bool{".git": true, "data": true, "out": true, "dist": true, "collector": true, "deploy/secrets": true}
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
		if errors.Is(err, fs.ErrNotExist) { // a test that runs beside this one removed it
			return nil
		}
		all[name] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if all["go.mod"] == nil {
		t.Fatalf("%s is not the module's root", root)
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
