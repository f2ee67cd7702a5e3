package awsxml

//go:generate go run ./gen -service ec2 -o tables_ec2.go
//go:generate go run ./gen -service autoscaling -in ../../servicestest -o tables_autoscaling.go
//go:generate go run ./gen -service cloudformation -in ../../servicestest -o tables_cloudformation.go
//go:generate go run ./gen -service elasticache -in ../../servicestest -o tables_elasticache.go
//go:generate go run ./gen -service elasticloadbalancing -in ../../servicestest -o tables_elasticloadbalancing.go
//go:generate go run ./gen -service elasticloadbalancingv2 -in ../../servicestest -o tables_elasticloadbalancingv2.go
//go:generate go run ./gen -service iam -in ../../servicestest -o tables_iam.go
//go:generate go run ./gen -service rds -in ../../servicestest -o tables_rds.go
//go:generate go run ./gen -service redshift -in ../../servicestest -o tables_redshift.go

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws-collector/collector/record"
)

// A Format is what the responses of all operations of a service have in common. Members have the names that the AWS CLI
// uses.
type Format struct {
	Service      string // whose tables have its operations: "ec2"
	RootSuffix   string // the root element is the operation's name and this: "Response"
	ResultSuffix string // of the root's element with the members, in awsquery: "Result"; "": the root has them itself
	RequestID    string // the root's element that belongs to no member: "requestId"; "": there is none
	Token        string // the root's member with the pagination token: "NextToken"
	Element      string // the usual name of a list's elements, for lists that the tables do not contain: "item"
	PageSize     string // the root's member about the page, not data: "MaxResults", "IsTruncated"

	TagLists []string // the member with an item's tags, the first that exists: "Tags"
	Tag      string   // its elements: "Tag"
	TagKey   string
	TagValue string
}

// EC2Query returns what the responses of EC2 have in common.
func EC2Query() Format {
	return Format{
		Service: "ec2", RootSuffix: "Response", RequestID: "requestId", Element: "item",
		Token: "NextToken", PageSize: "MaxResults",
		TagLists: []string{"Tags", "TagSet"}, Tag: "Tag", TagKey: "Key", TagValue: "Value",
	}
}

// AWSQuery returns what the responses of Auto Scaling have in common, and with other names of the token and the tags
// those of each service with the protocol awsquery.
func AWSQuery(service string) Format {
	return Format{
		Service: service, RootSuffix: "Response", ResultSuffix: "Result", Element: "member",
		Token: "NextToken", PageSize: "MaxRecords",
		TagLists: []string{"Tags"}, Tag: "TagDescription", TagKey: "Key", TagValue: "Value",
	}
}

// AWSQueryMarker returns what the responses of RDS and services like it have in common: other names of the token and of
// the tags than [AWSQuery].
func AWSQueryMarker(service string) Format {
	f := AWSQuery(service)
	f.Token, f.TagLists, f.Tag = "Marker", []string{"TagList", "Tags"}, "Tag"
	return f
}

// A Spec describes the records of one kind in the response of one operation. Members have the names that the AWS CLI
// uses. A path is dotted and passes through lists and maps without naming their elements.
type Spec struct {
	Op string // DescribeVolumes

	// Items is the path of the item list in the response: "Volumes", "Reservations.Instances". At most one list or
	// structure may enclose it; its other members become part of each item's data, under its name in the singular
	// ("Reservation"). Items may also be the path of a structure, which is then the only item, or "" if the response
	// itself is the only item.
	Items string

	// ID is one member, or several that are joined by "/". A record must have at least one of them. ID is empty if the
	// items are strings, which are their own ids, or if ConstID is set.
	ID []string
	// Escaped are members of ID in which "/" and % are escaped, see [record.Page.SetEscapedParts].
	Escaped []string
	// ConstID is the id of an item without an id, if there is only one in an account and region.
	ConstID string
	// Name is the member with the record's name. The default is the tag Name.
	Name string

	// State and Type are the members with the record's state and type: texts, of which the first that is not empty counts.
	State, Type []string

	Volatile  []string // excluded from the content hash
	Sensitive []string // replaced by digests, unless Options.Sensitive says otherwise
	Documents []string // JSON in URL encoding: written as JSON, as the AWS CLI prints it
	Ordered   []string // lists whose order matters; the content hash treats others as multisets, as EC2 may reorder them

	// TagsBy is the member by whose value [Options.Tags] finds the item's tags, where the response has none. They become
	// the member Tags, as if the response had them.
	TagsBy string
	// Under is a member that the response lacks: items get it with the value of [Options.Under].
	Under string
}

// A Program is a compiled Spec. It is immutable, so decoders may share it.
type Program struct {
	format       Format
	spec         Spec
	itemShape    *shape
	item         *node  // what an item is
	root         *node  // the response, with the way to the items marked
	grouped      bool   // a list or a structure encloses the items
	enclosingKey string // the key in data of the members next to the items, "" if there are none
	sealAtEnd    bool   // the members next to the items are the response's own, so nothing can be sealed before its end
	idMembers    int
	escapedParts uint8 // see [record.Page.SetEscapedParts]
	hintSlots    int   // number of hints
	sensitive    bool  // a member is sensitive
	underPart    int   // 1 + the place of Spec.Under in the id; 0: not in the id
}

// Spec returns the source of the program.
func (g *Program) Spec() Spec { return g.spec }

// Item returns the shape of a record's data, without the members next to the items.
func (g *Program) Item() Shape { return Shape{g.itemShape} }

// Enclosing returns the shape of the structure around the items and the member of data that holds its other members:
// for instances, "Reservation" and a shape whose member Instances is absent from data. It returns "" if there are no
// other members.
func (g *Program) Enclosing() (string, Shape) {
	at := operationsOf(g.format.Service)[g.spec.Op].Output
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

// Compile checks a Spec against the tables and compiles it. Its error names the operation and the member that the SDK
// does not know.
func Compile(f Format, s Spec) (*Program, error) {
	g, err := compile(f, s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Op, err)
	}
	return g, nil
}

func compile(f Format, s Spec) (*Program, error) {
	op, ok := Describe(f.Service, s.Op)
	if !ok {
		return nil, errors.New("no such operation in the SDK")
	}
	response := op.Output.s
	g := &Program{format: f, spec: s, idMembers: len(s.ID), sensitive: len(s.Sensitive) > 0}

	items := response
	var path []string
	if s.Items != "" {
		if path = strings.Split(s.Items, "."); len(path) > 2 {
			return nil, fmt.Errorf("items %s: more than one list or structure encloses the items", s.Items)
		}
		var err error
		if items, err = response.path(s.Items); err != nil {
			return nil, fmt.Errorf("items: %w", err)
		}
	}
	for _, name := range s.Escaped {
		i := slices.Index(s.ID, name)
		if i < 0 {
			return nil, fmt.Errorf("escaped: %s is not a member of the id", name)
		}
		g.escapedParts |= 1 << i
	}
	g.itemShape = items
	if items.typ == List {
		g.itemShape = items.elem
	}
	if items.typ != List && items.typ != Struct {
		return nil, fmt.Errorf("items %s: neither a list nor a structure", s.Items)
	}

	var err error
	if g.itemShape, err = s.withAdded(f, g.itemShape); err != nil {
		return nil, err
	}
	m, err := s.marks(f, g.itemShape)
	if err != nil {
		return nil, err
	}
	if s.Under != "" {
		g.underPart = m.atPath(s.Under).id
	}
	c := compiler{shared: map[*shape]*node{}}
	g.item = c.node(g.itemShape, m)
	g.root = c.root(g, response, path)
	g.hintSlots = c.slots
	return g, nil
}

// A role is the meaning of a member for the record, besides being data.
type role uint16

const (
	isName     role = 1 << iota
	isTagKey        // of the item's own tags
	isTagValue      // likewise
	isState
	isType
	isVolatile // excluded from the content hash
	isSensitive
	isOrdered
	isDocument // JSON in URL encoding
	isTags     // the list of the item's tags
	isItems    // the items, or the list or structure around them
	isToken    // the pagination token
	isSkip     // next to the items, and not part of the data
	isTagsBy
)

// spanRoles are the roles of a scalar for which only its position is recorded.
const spanRoles = isName | isTagKey | isTagValue | isState | isType | isTagsBy

// A markTree holds the roles of a member and of the members below it.
type markTree struct {
	role    role
	id      int // 1 + the place in the id
	rank    int // the place among the members that may be the state or the type
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

// addRole checks the paths and gives their members a role.
func (m *markTree) addRole(item *shape, what string, paths []string, r role, want func(*shape) bool) error {
	for _, p := range paths {
		sh, err := item.path(p)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if !want(sh) {
			return fmt.Errorf("%s: %s has the wrong type", what, p)
		}
		m.atPath(p).role |= r
	}
	return nil
}

// marks checks the paths of a spec and builds a tree of the roles.
func (s Spec) marks(f Format, item *shape) (*markTree, error) {
	root := new(markTree)
	each := func(what string, paths []string, r role, want func(*shape) bool) error {
		return root.addRole(item, what, paths, r, want)
	}
	scalar := func(s *shape) bool { return s.typ < Struct }
	any := func(*shape) bool { return true }

	switch {
	case s.ConstID != "" && len(s.ID) > 0:
		return nil, errors.New("both ID and ConstID are set")
	case s.ConstID != "" && strings.TrimSpace(s.ConstID) != s.ConstID:
		return nil, fmt.Errorf("ConstID %q has leading or trailing white space", s.ConstID)
	case len(s.ID) > record.MaxIDParts:
		return nil, fmt.Errorf("the id has more than %d members", record.MaxIDParts)
	case item.typ < Struct:
		named := slices.Concat(s.ID, s.State, s.Type, s.Volatile, s.Sensitive, s.Documents, s.Ordered, nonEmpty(s.Name))
		if len(named) > 0 {
			return nil, errors.New("the items are not structures, so they have no members")
		}
	case len(s.ID) == 0 && s.ConstID == "":
		return nil, errors.New("neither ID nor ConstID is set")
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
	if err := s.markTexts(root, item); err != nil {
		return nil, err
	}
	for _, err := range []error{
		each("volatile", s.Volatile, isVolatile, any),
		each("sensitive", s.Sensitive, isSensitive, any),
		each("documents", s.Documents, isDocument, func(s *shape) bool { return s.typ == String }),
		each("ordered", s.Ordered, isOrdered, func(s *shape) bool { return s.typ == List }),
	} {
		if err != nil {
			return nil, err
		}
	}
	if item.typ == Struct {
		for _, tags := range f.TagLists {
			if t := item.find(tags); t != nil && t.typ == List && t.elem.name == f.Tag {
				root.atPath(tags).role |= isTags
				root.atPath(tags + "." + f.TagKey).role |= isTagKey
				root.atPath(tags + "." + f.TagValue).role |= isTagValue
				break
			}
		}
	}
	for _, p := range s.Sensitive {
		if root.atPath(p).holdsIdentity() {
			return nil, fmt.Errorf("sensitive: %s is or contains the id, the name, the state, the type or the tags", p)
		}
	}
	return root, nil
}

// markTexts marks the members with the name, the state and the type, and the one by which tags are found.
func (s Spec) markTexts(root *markTree, item *shape) error {
	for _, m := range []struct {
		what  string
		paths []string
		role  role
		most  int
	}{
		{"name", nonEmpty(s.Name), isName, 1},
		{"state", s.State, isState, record.MaxAlternatives},
		{"type", s.Type, isType, record.MaxAlternatives},
		{"tags by", nonEmpty(s.TagsBy), isTagsBy, 1},
	} {
		if len(m.paths) > m.most {
			return fmt.Errorf("%s: more than %d members", m.what, m.most)
		}
		if err := root.addRole(item, m.what, m.paths, m.role, func(s *shape) bool { return s.typ == String }); err != nil {
			return err
		}
		for i, p := range m.paths {
			if err := checkOutsideLists(item, p); err != nil {
				return fmt.Errorf("%s: %w", m.what, err)
			}
			root.atPath(p).rank = i
		}
	}
	return nil
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// holdsIdentity reports whether the member is or contains the record's id, name, state, type or tags.
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

// checkOutsideLists returns an error for a path through a list: an item has one id and one name.
func checkOutsideLists(item *shape, path string) error {
	for i, c := range path {
		if c == '.' {
			if s, err := item.path(path[:i]); err == nil && s.typ > Struct {
				return fmt.Errorf("%s: is in a list or a map", path)
			}
		}
	}
	return nil
}
