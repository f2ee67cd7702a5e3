package awsxml_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/record"
)

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
