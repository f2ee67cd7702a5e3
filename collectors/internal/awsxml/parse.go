package awsxml

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// services has the tables of each service by its name. They are parsed when an operation is first asked for.
var services = map[string]func() operations{
	"autoscaling":            sync.OnceValue(func() operations { return parseTables(autoscalingTables) }),
	"cloudformation":         sync.OnceValue(func() operations { return parseTables(cloudformationTables) }),
	"ec2":                    sync.OnceValue(func() operations { return parseTables(ec2Tables) }),
	"elasticache":            sync.OnceValue(func() operations { return parseTables(elasticacheTables) }),
	"elasticloadbalancing":   sync.OnceValue(func() operations { return parseTables(elasticloadbalancingTables) }),
	"elasticloadbalancingv2": sync.OnceValue(func() operations { return parseTables(elasticloadbalancingv2Tables) }),
	"iam":                    sync.OnceValue(func() operations { return parseTables(iamTables) }),
	"rds":                    sync.OnceValue(func() operations { return parseTables(rdsTables) }),
	"redshift":               sync.OnceValue(func() operations { return parseTables(redshiftTables) }),
}

// operations are those of a service by their name.
type operations map[string]Operation

func operationsOf(service string) operations {
	if parse, ok := services[service]; ok {
		return parse()
	}
	return nil
}

// Operations returns the names of all operations in the tables of a service, sorted: the SDK's Describe…, Get…, List…
// and Search….
func Operations(service string) []string { return slices.Sorted(maps.Keys(operationsOf(service))) }

// Describe returns an operation of a service by its name.
func Describe(service, op string) (Operation, bool) {
	o, ok := operationsOf(service)[op]
	return o, ok
}

// A member is a member of a structure: its name in the JSON, its XML element and its type.
type member struct {
	name, wire string
	shape      *shape
}

type shape struct {
	typ     Type
	name    string
	members []member // sorted by name
	elem    *shape   // of a list or a map
	item    string   // the XML name of an element or an entry; "": it is flat
	key     string   // the XML name of the key in an entry of a map
	value   string   // likewise
}

// flat reports whether no element encloses the elements of the list or the entries of the map.
func (s *shape) flat() bool { return (s.typ == List || s.typ == Map) && s.item == "" }

// find returns the type of a structure's member by its name in the JSON, or nil.
func (s *shape) find(name string) *shape {
	i, ok := slices.BinarySearchFunc(s.members, name, func(m member, n string) int { return strings.Compare(m.name, n) })
	if !ok {
		return nil
	}
	return s.members[i].shape
}

// path follows a dotted path, through the elements of lists and the values of maps.
func (s *shape) path(path string) (*shape, error) {
	at := s
	for name := range strings.SplitSeq(path, ".") {
		for at.typ == List || at.typ == Map {
			at = at.elem
		}
		if at.typ != Struct {
			return nil, fmt.Errorf("%s: a member before the last is not a structure", path)
		}
		next := at.find(name)
		if next == nil {
			return nil, fmt.Errorf("%s: %w", path, errNoMember(name, at))
		}
		at = next
	}
	return at, nil
}

func errNoMember(name string, in *shape) error {
	for _, m := range in.members {
		if strings.EqualFold(m.name, name) {
			return fmt.Errorf("no member %s (did you mean %s?)", name, m.name)
		}
	}
	return errors.New("no member " + name)
}

// parseTables parses the tables of a service. They are lines of text, so that a diff shows what an upgrade of the SDK
// changes:
//
//	%awsquery                     if it comes first, the service has the protocol awsquery, else ec2query
//	@DescribeImages paginated     an operation; paginated if the SDK has a paginator
//	?Owners/Owner []s             a member of its request: name, wire name if different, type; ! means required
//	Images/imagesSet []Image      a member of its response; the default wire name is the name, of ec2query with a
//	                              small first letter
//	=Image                        a structure; its members follow
//
// The types are s (string), i (integer), f (float), b (boolean), t (timestamp), x (blob), the name of a structure, and
// [] before any of them for a list; in [groupId]s, the elements of the list are called groupId instead of item, or, of
// awsquery, instead of member. {} before a type is a map of texts to it: its element has elements entry with the
// elements key and value; in {Name,Value}s these are called Name and Value. A + after [ or { means that the list or the
// map is flat: no element encloses its elements or entries, which have the name of the member.
func parseTables(tables string) operations {
	ops := operations{}
	element, wireOf := "item", func(name string) string { return strings.ToLower(name[:1]) + name[1:] }
	tables, isQuery := strings.CutPrefix(tables, "%awsquery\n")
	if isQuery {
		element, wireOf = "member", func(name string) string { return name }
	}
	named := shapesByNotation(element)
	var op Operation
	var at *shape
	addOperation := func() {
		if op.Name != "" {
			ops[op.Name] = op
		}
		op = Operation{}
	}
	for l := range strings.Lines(tables) {
		l = strings.TrimSuffix(l, "\n")
		switch l[0] {
		case '@':
			addOperation()
			name, how, _ := strings.Cut(l[1:], " ")
			at = &shape{typ: Struct}
			op = Operation{Name: name, Paginated: how == "paginated", Output: Shape{at}}
		case '=':
			addOperation()
			at = named(l[1:])
		case '?':
			name, wire, typ := fields(l[1:])
			in := Input{Name: name, Wire: wire}
			if wire == "" {
				in.Wire = name
			}
			typ, in.Required = strings.CutSuffix(typ, "!")
			switch {
			case typ[0] == '[':
				in.Type = List
			case typ[0] == '{':
				in.Type = Map
			case len(typ) > 1:
				in.Type = Struct
			default:
				in.Type = named(typ).typ
			}
			op.Inputs = append(op.Inputs, in)
		default:
			name, wire, typ := fields(l)
			if wire == "" {
				wire = wireOf(name)
			}
			at.members = append(at.members, member{name, wire, named(typ)})
		}
	}
	addOperation()
	return ops
}

// shapesByNotation returns a function that returns the shape with a type of the tables, the same one for each type.
func shapesByNotation(element string) func(typ string) *shape {
	shapes := map[string]*shape{}
	for i, n := range [...]string{String: "s", Integer: "i", Float: "f", Boolean: "b", Timestamp: "t", Blob: "x"} {
		shapes[n] = &shape{typ: Type(i)}
	}
	var named func(typ string) *shape
	named = func(typ string) *shape {
		s := shapes[typ]
		if s == nil {
			s = &shape{typ: Struct, name: typ}
			switch typ[0] {
			case '[':
				item, elem, _ := strings.Cut(typ[1:], "]")
				s = &shape{typ: List, item: cmp.Or(item, element), elem: named(elem)}
			case '{':
				names, elem, _ := strings.Cut(typ[1:], "}")
				names, flat := strings.CutPrefix(names, "+")
				key, value, _ := strings.Cut(cmp.Or(names, "key,value"), ",")
				s = &shape{typ: Map, item: "entry", key: key, value: value, elem: named(elem)}
				if flat {
					s.item = "+"
				}
			}
			if s.item == "+" {
				s.item = ""
			}
			shapes[typ] = s
		}
		return s
	}
	return named
}

// fields splits "Name/wire type".
func fields(l string) (name, wire, typ string) {
	name, typ, _ = strings.Cut(l, " ")
	name, wire, _ = strings.Cut(name, "/")
	return name, wire, typ
}
