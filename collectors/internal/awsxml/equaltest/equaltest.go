// Package equaltest compares awsxml with the decoder of the SDK's client of a service, for tests that import the
// client. Begin at [Service.EveryOperation].
package equaltest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go/middleware"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/record"
)

// A Service is a service and the SDK's client of it.
type Service struct {
	Format awsxml.Format
	// Client makes a client that sends its requests by an HTTP client. The operations are methods of the client.
	Client func(http aws.HTTPClient) any
	Unions []string // the structures of which AWS sends only one member
}

// DecodeWithSDK decodes a response with the SDK's client, through an HTTP client that responds with it.
func (s Service) DecodeWithSDK(op string, body []byte) (any, error) {
	m := reflect.ValueOf(s.Client(response(body))).MethodByName(op)
	if !m.IsValid() {
		return nil, fmt.Errorf("the client has no %s", op)
	}
	out := m.Call([]reflect.Value{reflect.ValueOf(context.Background()), reflect.New(m.Type().In(1).Elem())})
	err, _ := out[1].Interface().(error)
	return out[0].Interface(), err
}

// WithoutValidation lets a client send empty requests.
func WithoutValidation(s *middleware.Stack) error {
	_, _ = s.Initialize.Remove("OperationInputValidation")
	return nil
}

type response []byte

func (a response) Do(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: 200,
		Status:     "200 OK",
		Header:     http.Header{},
		Body:       io.NopCloser(bytes.NewReader(a)),
	}, nil
}

// decodeWithOurs decodes a response as a single item or as the items of a list, and returns their data.
func (s Service) decodeWithOurs(
	op, items string, body []byte,
) (data []json.RawMessage, next string, unknown int, err error) {
	g, err := awsxml.Compile(s.Format, awsxml.Spec{Op: op, Items: items, ConstID: "x"})
	if err != nil {
		return nil, "", 0, err
	}
	var d awsxml.Decoder
	var p record.Page
	e := record.NewEnvelope(record.Target{}, record.Identity{}, []byte("{}"), "", "")
	if next, err = d.Decode(g, awsxml.Options{Envelope: e}, bytes.NewReader(body), &p); err != nil {
		return nil, "", 0, err
	}
	for v := range p.Views() {
		if !json.Valid(v.Line()) {
			return nil, "", 0, fmt.Errorf("not JSON: %s", v.Line())
		}
		data = append(data, bytes.Clone(v.Data()))
	}
	return data, next, p.Unknown(), nil
}

// A Writer writes random responses from the tables.
type Writer struct {
	*rand.Rand
	b     bytes.Buffer
	full  bool // write every member, and at least one element of every list
	space bool // indentation
	// unions are the structures of which one member is written.
	unions []string
}

func (w *Writer) indent(depth int) {
	if w.space {
		w.b.WriteString("\n" + strings.Repeat("    ", depth))
	}
}

func (w *Writer) element(name string, s awsxml.Shape, depth int) {
	w.indent(depth)
	switch t := s.Type(); t {
	case awsxml.Struct, awsxml.List, awsxml.Map:
		fmt.Fprintf(&w.b, "<%s>", name)
		n := w.b.Len()
		if t == awsxml.Struct {
			w.members(s, depth+1)
		} else {
			w.elements(s.Item(), s, depth+1)
		}
		if w.b.Len() == n && w.IntN(2) == 0 {
			w.b.Truncate(n - 1)
			w.b.WriteString("/>")
			return
		}
		w.indent(depth)
		fmt.Fprintf(&w.b, "</%s>", name)
	default:
		text := w.text(t)
		switch {
		case text == "" && w.IntN(2) == 0:
			fmt.Fprintf(&w.b, "<%s/>", name)
		case w.IntN(10) == 0 && !strings.Contains(text, "]]>") && text != "":
			fmt.Fprintf(&w.b, "<%s><![CDATA[%s]]></%s>", name, text, name)
		default:
			fmt.Fprintf(&w.b, "<%s>%s</%s>", name, w.escape(text), name)
		}
	}
}

// elements writes the elements of a list or the entries of a map.
func (w *Writer) elements(name string, s awsxml.Shape, depth int) {
	n := w.IntN(4)
	if w.full {
		n = 1 + w.IntN(2)
	}
	for i := range n {
		if s.Type() == awsxml.List {
			w.element(name, s.Elem(), depth)
			continue
		}
		key, value := s.Entry()
		w.indent(depth)
		fmt.Fprintf(&w.b, "<%s><%s>%d%s</%s>", name, key, i, w.escape(w.text(awsxml.String)), key)
		w.element(value, s.Elem(), depth+1)
		fmt.Fprintf(&w.b, "</%s>", name)
	}
}

func (w *Writer) members(s awsxml.Shape, depth int) {
	var ms []awsxml.Member
	for m := range s.Members() {
		if w.full || w.IntN(3) > 0 {
			ms = append(ms, m)
		}
	}
	if slices.Contains(w.unions, s.Name()) {
		all := slices.Collect(s.Members())
		ms = []awsxml.Member{all[w.IntN(len(all))]}
	}
	w.Shuffle(len(ms), func(i, j int) { ms[i], ms[j] = ms[j], ms[i] })
	for _, m := range ms {
		if t := m.Shape.Type(); (t == awsxml.List || t == awsxml.Map) && m.Shape.Item() == "" {
			w.elements(m.Wire, m.Shape, depth)
		} else {
			w.element(m.Wire, m.Shape, depth)
		}
	}
}

func (w *Writer) text(t awsxml.Type) string {
	switch t {
	case awsxml.Integer:
		return strconv.Itoa(int(int32(w.Uint32())))
	case awsxml.Float:
		return strconv.FormatFloat(float64(w.IntN(1000))/8, 'f', -1, 32)
	case awsxml.Boolean:
		return strconv.FormatBool(w.IntN(2) == 0)
	case awsxml.Timestamp:
		return time.Unix(int64(w.IntN(2e9)), int64(w.IntN(1000))*1e6).UTC().Format("2006-01-02T15:04:05.000Z")
	case awsxml.Blob:
		return [...]string{"AAECAw==", "aGVsbG8="}[w.IntN(2)]
	}
	if w.full {
		return fmt.Sprintf("text-%x", w.Uint32())
	}
	const alphabet = "abcXYZ019-_/.:,{}[] \t\n\"\\<>&'éß漢😀\u2028\u007f"
	runes := []rune(alphabet)
	n := w.IntN(12)
	if w.IntN(50) == 0 {
		n = w.IntN(3000)
	}
	var s []rune
	for range n {
		s = append(s, runes[w.IntN(len(runes))])
	}
	return string(s)
}

func (w *Writer) escape(s string) string {
	r := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	switch w.IntN(3) {
	case 0:
		r = strings.NewReplacer(
			"&",
			"&#38;",
			"<",
			"&#x3c;",
			">",
			"&gt;",
			`"`,
			"&quot;",
			"'",
			"&apos;",
			"é",
			"&#233;",
			"\n",
			"&#xA;",
		)
	case 1:
		r = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "😀", "&#x1f600;", "\t", "&#9;")
	}
	return r.Replace(s)
}

// NewWriter returns a writer of other responses for each pair of seeds.
func NewWriter(seed, other uint64, indented bool) *Writer {
	return &Writer{Rand: rand.New(rand.NewPCG(seed, other)), space: indented}
}

// Members writes the members of a structure: a random part of them, in random order.
func (w *Writer) Members(s awsxml.Shape) []byte {
	w.b.Reset()
	w.members(s, 1)
	return bytes.Clone(w.b.Bytes())
}

func (w *Writer) document(f awsxml.Format, o awsxml.Operation) []byte {
	w.b.Reset()
	w.b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	fmt.Fprintf(&w.b, `<%s%s xmlns="http://%s.amazonaws.com/doc/2016-11-15/">`, o.Name, f.RootSuffix, f.Service)
	w.indent(1)
	if f.ResultSuffix == "" {
		w.b.WriteString("<requestId>8f7724cf-example</requestId>")
		w.members(o.Output, 1)
	} else {
		fmt.Fprintf(&w.b, "<%s%s>", o.Name, f.ResultSuffix)
		w.members(o.Output, 2)
		w.indent(1)
		fmt.Fprintf(&w.b, "</%s%s>", o.Name, f.ResultSuffix)
		w.indent(1)
		w.b.WriteString("<ResponseMetadata><RequestId>8f7724cf-example</RequestId></ResponseMetadata>")
	}
	w.indent(0)
	fmt.Fprintf(&w.b, "</%s%s>", o.Name, f.RootSuffix)
	if w.space {
		w.b.WriteString("\n")
	}
	return bytes.Clone(w.b.Bytes())
}

// compare compares our JSON with the SDK's value, member by member, in both directions. If filled is set, all members
// of the SDK's value must be set, which shows that the tables lack none.
func compare(path string, want reflect.Value, got any, filled bool) error {
	if !want.IsValid() {
		return fmt.Errorf("%s: %v, want none", path, got)
	}
	switch t := want.Interface().(type) {
	case *time.Time:
		if t == nil {
			return fmt.Errorf("%s: %v, want none", path, got)
		}
		return compareTime(path, *t, got)
	case time.Time: // in a list
		return compareTime(path, t, got)
	case []byte:
		s, _ := got.(string)
		var b []byte
		if err := json.Unmarshal([]byte(strconv.Quote(s)), &b); err != nil || !bytes.Equal(b, t) {
			return fmt.Errorf("%s: %v, want %q", path, got, t)
		}
		return nil
	}
	switch want.Kind() {
	case reflect.Pointer:
		return compare(path, want.Elem(), got, filled)
	case reflect.Interface:
		return compareUnion(path, want.Elem().Elem(), got, filled)
	case reflect.Struct:
		return compareStruct(path, want, got, filled)
	case reflect.Slice:
		list, ok := got.([]any)
		if !ok || len(list) != want.Len() {
			return fmt.Errorf("%s: %v, want %d elements", path, got, want.Len())
		}
		for i, x := range list {
			if err := compare(fmt.Sprintf("%s[%d]", path, i), want.Index(i), x, filled); err != nil {
				return err
			}
		}
		return nil
	case reflect.Map:
		obj, ok := got.(map[string]any)
		if !ok || len(obj) != want.Len() {
			return fmt.Errorf("%s: %v, want %d entries", path, got, want.Len())
		}
		for key, x := range obj {
			if err := compare(path+"."+key, want.MapIndex(reflect.ValueOf(key)), x, filled); err != nil {
				return err
			}
		}
	case reflect.String:
		if s, ok := got.(string); !ok || s != want.String() {
			return fmt.Errorf("%s: %q, want %q", path, got, want.String())
		}
	case reflect.Bool:
		if b, ok := got.(bool); !ok || b != want.Bool() {
			return fmt.Errorf("%s: %v, want %v", path, got, want.Bool())
		}
	case reflect.Int32, reflect.Int64:
		if n, ok := got.(json.Number); !ok || n.String() != strconv.FormatInt(want.Int(), 10) {
			return fmt.Errorf("%s: %v, want %d", path, got, want.Int())
		}
	case reflect.Float32, reflect.Float64:
		n, ok := got.(json.Number)
		if f, err := n.Float64(); !ok || err != nil || f != want.Float() {
			return fmt.Errorf("%s: %v, want %v", path, got, want.Float())
		}
	default:
		return fmt.Errorf("%s: a kind that the test does not know: %s", path, want.Kind())
	}
	return nil
}

// compareUnion compares the one member of a union, a structure XMemberName with the value.
func compareUnion(path string, want reflect.Value, got any, filled bool) error {
	obj, _ := got.(map[string]any)
	for name, x := range obj {
		if len(obj) == 1 && strings.HasSuffix(want.Type().Name(), "Member"+name) {
			return compare(path+"."+name, want.FieldByName("Value"), x, filled)
		}
	}
	return fmt.Errorf("%s: %v, want the member of %s", path, got, want.Type().Name())
}

func compareStruct(path string, want reflect.Value, got any, filled bool) error {
	obj, ok := got.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: %T, want an object", path, got)
	}
	left := len(obj)
	for i := range want.NumField() {
		f := want.Type().Field(i)
		if !f.IsExported() || f.Name == "ResultMetadata" {
			continue
		}
		v := want.Field(i)
		x, has := obj[f.Name]
		if has {
			left--
		}
		// The SDK has texts and required scalars without a pointer: a zero value may be absent or not.
		optional := slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Slice, reflect.Map}, v.Kind())
		if absent := v.IsZero(); optional && absent == has {
			return fmt.Errorf("%s.%s: in ours %v, in the SDK's %v", path, f.Name, has, !absent)
		}
		if !has {
			if filled || !v.IsZero() {
				return fmt.Errorf("%s.%s: missing", path, f.Name)
			}
			continue
		}
		if err := compare(path+"."+f.Name, v, x, filled); err != nil {
			return err
		}
	}
	if left != 0 {
		return fmt.Errorf("%s: members that the SDK does not have: %v", path, obj)
	}
	return nil
}

func compareTime(path string, want time.Time, got any) error {
	s, _ := got.(string)
	if at, err := time.Parse(time.RFC3339Nano, s); err != nil || !at.Equal(want) {
		return fmt.Errorf("%s: %v, want %v (%v)", path, got, want, err)
	}
	return nil
}

func decodeJSON(data []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}

// EveryOperation writes responses of every operation from the tables and compares the results of the SDK's decoder and
// ours. One response of each operation has every member, so every field of the SDK's types must be set: otherwise the
// tables lack a member.
func (s Service) EveryOperation(t *testing.T, atLeast int) {
	rounds := 12
	if testing.Short() {
		rounds = 2
	}
	ops := awsxml.Operations(s.Format.Service)
	if len(ops) < atLeast {
		t.Fatalf("only %d operations", len(ops))
	}
	for _, op := range ops {
		o, _ := awsxml.Describe(s.Format.Service, op)
		for round := range rounds {
			w := NewWriter(uint64(round), uint64(len(op)), round%2 == 0)
			w.full, w.unions = round == 0, s.Unions
			doc := w.document(s.Format, o)
			if err := s.Equal(o, doc, w.full); err != nil {
				t.Errorf("%s, round %d: %v", op, round, err)
				if testing.Verbose() {
					t.Logf("%s", doc)
				}
				break
			}
		}
	}
}

// Equal compares the results of both decoders for a response. If filled is set, every member must be in it.
func (s Service) Equal(o awsxml.Operation, doc []byte, filled bool) error {
	want, err := s.DecodeWithSDK(o.Name, doc)
	if err != nil {
		return fmt.Errorf("SDK: %w", err)
	}
	data, next, unknown, err := s.decodeWithOurs(o.Name, "", doc)
	if err != nil {
		return err
	}
	if unknown > 0 || len(data) != 1 {
		return fmt.Errorf("%d items, %d things unknown", len(data), unknown)
	}
	got, err := decodeJSON(data[0])
	if err != nil {
		return err
	}
	if f := reflect.ValueOf(want).Elem().FieldByName(s.Format.Token); f.IsValid() { // the token is not data
		token, _ := f.Interface().(*string)
		if aws.ToString(token) != next {
			return fmt.Errorf("token %q, want %q", next, aws.ToString(token))
		}
		f.SetZero()
		if filled {
			f.Set(reflect.ValueOf(aws.String(next)))
			got.(map[string]any)[s.Format.Token] = next
		}
	}
	if err := compare("", reflect.ValueOf(want), got, filled); err != nil {
		return err
	}
	return s.lists(o, doc, got.(map[string]any))
}

// lists decodes the response with each of its lists as the item list: the records must be the list's elements.
func (s Service) lists(o awsxml.Operation, doc []byte, whole map[string]any) error {
	for m := range o.Output.Members() {
		if m.Shape.Type() != awsxml.List {
			continue
		}
		data, _, unknown, err := s.decodeWithOurs(o.Name, m.Name, doc)
		if err != nil || unknown > 0 {
			return fmt.Errorf("items %s: %d things unknown, %w", m.Name, unknown, err)
		}
		list, _ := whole[m.Name].([]any)
		if len(list) != len(data) {
			return fmt.Errorf("items %s: %d, want %d", m.Name, len(data), len(list))
		}
		for i, x := range data {
			got, err := decodeJSON(x)
			if obj, ok := got.(map[string]any); ok {
				delete(obj, "Answer")
			}
			if err != nil || !reflect.DeepEqual(got, list[i]) {
				return fmt.Errorf("items %s: %s, want %v", m.Name, x, list[i])
			}
		}
	}
	return nil
}
