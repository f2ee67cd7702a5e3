package house

import (
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"os"
	"slices"
	"strings"
	"testing"
)

// Package variables that are modified, or might be, each with its reason.
var mutableExceptions = map[string]string{
	"cmd/collector.version":  "only the linker's -X sets it",
	"cmd/collector.revision": "only the linker's -X sets it",
	"cmd/collector.date":     "only the linker's -X sets it",
}

// Functions whose results are immutable and so may be package variables.
var constantFuncs = []string{
	"errors.New", "fmt.Errorf", "regexp.MustCompile", "strings.NewReplacer",
	"slices.Concat",                     // of tables
	"sync.OnceValue", "sync.OnceValues", // a constant that is computed at its first use
	"base32.StdEncoding.WithPadding", "time.Date", "netip.MustParsePrefix", "netip.MustParseAddr",
	"reflect.TypeFor", "reflect.TypeOf",
}

func TestNoInit(t *testing.T) {
	for _, p := range packages(t) {
		for _, s := range p.sources(t, token.NewFileSet(), slices.Concat(p.ownFiles(), p.TestGoFiles, p.XTestGoFiles)...) {
			for _, d := range s.file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					t.Errorf("%s: func init: call it from main instead", s.at(f.Pos()))
				}
			}
		}
	}
}

// A package variable is a table, an error or a constant that needs a function. It is initialized in its declaration and
// never modified, neither by its own package nor by another.
func TestNoMutablePackageVariables(t *testing.T) {
	used := map[string]bool{}
	for _, p := range packages(t) {
		for _, found := range mutableVariables(t, p) {
			if mutableExceptions[found.name] == "" {
				t.Errorf("%s: %s: %s", found.at, found.name, found.what)
			}
			used[found.name] = true
		}
	}
	for name := range mutableExceptions {
		if !used[name] {
			t.Errorf("%s needs no exception: remove it from mutableExceptions", name)
		}
	}
}

// The rule finds each form of modification.
func TestMutableFindsEachForm(t *testing.T) {
	const dir = "testdata/state"
	p := pkg{ImportPath: module + "/" + dir, Dir: dir, GoFiles: []string{"state.go"}}
	got := map[string]string{}
	for _, f := range mutableVariables(t, p) {
		got[f.at] += strings.TrimPrefix(f.name, dir+".") + ": " + f.what + "\n"
	}
	text, err := os.ReadFile(dir + "/state.go")
	if err != nil {
		t.Fatal(err)
	}
	lines(text, func(n int, line string) {
		at := fmt.Sprintf("%s/state.go:%d", dir, n)
		_, want, ok := strings.Cut(line, `// want "`)
		want = strings.TrimSuffix(want, `"`)
		if ok != (got[at] != "") || !strings.Contains(got[at], want) {
			t.Errorf("%s: found %q, want %q", at, got[at], want)
		}
	})
}

type finding struct{ at, name, what string }

// mutableVariables type-checks the package without its imports: that suffices to resolve the package's own names, and
// nothing has to be compiled.
func mutableVariables(t *testing.T, p pkg) []finding {
	t.Helper()
	fset := token.NewFileSet()
	sources := p.sources(t, fset, p.GoFiles...)
	var parsed []*ast.File
	for _, s := range sources {
		parsed = append(parsed, s.file)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: noImporter{}, Error: func(error) {}, FakeImportC: true}
	checked, err := conf.Check(p.ImportPath, fset, parsed, info)
	if checked == nil {
		t.Fatal(err)
	}
	var found []finding
	for _, s := range sources {
		report := func(pos token.Pos, name, what string) {
			found = append(found, finding{s.at(pos), p.path() + "." + name, what})
		}
		for _, d := range s.file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				for i, name := range v.Names {
					switch {
					case name.Name == "_" || embedded(g, v):
					case i >= len(v.Values):
						report(name.Pos(), name.Name, "has no value in its declaration")
					case !isConstant(v.Values[i]):
						report(name.Pos(), name.Name, "its value comes from "+types.ExprString(v.Values[i])+", which may be mutable")
					}
				}
			}
		}
		eachWrite(s.file, func(e ast.Expr) {
			switch o := packageVariable(info, checked, e).(type) {
			case *types.Var:
				report(e.Pos(), o.Name(), "is modified")
			case *types.PkgName:
				report(e.Pos(), types.ExprString(e), "is modified, in another package")
			}
		})
	}
	return found
}

// noImporter cannot import anything.
type noImporter struct{}

func (noImporter) Import(path string) (*types.Package, error) {
	return nil, fmt.Errorf("%s: %w", path, errors.ErrUnsupported)
}

// embedded reports whether a go:embed comment fills the variable.
func embedded(g *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{g.Doc, v.Doc} {
		if doc != nil &&
			slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") }) {
			return true
		}
	}
	return false
}

// isConstant reports whether an expression is a table, a literal, or a call of one of constantFuncs.
func isConstant(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit, *ast.CompositeLit, *ast.Ident, *ast.SelectorExpr:
		return true
	case *ast.ParenExpr:
		return isConstant(e.X)
	case *ast.UnaryExpr: // &Fault{…}
		return isConstant(e.X)
	case *ast.BinaryExpr:
		return isConstant(e.X) && isConstant(e.Y)
	case *ast.CallExpr:
		fun := e.Fun
		if x, ok := fun.(*ast.IndexExpr); ok { // reflect.TypeFor[T]
			fun = x.X
		}
		switch fun.(type) {
		case *ast.FuncLit: // computes a table
			return true
		case *ast.ArrayType: // []byte("…")
			return len(e.Args) == 1 && isConstant(e.Args[0])
		}
		return slices.Contains(constantFuncs, types.ExprString(fun))
	}
	return false
}

// eachWrite calls f with every expression in a function that is assigned to, incremented, cleared or whose address is
// taken.
func eachWrite(file *ast.File, f func(ast.Expr)) {
	for _, d := range file.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, e := range n.Lhs {
						f(e)
					}
				}
			case *ast.IncDecStmt:
				f(n.X)
			case *ast.RangeStmt:
				if n.Tok == token.ASSIGN {
					f(n.Key)
					if n.Value != nil {
						f(n.Value)
					}
				}
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					switch n.X.(type) {
					case *ast.CompositeLit: // a new value
					case *ast.IndexExpr: // a row of a table, read without a copy
					default:
						f(n.X)
					}
				}
			case *ast.CallExpr:
				name, ok := n.Fun.(*ast.Ident)
				if ok && len(n.Args) > 0 && slices.Contains([]string{"delete", "clear", "copy"}, name.Name) {
					f(n.Args[0])
				}
			}
			return true
		})
	}
}

// packageVariable returns the package variable that a write to e modifies, or the other package to which it belongs, or
// nil. table[k] = v and table.member = v modify table, too.
func packageVariable(info *types.Info, p *types.Package, e ast.Expr) types.Object {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.Ident:
			switch o := info.Uses[x].(type) {
			case *types.Var:
				if o.Parent() == p.Scope() {
					return o
				}
			case *types.PkgName:
				return o
			}
			return nil
		default:
			return nil
		}
	}
}
