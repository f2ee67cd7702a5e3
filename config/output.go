package config

import (
	"errors"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// fillOutput fills in an output: its type and, next to it, its options.
func (d *decoder) fillOutput(n *yaml.Node, out *Output, at position, parent *keyScope) {
	out.Line = int(at.line)
	d.concealed = &concealedValues{}
	defer func() { out.Hidden, d.concealed = d.concealed.secrets(), nil }()
	d.readMapping(n, at, func(entries []pair) {
		i := slices.IndexFunc(entries, func(e pair) bool { return e.key.Value == "type" })
		if i < 0 {
			d.report(at, "has no type", "add type: "+joinOr(d.outputTypes()))
			return
		}
		typ := field{key: "type", typ: reflect.TypeFor[string]()}
		where := positionOf(entries[i].key, joinKey(at.path, "type"))
		d.fillValue(entries[i].value, reflect.ValueOf(&out.Type).Elem(), typ, where, parent)
		where, ok := d.checkable(&out.Type)
		if !ok {
			return
		}
		options := d.registry.Outputs[out.Type]
		if options == nil {
			remedy := "write " + joinOr(d.outputTypes())
			if m := nearest(out.Type, d.outputTypes()); m != "" && where.references == "" {
				remedy = `did you mean "` + m + `"?`
			}
			d.report(where, d.show(where, out.Type)+" is not an output of this build", remedy)
			return
		}
		out.Options = options()
		d.fillOptions(slices.Delete(entries, i, i+1), out.Options, typ, at, parent)
	})
}

func (d *decoder) outputTypes() []string {
	var names []string
	for name := range d.registry.Outputs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// fillOptions fills in and validates the options, a struct of package outputs.
func (d *decoder) fillOptions(entries []pair, options any, typ field, at position, parent *keyScope) {
	v := reflect.ValueOf(options).Elem()
	b := &keyScope{keys: append([]field{typ}, d.fieldsOf(v.Type())...), path: at.path, parent: parent}
	problems, unresolved := len(d.problems), d.unresolvedCount
	d.fillKeys(entries, v, b)
	decoded := len(d.problems) == problems && d.unresolvedCount == unresolved
	d.checkOutputKinds(v, b)
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
		if d.tooManyProblems() {
			return
		}
		d.reportOptionError(err, keys, b, at)
	}
}

// reportOptionError reports an error of an output's type at the option that the error names. A [Problem] names it in
// its path and repeats no value. The text of any other error is shown only if it cannot repeat the value of a
// reference.
func (d *decoder) reportOptionError(err error, keys map[string]*yaml.Node, b *keyScope, at position) {
	key, text, _ := strings.Cut(err.Error(), ": ")
	remedy := ""
	var own Problem
	safe := errors.As(err, &own) && own.Path != ""
	if safe {
		key, text, remedy = own.Path, own.Text, own.Remedy
	}
	p := at
	if where := nodeOf(keys, key); where != nil {
		p = positionOf(where, at.path)
	} else if !slices.ContainsFunc(b.keys, func(f field) bool { return f.key == key }) {
		text, key = err.Error(), "" // not about an option; an option that is missing is reported at the output's line
	}
	p = position{line: p.line, column: p.column, path: at.path}
	if key != "" {
		for _, k := range strings.Split(key, ".") {
			p.path = joinKey(p.path, k)
		}
	}
	if from := d.concealed.references(p.path); !safe && from != "" && d.concealed.mayRepeat(p.path, text) {
		d.report(p, "the value of "+from+" is not valid", reasonHidden)
		return
	}
	d.report(p, d.concealed.redact(text), remedy)
}

// checkOutputKinds checks the options that name kinds.
func (d *decoder) checkOutputKinds(options reflect.Value, b *keyScope) {
	for _, f := range b.keys[1:] {
		switch ptr := options.FieldByIndex(f.index).Addr().Interface().(type) {
		case *string:
			if f.names == "kinds" && *ptr != "" {
				d.checkKindPattern(ptr, *ptr)
			}
		case *[]string:
			for i := range *ptr {
				if f.names == "kinds" {
					d.checkKindPattern(&(*ptr)[i], (*ptr)[i])
				}
			}
		}
	}
}

// checkStoreNeeded reports outputs that need a store if there is none.
func (d *decoder) checkStoreNeeded(w *document) {
	if w.Store.Type != "none" {
		return
	}
	for i := range w.Outputs {
		o := &w.Outputs[i]
		of, ok := o.Options.(interface {
			NeedsStore() (option, value string, needs bool)
		})
		p, fine := d.checkable(o)
		if !ok || !fine {
			continue
		}
		switch option, value, needs := of.NeedsStore(); {
		case needs && option == "":
			d.report(p, o.Type+" needs a store, but the store's type is none",
				"set another type of store, or remove this output")
		case needs:
			p.path = joinKey(p.path, option)
			d.report(p, value+" needs a store, but the store's type is none",
				"set another type of store, or remove "+option+": "+value)
		}
	}
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
		if n.Kind != yaml.MappingNode || tooDeep || len(all) > maxItems {
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
