package ec2xml

import (
	"iter"
	"slices"
)

// A Type is what a member's text means.
type Type uint8

// The types. A number or a boolean is raw in the JSON, the others are strings; a Timestamp is RFC 3339 as EC2 sent it
// and a Blob is base64.
const (
	String Type = iota
	Integer
	Float
	Boolean
	Timestamp
	Blob
	Struct
	List
)

// An Operation is what the SDK's source says of one Describe operation.
type Operation struct {
	Name      string
	Paginated bool    // the SDK has a paginator for it
	Inputs    []Input // sorted by name
	Output    Shape   // a Struct: the answer
}

// An Input is a member of an operation's request.
type Input struct {
	Name     string // the SDK's and the CLI's word: "Owners"
	Wire     string // the form's word: "Owner"; of a list, "Owner.1" and so on
	Type     Type
	Required bool
}

// Input is the request's member of that name.
func (o Operation) Input(name string) (Input, bool) {
	i := slices.IndexFunc(o.Inputs, func(in Input) bool { return in.Name == name })
	if i < 0 {
		return Input{}, false
	}
	return o.Inputs[i], true
}

// Has reports whether the request knows a member: MaxResults, NextToken, DryRun, Owners.
func (o Operation) Has(input string) bool { _, ok := o.Input(input); return ok }

// A Shape is the type of a member, by which the JSON of a record can be described.
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

// Elem is the element of a List.
func (s Shape) Elem() Shape { return Shape{s.s.elem} }

// Members ranges over the members of a Struct, sorted by name.
func (s Shape) Members() iter.Seq[Member] {
	return func(yield func(Member) bool) {
		for _, m := range s.s.members {
			if !yield(Member{m.name, m.wire, Shape{m.shape}}) {
				return
			}
		}
	}
}

// Path follows a dotted path of member names; the elements of a list are implied, and a list at its end is returned
// as a list. ok is false where the tables have no such member.
func (s Shape) Path(path string) (_ Shape, ok bool) {
	at, err := s.s.path(path)
	return Shape{at}, err == nil
}

// Item is the XML name of a List's elements, "item" but for a few.
func (s Shape) Item() string { return s.s.item }
