package ec2xml

import "errors"

// A Spec says what the records of one kind are in the answer of one operation. Members are named as the AWS CLI names
// them; a path is dotted, and the elements of a list on the way are implied.
type Spec struct {
	Op string // DescribeVolumes

	// Items is the path of the item list in the answer: "Volumes", "Reservations.Instances". At most one list (or
	// structure) may enclose it; its other members go into each item's data, under its name in the singular
	// ("Reservation"). It may also be the path of a structure, which is then the one item, or "": the answer itself is.
	Items string

	// ID is the member, or several that are joined by "/". A record must have one of them. It may be empty where the
	// items are strings, which are their own ids, and beside ConstID.
	ID []string
	// ConstID is the id of an answer that has none, because there is one of it in an account and region.
	ConstID string
	// Name is a member to be the record's name. By default the tag Name is.
	Name string

	Volatile  []string // left out of the content hash
	Sensitive []string // become a digest, unless Options say otherwise
	Ordered   []string // lists whose order means something. To the content hash any other list is a multiset: EC2 promises no order
}

// Compile checks a Spec against the tables and makes it ready to decode by. Its error names the operation and the
// member that the SDK does not know.
func Compile(s Spec) (*Program, error) { return nil, errors.New("ec2xml: not yet") }

// A Program is a compiled Spec. It is immutable, so any number of decoders may use it at once.
type Program struct{ spec Spec }

// Spec is what the program was compiled from.
func (g *Program) Spec() Spec { return g.spec }

// Item is the shape of a record's data, but for the enclosing members.
func (g *Program) Item() Shape { return Shape{} }

// Operations is the name of every operation in the tables, sorted.
func Operations() []string { return nil }

// Describe looks an operation up.
func Describe(op string) (Operation, bool) { return Operation{}, false }

type shape struct {
	typ     Type
	name    string
	members []member
	elem    *shape
}
type member struct {
	name, wire string
	shape      *shape
}

func (s *shape) path(string) (*shape, error) { return nil, errors.New("ec2xml: not yet") }
