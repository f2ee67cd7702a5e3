package awsxml

import (
	"cmp"
	"strings"
)

// A node is a structure, a list, a map or a scalar, compiled for the decoder.
type node struct {
	typ      Type
	ordered  bool
	slot     int // index of the hint for the first member; the hint for the successor of member i is slot+1+i
	fields   []field
	elem     *node   // of a list or a map
	itemName tagName // of the elements or the entries
	flat     bool    // itemName is the member's own element
	key      string  // the elements in an entry of a map
	value    string
	table    []uint8
	shift    uint8
}

// A field is a member of a structure.
type field struct {
	wire    tagName  // "volumeId"
	name    string   // "VolumeId"
	key     [40]byte // `,"VolumeId":`, with another quote if a string follows
	keyLen  uint8
	longKey string // the key, if it does not fit into key
	typ     Type
	role    role
	idPart  uint8 // 1 + the position in the id; 0: not in the id
	rank    uint8 // of a member with the role isState or isType
	node    *node
}

// maxFields is the most members of a structure, so that a byte can number them. EC2's largest has a third of it.
const maxFields = 255

// A seenMembers is the set of members of a structure that the decoder has read.
type seenMembers struct {
	known   [(maxFields + 63) / 64]uint64
	unknown uint64 // Bloom filter of the names of unknown members
}

func (m *seenMembers) has(i int) bool { return m.known[i>>6]&(1<<(i&63)) != 0 }
func (m *seenMembers) add(i int)      { m.known[i>>6] |= 1 << (i & 63) }

type compiler struct {
	shared map[*shape]*node // nodes without marks, by shape
	slots  int
}

func (c *compiler) node(s *shape, m *markTree) *node {
	if m == nil || m.role&isOrdered == 0 && m.members == nil {
		if n := c.shared[s]; n != nil {
			return n
		}
		n := c.build(s, nil)
		c.shared[s] = n
		return n
	}
	return c.build(s, m)
}

func (c *compiler) build(s *shape, m *markTree) *node {
	n := &node{typ: s.typ}
	switch s.typ {
	case List, Map:
		n.itemName, n.key, n.value = newTagName(s.item), s.key, s.value
		n.ordered = m != nil && m.role&isOrdered != 0
		if m != nil {
			m = &markTree{members: m.members} // the role belongs to the list, not to its elements
		}
		n.elem = c.node(s.elem, m)
	case Struct:
		for _, x := range s.members {
			var at *markTree
			if m != nil {
				at = m.members[x.name]
			}
			f := newField(x)
			if at != nil {
				f.role, f.idPart, f.rank = at.role, uint8(at.id), uint8(at.rank)
			}
			f.node = c.member(x, at)
			n.fields = append(n.fields, f)
		}
		c.index(n)
	}
	return n
}

// member compiles the type of a member. If it is flat, its node belongs to the member, whose name its elements have.
func (c *compiler) member(x member, m *markTree) *node {
	n := c.node(x.shape, m)
	if x.shape.flat() {
		own := *n
		own.itemName, own.flat = newTagName(x.wire), true
		return &own
	}
	return n
}

func newField(x member) field {
	f := field{wire: newTagName(x.wire), name: x.name, typ: x.shape.typ}
	key := `,"` + x.name + `":`
	switch f.typ {
	case String, Timestamp, Blob:
		key += `"`
	}
	f.keyLen = uint8(copy(f.key[:], key))
	if len(key) > len(f.key) {
		f.longKey = key
	}
	return f
}

// index assigns a structure its hints and its hash table (open addressing, 1 + the member's number).
func (c *compiler) index(n *node) {
	n.slot = c.slots
	c.slots += 1 + len(n.fields)
	bits := 3
	for 1<<bits < 2*len(n.fields) {
		bits++
	}
	n.shift = uint8(32 - bits)
	n.table = make([]uint8, 1<<bits)
	for i := range n.fields {
		h := hashName(n.fields[i].wire.name) >> n.shift
		for n.table[h] != 0 {
			h = (h + 1) & uint32(len(n.table)-1)
		}
		n.table[h] = uint8(i + 1)
	}
}

func hashName[S ~string | ~[]byte](s S) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h * 2654435769
}

// find returns a member by its element name: exactly, else ignoring case, as the SDK does. -1 means none.
func (n *node) find(name []byte) int {
	if i := n.exact(name); i >= 0 {
		return i
	}
	for i := range n.fields {
		if strings.EqualFold(n.fields[i].wire.name, string(name)) {
			return i
		}
	}
	return -1
}

func (n *node) exact(name []byte) int {
	for h := hashName(name) >> n.shift; n.table[h] != 0; h = (h + 1) & uint32(len(n.table)-1) {
		if i := int(n.table[h] - 1); n.fields[i].wire.name == string(name) {
			return i
		}
	}
	return -1
}

// byName returns a member by its name in the JSON, -1 for none.
func (n *node) byName(key []byte) int {
	for i := range n.fields {
		if n.fields[i].name == string(key) {
			return i
		}
	}
	return -1
}

// root compiles the response, with the path to the items.
func (c *compiler) root(g *Program, response *shape, path []string) *node {
	n := &node{typ: Struct}
	if g.format.RequestID != "" {
		n.fields = []field{{wire: newTagName(g.format.RequestID), typ: String, role: isSkip}}
	}
	if len(path) == 0 { // the response itself is the item
		n.fields = append(n.fields, g.item.fields...)
		for i := range n.fields {
			switch f := &n.fields[i]; {
			case f.name == g.format.Token:
				f.role |= isToken
			case f.name == g.format.PageSize && f.typ == Boolean: // IsTruncated; a size is data, as in the CLI
				f.role |= isSkip
			}
		}
		c.index(n)
		g.item = n
		return n
	}
	for _, x := range response.members {
		f := newField(x)
		switch {
		case x.name == path[0]:
			f.role |= isItems
			if len(path) == 1 {
				f.node = c.items(g, x)
				break
			}
			g.grouped, g.enclosingKey = true, strings.TrimSuffix(x.name, "s")
			f.node = c.group(g, x, path[1])
		case x.name == g.format.Token && x.shape.typ == String:
			f.role |= isToken
		case len(path) == 1 && x.shape.typ < Struct && x.name != g.format.PageSize:
			g.enclosingKey, g.sealAtEnd = "Answer", true
			f.node = c.member(x, nil)
		default:
			f.role |= isSkip
		}
		n.fields = append(n.fields, f)
	}
	c.index(n)
	return n
}

// group compiles the structure or list around the items: reservations.
func (c *compiler) group(g *Program, at member, items string) *node {
	if at.shape.typ == List {
		return listNode(at, c.group(g, member{shape: at.shape.elem}, items))
	}
	n := &node{typ: Struct}
	for _, x := range at.shape.members {
		f := newField(x)
		if x.name == items {
			f.role |= isItems
			f.node = c.items(g, x)
		} else {
			f.node = c.member(x, nil)
		}
		n.fields = append(n.fields, f)
	}
	c.index(n)
	return n
}

func (c *compiler) items(g *Program, at member) *node {
	if at.shape.typ == List {
		return listNode(at, g.item)
	}
	return g.item
}

// listNode compiles a member that is a list of the items, or of what encloses them.
func listNode(at member, elem *node) *node {
	return &node{
		typ: List, itemName: newTagName(cmp.Or(at.shape.item, at.wire)), flat: at.shape.flat(), elem: elem,
	}
}
