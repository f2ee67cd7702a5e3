package awsxml_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
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
