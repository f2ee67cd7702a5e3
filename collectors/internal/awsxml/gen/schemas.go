package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
)

// schemas is the model of a client with the package schemas. It has a variable for every shape,
//
//	var TagList = smithy.NewSchema(smithy.ShapeID{Namespace: …, Name: "TagList"}, smithy.ShapeTypeList, 1)
//
// and a call for every member, of a structure as of a list or a map, with its traits:
//
//	TagList_member = TagList.AddMember("member", Tag, &smithytraits.XMLName{Name: "Tag"})
type schemas struct {
	*source
	kind    protocol
	shapes  map[string]*schema        // by the variable
	calls   map[string]operationShape // by the operation
	structs map[string][]member
}

type schema struct {
	typ     string // "List", of smithy.ShapeTypeList
	name    string
	members []schemaMember
}

type schemaMember struct {
	name   string
	target string            // the variable of its shape, or its name in the package prelude
	traits map[string]string // by their type; the value is its member Name
}

// An operationShape has the variables of the structures of an operation's request and response, "" if it has none.
type operationShape struct{ in, out string }

func (s *source) openSchemas() (model, error) {
	m := &schemas{
		source: s, shapes: map[string]*schema{}, calls: map[string]operationShape{}, structs: map[string][]member{},
	}
	if err := m.readSchemas(); err != nil {
		return nil, err
	}
	if err := m.readOperations(); err != nil {
		return nil, err
	}
	client, err := s.parse("api_client.go", 0)
	if err != nil {
		return nil, err
	}
	for _, i := range client.Imports {
		for _, p := range protocols {
			if strings.HasSuffix(i.Path.Value, "/protocol/"+p.name+`"`) {
				m.kind = p
				return m, nil
			}
		}
	}
	return nil, fmt.Errorf("%s: no known protocol in api_client.go", s.dir)
}

func (s *schemas) protocol() protocol              { return s.kind }
func (s *schemas) structures() map[string][]member { return s.structs }

func (s *schemas) operations() (ops []string) {
	for op := range s.calls {
		ops = append(ops, op)
	}
	return ops
}

// readSchemas reads the shapes and their members.
func (s *schemas) readSchemas() error {
	f, err := s.parse(filepath.Join("schemas", "schemas.go"), 0)
	if err != nil {
		return err
	}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			if len(v.Values) != 1 {
				continue // of a member
			}
			if call, ok := v.Values[0].(*ast.CallExpr); ok && isSelector(call.Fun, "smithy", "NewSchema") {
				s.shapes[v.Names[0].Name] = &schema{
					typ:  strings.TrimPrefix(selected(call.Args[1]), "ShapeType"),
					name: literalMember(call.Args[0], "Name"),
				}
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || selected(call.Fun) != "AddMember" {
			return true
		}
		name, e := strconv.Unquote(call.Args[0].(*ast.BasicLit).Value)
		of, ok := call.Fun.(*ast.SelectorExpr).X.(*ast.Ident)
		if e != nil || !ok || s.shapes[of.Name] == nil {
			err = s.errorf(call, "AddMember of something that is not a schema of this file")
			return false
		}
		m := schemaMember{name: name, traits: map[string]string{}}
		if m.target = selected(call.Args[1]); m.target == "" {
			m.target = call.Args[1].(*ast.Ident).Name
		}
		for _, arg := range call.Args[2:] {
			if u, ok := arg.(*ast.UnaryExpr); ok {
				if lit, ok := u.X.(*ast.CompositeLit); ok {
					m.traits[selected(lit.Type)] = literalMember(lit, "Name")
				}
			}
		}
		s.shapes[of.Name].members = append(s.shapes[of.Name].members, m)
		return false
	})
	return err
}

// readOperations reads which structures are the operations' requests and responses: the files with the operations call
// smithy.NewOperationSchema(schemas.DescribeX, schemas.DescribeXRequest, schemas.DescribeXResponse).
func (s *schemas) readOperations() error {
	files, err := filepath.Glob(filepath.Join(s.dir, "api_op_*.go"))
	if err != nil {
		return err
	}
	for _, path := range files {
		f, err := s.parse(filepath.Base(path), 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if ok && isSelector(call.Fun, "smithy", "NewOperationSchema") {
				s.calls[selected(call.Args[0])] = operationShape{selected(call.Args[1]), selected(call.Args[2])}
			}
			return true
		})
	}
	return nil
}

// selected returns the name that a selector expression selects.
func selected(e ast.Expr) string {
	if s, ok := e.(*ast.SelectorExpr); ok {
		return s.Sel.Name
	}
	return ""
}

// literalMember returns the text of a member of a composite literal.
func literalMember(e ast.Expr, name string) string {
	lit, ok := e.(*ast.CompositeLit)
	if !ok {
		return ""
	}
	for _, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok && kv.Key.(*ast.Ident).Name == name {
			if b, ok := kv.Value.(*ast.BasicLit); ok {
				text, _ := strconv.Unquote(b.Value)
				return text
			}
		}
	}
	return ""
}

func (s *schemas) output(op string) ([]member, error) {
	out := s.calls[op].out
	if out == "" {
		return nil, nil
	}
	return s.members(out)
}

// inputWires has the names that the SDK's serializers give to parameters: those of ec2query have a trait of their own,
// and begin with a capital letter.
func (s *schemas) inputWires(op string) (map[string]string, error) {
	wires := map[string]string{}
	in := s.calls[op].in
	if in == "" {
		return wires, nil
	}
	if s.shapes[in] == nil {
		return nil, fmt.Errorf("no schema %s", in)
	}
	for _, m := range s.shapes[in].members {
		wire := m.wire()
		if s.kind.name == "ec2query" {
			wire = upperFirst(wire)
			if name, ok := m.traits["EC2QueryName"]; ok {
				wire = name
			}
		}
		wires[upperFirst(m.name)] = wire
	}
	return wires, nil
}

// wire is the member's name in XML.
func (m schemaMember) wire() string {
	if name, ok := m.traits["XMLName"]; ok {
		return name
	}
	return m.name
}

func (m schemaMember) flat() bool {
	_, ok := m.traits["XMLFlattened"]
	return ok
}

// members returns the members of a structure.
func (s *schemas) members(variable string) (ms []member, err error) {
	of := s.shapes[variable]
	if of == nil {
		return nil, fmt.Errorf("no schema %s", variable)
	}
	for _, m := range of.members {
		typ, err := s.typeOf(m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		ms = append(ms, member{name: upperFirst(m.name), wire: m.wire(), typ: typ})
	}
	sortMembers(ms)
	return ms, nil
}

// shapeTypes are the types of the tables, by the name of the shape's type.
var shapeTypes = map[string]string{
	"String": "s", "Enum": "s",
	"Byte": "i", "Short": "i", "Integer": "i", "IntEnum": "i", "Long": "i",
	"Float": "f", "Double": "f",
	"Boolean":   "b",
	"Timestamp": "t",
	"Blob":      "x",
}

// typeOf returns the type of a member in the notation of the tables.
func (s *schemas) typeOf(m schemaMember) (string, error) {
	of := s.shapes[m.target]
	if of == nil { // of the package prelude, whose names are those of the types
		of = &schema{typ: strings.TrimPrefix(m.target, "Primitive")}
	}
	if typ, ok := shapeTypes[of.typ]; ok {
		return typ, nil
	}
	switch {
	case of.typ == "Structure" || of.typ == "Union":
		return s.structure(m.target, upperFirst(of.name))
	case of.typ == "List" && len(of.members) == 1:
		elem, err := s.typeOf(of.members[0])
		return s.kind.listType(m.flat(), of.members[0].wire(), elem), err
	case of.typ == "Map" && len(of.members) == 2:
		elem, err := s.typeOf(of.members[1])
		return mapType(m.flat(), of.members[0].wire(), of.members[1].wire(), elem), err
	}
	return "", fmt.Errorf("the schema %s has the type %s and %d members", m.target, of.typ, len(of.members))
}

func (s *schemas) structure(variable, name string) (string, error) {
	if _, ok := s.structs[name]; ok {
		return name, nil
	}
	s.structs[name] = nil // ends the recursion if a structure contains itself
	ms, err := s.members(variable)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	s.structs[name] = ms
	return name, nil
}
