package awsxml

import (
	"iter"
	"slices"
)

// A Type is the type of a member.
type Type uint8

// The types. In JSON, Integer, Float and Boolean are not quoted, the other scalars are strings; a Timestamp is in the
// RFC 3339 form that AWS sent, a Blob is base64. A Map is an object.
const (
	String Type = iota
	Integer
	Float
	Boolean
	Timestamp
	Blob
	Struct
	List
	Map
)

// An Operation is one operation of a service, from the SDK's source.
type Operation struct {
	Name      string
	Paginated bool    // the SDK has a paginator for it
	Inputs    []Input // sorted by name
	Output    Shape   // a Struct: the response
}

// An Input is a member of an operation's request.
type Input struct {
	Name     string // the name in the SDK and the CLI: "Owners"
	Wire     string // the form parameter: "Owner"; of a list, "Owner.1" and so on
	Type     Type
	Required bool
}

// Input returns the member of the request with a name.
func (o Operation) Input(name string) (Input, bool) {
	i := slices.IndexFunc(o.Inputs, func(in Input) bool { return in.Name == name })
	if i < 0 {
		return Input{}, false
	}
	return o.Inputs[i], true
}

// Has reports whether the request has a member: MaxResults, NextToken, DryRun, Owners.
func (o Operation) Has(input string) bool { _, ok := o.Input(input); return ok }

// A Shape is the full type of a member. It describes the JSON of a record.
type Shape struct{ s *shape }

// A Member is one member of a Struct.
type Member struct {
	Name  string // as the AWS CLI prints it
	Wire  string // the XML element
	Shape Shape
}

// Type is the shape's own type.
func (s Shape) Type() Type { return s.s.typ }

// Name is the SDK's name of a Struct: "Volume". Other shapes have none.
func (s Shape) Name() string { return s.s.name }

// Elem is the element of a List, or the value of a Map.
func (s Shape) Elem() Shape { return Shape{s.s.elem} }

// Members returns the members of a Struct, sorted by name.
func (s Shape) Members() iter.Seq[Member] {
	return func(yield func(Member) bool) {
		for _, m := range s.s.members {
			if !yield(Member{m.name, m.wire, Shape{m.shape}}) {
				return
			}
		}
	}
}

// Path follows a dotted path of member names, through the elements of lists and the values of maps. It returns a list
// at the end of the path as a list. ok is false if the tables have no such member.
func (s Shape) Path(path string) (_ Shape, ok bool) {
	at, err := s.s.path(path)
	return Shape{at}, err == nil
}

// Item is the XML name of a List's elements, nearly always "item" or "member", or of a Map's entries. It is "" if the
// list or map is flat: its elements have the name of the member, and no element encloses them.
func (s Shape) Item() string { return s.s.item }

// Entry has the XML names of the key and the value in an entry of a Map.
func (s Shape) Entry() (key, value string) { return s.s.key, s.s.value }
