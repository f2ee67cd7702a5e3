package collectors

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

// compiledSchema compiles a kind's schema. If strict is set, the schema refuses additional members.
func compiledSchema(t *testing.T, k *Kind, strict bool) *jsonschema.Schema {
	t.Helper()
	b, err := k.DataSchema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%s: %v", k.Name, err)
	}
	if strict {
		closeObjects(doc)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.AssertContent()
	if err := c.AddResource(k.Name, doc); err != nil {
		t.Fatalf("%s: %v", k.Name, err)
	}
	s, err := c.Compile(k.Name)
	if err != nil {
		t.Fatalf("%s: %v", k.Name, err)
	}
	if s.DraftVersion != 2020 {
		t.Errorf("%s: draft %d", k.Name, s.DraftVersion)
	}
	return s
}

func closeObjects(v any) {
	switch v := v.(type) {
	case map[string]any:
		if v["properties"] != nil {
			v["additionalProperties"] = false
		}
		for _, in := range v {
			closeObjects(in)
		}
	case []any:
		for _, in := range v {
			closeObjects(in)
		}
	}
}

// A responseWriter writes a response from the tables: every member once, every list with two elements.
type responseWriter struct {
	b        strings.Builder
	unknown  bool
	numbered bool   // each text is another
	omit     string // the name of a member that is not written
	texts    int
}

func (w *responseWriter) value(s awsxml.Shape, depth int) {
	switch s.Type() {
	case awsxml.Struct:
		if depth == 0 { // a structure may contain itself
			return
		}
		for m := range s.Members() {
			if m.Name == w.omit {
				continue
			}
			fmt.Fprintf(&w.b, "<%s>", m.Wire)
			w.value(m.Shape, depth-1)
			fmt.Fprintf(&w.b, "</%s>", m.Wire)
		}
		if w.unknown {
			w.b.WriteString("<ofTheFuture><item>1</item></ofTheFuture>")
		}
	case awsxml.List:
		for range 2 {
			fmt.Fprintf(&w.b, "<%s>", s.Item())
			w.value(s.Elem(), depth)
			fmt.Fprintf(&w.b, "</%s>", s.Item())
		}
	case awsxml.Map:
		key, value := s.Entry()
		fmt.Fprintf(&w.b, "<%s><%s>a</%[2]s><%s>", s.Item(), key, value)
		w.value(s.Elem(), depth)
		fmt.Fprintf(&w.b, "</%s></%s>", value, s.Item())
	case awsxml.Integer:
		w.b.WriteString("-9007199254740993")
	case awsxml.Float:
		w.b.WriteString("1.5e3")
	case awsxml.Boolean:
		w.b.WriteString("true")
	case awsxml.Timestamp:
		w.b.WriteString("2026-11-21T22:15:03.000Z")
	case awsxml.Blob:
		w.b.WriteString("aGVsbG8=")
	default:
		w.b.WriteString("a &amp; b")
		if w.numbered {
			w.texts++
			fmt.Fprint(&w.b, w.texts)
		}
	}
}

// dataOf decodes a response with all members that the SDK knows.
func dataOf(t *testing.T, k *Kind, mode awsxml.Mode, unknown bool) []any {
	t.Helper()
	var all []any
	for v := range decoded(t, k, mode, responseWriter{unknown: unknown}).Views() {
		data, err := jsonschema.UnmarshalJSON(bytes.NewReader(v.Data()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data)
	}
	if len(all) == 0 {
		t.Fatalf("%s: no records", k.Name)
	}
	return all
}

// decoded decodes a response that w writes.
func decoded(t *testing.T, k *Kind, mode awsxml.Mode, w responseWriter) *record.Page {
	t.Helper()
	op, ok := k.operation()
	if !ok {
		t.Fatalf("no %s", k.Op)
	}
	w.value(op.Output, 9)
	prog, err := k.compile()
	if err != nil {
		t.Fatal(err)
	}
	p := new(record.Page)
	o := awsxml.Options{Sensitive: mode, DigestKey: []byte("k"), Under: "parent-1",
		Tags: func(name string) ([]awsxml.Tag, error) { return []awsxml.Tag{{Key: "of", Value: name}}, nil },
		Envelope: record.NewEnvelope(
			record.Target{Kind: k.Name}, record.Identity{}, []byte("{}"), "run", "2026-11-21T22:15:03Z",
		)}
	root, result := k.Op+"Response", k.Service().format.ResultSuffix
	response := "<" + root + ">" + w.b.String() + "</" + root + ">"
	if result != "" {
		result = k.Op + result
		response = "<" + root + "><" + result + ">" + w.b.String() + "</" + result + "></" + root + ">"
	}
	if _, err := new(awsxml.Decoder).Decode(prog, o, strings.NewReader(response), p); err != nil {
		t.Fatalf("%s: %v", k.Name, err)
	}
	return p
}

// A kind's schema has every member that the SDK knows, with its type, for each mode of sensitive members. It accepts
// members that the SDK does not know.
func TestDataSchemas(t *testing.T) {
	for i := range Kinds {
		k := &Kinds[i]
		strict, open := compiledSchema(t, k, true), compiledSchema(t, k, false)
		if b, _ := k.DataSchema(); bytes.Count(b, []byte(`"A keyed digest: the member is sensitive."`)) != len(k.Sensitive) {
			t.Errorf("%s: not each of %q may be a digest", k.Name, k.Sensitive)
		}
		for _, mode := range []awsxml.Mode{awsxml.Digest, awsxml.Clear, awsxml.Drop} {
			for _, data := range dataOf(t, k, mode, false) {
				if err := strict.Validate(data); err != nil {
					t.Errorf("%s, mode %d: %v", k.Name, mode, err)
				}
			}
		}
		for _, data := range dataOf(t, k, awsxml.Digest, true) {
			if err := open.Validate(data); err != nil {
				t.Errorf("%s: %v", k.Name, err)
			}
			if strict.Validate(data) == nil {
				t.Errorf("%s: the strict schema accepts an unknown member", k.Name)
			}
		}
	}
}

// The records of a fake AWS are valid by the schemas, and the schemas refuse wrong records.
func TestDataSchemasOfRecords(t *testing.T) {
	withFakeAWS(
		t,
		awsfake.Options{},
		func(_ *awsfake.AWS, c *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions) {
			c.AddInstances("eu-west-1", 12)
			parents := map[string][]string{}
			var ids func(name string) []string
			ids = func(name string) []string {
				if parents[name] != nil {
					return parents[name]
				}
				k := kind(t, name)
				under := []string{""}
				if k.Parent != "" {
					under = ids(k.Parent)
				}
				for _, parent := range under {
					if _, err := l.each(context.Background(), w(k, "eu-west-1"), k, parent, func(p *record.Page) error {
						for v := range p.Views() {
							parents[name] = append(parents[name], strings.Trim(string(v.ID()), `"`))
						}
						return nil
					}); err != nil {
						t.Fatal(err)
					}
				}
				return parents[name]
			}
			kinds, n := 0, 0
			for i := range Kinds {
				k := &Kinds[i]
				schema := compiledSchema(t, k, false)
				under := []string{""}
				if k.Parent != "" {
					under = ids(k.Parent)
				}
				before := n
				for _, parent := range under {
					validate := func(p *record.Page) error {
						for v := range p.Views() {
							n++
							data, err := jsonschema.UnmarshalJSON(bytes.NewReader(v.Data()))
							if err != nil {
								return err
							}
							if err := schema.Validate(data); err != nil {
								t.Errorf("%s: %v\n%s", k.Name, err, v.Data())
							}
							if text, where := spoiled(data); where != "" && schema.Validate(text) == nil {
								t.Errorf("%s: a list in place of %s is valid", k.Name, where)
							}
						}
						return nil
					}
					if _, err := l.each(context.Background(), w(k, "eu-west-1"), k, parent, validate); err != nil {
						t.Errorf("%s: %v", k.Name, err)
					}
				}
				if n > before {
					kinds++
				}
			}
			if kinds < 15 || n < 100 {
				t.Errorf("only %d records of %d kinds were validated", n, kinds)
			}
		},
	)
}

// spoiled replaces the first text, number or boolean by a list.
func spoiled(data any) (any, string) {
	b, _ := json.Marshal(data)
	out, _ := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	for k, v := range out.(map[string]any) {
		switch v.(type) {
		case string, json.Number, bool:
			out.(map[string]any)[k] = []any{}
			return out, k
		}
	}
	return nil, ""
}
