package config

import (
	"encoding"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// A decoder makes one pass over the tree. It records the position of each value by the address that it fills in, so the
// checks look positions up and do not pass paths along.
type decoder struct {
	*source
	fetch *fetcher // nil in the first pass, which does not resolve references

	problems, warnings Problems

	fields          map[reflect.Type][]field
	positions       map[any]position
	concealed       *concealedValues // what errors of the current output's type may not show; nil outside outputs
	merges          map[*yaml.Node]bool
	disposable      *yaml.Node // a list whose elements are dropped once decoded; nil: none
	visits          int
	visitLimit      int // maximum of visits
	unresolvedCount int // references not resolved
	inlineSecret    bool
	secretFiles     []string // files of secrets
	zones           map[string]zone
	scheduleErrors  map[scheduleKey]error
	words           wordCache
}

// A field describes a key of a mapping.
type field struct {
	key    string
	index  []int
	typ    reflect.Type
	doc    string
	enum   []string
	limits string // low..high
	names  string // regions, kinds or partitions: for completion by the schema
}

// A mapEntry is the address of a map and a key in it, because map values have no addresses.
type mapEntry struct {
	mapPtr any
	key    string
}

type valueState int8

const (
	valid      valueState = iota
	unresolved            // a reference that is not resolved yet: do not check
	invalid               // already reported: do not check
)

// A position says where a value is in the file, and whether it was decoded.
type position struct {
	line, column int32 // 0: none
	state        valueState
	path         string
	references   string // the references in the value: it may be a secret, so it is not shown
}

// positionOf returns the position of a node. It does not keep the node: the tree of a large file is larger than the
// result.
func positionOf(n *yaml.Node, path string) position {
	return position{line: int32(n.Line), column: int32(n.Column), path: path}
}

func newDecoder(s *source, f *fetcher) *decoder {
	return &decoder{
		source:         s,
		fetch:          f,
		fields:         map[reflect.Type][]field{},
		positions:      map[any]position{},
		merges:         map[*yaml.Node]bool{},
		zones:          map[string]zone{},
		scheduleErrors: map[scheduleKey]error{},
		words:          newWordCache(),
		visitLimit:     maxVisits(s.tokens),
	}
}

func (d *decoder) report(p position, text, remedy string) {
	if !d.tooManyProblems() {
		d.problems = append(d.problems, d.problem(p, text, remedy))
	}
}

func (d *decoder) warn(p position, text, remedy string) {
	if len(d.warnings) < maxProblems {
		d.warnings = append(d.warnings, d.problem(p, text, remedy))
	}
}

func (d *decoder) problem(p position, text, remedy string) Problem {
	return Problem{File: d.name, Line: int(p.line), Column: int(p.column), Path: p.path, Text: text, Remedy: remedy}
}

// reportError is like report, for an error that may be a Problem without a position.
func (d *decoder) reportError(p position, before string, err error) {
	text, remedy := err.Error(), ""
	var as Problem
	if errors.As(err, &as) {
		text, remedy = as.Text, as.Remedy
	}
	d.report(p, before+text, remedy)
}

// show returns a value as a message may show it.
func (d *decoder) show(p position, value string) string {
	if p.references != "" {
		return "the value of " + p.references
	}
	return quoteSafe(value)
}

// isSet reports whether the file has the key. checkable also requires that its value was decoded.
func (d *decoder) isSet(ptr any) bool {
	_, ok := d.positions[ptr]
	return ok
}

func (d *decoder) checkable(ptr any) (position, bool) {
	p, ok := d.positions[ptr]
	return p, ok && p.state == valid
}

// fillDocument fills in the whole file.
func (d *decoder) fillDocument(root *yaml.Node, w *document) {
	at := positionOf(root, "")
	d.positions[w] = at
	d.fillValue(root, reflect.ValueOf(w).Elem(), field{}, at, nil)
	if d.visitLimitReached() {
		p := d.problem(at, "the YAML aliases expand beyond the limit", "write the values in place of the aliases")
		d.problems = Problems{p}
	}
}

// visitLimitReached reports whether aliases expand the file beyond the limit. tooManyProblems reports whether further
// mistakes would not be listed, so that checks can stop.
func (d *decoder) visitLimitReached() bool { return d.visits > d.visitLimit }
func (d *decoder) tooManyProblems() bool   { return len(d.problems) >= maxProblems }

// fillValue fills v from the node, and records its position and state.
func (d *decoder) fillValue(n *yaml.Node, v reflect.Value, f field, at position, parent *keyScope) {
	if d.visits++; d.visitLimitReached() || d.tooManyProblems() {
		return
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if v.Kind() == reflect.Pointer && !isScalar(v.Type()) {
		v.Set(reflect.New(v.Type().Elem()))
		d.positions[v.Interface()] = at
		v = v.Elem()
	}
	if v.CanAddr() {
		ptr := v.Addr().Interface()
		d.positions[ptr] = at
		switch x := ptr.(type) {
		case *Output:
			d.fillOutput(n, x, at, parent)
			return
		case *Account:
			x.Line = int(at.line)
		case *Organization:
			x.Line = int(at.line)
		}
	}
	t := v.Type()
	var ok bool
	switch {
	case isScalar(t):
		at, ok = d.fillScalar(n, v, f, at)
	case t.Kind() == reflect.Struct:
		ok = d.readMapping(n, at, func(entries []pair) { d.fillStruct(entries, v, at, parent) })
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		ok = d.readMapping(n, at, func(entries []pair) { d.fillMap(entries, v, f, at, parent) })
	case t.Kind() == reflect.Slice:
		ok = d.fillList(n, v, f, at, parent)
	default:
		d.report(at, "this build cannot read a "+t.String(), "")
	}
	if v.CanAddr() && (!ok || isScalar(t)) {
		if !ok && at.state == valid {
			at.state = invalid
		}
		d.positions[v.Addr().Interface()] = at
	}
}

// isScalar reports whether values of the type are scalars in the file.
func isScalar(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		return isScalar(t.Elem())
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	return false
}

// fieldsOf returns the keys of the type, including those of inlined structs.
func (d *decoder) fieldsOf(t reflect.Type) []field {
	if fs, ok := d.fields[t]; ok {
		return fs
	}
	fs := fieldsOf(t)
	d.fields[t] = fs
	return fs
}

func fieldsOf(t reflect.Type) []field {
	var fs []field
	for i := range t.NumField() {
		sf := t.Field(i)
		key, options, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		switch {
		case !sf.IsExported() && !sf.Anonymous || key == "-":
			continue
		case options == "inline":
			for _, in := range fieldsOf(sf.Type) {
				in.index = append([]int{i}, in.index...)
				fs = append(fs, in)
			}
			continue
		case key == "":
			key = strings.ToLower(sf.Name) // package yaml's default
		}
		f := field{
			key:    key,
			index:  []int{i},
			typ:    sf.Type,
			doc:    sf.Tag.Get("doc"),
			limits: sf.Tag.Get("range"),
			names:  sf.Tag.Get("names"),
		}
		if e := sf.Tag.Get("enum"); e != "" {
			f.enum = strings.Split(e, ",")
		}
		fs = append(fs, f)
	}
	return fs
}

// A pair is a key and its value; it may come from a merge key.
type pair struct{ key, value *yaml.Node }

// readMapping passes the pairs of the mapping to use. It reports whether the node is a mapping.
func (d *decoder) readMapping(n *yaml.Node, at position, use func([]pair)) bool {
	if !d.checkNodeKind(n, yaml.MappingNode, "keys with values", at) {
		return false
	}
	use(d.pairs(n, at))
	return true
}

// pairs returns the keys of a mapping in order. Its own keys win over merged ones, see
// https://yaml.org/type/merge.html.
func (d *decoder) pairs(n *yaml.Node, at position) []pair {
	if !d.checkLength(len(n.Content)/2, field{}, at) {
		return nil
	}
	var out, merged []pair
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content) && !d.tooManyProblems(); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			d.report(positionOf(n.Content[i], at.path), "want text as a key, got "+kindName(key), "")
			continue
		}
		if key.ShortTag() == "!!merge" {
			merged = append(merged, d.merge(val, at)...)
			continue
		}
		if line, ok := first[key.Value]; ok {
			d.report(positionOf(key, joinKey(at.path, key.Value)), "duplicate key, first on line "+strconv.Itoa(line),
				"remove one of them")
			continue
		}
		first[key.Value] = key.Line
		out = append(out, pair{key, val})
	}
	if d.visits += len(merged); d.visitLimitReached() {
		return nil
	}
	for _, p := range merged {
		if _, ok := first[p.key.Value]; !ok {
			first[p.key.Value] = p.key.Line
			out = append(out, p)
		}
	}
	return out
}

// merge returns the pairs under a merge key (<<): a mapping, or a list of mappings of which the first wins.
func (d *decoder) merge(n *yaml.Node, at position) []pair {
	where := positionOf(n, at.path+".<<")
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if d.visits++; d.visitLimitReached() {
		return nil
	}
	if d.merges[n] {
		d.report(where, "the mapping is merged into itself", "")
		return nil
	}
	d.merges[n] = true
	defer delete(d.merges, n)
	switch n.Kind {
	case yaml.MappingNode:
		d.visits += len(n.Content)
		return d.pairs(n, at)
	case yaml.SequenceNode:
		var all []pair
		for _, c := range n.Content {
			all = append(all, d.merge(c, at)...)
			if d.visitLimitReached() || d.tooManyProblems() {
				break
			}
		}
		return all
	}
	d.report(where, "want a mapping or a list of mappings after <<, got "+kindName(n), "")
	return nil
}

// fillStruct fills v by its keys.
func (d *decoder) fillStruct(entries []pair, v reflect.Value, at position, parent *keyScope) {
	d.fillKeys(entries, v, &keyScope{keys: d.fieldsOf(v.Type()), path: at.path, parent: parent})
}

func (d *decoder) fillKeys(entries []pair, v reflect.Value, b *keyScope) {
	for _, e := range entries {
		if d.tooManyProblems() {
			return
		}
		i := slices.IndexFunc(b.keys, func(f field) bool { return f.key == e.key.Value })
		if i < 0 {
			d.reportUnknownKey(e.key, b)
			continue
		}
		f := b.keys[i]
		d.fillValue(e.value, v.FieldByIndex(f.index), f, positionOf(e.key, joinPath(b.path, f.key)), b)
	}
}

func (d *decoder) reportUnknownKey(key *yaml.Node, b *keyScope) {
	p := positionOf(key, joinKey(b.path, key.Value))
	remedy := ""
	if plainKeyForm.MatchString(key.Value) {
		remedy = d.unknownKeyRemedy(key.Value, b)
	}
	d.report(p, "unknown key", remedy)
}

// fillMap fills a map whose keys are chosen by the user.
func (d *decoder) fillMap(entries []pair, v reflect.Value, f field, at position, parent *keyScope) {
	if !d.checkLength(len(entries), f, at) {
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), len(entries))
	v.Set(m)
	for _, e := range entries {
		if d.tooManyProblems() {
			return
		}
		p := positionOf(e.key, joinKey(at.path, e.key.Value))
		switch {
		case e.key.Value == "":
			d.report(p, "the key is empty", "")
			continue
		case strings.Contains(e.key.Value, "${"):
			d.report(p, "references are not allowed in keys", "use references only in values")
			continue
		case placeholder.MatchString(e.key.Value):
			d.report(p, "the key is still a placeholder", "")
			continue
		}
		elem := reflect.New(v.Type().Elem())
		d.fillValue(e.value, elem.Elem(), field{typ: f.typ, enum: f.enum}, p, parent)
		m.SetMapIndex(reflect.ValueOf(e.key.Value).Convert(v.Type().Key()), elem.Elem())
		if v.CanAddr() {
			d.positions[mapEntry{v.Addr().Interface(), e.key.Value}] = d.positions[elem.Interface()]
			delete(d.positions, elem.Interface())
		}
	}
}

func (d *decoder) fillList(n *yaml.Node, v reflect.Value, f field, at position, parent *keyScope) bool {
	if !d.checkNodeKind(n, yaml.SequenceNode, "a list", at) {
		return false
	}
	if d.visits += len(n.Content); d.visitLimitReached() || !d.checkLength(len(n.Content), f, at) {
		return false
	}
	// Allocate all elements at once: they must not move, because their addresses are keys of positions.
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, c := range n.Content {
		if d.tooManyProblems() || d.visitLimitReached() {
			return false
		}
		d.fillValue(c, v.Index(i), field{enum: f.enum, names: f.names}, positionOf(c, indexPath(at.path, i)), parent)
		if n == d.disposable {
			n.Content[i] = nil
		}
	}
	return true
}

// checkNodeKind reports a node of another kind than wanted. The message does not repeat the value.
func (d *decoder) checkNodeKind(n *yaml.Node, want yaml.Kind, called string, at position) bool {
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && n.Style&yaml.TaggedStyle == 0:
		d.report(at, "has no value", "give it "+called+" or remove it")
		return false
	case n.Kind != want:
		remedy := ""
		if want == yaml.SequenceNode && n.Kind == yaml.ScalarNode {
			remedy = "write a list with one item as [value]"
			if strings.Contains(n.Value, "${") {
				remedy = "write a list of references: one reference gives one value"
			}
		}
		switch at.path {
		case "organizations":
			remedy = "begin each block with -"
		case "accounts":
			remedy = "write a single block under account:, or begin it with -"
		case "account":
			remedy = "write several blocks under accounts:"
		case "":
			remedy = "start from config.example.yaml"
		}
		if strings.HasSuffix(at.path, ".token_command") {
			remedy = "write a program and its arguments as a list, because no shell is used: [pass, otp, aws]"
		}
		d.report(at, "want "+called+", got "+kindName(n), remedy)
		return false
	case n.Style&yaml.TaggedStyle != 0 && n.ShortTag() != "!!map" && n.ShortTag() != "!!seq":
		d.report(at, "the YAML tag before the value has no meaning here", "")
		return false
	}
	return true
}

// kindName returns a node's kind in the user's words.
func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return kindName(n.Alias)
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	}
	return "text"
}
