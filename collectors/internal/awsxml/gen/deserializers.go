package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strconv"
	"strings"
)

// deserializers is the model of a client whose deserializers.go has a function with the element and the type of every
// member. serializers.go has the parameters.
type deserializers struct {
	*source
	kind         protocol
	prefix       string                   // of the functions: "awsEc2query"
	deserializer map[string]*ast.FuncDecl // functions of deserializers.go
	serializer   map[string]*ast.FuncDecl // functions of serializers.go
	structs      map[string][]member
}

func (s *source) openDeserializers() (model, error) {
	d := &deserializers{source: s, structs: map[string][]member{}}
	var err error
	if d.deserializer, err = s.functions("deserializers.go"); err != nil {
		return nil, err
	}
	if d.serializer, err = s.functions("serializers.go"); err != nil {
		return nil, err
	}
	for _, d.kind = range protocols {
		d.prefix = "aws" + upperFirst(d.kind.name)
		for name := range d.deserializer {
			if strings.HasPrefix(name, d.outputFunc()) {
				return d, nil
			}
		}
	}
	return nil, fmt.Errorf("%s: no function of a known protocol in deserializers.go", s.dir)
}

func (s *deserializers) shapeFunc() string  { return s.prefix + "_deserializeDocument" }
func (s *deserializers) outputFunc() string { return s.prefix + "_deserializeOpDocument" }
func (s *deserializers) inputFunc() string  { return s.prefix + "_serializeOpDocument" }

func (s *deserializers) protocol() protocol              { return s.kind }
func (s *deserializers) structures() map[string][]member { return s.structs }

func (s *deserializers) operations() (ops []string) {
	for name := range s.deserializer {
		if op, ok := strings.CutPrefix(name, s.outputFunc()); ok {
			ops = append(ops, strings.TrimSuffix(op, "Output"))
		}
	}
	return ops
}

func (s *deserializers) output(op string) ([]member, error) {
	return s.members(s.deserializer[s.outputFunc()+op+"Output"])
}

func (s *source) functions(file string) (map[string]*ast.FuncDecl, error) {
	f, err := s.parse(file, 0)
	if err != nil {
		return nil, err
	}
	m := map[string]*ast.FuncDecl{}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
			m[fn.Name.Name] = fn
		}
	}
	return m, nil
}

// members reads the deserializer of a structure, and those of all shapes that it refers to.
func (s *deserializers) members(fn *ast.FuncDecl) ([]member, error) {
	var ms []member
	err := s.eachCase(fn, func(wire string, body []ast.Stmt) error {
		name, typ, ref, err := s.assignedValue(body, "sv")
		if err != nil {
			return fmt.Errorf("element %q: %w", wire, err)
		}
		if ref != "" {
			if typ, err = s.shapeRef(ref); err != nil {
				return err
			}
		}
		ms = append(ms, member{name: name, wire: wire, typ: typ})
		return nil
	})
	sortMembers(ms)
	return ms, err
}

// unwrapped is the suffix of the functions that read a list's or a map's elements where no element encloses them.
const unwrapped = "Unwrapped"

// shapeRef returns the type of a deserializer's shape in the notation of the tables.
func (s *deserializers) shapeRef(fn string) (string, error) {
	fn, flat := strings.CutSuffix(fn, unwrapped)
	d := s.deserializer[fn]
	if d == nil {
		return "", fmt.Errorf("no function %s", fn)
	}
	v, ok := d.Type.Params.List[0].Type.(*ast.StarExpr)
	if !ok {
		return "", s.errorf(d, "its first parameter is not a pointer")
	}
	switch t := v.X.(type) {
	case *ast.StarExpr: // **types.X
		name := t.X.(*ast.SelectorExpr).Sel.Name
		if _, ok := s.structs[name]; !ok {
			s.structs[name] = nil // ends the recursion if a structure contains itself
			ms, err := s.members(d)
			if err != nil {
				return "", fmt.Errorf("%s: %w", name, err)
			}
			s.structs[name] = ms
		}
		return name, nil
	case *ast.SelectorExpr: // *types.X, a union
		return t.Sel.Name, s.union(t.Sel.Name, d)
	case *ast.ArrayType: // *[]T
		elem, item := "", ""
		err := s.eachCase(d, func(wire string, body []ast.Stmt) (err error) {
			item = wire
			elem, err = s.assigned(body, "col")
			return err
		})
		if err != nil || elem == "" {
			return "", s.errorf(d, "a list without an element type: %v", err)
		}
		return s.kind.listType(flat, item, elem), nil
	case *ast.MapType: // *map[string]T
		return s.mapRef(s.deserializer[fn+unwrapped], flat)
	}
	return "", s.errorf(d, "neither a structure nor a list nor a map")
}

// union reads the deserializer of a structure of which only one member is set.
func (s *deserializers) union(name string, d *ast.FuncDecl) error {
	if _, ok := s.structs[name]; ok {
		return nil
	}
	s.structs[name] = nil
	var ms []member
	err := s.eachCase(d, func(wire string, body []ast.Stmt) error {
		typ, err := s.assigned(body, "mv")
		ms = append(ms, member{name: upperFirst(wire), wire: wire, typ: typ})
		return err
	})
	sortMembers(ms)
	s.structs[name] = ms
	return err
}

// mapRef reads the deserializer of a map's entry: the first case is the key, the second the value.
func (s *deserializers) mapRef(d *ast.FuncDecl, flat bool) (string, error) {
	var names []string
	elem := ""
	err := s.eachCase(d, func(wire string, body []ast.Stmt) (err error) {
		names = append(names, wire)
		if len(names) == 2 {
			elem, err = s.assigned(body, "ev")
		}
		return err
	})
	if err != nil || len(names) != 2 {
		return "", s.errorf(d, "a map without a key and a value: %v", err)
	}
	return mapType(flat, names[0], names[1], elem), nil
}

// assigned returns the type of what a case assigns to a variable.
func (s *deserializers) assigned(body []ast.Stmt, to string) (string, error) {
	_, typ, ref, err := s.assignedValue(body, to)
	if err == nil && ref != "" {
		typ, err = s.shapeRef(ref)
	}
	return typ, err
}

// eachCase calls do for each `case strings.EqualFold("wire", …)` of the deserializer's switch.
func (s *deserializers) eachCase(fn *ast.FuncDecl, do func(wire string, body []ast.Stmt) error) (err error) {
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		c, ok := n.(*ast.CaseClause)
		if !ok || err != nil || len(c.List) != 1 {
			return err == nil
		}
		call, ok := c.List[0].(*ast.CallExpr)
		if !ok || !isSelector(call.Fun, "strings", "EqualFold") {
			err = s.errorf(c, "a case without strings.EqualFold")
			return false
		}
		wire, e := strconv.Unquote(call.Args[0].(*ast.BasicLit).Value)
		if e != nil {
			err = e
		} else if e := do(wire, c.Body); e != nil {
			err = e
		}
		return false
	})
	return err
}

// scalars are the types of the tables, by the function that the SDK calls to convert the text.
var scalars = map[string]string{
	"ptr.String": "s", "string": "s",
	"ptr.Int32": "i", "ptr.Int64": "i", "int32": "i", "int64": "i",
	"ptr.Float32": "f", "ptr.Float64": "f",
	"ptr.Bool":                        "b",
	"ptr.Time":                        "t",
	"base64.StdEncoding.DecodeString": "x",
	"strconv.ParseBool":               "b",
	"strconv.ParseFloat":              "f",
	"smithytime.ParseDateTime":        "t",
}

// assignedValue returns what a case assigns to sv.Member or col: either the result of another deserializer or the text.
func (s *deserializers) assignedValue(body []ast.Stmt, to string) (name, typ, ref string, err error) {
	converted := map[string]string{} // the types of variables that have the converted text
	for _, stmt := range body {
		ast.Inspect(stmt, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				fn, ok := n.Fun.(*ast.Ident)
				if !ok || !strings.HasPrefix(fn.Name, s.shapeFunc()) || len(n.Args) == 0 {
					return true
				}
				ref = fn.Name
				if u, ok := n.Args[0].(*ast.UnaryExpr); ok {
					if sel, ok := u.X.(*ast.SelectorExpr); ok {
						name = sel.Sel.Name
					}
				}
			case *ast.AssignStmt:
				switch l := n.Lhs[0].(type) {
				case *ast.SelectorExpr:
					if id, ok := l.X.(*ast.Ident); !ok || id.Name != to {
						return true
					}
					name = l.Sel.Name
				case *ast.Ident:
					if n.Tok == token.DEFINE {
						converted[l.Name] = s.scalar(n.Rhs[0], nil)
						return true
					}
					if l.Name != to {
						return true
					}
				default:
					return true
				}
				if t := s.scalar(n.Rhs[0], converted); t != "" {
					typ = t
				}
			}
			return true
		})
	}
	if typ == "" && ref == "" {
		err = s.errorf(body[0], "unknown form of assignment")
	}
	return name, typ, ref, err
}

// scalar returns the type of an expression with the converted text, "" for others.
func (s *deserializers) scalar(e ast.Expr, converted map[string]string) string {
	switch e := e.(type) {
	case *ast.CallExpr:
		fn := types.ExprString(e.Fun)
		if strings.HasPrefix(fn, "types.") {
			return "s" // an enumeration
		}
		return scalars[fn]
	case *ast.Ident: // col = xtv
		return converted[e.Name]
	}
	return ""
}

func (s *deserializers) inputWires(op string) (map[string]string, error) {
	return s.wireNames(s.serializer[s.inputFunc()+op+"Input"]), nil
}

// wireNames reads a serializer: `if v.Member != nil { objectKey := object.Key("WireName") …`.
func (s *deserializers) wireNames(fn *ast.FuncDecl) map[string]string {
	m := map[string]string{}
	if fn == nil {
		return m
	}
	for _, stmt := range fn.Body.List {
		var name, wire string
		ast.Inspect(stmt, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if id, ok := n.X.(*ast.Ident); ok && id.Name == "v" && name == "" {
					name = n.Sel.Name
				}
			case *ast.CallExpr:
				if wire == "" && (isSelector(n.Fun, "object", "Key") || isSelector(n.Fun, "object", "FlatKey")) {
					wire, _ = strconv.Unquote(n.Args[0].(*ast.BasicLit).Value)
				}
			}
			return true
		})
		if name != "" && wire != "" {
			m[name] = wire
		}
	}
	return m
}

func isSelector(e ast.Expr, x, name string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	id, ok := s.X.(*ast.Ident)
	return ok && id.Name == x
}
