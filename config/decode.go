package config

import (
	"encoding"
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/aws-collector/collector/secret"
)

// A decoder makes one pass over the tree. It writes down where each value came from, by the address of what it filled
// in, so that validation asks for places instead of carrying paths.
type decoder struct {
	*source
	fetch *fetcher // nil in the first pass, in which references stay open

	problems, warnings Problems

	fields map[reflect.Type][]field
	places map[any]place
	hidden []string // values that no error of others may show
	merges map[*yaml.Node]bool
	visits int
	opens  int // references left open
	zones  map[string]zone
}

// maxVisits bounds what aliases can blow a small file up to; 10,000 accounts written out are a fifth of it.
// maxProblems bounds the list, which nobody reads to its end.
const (
	maxVisits   = 1_000_000
	maxProblems = 10_000
)

// A field is a key of a mapping.
type field struct {
	key    string
	index  []int
	typ    reflect.Type
	doc    string
	enum   []string
	limits string // low..high
	names  string // regions, kinds, partitions: what the schema completes
}

// An entry is the address of a map and a key in it: map values have no address of their own.
type entry struct {
	of  any
	key string
}

type verdict int

const (
	fine   verdict = iota
	opened         // a reference that is not resolved yet: not to be judged
	broken         // reported already: not to be judged
)

// A place is where a value stands and how it came out.
type place struct {
	node  *yaml.Node // its line and column
	path  string
	state verdict
	from  string // the references that the value came from: it may be a secret, so it is not shown
}

func newDecoder(s *source, f *fetcher) *decoder {
	return &decoder{
		source: s,
		fetch:  f,
		fields: map[reflect.Type][]field{},
		places: map[any]place{},
		merges: map[*yaml.Node]bool{},
		zones:  map[string]zone{},
	}
}

func (d *decoder) report(p place, text, remedy string) {
	if !d.full() {
		d.problems = append(d.problems, d.problem(p, text, remedy))
	}
}

func (d *decoder) warn(p place, text, remedy string) {
	if len(d.warnings) < maxProblems {
		d.warnings = append(d.warnings, d.problem(p, text, remedy))
	}
}

func (d *decoder) problem(p place, text, remedy string) Problem {
	out := Problem{File: d.name, Path: p.path, Text: text, Remedy: remedy}
	if p.node != nil {
		out.Line, out.Column = p.node.Line, p.node.Column
	}
	return out
}

// reportError is report for an error that may be a Problem without a place.
func (d *decoder) reportError(p place, before string, err error) {
	text, remedy := err.Error(), ""
	var as Problem
	if errors.As(err, &as) {
		text, remedy = as.Text, as.Remedy
	}
	d.report(p, before+text, remedy)
}

// show is a value as a message may show it.
func (d *decoder) show(p place, value string) string {
	if p.from != "" {
		return "the value of " + p.from
	}
	return printable(value)
}

// set reports whether the key stands in the file; judged also whether its value is there to be judged.
func (d *decoder) set(ptr any) bool {
	_, ok := d.places[ptr]
	return ok
}

func (d *decoder) judged(ptr any) (place, bool) {
	p, ok := d.places[ptr]
	return p, ok && p.state == fine
}

// document fills in the whole file.
func (d *decoder) document(root *yaml.Node, w *written) {
	at := place{node: root}
	d.places[w] = at
	d.value(root, reflect.ValueOf(w).Elem(), field{}, at, nil)
	if d.spent() {
		d.problems = Problems{d.problem(at, "the file's aliases make too much of it", "write out what the aliases stand for")}
	}
}

// spent reports whether the file was blown up beyond what is read; full, whether more mistakes would not be listed, so that
// nobody looks for them.
func (d *decoder) spent() bool { return d.visits > maxVisits }
func (d *decoder) full() bool  { return len(d.problems) >= maxProblems }

// value fills v from the node. It reports whether it did; at's path is v's.
func (d *decoder) value(n *yaml.Node, v reflect.Value, f field, at place, up *block) {
	if d.visits++; d.spent() || d.full() {
		return
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if v.Kind() == reflect.Pointer && !isScalar(v.Type()) {
		v.Set(reflect.New(v.Type().Elem()))
		d.places[v.Interface()] = at
		v = v.Elem()
	}
	if v.CanAddr() {
		ptr := v.Addr().Interface()
		d.places[ptr] = at
		switch x := ptr.(type) {
		case *Output:
			d.output(n, x, at, up)
			return
		case *Account:
			x.Line = at.node.Line
		}
	}
	t := v.Type()
	var ok bool
	switch {
	case isScalar(t):
		at, ok = d.scalar(n, v, f, at)
	case t.Kind() == reflect.Struct:
		ok = d.mapping(n, at, func(entries []pair) { d.structure(entries, v, at, up) })
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		ok = d.mapping(n, at, func(entries []pair) { d.dictionary(entries, v, f, at, up) })
	case t.Kind() == reflect.Slice:
		ok = d.list(n, v, f, at, up)
	default:
		d.report(at, "this build cannot read a "+t.String(), "")
	}
	if v.CanAddr() && (!ok || isScalar(t)) {
		if !ok && at.state == fine {
			at.state = broken
		}
		d.places[v.Addr().Interface()] = at
	}
}

// isScalar reports whether values of the type are one scalar in the file.
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

// fieldsOf is the type's keys, those of inlined structs among them.
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
			key = strings.ToLower(sf.Name) // yaml's own rule
		}
		f := field{key: key, index: []int{i}, typ: sf.Type, doc: sf.Tag.Get("doc"), limits: sf.Tag.Get("range"), names: sf.Tag.Get("names")}
		if e := sf.Tag.Get("enum"); e != "" {
			f.enum = strings.Split(e, ",")
		}
		fs = append(fs, f)
	}
	return fs
}

// A pair is a key and its value, merged ones included.
type pair struct{ key, value *yaml.Node }

// mapping reads the node's keys. It reports whether the node is a mapping.
func (d *decoder) mapping(n *yaml.Node, at place, use func([]pair)) bool {
	if !d.kind(n, yaml.MappingNode, "keys with values", at) {
		return false
	}
	use(d.pairs(n, at))
	return true
}

// pairs is the mapping's keys in order; its own win over merged ones, https://yaml.org/type/merge.html.
func (d *decoder) pairs(n *yaml.Node, at place) []pair {
	var out, merged []pair
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			d.report(place{node: n.Content[i], path: at.path}, "a key is text, and here is "+kindName(key), "")
			continue
		}
		if key.ShortTag() == "!!merge" {
			merged = append(merged, d.merge(val, at)...)
			continue
		}
		if line, ok := first[key.Value]; ok {
			d.report(place{node: key, path: join(at.path, key.Value)}, "the key stands here twice, first in line "+strconv.Itoa(line), "remove one of them")
			continue
		}
		first[key.Value] = key.Line
		out = append(out, pair{key, val})
	}
	for _, p := range merged {
		if _, ok := first[p.key.Value]; !ok {
			first[p.key.Value] = p.key.Line
			out = append(out, p)
		}
	}
	return out
}

// merge is what stands under <<: a mapping or a list of them, of which an earlier one wins.
func (d *decoder) merge(n *yaml.Node, at place) []pair {
	where := place{node: n, path: at.path + ".<<"}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if d.visits++; d.spent() {
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
		}
		return all
	}
	d.report(where, "<< merges a mapping or a list of mappings, and here is "+kindName(n), "")
	return nil
}

// structure fills v by its keys.
func (d *decoder) structure(entries []pair, v reflect.Value, at place, up *block) {
	d.keys(entries, v, &block{keys: d.fieldsOf(v.Type()), path: at.path, up: up})
}

func (d *decoder) keys(entries []pair, v reflect.Value, b *block) {
	for _, e := range entries {
		i := slices.IndexFunc(b.keys, func(f field) bool { return f.key == e.key.Value })
		if i < 0 {
			d.unknown(e.key, b)
			continue
		}
		f := b.keys[i]
		d.value(e.value, v.FieldByIndex(f.index), f, place{node: e.key, path: join(b.path, f.key)}, b)
	}
}

func (d *decoder) unknown(key *yaml.Node, b *block) {
	p := place{node: key, path: join(b.path, key.Value)}
	remedy := ""
	if plainKey.MatchString(key.Value) {
		remedy = d.unknownKey(key.Value, b)
	}
	d.report(p, "unknown key", remedy)
}

// dictionary fills a map, whose keys are the user's.
func (d *decoder) dictionary(entries []pair, v reflect.Value, f field, at place, up *block) {
	m := reflect.MakeMapWithSize(v.Type(), len(entries))
	v.Set(m)
	for _, e := range entries {
		p := place{node: e.key, path: join(at.path, e.key.Value)}
		switch {
		case e.key.Value == "":
			d.report(p, "the key is empty", "")
			continue
		case strings.Contains(e.key.Value, "${"):
			d.report(p, "a key is no place for a reference", "a reference may stand in a value")
			continue
		case placeholder.MatchString(e.key.Value):
			d.report(p, "the key is a placeholder that nobody filled in", "")
			continue
		}
		elem := reflect.New(v.Type().Elem())
		d.value(e.value, elem.Elem(), field{typ: f.typ, enum: f.enum}, p, up)
		m.SetMapIndex(reflect.ValueOf(e.key.Value).Convert(v.Type().Key()), elem.Elem())
		if v.CanAddr() {
			d.places[entry{v.Addr().Interface(), e.key.Value}] = d.places[elem.Interface()]
		}
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, f field, at place, up *block) bool {
	if !d.kind(n, yaml.SequenceNode, "a list", at) {
		return false
	}
	if d.visits += len(n.Content); d.spent() {
		return false
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))) // at once: elements must not move, their addresses are places
	for i, c := range n.Content {
		d.value(c, v.Index(i), field{enum: f.enum, names: f.names}, place{node: c, path: index(at.path, i)}, up)
	}
	return true
}

// kind reports a node of another kind than the wanted one, without repeating it.
func (d *decoder) kind(n *yaml.Node, want yaml.Kind, called string, at place) bool {
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && n.Style&yaml.TaggedStyle == 0:
		d.report(at, "has no value", "give it "+called+" or remove it")
		return false
	case n.Kind != want:
		remedy := ""
		if want == yaml.SequenceNode && n.Kind == yaml.ScalarNode {
			remedy = "a list of one is written [value]"
			if strings.Contains(n.Value, "${") {
				remedy = "a reference gives one value, not a list"
			}
		}
		switch at.path {
		case "accounts":
			remedy = "a single block stands under account: or begins with -"
		case "account":
			remedy = "several blocks stand under accounts:"
		case "":
			remedy = "begin with config.example.yaml"
		}
		d.report(at, "want "+called+", got "+kindName(n), remedy)
		return false
	case n.Style&yaml.TaggedStyle != 0 && n.ShortTag() != "!!map" && n.ShortTag() != "!!seq":
		d.report(at, "the tag before the value has no meaning here", "")
		return false
	}
	return true
}

// kindName says what a node is.
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

var (
	placeholder = regexp.MustCompile(`<[A-Za-z][^<>]*>`)
	decimal     = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
)

// scalar fills v from a scalar. The place that it returns says how that went.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, f field, at place) (place, bool) {
	t := v.Type()
	fail := func(text, remedy string) (place, bool) {
		d.report(at, text, remedy)
		at.state = broken
		return at, false
	}
	hide := t == reflect.TypeFor[secret.String]()
	switch tag := n.ShortTag(); {
	case n.Kind != yaml.ScalarNode:
		return fail("want "+wanted(t)+", got "+kindName(n), "")
	case n.Style&yaml.TaggedStyle != 0 && !slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool"}, tag):
		return fail("the tag before the value has no meaning here", `a value that begins with ! needs quotes, as in "!ec2_image"; a secret is ${env:NAME} or ${file:/path}`)
	case tag == "!!null":
		return fail("has no value", "give it one or remove the key")
	}
	parts, err := split(n.Value)
	if err != nil {
		d.reportError(at, "", err)
		at.state = broken
		return at, false
	}
	text, ok := d.expand(parts, n.Value, &at)
	if hide || at.from != "" {
		if len(text) >= 4 && at.state == fine {
			d.hidden = append(d.hidden, text)
		}
	}
	if !ok || at.state != fine {
		store(v, text)
		return at, ok
	}
	switch {
	case placeholder.MatchString(text):
		what := "is a placeholder that nobody filled in"
		if !hide {
			what = d.show(at, placeholder.FindString(text)) + " " + what
		}
		return fail(what, "")
	case text == "" && !isEntry(f):
		return fail("is empty", "give it a value or remove the key")
	case hide && strings.TrimSpace(text) != text:
		return fail("begins or ends with white space", "")
	}
	if err := d.convert(n, v, text, at); err != nil {
		d.reportError(at, "", err)
		at.state = broken
		return at, false
	}
	return at, d.limit(v, f, text, &at)
}

// isEntry reports whether the field is an entry of a map, where "" may be meant.
func isEntry(f field) bool { return f.typ != nil && f.typ.Kind() == reflect.Map }

// expand is the scalar's text. In the first pass a reference leaves it open, with the text as written.
func (d *decoder) expand(parts []part, raw string, at *place) (string, bool) {
	if !open(parts) {
		return parts[0].text, true // a scalar without references is one part
	}
	if d.fetch == nil {
		at.state = opened
		d.opens++
		return raw, true
	}
	var b, from strings.Builder
	ok := true
	for _, p := range parts {
		s, err := d.fetch.fetch(p)
		if err != nil {
			d.reportError(*at, "", err)
			ok = false
		}
		b.WriteString(s)
		if p.from != "" {
			if from.Len() > 0 {
				from.WriteString(" and ")
			}
			from.WriteString(p.String())
		}
	}
	at.from = from.String()
	if !ok {
		at.state = broken
	}
	return b.String(), ok
}

// store puts text that cannot be judged yet where text can stand.
func store(v reflect.Value, text string) {
	switch p := v.Addr().Interface().(type) {
	case *secret.String:
		*p = secret.New(text)
	case *string:
		*p = text
	}
}

// convert puts the text into v. Its error does not repeat the text, unless a type of package outputs does: hidden values
// are cut out of that.
func (d *decoder) convert(n *yaml.Node, v reflect.Value, text string, at place) error {
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		v.Set(reflect.New(t.Elem()))
		return d.convert(n, v.Elem(), text, at)
	}
	wrong := Problem{Text: "want " + wanted(t) + ", got " + kindName(n)}
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		wrong.Remedy = "write it without quotes"
	}
	if at.from != "" {
		wrong = Problem{Text: d.show(at, text) + " is not " + wanted(t)}
	}
	typed := func(tags ...string) bool { return at.from != "" || slices.Contains(tags, n.ShortTag()) }
	switch p := v.Addr().Interface().(type) {
	case *secret.String:
		*p = secret.New(text)
		return nil
	case *time.Duration:
		dur, err := ParseDuration(text)
		*p = dur
		return d.named(err, text, at)
	case encoding.TextUnmarshaler:
		return d.named(p.UnmarshalText([]byte(text)), text, at)
	}
	switch t.Kind() {
	case reflect.String:
		v.SetString(text)
		return nil
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil || !typed("!!bool") {
			return wrong
		}
		v.SetBool(b)
		return nil
	case reflect.Float32, reflect.Float64:
		x, err := strconv.ParseFloat(text, t.Bits())
		if err != nil || !typed("!!int", "!!float") {
			return wrong
		}
		v.SetFloat(x)
		return nil
	}
	if !typed("!!int") || !decimal.MatchString(text) {
		return wrong
	}
	if v.CanInt() {
		x, err := strconv.ParseInt(text, 10, t.Bits())
		v.SetInt(x)
		return tooLarge(err)
	}
	x, err := strconv.ParseUint(text, 10, t.Bits())
	v.SetUint(x)
	return tooLarge(err)
}

func tooLarge(err error) error {
	if err == nil {
		return nil
	}
	return Problem{Text: "the number does not fit"}
}

// named puts the value in front of an error that does not show it.
func (d *decoder) named(err error, text string, at place) error {
	if err == nil {
		return nil
	}
	var p Problem
	if errors.As(err, &p) {
		p.Text = d.show(at, text) + ": " + p.Text
		return p
	}
	return Problem{Text: d.scrub(err.Error())}
}

// scrub cuts every hidden value out of what others say.
func (d *decoder) scrub(s string) string {
	for _, h := range d.hidden {
		s = strings.ReplaceAll(s, h, secret.Mask)
	}
	return s
}

// wanted is a type in a user's words.
func wanted(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Duration](), t == reflect.TypeFor[time.Duration]():
		return "a duration"
	case t.Kind() == reflect.Pointer:
		return wanted(t.Elem())
	case t.Kind() == reflect.Bool:
		return "true or false"
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()), t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Float32, t.Kind() == reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

// limit holds the value against the field's enum and range.
func (d *decoder) limit(v reflect.Value, f field, text string, at *place) bool {
	if len(f.enum) > 0 && !slices.Contains(f.enum, text) {
		remedy := "want " + either(f.enum)
		if n := nearest(text, f.enum); n != "" && at.from == "" {
			remedy = "did you mean " + strconv.Quote(n) + "?"
		}
		d.report(*at, d.show(*at, text)+" is unknown here", remedy)
		at.state = broken
		return false
	}
	low, high, ok := strings.Cut(f.limits, "..")
	if !ok {
		return true
	}
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if lo, set := bound(v.Type(), low); set && less(v, lo) {
		ok = false
	}
	if hi, set := bound(v.Type(), high); set && less(hi, v) {
		ok = false
	}
	if !ok {
		d.report(*at, d.show(*at, text)+" is out of range", "want "+low+" to "+high)
		at.state = broken
	}
	return ok
}

// either is a, b or c.
func either(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// bound reads one end of a range as a value of the field's type, so that 15m and 64KiB are written as users write them.
func bound(t reflect.Type, s string) (reflect.Value, bool) {
	v := reflect.New(t)
	if s == "" {
		return v.Elem(), false
	}
	var err error
	switch p := v.Interface().(type) {
	case *time.Duration:
		*p, err = ParseDuration(s)
	case encoding.TextUnmarshaler:
		err = p.UnmarshalText([]byte(s))
	default:
		var x float64
		x, err = strconv.ParseFloat(s, 64)
		v.Elem().Set(reflect.ValueOf(x).Convert(t))
	}
	return v.Elem(), err == nil
}

func less(a, b reflect.Value) bool {
	switch {
	case a.CanInt():
		return a.Int() < b.Int()
	case a.CanUint():
		return a.Uint() < b.Uint()
	case a.CanFloat():
		return a.Float() < b.Float()
	}
	return false
}
