// Package yamldoc reads a YAML document into Go types: strictly, with references to variables and files, and with the
// position of each value, so that checks report a mistake where it is. It lists all mistakes at once and repeats no
// secret. What the keys mean is the caller's business. Begin at [Parse], then [Decoder.Decode].
package yamldoc

import (
	"cmp"
	"encoding"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// A Decoder makes one pass over a document. It records the position of each value by the address that it fills in, so
// checks look positions up and do not pass paths along.
type Decoder struct {
	*Document
	rules Rules
	fetch *Fetcher // nil in the first pass, which does not resolve references

	problems, warnings Problems

	fields          map[reflect.Type][]Field
	positions       map[any]Position
	concealed       *concealedValues // what errors of the current [Typed] may not show; nil outside
	merges          map[*yaml.Node]bool
	disposable      *yaml.Node // a list whose elements are dropped once decoded; nil: none
	visits          int
	visitLimit      int // maximum of visits
	unresolvedCount int // references not resolved
	inlineSecret    bool
	secretFiles     []string               // files of secrets
	keyWords        map[*Field]*Vocabulary // keys of a mapping, by its first key
	nestedKeys      map[*Field]map[string]string
}

// Rules are what a decoder must know of the types that it fills in.
type Rules struct {
	Types       map[string]func() any // the options of a [Typed], by its type
	TypeNoun    string                // what a [Typed] is, for messages
	ForeignKeys map[string]string     // names that other tools use → keys of the file
	ShortLists  []string              // keys of lists and maps that have few items, in addition to those of names
	// KindRemedy returns the remedy for text, a list or a mapping at a path where another of these is wanted, or "". nil:
	// none.
	KindRemedy func(path string) string
}

// A Field describes a key of a mapping: a field of a struct and its tags.
type Field struct {
	Key    string
	Index  []int
	Type   reflect.Type
	Enum   []string
	Limits string // low..high
	Names  string // what the words are names of: for completion by a schema
}

// A MapEntry is the address of a map and a key in it, because map values have no addresses.
type MapEntry struct {
	mapPtr any
	key    string
}

// Entry returns the address of a map's value.
func Entry(mapPtr any, key string) MapEntry { return MapEntry{mapPtr, key} }

// A State says whether a value can be checked.
type State int8

// The states.
const (
	Valid      State = iota
	Unresolved       // a reference that is not resolved yet: do not check
	Invalid          // already reported: do not check
)

// A Position says where a value is in the file, and whether it was decoded.
type Position struct {
	Line, Column int32 // 0: none
	State        State
	Path         string
	References   string // the references in the value: it may be a secret, so it is not shown
}

// positionOf returns the position of a node. It does not keep the node: the tree of a large file is larger than the
// result.
func positionOf(n *yaml.Node, path string) Position {
	return Position{Line: int32(n.Line), Column: int32(n.Column), Path: path}
}

// NewDecoder returns a decoder for one pass over a document. Without a fetcher it does not resolve references.
func NewDecoder(doc *Document, f *Fetcher, r Rules) *Decoder {
	return &Decoder{
		Document:   doc,
		rules:      r,
		fetch:      f,
		fields:     map[reflect.Type][]Field{},
		positions:  map[any]Position{},
		merges:     map[*yaml.Node]bool{},
		keyWords:   map[*Field]*Vocabulary{},
		nestedKeys: map[*Field]map[string]string{},
		visitLimit: maxVisits(doc.tokens),
	}
}

// Dispose lets Decode drop the elements of the list under a key of the document once they are decoded, so that the tree
// and the result are not both in memory. The document cannot be decoded again.
func (d *Decoder) Dispose(key string) { d.disposable = unaliasedList(d.root, key) }

// Problems returns what was reported, by position, or nil.
func (d *Decoder) Problems() Problems {
	if len(d.problems) == 0 {
		return nil
	}
	all := d.problems.sorted()
	if d.TooManyProblems() {
		all = append(all, Problem{File: d.name, Text: "more mistakes are not listed"})
	}
	return all
}

// Warnings returns what was warned of, by position.
func (d *Decoder) Warnings() Problems { return d.warnings.sorted() }

// Secrets reports whether the file itself contains a secret, and returns the files that secrets refer to.
func (d *Decoder) Secrets() (inline bool, files []string) {
	slices.Sort(d.secretFiles)
	return d.inlineSecret, slices.Compact(d.secretFiles)
}

// Report adds a mistake.
func (d *Decoder) Report(p Position, text, remedy string) {
	if !d.TooManyProblems() {
		d.problems = append(d.problems, d.problem(p, text, remedy))
	}
}

// Warn adds a warning.
func (d *Decoder) Warn(p Position, text, remedy string) {
	if len(d.warnings) < MaxProblems {
		d.warnings = append(d.warnings, d.problem(p, text, remedy))
	}
}

func (d *Decoder) problem(p Position, text, remedy string) Problem {
	return Problem{File: d.name, Line: int(p.Line), Column: int(p.Column), Path: p.Path, Text: text, Remedy: remedy}
}

// ReportError is Report for an error that may be a Problem without a position.
func (d *Decoder) ReportError(p Position, before string, err error) {
	text, remedy := err.Error(), ""
	var as Problem
	if errors.As(err, &as) {
		text, remedy = as.Text, as.Remedy
	}
	d.Report(p, before+text, remedy)
}

// Show returns a value as a message may show it.
func (d *Decoder) Show(p Position, value string) string {
	if p.References != "" {
		return "the value of " + p.References
	}
	return QuoteSafe(value)
}

// At returns the position of the value that was decoded into ptr, or the zero position. A map's value has the address
// [Entry].
func (d *Decoder) At(ptr any) Position { return d.positions[ptr] }

// Position is At, and reports whether the file has the key.
func (d *Decoder) Position(ptr any) (Position, bool) {
	p, ok := d.positions[ptr]
	return p, ok
}

// IsSet reports whether the file has the key.
func (d *Decoder) IsSet(ptr any) bool {
	_, ok := d.positions[ptr]
	return ok
}

// Checkable is Position, and also requires that the value was decoded.
func (d *Decoder) Checkable(ptr any) (Position, bool) {
	p, ok := d.positions[ptr]
	return p, ok && p.State == Valid
}

// Decode fills in the struct that w points to.
func (d *Decoder) Decode(w any) {
	at := positionOf(d.root, "")
	d.positions[w] = at
	d.fillValue(d.root, reflect.ValueOf(w).Elem(), Field{}, at, nil)
	if d.VisitLimitReached() {
		p := d.problem(at, "the YAML aliases expand beyond the limit", "write the values in place of the aliases")
		d.problems = Problems{p}
	}
}

// VisitLimitReached reports whether aliases expand the file beyond the limit.
func (d *Decoder) VisitLimitReached() bool { return d.visits > d.visitLimit }

// TooManyProblems reports whether further mistakes would not be listed, so that checks can stop.
func (d *Decoder) TooManyProblems() bool { return len(d.problems) >= MaxProblems }

// fillValue fills v from the node, and records its position and state.
func (d *Decoder) fillValue(n *yaml.Node, v reflect.Value, f Field, at Position, parent *keyScope) {
	if d.visits++; d.VisitLimitReached() || d.TooManyProblems() {
		return
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if v.Kind() == reflect.Pointer && !IsScalar(v.Type()) {
		v.Set(reflect.New(v.Type().Elem()))
		d.positions[v.Interface()] = at
		v = v.Elem()
	}
	if v.CanAddr() {
		ptr := v.Addr().Interface()
		d.positions[ptr] = at
		if x, ok := ptr.(*Typed); ok {
			d.fillTyped(n, x, at, parent)
			return
		}
	}
	t := v.Type()
	var ok bool
	switch {
	case IsScalar(t):
		at, ok = d.fillScalar(n, v, f, at)
	case t.Kind() == reflect.Struct:
		ok = d.readMapping(n, at, func(entries []pair) { d.fillStruct(entries, v, at, parent) })
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		ok = d.readMapping(n, at, func(entries []pair) { d.fillMap(entries, v, f, at, parent) })
	case t.Kind() == reflect.Slice:
		ok = d.fillList(n, v, f, at, parent)
	default:
		d.Report(at, "this build cannot read a "+t.String(), "")
	}
	if v.CanAddr() && (!ok || IsScalar(t)) {
		if !ok && at.State == Valid {
			at.State = Invalid
		}
		d.positions[v.Addr().Interface()] = at
	}
}

// IsScalar reports whether values of the type are scalars in the file.
func IsScalar(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		return IsScalar(t.Elem())
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
func (d *Decoder) fieldsOf(t reflect.Type) []Field {
	if fs, ok := d.fields[t]; ok {
		return fs
	}
	fs := FieldsOf(t)
	d.fields[t] = fs
	return fs
}

// FieldsOf returns the keys of a struct type, including those of inlined structs.
func FieldsOf(t reflect.Type) []Field {
	var fs []Field
	for i := range t.NumField() {
		sf := t.Field(i)
		key, options, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		switch {
		case !sf.IsExported() && !sf.Anonymous || key == "-":
			continue
		case options == "inline":
			for _, in := range FieldsOf(sf.Type) {
				in.Index = append([]int{i}, in.Index...)
				fs = append(fs, in)
			}
			continue
		case key == "":
			key = strings.ToLower(sf.Name) // package yaml's default
		}
		f := Field{
			Key:    key,
			Index:  []int{i},
			Type:   sf.Type,
			Limits: sf.Tag.Get("range"),
			Names:  sf.Tag.Get("names"),
		}
		if e := sf.Tag.Get("enum"); e != "" {
			f.Enum = strings.Split(e, ",")
		}
		fs = append(fs, f)
	}
	return fs
}

// A pair is a key and its value; it may come from a merge key.
type pair struct{ key, value *yaml.Node }

// readMapping passes the pairs of the mapping to use. It reports whether the node is a mapping.
func (d *Decoder) readMapping(n *yaml.Node, at Position, use func([]pair)) bool {
	if !d.checkNodeKind(n, yaml.MappingNode, "keys with values", at) {
		return false
	}
	use(d.pairs(n, at))
	return true
}

// pairs returns the keys of a mapping in order. Its own keys win over merged ones, see
// https://yaml.org/type/merge.html.
func (d *Decoder) pairs(n *yaml.Node, at Position) []pair {
	if !d.checkLength(len(n.Content)/2, Field{}, at) {
		return nil
	}
	var out, merged []pair
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content) && !d.TooManyProblems(); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			d.Report(positionOf(n.Content[i], at.Path), "want text as a key, got "+kindName(key), "")
			continue
		}
		if key.ShortTag() == "!!merge" {
			merged = append(merged, d.merge(val, at)...)
			continue
		}
		if line, ok := first[key.Value]; ok {
			d.Report(positionOf(key, JoinKey(at.Path, key.Value)), "duplicate key, first on line "+strconv.Itoa(line),
				"remove one of them")
			continue
		}
		first[key.Value] = key.Line
		out = append(out, pair{key, val})
	}
	if d.visits += len(merged); d.VisitLimitReached() {
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
func (d *Decoder) merge(n *yaml.Node, at Position) []pair {
	where := positionOf(n, at.Path+".<<")
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if d.visits++; d.VisitLimitReached() {
		return nil
	}
	if d.merges[n] {
		d.Report(where, "the mapping is merged into itself", "")
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
			if d.VisitLimitReached() || d.TooManyProblems() {
				break
			}
		}
		return all
	}
	d.Report(where, "want a mapping or a list of mappings after <<, got "+kindName(n), "")
	return nil
}

// fillStruct fills v by its keys.
func (d *Decoder) fillStruct(entries []pair, v reflect.Value, at Position, parent *keyScope) {
	d.fillKeys(entries, v, &keyScope{keys: d.fieldsOf(v.Type()), path: at.Path, parent: parent})
}

func (d *Decoder) fillKeys(entries []pair, v reflect.Value, b *keyScope) {
	for _, e := range entries {
		if d.TooManyProblems() {
			return
		}
		i := slices.IndexFunc(b.keys, func(f Field) bool { return f.Key == e.key.Value })
		if i < 0 {
			d.reportUnknownKey(e.key, b)
			continue
		}
		f := b.keys[i]
		d.fillValue(e.value, v.FieldByIndex(f.Index), f, positionOf(e.key, joinPath(b.path, f.Key)), b)
	}
}

func (d *Decoder) reportUnknownKey(key *yaml.Node, b *keyScope) {
	p := positionOf(key, JoinKey(b.path, key.Value))
	remedy := ""
	if plainKeyForm.MatchString(key.Value) {
		remedy = d.unknownKeyRemedy(key.Value, b)
	}
	d.Report(p, "unknown key", remedy)
}

// fillMap fills a map whose keys are chosen by the user.
func (d *Decoder) fillMap(entries []pair, v reflect.Value, f Field, at Position, parent *keyScope) {
	if !d.checkLength(len(entries), f, at) {
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), len(entries))
	v.Set(m)
	for _, e := range entries {
		if d.TooManyProblems() {
			return
		}
		p := positionOf(e.key, JoinKey(at.Path, e.key.Value))
		switch {
		case e.key.Value == "":
			d.Report(p, "the key is empty", "")
			continue
		case strings.Contains(e.key.Value, "${"):
			d.Report(p, "references are not allowed in keys", "use references only in values")
			continue
		case placeholder.MatchString(e.key.Value):
			d.Report(p, "the key is still a placeholder", "")
			continue
		}
		elem := reflect.New(v.Type().Elem())
		d.fillValue(e.value, elem.Elem(), Field{Type: f.Type, Enum: f.Enum}, p, parent)
		m.SetMapIndex(reflect.ValueOf(e.key.Value).Convert(v.Type().Key()), elem.Elem())
		if v.CanAddr() {
			d.positions[MapEntry{v.Addr().Interface(), e.key.Value}] = d.positions[elem.Interface()]
			delete(d.positions, elem.Interface())
		}
	}
}

func (d *Decoder) fillList(n *yaml.Node, v reflect.Value, f Field, at Position, parent *keyScope) bool {
	if !d.checkNodeKind(n, yaml.SequenceNode, "a list", at) {
		return false
	}
	if d.visits += len(n.Content); d.VisitLimitReached() || !d.checkLength(len(n.Content), f, at) {
		return false
	}
	// Allocate all elements at once: they must not move, because their addresses are keys of positions.
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, c := range n.Content {
		if d.TooManyProblems() || d.VisitLimitReached() {
			return false
		}
		d.fillValue(c, v.Index(i), Field{Enum: f.Enum, Names: f.Names}, positionOf(c, indexPath(at.Path, i)), parent)
		if n == d.disposable {
			n.Content[i] = nil
		}
	}
	return true
}

// checkNodeKind reports a node of another kind than wanted. The message does not repeat the value.
func (d *Decoder) checkNodeKind(n *yaml.Node, want yaml.Kind, called string, at Position) bool {
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && n.Style&yaml.TaggedStyle == 0:
		d.Report(at, "has no value", "give it "+called+" or remove it")
		return false
	case n.Kind != want:
		remedy := ""
		if want == yaml.SequenceNode && n.Kind == yaml.ScalarNode {
			remedy = "write a list with one item as [value]"
			if strings.Contains(n.Value, "${") {
				remedy = "write a list of references: one reference gives one value"
			}
		}
		if d.rules.KindRemedy != nil {
			remedy = cmp.Or(d.rules.KindRemedy(at.Path), remedy)
		}
		d.Report(at, "want "+called+", got "+kindName(n), remedy)
		return false
	case n.Style&yaml.TaggedStyle != 0 && n.ShortTag() != "!!map" && n.ShortTag() != "!!seq":
		d.Report(at, "the YAML tag before the value has no meaning here", "")
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
