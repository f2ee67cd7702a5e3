package house

import (
	"go/ast"
	"go/token"
	"testing"
)

// The limits of a function, and the functions that may exceed one, each with its reason.
const (
	maxFunctionLines = 80
	maxParameters    = 5 // without a context
)

var largeFunctions = map[string]string{
	"collectors/internal/awsxml members":      "the decoder's loop: one state machine over the bytes of a response",
	"collectors/internal/awsxml member":       "the decoder's state; a struct of it costs an allocation",
	"collectors/internal/awsxml uncommonTag":  "as member",
	"collectors/internal/awsxml mergeUnknown": "as member",
	"internal/awsfake write":                  "a table: the members of an instance, in the order of EC2's response",
	"internal/awsfake organization":           "a table: the actions of AWS Organizations",
	"internal/awsfake applyFault":             "a table: the kinds of faults",
	"internal/awsfake addSnapshot":            "the members of a snapshot",
	"internal/awsfake image":                  "the members of an image",
	"outputs/kafka reasonAndHint":             "a table: the errors of Kafka",
	"outputs/kafka OnBrokerRead":              "the parameters are those of the Kafka client's interface",
	"outputs/outputstest CheckPoint":          "the parts of one record, for a test",
	"outputs/outputstest RemoteLines":         "as CheckPoint",
	"bench scale":                             "one report, from its flags to its table",
	"bench comparePrograms":                   "one report, from its programs to its table",
	"auth SignHTTP":                           "the parameters are those of the SDK's interface",
	"collectors/internal/call SignHTTP":       "as in auth",
}

func TestFunctionsAreSmall(t *testing.T) {
	unused := map[string]bool{}
	for name := range largeFunctions {
		unused[name] = true
	}
	for _, p := range packages(t) {
		fset := token.NewFileSet()
		for _, s := range p.sources(t, fset, p.ownFiles()...) {
			if ast.IsGenerated(s.file) {
				continue
			}
			for _, d := range s.file.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok || f.Body == nil {
					continue
				}
				lines := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1
				params := parameters(f.Type)
				if lines <= maxFunctionLines && params <= maxParameters {
					continue
				}
				if name := p.path() + " " + f.Name.Name; largeFunctions[name] != "" {
					delete(unused, name)
				} else {
					t.Errorf("%s: %q has %d lines and %d parameters; at most %d and %d",
						s.at(f.Pos()), name, lines, params, maxFunctionLines, maxParameters)
				}
			}
		}
	}
	for name := range unused {
		t.Errorf("%s is exempt, and is small or gone", name)
	}
}

// parameters counts the parameters of a function without those of type context.Context.
func parameters(f *ast.FuncType) (n int) {
	for _, p := range f.Params.List {
		if s, ok := p.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "Context" {
			continue
		}
		n += max(1, len(p.Names))
	}
	return n
}
