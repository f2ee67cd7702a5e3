package ec2xml

//go:generate go run ./gen -o tables.go

import (
	"errors"
	"fmt"
	"strings"

	"github.com/aws-collector/collector/record"
)

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

// A Program is a compiled Spec. It is immutable, so any number of decoders may use it at once.
type Program struct {
	spec         Spec
	itemShape    *shape
	item         *node  // what an item is
	root         *node  // the answer, with the way to the items marked
	grouped      bool   // a list or a structure encloses the items
	enclosingKey string // the key in data of what stands beside the items, "" where nothing does
	sealAtEnd    bool   // what stands beside the items stands in the answer itself, so nothing is sealed before its end
	idMembers    int
	hintSlots    int  // of hints
	sensitive    bool // a member is
}

// Spec is what the program was compiled from.
func (g *Program) Spec() Spec { return g.spec }

// Item is the shape of a record's data, but for the members around the items.
func (g *Program) Item() Shape { return Shape{g.itemShape} }

// Enclosing is the shape of what stands beside the items and the member of data under which it is put: for instances,
// "Reservation" and a shape with a member Instances that data does not have there. "" where nothing stands beside them.
func (g *Program) Enclosing() (string, Shape) {
	at := loadTables().ops[g.spec.Op].Output
	if g.enclosingKey == "" || g.sealAtEnd {
		return g.enclosingKey, at
	}
	path, _, _ := strings.Cut(g.spec.Items, ".")
	at, _ = at.Path(path)
	if at.Type() == List {
		at = at.Elem()
	}
	return g.enclosingKey, at
}

// Compile checks a Spec against the tables and makes it ready to decode by. Its error names the operation and the
// member that the SDK does not know.
func Compile(s Spec) (*Program, error) {
	g, err := compile(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Op, err)
	}
	return g, nil
}

func compile(s Spec) (*Program, error) {
	op, ok := Describe(s.Op)
	if !ok {
		return nil, errors.New("no such operation in the SDK")
	}
	answer := op.Output.s
	g := &Program{spec: s, idMembers: len(s.ID), sensitive: len(s.Sensitive) > 0}

	// The way to the items.
	items := answer
	var way []string
	if s.Items != "" {
		if way = strings.Split(s.Items, "."); len(way) > 2 {
			return nil, fmt.Errorf("items %s: more than one list or structure around the items", s.Items)
		}
		var err error
		if items, err = answer.path(s.Items); err != nil {
			return nil, fmt.Errorf("items: %w", err)
		}
	}
	g.itemShape = items
	if items.typ == List {
		g.itemShape = items.elem
	}
	if items.typ != List && items.typ != Struct {
		return nil, fmt.Errorf("items %s: neither a list nor a structure", s.Items)
	}

	m, err := s.marks(g.itemShape)
	if err != nil {
		return nil, err
	}
	c := compiler{shared: map[*shape]*node{}}
	g.item = c.node(g.itemShape, m)
	g.root = c.root(g, answer, way)
	g.hintSlots = c.slots
	return g, nil
}

// A role is what a member is to the record, besides data.
type role uint16

const (
	isName     role = 1 << iota
	isTagKey        // of the item's own tags
	isTagValue      // likewise
	isVolatile      // is left out of the content hash
	isSensitive
	isOrdered
	isTags  // the list of the item's tags
	isItems // the items, or what encloses them
	isToken // the pagination token
	isSkip  // beside the items, and not carried
)

// spanRoles are the roles of a text that need no more than to know where it stands.
const spanRoles = isName | isTagKey | isTagValue

// A marked is the members below one that mean something.
type markTree struct {
	role    role
	id      int // 1 + the place in the id
	members map[string]*markTree
}

func (m *markTree) atPath(path string) *markTree {
	for name := range strings.SplitSeq(path, ".") {
		if m.members == nil {
			m.members = map[string]*markTree{}
		}
		next := m.members[name]
		if next == nil {
			next = new(markTree)
			m.members[name] = next
		}
		m = next
	}
	return m
}

// marks checks the paths of a spec, and gathers them into a tree.
func (s Spec) marks(item *shape) (*markTree, error) {
	root := new(markTree)
	each := func(what string, paths []string, r role, want func(*shape) bool) error {
		for _, p := range paths {
			sh, err := item.path(p)
			if err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			if !want(sh) {
				return fmt.Errorf("%s: %s is of the wrong type", what, p)
			}
			root.atPath(p).role |= r
		}
		return nil
	}
	scalar := func(s *shape) bool { return s.typ < Struct }
	any := func(*shape) bool { return true }

	switch {
	case s.ConstID != "" && len(s.ID) > 0:
		return nil, errors.New("both an id and a constant id")
	case s.ConstID != "" && strings.TrimSpace(s.ConstID) != s.ConstID:
		return nil, fmt.Errorf("constant id %q: white space around it", s.ConstID)
	case len(s.ID) > record.MaxIDParts:
		return nil, fmt.Errorf("an id of more than %d members", record.MaxIDParts)
	case item.typ < Struct:
		if len(s.ID)+len(s.Volatile)+len(s.Sensitive)+len(s.Ordered) > 0 || s.Name != "" {
			return nil, errors.New("the items are no structures, so they have no members")
		}
	case len(s.ID) == 0 && s.ConstID == "":
		return nil, errors.New("no id")
	}
	if err := each("id", s.ID, 0, scalar); err != nil {
		return nil, err
	}
	for i, p := range s.ID {
		if err := checkOutsideLists(item, p); err != nil {
			return nil, fmt.Errorf("id: %w", err)
		}
		root.atPath(p).id = i + 1
	}
	if s.Name != "" {
		if err := each("name", []string{s.Name}, isName, func(s *shape) bool { return s.typ == String }); err != nil {
			return nil, err
		}
		if err := checkOutsideLists(item, s.Name); err != nil {
			return nil, fmt.Errorf("name: %w", err)
		}
	}
	for _, err := range []error{
		each("volatile", s.Volatile, isVolatile, any),
		each("sensitive", s.Sensitive, isSensitive, any),
		each("ordered", s.Ordered, isOrdered, func(s *shape) bool { return s.typ == List }),
	} {
		if err != nil {
			return nil, err
		}
	}
	if item.typ == Struct {
		for _, tags := range []string{"Tags", "TagSet"} {
			if t := item.find(tags); t != nil && t.typ == List && t.elem.name == "Tag" {
				root.atPath(tags).role |= isTags
				root.atPath(tags + ".Key").role |= isTagKey
				root.atPath(tags + ".Value").role |= isTagValue
				break
			}
		}
	}
	for _, p := range s.Sensitive {
		if root.atPath(p).holdsIdentity() {
			return nil, fmt.Errorf("sensitive: %s is, or has in it, the id, the name or the tags", p)
		}
	}
	return root, nil
}

// holdsIdentity reports whether the record takes its id, name or tags from the member or from inside it.
func (m *markTree) holdsIdentity() bool {
	if m.id > 0 || m.role&spanRoles != 0 {
		return true
	}
	for _, in := range m.members {
		if in.holdsIdentity() {
			return true
		}
	}
	return false
}

// checkOutsideLists refuses a path through a list: an item has one id and one name.
func checkOutsideLists(item *shape, path string) error {
	for i, c := range path {
		if c == '.' {
			if s, err := item.path(path[:i]); err == nil && s.typ == List {
				return fmt.Errorf("%s: lies in a list", path)
			}
		}
	}
	return nil
}
