package awsxml_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/record"
)

// An elem is an element as encoding/xml reads it.
type elem struct {
	name string
	text string
	kids []*elem
}

// parseXML reads a document with encoding/xml.
func parseXML(doc []byte) (*elem, error) {
	d := xml.NewDecoder(bytes.NewReader(doc))
	var root *elem
	var open []*elem
	for {
		t, err := d.Token()
		if err == io.EOF && root != nil && len(open) == 0 {
			return root, nil
		}
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			e := &elem{name: t.Name.Local}
			if len(open) > 0 {
				up := open[len(open)-1]
				up.kids = append(up.kids, e)
			} else if root == nil {
				root = e
			} else {
				return nil, errors.New("two roots")
			}
			open = append(open, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				open[len(open)-1].text += string(t)
			}
		case xml.Directive:
			return nil, errors.New("a directive")
		}
	}
}

// A model computes the data in a simple way, with maps. ok is false if the decoder must return an error.
type model struct{ ok bool }

// put adds an element to the earlier value of a member.
func (m *model) put(s awsxml.Shape, e *elem, old any) any {
	switch s.Type() {
	case awsxml.Struct:
		obj, _ := old.(map[string]any)
		if obj == nil {
			obj = map[string]any{}
		}
		m.fill(s, e, obj)
		return obj
	case awsxml.List:
		list, _ := old.([]any)
		if list == nil {
			list = []any{}
		}
		m.noText(e)
		for _, k := range e.kids {
			list = append(list, m.put(s.Elem(), k, nil))
		}
		return list
	case awsxml.Map:
		obj, _ := old.(map[string]any)
		if obj == nil {
			obj = map[string]any{}
		}
		m.noText(e)
		for _, k := range e.kids {
			if strings.EqualFold(k.name, s.Item()) {
				m.entry(s, k, obj)
			}
		}
		return obj
	}
	if len(e.kids) > 0 {
		m.ok = false
	}
	switch s.Type() {
	case awsxml.Boolean:
		return e.text == "true"
	case awsxml.Integer, awsxml.Float:
		t := strings.Trim(e.text, " \t\r\n")
		if u, plus := strings.CutPrefix(t, "+"); plus && !strings.HasPrefix(u, "-") {
			t = u
		}
		for len(t) > 1 && t[0] == '0' && t[1] >= '0' && t[1] <= '9' {
			t = t[1:]
		}
		if t == "" && e.text != "+" {
			return nil
		}
		if json.Valid([]byte(t)) && (t[0] == '-' || t[0] >= '0' && t[0] <= '9') {
			return json.Number(t)
		}
		if strings.Trim(e.text, " \t\r\n") == "+" {
			return nil
		}
	}
	return e.text
}

// entry adds the entry of a map.
func (m *model) entry(s awsxml.Shape, e *elem, obj map[string]any) {
	m.noText(e)
	keyName, valueName := s.Entry()
	key, value := "", m.put(s.Elem(), &elem{}, nil)
	hasKey := false
	for _, k := range e.kids {
		switch {
		case strings.EqualFold(k.name, keyName):
			m.ok = m.ok && len(k.kids) == 0
			key, hasKey = k.text, true
		case strings.EqualFold(k.name, valueName):
			value = m.put(s.Elem(), k, nil)
		}
	}
	if hasKey {
		obj[key] = value
	}
}

// putMember adds an element to a member.
func (m *model) putMember(s awsxml.Shape, e *elem, old any) any {
	if s.Type() < awsxml.List || s.Item() != "" {
		return m.put(s, e, old)
	}
	if s.Type() == awsxml.List {
		list, _ := old.([]any)
		return append(list, m.put(s.Elem(), e, nil))
	}
	obj, _ := old.(map[string]any)
	if obj == nil {
		obj = map[string]any{}
	}
	m.entry(s, e, obj)
	return obj
}

func (m *model) fill(s awsxml.Shape, e *elem, obj map[string]any, skip ...string) {
	m.noText(e)
	for _, k := range e.kids {
		x, known := memberOf(s, k.name)
		switch {
		case known && slices.Contains(skip, x.Name):
		case known:
			obj[x.Name] = m.putMember(x.Shape, k, obj[x.Name])
		default:
			name := k.name
			for x := range s.Members() {
				if x.Name == name {
					name += "#"
					break
				}
			}
			m.unknown(obj, name, k)
		}
	}
}

func memberOf(s awsxml.Shape, wire string) (found awsxml.Member, ok bool) {
	for x := range s.Members() {
		if x.Wire == wire {
			return x, true
		}
	}
	for x := range s.Members() {
		if strings.EqualFold(x.Wire, wire) {
			return x, true
		}
	}
	return found, false
}

func (m *model) unknown(obj map[string]any, name string, e *elem) {
	v := m.generic(e)
	old, again := obj[name]
	if !again {
		obj[name] = v
		return
	}
	list, ok := old.([]any)
	if !ok {
		list = []any{old}
	}
	if more, ok := v.([]any); ok {
		obj[name] = append(list, more...)
	} else {
		obj[name] = append(list, v)
	}
}

func (m *model) generic(e *elem) any {
	if len(e.kids) == 0 {
		return e.text
	}
	m.noText(e)
	if e.kids[0].name != "item" {
		obj := map[string]any{}
		for _, k := range e.kids {
			m.unknown(obj, k.name, k)
		}
		return obj
	}
	list := []any{}
	for _, k := range e.kids {
		if v := m.generic(k); k.name == "item" {
			list = append(list, v)
		} else {
			list = append(list, map[string]any{k.name: v})
		}
	}
	return list
}

// noText refuses text next to elements.
func (m *model) noText(e *elem) {
	if strings.Trim(e.text, " \t\r\n") != "" {
		m.ok = false
	}
}

// response returns the data of each item, and the token.
func (m *model) response(op awsxml.Operation, list, group string, root *elem) (data []any, next string) {
	if !strings.EqualFold(root.name, op.Name+"Response") {
		m.ok = false
	}
	m.noText(root)
	for _, k := range root.kids {
		x, known := memberOf(op.Output, k.name)
		switch {
		case k.name == "requestId" || !known || x.Name != "NextToken" && x.Name != list && x.Name != group:
		case x.Name == "NextToken":
			if len(k.kids) > 0 {
				m.ok = false
			}
			next = k.text
		case x.Name == list:
			items, _ := m.putMember(x.Shape, k, nil).([]any)
			data = append(data, items...)
		default:
			m.noText(k)
			for _, g := range k.kids {
				m.noText(g)
				around := map[string]any{}
				m.fill(x.Shape.Elem(), g, around, list)
				for _, s := range g.kids {
					y, known := memberOf(x.Shape.Elem(), s.name)
					if !known || y.Name != list {
						continue
					}
					m.noText(s)
					for _, i := range s.kids {
						v := m.put(y.Shape.Elem(), i, nil).(map[string]any)
						v[strings.TrimSuffix(group, "s")] = around
						data = append(data, v)
					}
				}
			}
		}
	}
	return data, next
}

// fuzzed are the specs that documents are decoded with. The last is one of [awsxml.FormsService].
var fuzzed = [...]awsxml.Spec{
	{Op: "DescribeVolumes", Items: "Volumes", ID: []string{"VolumeId"}, Volatile: []string{"State", "Attachments.State"}},
	{
		Op: "DescribeInstances", Items: "Reservations.Instances", ID: []string{"InstanceId", "ImageId"},
		Volatile: []string{"Placement", "BlockDeviceMappings.Ebs", "NetworkInterfaces.Attachment"}, Name: "KeyName",
	},
	{
		Op: "ListThings", Items: "Things", ID: []string{"Id"},
		Volatile: []string{"Limits", "Parts.Labels"}, Ordered: []string{"Names"},
	},
}

func formatOf(s awsxml.Spec) awsxml.Format {
	f := awsxml.EC2Query()
	if s.Op == "ListThings" {
		f.Service = awsxml.FormsService
	}
	return f
}

// FuzzDecode checks that the decoder never panics, that it writes valid JSON, that its result does not depend on how
// the bytes arrive, and that each member equals what encoding/xml reads.
func FuzzDecode(f *testing.F) {
	for _, c := range documents {
		f.Add([]byte(c.xml))
	}
	f.Add(pageOf(f, 2))
	f.Add([]byte(things))
	check := checker(f)
	f.Fuzz(func(t *testing.T, doc []byte) { check(t, doc) })
}

// TestRandomDocuments is FuzzDecode with documents from a grammar, which mutation rarely reaches: members that repeat,
// are unknown, have another case, are empty, contain CDATA and comments, at all depths.
func TestRandomDocuments(t *testing.T) {
	check := checker(t)
	taken := 0
	for seed := range uint64(1000) {
		if check(t, randomDocument(rand.New(rand.NewPCG(seed, 1)))) {
			taken++
		}
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, randomDocument(rand.New(rand.NewPCG(seed, 1))))
		}
	}
	if taken < 500 {
		t.Errorf("only %d were taken", taken)
	}
}

func randomDocument(r *rand.Rand) []byte {
	var b strings.Builder
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	gap := func() { b.WriteString(pick("", "", "", "\n    ", " ", "<!-- a<b -->", "<?p q?>", "\t\r\n")) }
	text := func() {
		for range r.IntN(3) {
			b.WriteString(
				pick(
					"a", "7", "true", "-1.5", " ", "&lt;", "&#65;", "<![CDATA[<x>]]>", "<!-- c -->", "é", "\"", "\\", "]",
					"long text that is more than eight", "\r\n",
				),
			)
		}
	}
	var element func(s *awsxml.Shape, name string, depth int)
	entry := func(s *awsxml.Shape, depth int) {
		key, value := s.Entry()
		e := s.Elem()
		for range 1 + r.IntN(3) {
			gap()
			switch r.IntN(8) {
			case 0:
				element(nil, "odd", depth)
			case 1, 2, 3:
				b.WriteString("<" + key + ">")
				text()
				b.WriteString("</" + key + ">")
			default:
				element(&e, value, depth)
			}
		}
	}
	member := func(s *awsxml.Shape, wire string, depth int) {
		switch {
		case s.Type() < awsxml.List || s.Item() != "":
			element(s, wire, depth)
		case s.Type() == awsxml.List:
			e := s.Elem()
			for range 1 + r.IntN(2) {
				element(&e, wire, depth)
				gap()
			}
		default:
			b.WriteString("<" + wire + ">")
			entry(s, depth)
			b.WriteString("</" + wire + ">")
		}
	}
	inside := func(s *awsxml.Shape, depth int) {
		var ms []awsxml.Member
		if s != nil && s.Type() == awsxml.Struct {
			ms = slices.Collect(s.Members())
			if r.IntN(2) == 0 { // few, so that they repeat
				r.Shuffle(len(ms), func(i, j int) { ms[i], ms[j] = ms[j], ms[i] })
				ms = ms[:min(len(ms), 3)]
			}
		}
		for range r.IntN(5) {
			gap()
			switch {
			case s != nil && s.Type() == awsxml.List && r.IntN(12) > 0:
				e := s.Elem()
				element(&e, s.Item(), depth+1)
			case s != nil && s.Type() == awsxml.Map && r.IntN(12) > 0:
				b.WriteString("<" + s.Item() + ">")
				entry(s, depth+1)
				b.WriteString("</" + s.Item() + ">")
			case len(ms) > 0 && r.IntN(6) > 0:
				m := ms[r.IntN(len(ms))]
				wire := m.Wire
				if r.IntN(12) == 0 {
					wire = strings.ToUpper(wire)
				}
				member(&m.Shape, wire, depth+1)
			case s == nil || r.IntN(2) == 0:
				element(nil, pick("item", "item", "odd", "strange", "Tags", "Attachments"), depth+1)
			}
		}
		gap()
	}
	element = func(s *awsxml.Shape, name string, depth int) {
		if r.IntN(10) == 0 {
			b.WriteString("<" + name + pick("", " ", ` a="b>c"`) + "/>")
			return
		}
		b.WriteString("<" + name + pick("", "", "", ` a='"'`) + ">")
		switch {
		case s != nil && s.Type() < awsxml.Struct, s == nil && (depth > 8 || r.IntN(2) == 0):
			text()
		default:
			inside(s, depth)
		}
		b.WriteString("</" + name + ">")
	}
	spec := fuzzed[r.IntN(len(fuzzed))]
	op, _ := awsxml.Describe(formatOf(spec).Service, spec.Op)
	path, items, grouped := strings.Cut(spec.Items, ".")
	list := func(s awsxml.Shape, items func(awsxml.Shape)) {
		for m := range s.Members() {
			if m.Name == path && m.Shape.Item() == "" {
				for range 1 + r.IntN(3) {
					gap()
					b.WriteString("<" + m.Wire + ">")
					items(m.Shape.Elem())
					b.WriteString("</" + m.Wire + ">")
				}
				return
			}
			if m.Name == path {
				b.WriteString("<" + m.Wire + ">")
				for range 1 + r.IntN(3) {
					gap()
					b.WriteString("<item>")
					items(m.Shape.Elem())
					b.WriteString("</item>")
				}
				b.WriteString("</" + m.Wire + ">")
				return
			}
		}
	}
	record := func(s awsxml.Shape) {
		b.WriteString("<volumeId>v</volumeId><instanceId>i</instanceId><id>t</id>")
		for range 1 + r.IntN(4) {
			inside(&s, 3)
		}
	}
	b.WriteString("<" + spec.Op + "Response>")
	if r.IntN(3) == 0 {
		element(nil, "odd", 1)
	}
	if grouped {
		list(op.Output, func(g awsxml.Shape) {
			path = items
			for range 2 {
				for m := range g.Members() {
					if m.Name != items && r.IntN(2) == 0 {
						element(&m.Shape, m.Wire, 2)
					}
				}
				list(g, record)
			}
			path, _, _ = strings.Cut(spec.Items, ".")
		})
	} else {
		list(op.Output, record)
	}
	b.WriteString("<nextToken>")
	text()
	b.WriteString("</nextToken></" + spec.Op + "Response>")
	return []byte(b.String())
}

// checker returns a function that checks one document. It reports whether the decoder accepted the document.
func checker(tb testing.TB) func(t *testing.T, doc []byte) bool {
	var programs []*awsxml.Program
	awsxml.WithForms(tb)
	for _, s := range fuzzed {
		g, err := awsxml.Compile(formatOf(s), s)
		if err != nil {
			tb.Fatal(err)
		}
		programs = append(programs, g)
	}
	limits := awsxml.Limits{Depth: 40, Item: 1 << 20, Page: 8 << 20, Token: 2 << 10}
	o := awsxml.Options{Envelope: stamp(), Limits: limits}
	var d awsxml.Decoder
	var p, q record.Page
	return func(t *testing.T, doc []byte) (taken bool) {
		for i, g := range programs {
			next, err := d.Decode(g, o, bytes.NewReader(doc), &p)
			next2, err2 := new(awsxml.Decoder).Decode(g, o, iotest.OneByteReader(bytes.NewReader(doc)), &q)
			if next != next2 || (err == nil) != (err2 == nil) || err == nil && !bytes.Equal(p.Lines(), q.Lines()) {
				t.Fatalf("in one piece %q, %v; byte by byte %q, %v\n%s\n%s", next, err, next2, err2, p.Lines(), q.Lines())
			}
			var typed *awsxml.Error
			taken = taken || err == nil && p.SetAside().Len() == 0
			if err != nil {
				if !errors.As(err, &typed) || next != "" {
					t.Fatalf("%q, %v", next, err)
				}
				continue
			}
			n := 0
			for l := range bytes.Lines(p.Lines()) {
				n++
				var r record.Record
				if !json.Valid(l) || strings.Count(string(l), "\n") != 1 {
					t.Fatalf("not a line of JSON: %q", l)
				}
				line := bytes.Replace(l, []byte(`"collected_at":"2026-11-21T22:15:03Z",`), nil, 1)
				if err := json.Unmarshal(line, &r); err != nil ||
					r.ID == "" {
					t.Fatalf("not a record: %v: %q", err, l)
				}
			}
			if n != p.Len() {
				t.Fatalf("%d lines of %d records", n, p.Len())
			}
			root, err := parseXML(doc)
			if err != nil || p.SetAside().Len() > 0 {
				continue // encoding/xml is stricter about names, attributes and ]]>
			}
			m := &model{ok: true}
			op, _ := awsxml.Describe(formatOf(g.Spec()).Service, g.Spec().Op)
			group := [...]string{"", "Reservations", ""}[i]
			list := [...]string{"Volumes", "Instances", "Things"}[i]
			data, token := m.response(op, list, group, root)
			if !m.ok || token != next || len(data) != p.Len() {
				t.Fatalf(
					"taken, but encoding/xml has it otherwise: ok %v, token %q and %q, records %d and %d\n%s", m.ok, token, next,
					len(data), p.Len(), p.Lines(),
				)
			}
			k := 0
			for v := range p.Views() {
				sum := sha256.Sum256([]byte("collector content 1\n" + canonical(t, g, v.Data())))
				if v.Digest() != record.Digest(sum[:16]) {
					t.Fatalf("%s: the content hash is not of %s", g.Spec().Op, canonical(t, g, v.Data()))
				}
				if got := parseJSON(t, v.Data()); !reflect.DeepEqual(got, data[k]) {
					t.Fatalf("%s: record %d\n%s\nwant %v", g.Spec().Op, k, v.Data(), data[k])
				}
				k++
			}
		}
		return taken
	}
}

// parseJSON parses JSON and refuses duplicate keys.
func parseJSON(t *testing.T, b []byte) any {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var read func() any
	read = func() any {
		tok, err := d.Token()
		if err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		switch tok {
		case json.Delim('{'):
			obj := map[string]any{}
			for d.More() {
				key, _ := d.Token()
				if _, twice := obj[key.(string)]; twice {
					t.Fatalf("key %q twice: %s", key, b)
				}
				obj[key.(string)] = read()
			}
			_, _ = d.Token()
			return obj
		case json.Delim('['):
			list := []any{}
			for d.More() {
				list = append(list, read())
			}
			_, _ = d.Token()
			return list
		}
		return tok
	}
	return read()
}

// canonical returns the canonical form of a record's data, made from the parsed JSON.
func canonical(t *testing.T, g *awsxml.Program, data []byte) string {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	spec := g.Spec()
	under := func(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }
	var form func(s *awsxml.Shape, path string) string
	form = func(s *awsxml.Shape, path string) string {
		from := d.InputOffset()
		tok, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		switch tok {
		case json.Delim('{'):
			var ms []string
			for d.More() {
				from := d.InputOffset()
				key, _ := d.Token()
				raw := bytes.Trim(data[from:d.InputOffset()], ", ")
				name := key.(string)
				var inner *awsxml.Shape
				if s != nil && s.Type() == awsxml.Struct {
					for m := range s.Members() {
						if m.Name == name {
							inner = &m.Shape
							break
						}
					}
				}
				here := under(path, name)
				if isMap := s != nil && s.Type() == awsxml.Map; isMap {
					e := s.Elem()
					inner, here = &e, path
				}
				if around, shape := g.Enclosing(); path == "" && name == around {
					inner, here = &shape, "-"
				}
				v := form(inner, here)
				if inner == nil || here == path || !slices.Contains(spec.Volatile, here) {
					ms = append(ms, string(raw)+":"+v)
				}
			}
			_, _ = d.Token()
			if s != nil && s.Type() == awsxml.Map {
				slices.Sort(ms)
			}
			return "{" + strings.Join(ms, ",") + "}"
		case json.Delim('['):
			var elems []string
			var inner *awsxml.Shape
			if s != nil && s.Type() == awsxml.List {
				e := s.Elem()
				inner = &e
			}
			for d.More() {
				elems = append(elems, form(inner, path))
			}
			_, _ = d.Token()
			if inner != nil && !slices.Contains(spec.Ordered, path) {
				slices.Sort(elems)
			}
			return "[" + strings.Join(elems, ",") + "]"
		}
		return string(bytes.TrimLeft(data[from:d.InputOffset()], ":, "))
	}
	s := g.Item()
	return form(&s, "")
}
