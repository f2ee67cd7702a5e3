package yamldoc

import (
	"errors"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/aws-collector/collector/secret"
)

// A Typed is a mapping whose key type says which other keys it may have: its options. They are a struct that [Rules]
// make for the type. If it has Validate() error, each of the joined errors is reported.
type Typed struct {
	Type    string
	Options any // nil while the type is an unresolved reference
	Line    int

	// Hidden holds the texts that no message about it may show: its secrets and the values of references.
	Hidden []secret.String
}

// fillTyped fills in a mapping with a type: its type and, next to it, its options.
func (d *Decoder) fillTyped(n *yaml.Node, out *Typed, at Position, parent *keyScope) {
	out.Line = int(at.Line)
	d.concealed = &concealedValues{}
	defer func() { out.Hidden, d.concealed = d.concealed.secrets(), nil }()
	d.readMapping(n, at, func(entries []pair) {
		i := slices.IndexFunc(entries, func(e pair) bool { return e.key.Value == "type" })
		if i < 0 {
			d.Report(at, "has no type", "add type: "+JoinOr(d.typeNames()))
			return
		}
		typ := Field{Key: "type", Type: reflect.TypeFor[string]()}
		where := positionOf(entries[i].key, JoinKey(at.Path, "type"))
		d.fillValue(entries[i].value, reflect.ValueOf(&out.Type).Elem(), typ, where, parent)
		where, ok := d.Checkable(&out.Type)
		if !ok {
			return
		}
		options := d.rules.Types[out.Type]
		if options == nil {
			remedy := "write " + JoinOr(d.typeNames())
			if m := Nearest(out.Type, d.typeNames()); m != "" && where.References == "" {
				remedy = `did you mean "` + m + `"?`
			}
			d.Report(where, d.Show(where, out.Type)+" is not an "+d.rules.TypeNoun+" of this build", remedy)
			return
		}
		out.Options = options()
		d.fillOptions(slices.Delete(entries, i, i+1), out.Options, typ, at, parent)
	})
}

func (d *Decoder) typeNames() []string {
	var names []string
	for name := range d.rules.Types {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// fillOptions fills in and validates the options, a struct of another package.
func (d *Decoder) fillOptions(entries []pair, options any, typ Field, at Position, parent *keyScope) {
	v := reflect.ValueOf(options).Elem()
	b := &keyScope{keys: append([]Field{typ}, d.fieldsOf(v.Type())...), path: at.Path, parent: parent}
	problems, unresolved := len(d.problems), d.unresolvedCount
	d.fillKeys(entries, v, b)
	decoded := len(d.problems) == problems && d.unresolvedCount == unresolved
	if !decoded {
		return
	}
	var found error
	if o, ok := options.(interface{ ValidateCommon() error }); ok {
		found = o.ValidateCommon()
	}
	if o, ok := options.(interface{ Validate() error }); ok {
		found = errors.Join(found, o.Validate())
	}
	if found == nil {
		return
	}
	keys := map[string]*yaml.Node{}
	keyNodes(entries, "", keys)
	for _, err := range splitErrors(found) {
		if d.TooManyProblems() {
			return
		}
		d.reportOptionError(err, keys, b, at)
	}
}

// reportOptionError reports an error of Validate at the option that the error names. A [Problem] names it in
// its path and repeats no value. The text of any other error is shown only if it cannot repeat the value of a
// reference.
func (d *Decoder) reportOptionError(err error, keys map[string]*yaml.Node, b *keyScope, at Position) {
	key, text, _ := strings.Cut(err.Error(), ": ")
	remedy := ""
	var own Problem
	safe := errors.As(err, &own) && own.Path != ""
	if safe {
		key, text, remedy = own.Path, own.Text, own.Remedy
	}
	p := at
	if where := nodeOf(keys, key); where != nil {
		p = positionOf(where, at.Path)
	} else if !slices.ContainsFunc(b.keys, func(f Field) bool { return f.Key == key }) {
		text, key = err.Error(), "" // not about an option; a missing option is reported at the line of its mapping
	}
	p = Position{Line: p.Line, Column: p.Column, Path: at.Path}
	if key != "" {
		for _, k := range strings.Split(key, ".") {
			p.Path = JoinKey(p.Path, k)
		}
	}
	if from := d.concealed.references(p.Path); !safe && from != "" && d.concealed.mayRepeat(p.Path, text) {
		d.Report(p, "the value of "+from+" is not valid", reasonHidden)
		return
	}
	d.Report(p, d.concealed.redact(text), remedy)
}

// splitErrors returns the errors joined by errors.Join.
func splitErrors(err error) []error {
	switch e := err.(type) {
	case nil:
		return nil
	case interface{ Unwrap() []error }:
		var all []error
		for _, one := range e.Unwrap() {
			all = append(all, splitErrors(one)...)
		}
		return all
	}
	return []error{err}
}

// keyNodes collects the node of each key, by path.
func keyNodes(entries []pair, above string, all map[string]*yaml.Node) {
	for _, e := range entries {
		path := above + e.key.Value
		if _, taken := all[path]; taken {
			continue
		}
		all[path] = e.key
		n := e.value
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		tooDeep := strings.Count(path, ".") > 8 // aliases can nest without end; options are not that deep
		if n.Kind != yaml.MappingNode || tooDeep || len(all) > MaxItems {
			continue
		}
		var inner []pair
		for i := 0; i+1 < len(n.Content); i += 2 {
			inner = append(inner, pair{n.Content[i], n.Content[i+1]})
		}
		keyNodes(inner, path+".", all)
	}
}

// nodeOf returns the node of a key, or of the nearest key above it.
func nodeOf(all map[string]*yaml.Node, key string) *yaml.Node {
	for {
		if n := all[key]; n != nil {
			return n
		}
		i := strings.LastIndexByte(key, '.')
		if i < 0 {
			return nil
		}
		key = key[:i]
	}
}
