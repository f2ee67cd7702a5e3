package importers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"gopkg.in/yaml.v3"
)

// A node is a value of a YAML file with its line.
type node struct{ n *yaml.Node }

// documents yields the documents of a YAML file. An error of the parser may quote the file, so only its position is
// passed on.
func documents(text []byte) ([]node, error) {
	var all []node
	d := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var n yaml.Node
		err := d.Decode(&n)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d is not valid YAML", len(all)+1)
		}
		if len(n.Content) > 0 {
			all = append(all, node{n.Content[0]})
		}
	}
}

func (v node) resolved() *yaml.Node {
	if v.n != nil && v.n.Kind == yaml.AliasNode {
		return v.n.Alias
	}
	return v.n
}

func (v node) line() int {
	if v.n == nil {
		return 0
	}
	return v.n.Line
}

// members yields the members of a mapping.
func (v node) members() iter.Seq2[string, node] {
	return func(yield func(string, node) bool) {
		n := v.resolved()
		if n == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i].Value, node{n.Content[i+1]}) {
				return
			}
		}
	}
}

// at is a member of a mapping; a node without a value if there is none.
func (v node) at(path ...string) node {
	for _, key := range path {
		var found node
		for name, value := range v.members() {
			if name == key {
				found = value
			}
		}
		v = found
	}
	return v
}

func (v node) exists() bool { return v.n != nil }

// items are the items of a list; of a single value, itself.
func (v node) items() []node {
	n := v.resolved()
	switch {
	case n == nil || n.Tag == "!!null":
		return nil
	case n.Kind != yaml.SequenceNode:
		return []node{v}
	}
	all := make([]node, len(n.Content))
	for i, item := range n.Content {
		all[i] = node{item}
	}
	return all
}

// text is a scalar, as the file writes it.
func (v node) text() string {
	if n := v.resolved(); n != nil && n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		return n.Value
	}
	return ""
}

func (v node) texts() (all []string) {
	for _, item := range v.items() {
		if s := item.text(); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// noteOthers notes the members that are not among the known ones. reasons has why, for those that are well known.
func (b *builder) noteOthers(v node, prefix string, known []string, reasons map[string]string) {
	for name, value := range v.members() {
		switch why, ok := reasons[name]; {
		case slices.Contains(known, name):
		case ok:
			b.note(value.line(), prefix+name, why)
		default:
			b.note(value.line(), prefix+name, "there is no such setting here")
		}
	}
}
