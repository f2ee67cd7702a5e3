package collectors

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
)

// DataSchema returns the JSON Schema (draft 2020-12) of the data of the kind's records, made from the SDK's tables. It
// requires no member, as AWS may omit any, and allows additional members, as AWS adds some. A sensitive member may be
// its digest. The error means that the row does not fit the tables.
func (k *Kind) DataSchema() ([]byte, error) {
	prog, err := k.compile()
	if err != nil {
		return nil, fmt.Errorf("kind %s: %w", k.Name, err)
	}
	s := dataSchema{defs: map[string]any{}, documents: map[string]bool{}}
	for _, path := range k.Documents {
		s.addDocument(prog.Item(), path)
	}
	for _, path := range k.Sensitive {
		s.sensitive = append(s.sensitive, strings.Split(path, "."))
	}
	root := s.schemaOf(prog.Item(), s.sensitive)
	if members, ok := root["properties"].(object); ok {
		if name, shape := prog.Enclosing(); name != "" {
			members[name] = s.enclosingSchema(k, shape)
		}
	}
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = k.Name
	root["description"] = fmt.Sprintf(
		"The data of a record of %s: an item of %s as the AWS CLI prints it as JSON. %s", k.Name, k.Op, k.DocURL(),
	)
	if len(s.defs) > 0 {
		root["$defs"] = s.defs
	}
	b, err := json.MarshalIndent(root, "", "  ")
	return append(b, '\n'), err
}

type object = map[string]any

// A dataSchema collects the structures of a kind, which may contain each other.
type dataSchema struct {
	defs      map[string]any // by the SDK's name of the structure
	sensitive [][]string
	documents map[string]bool // "Structure.Member" of the members that are JSON documents
}

// addDocument notes that the member at a path is a JSON document.
func (s *dataSchema) addDocument(item awsxml.Shape, path string) {
	name := path
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		item, _ = item.Path(path[:i])
		name = path[i+1:]
	}
	if item.Type() == awsxml.List {
		item = item.Elem()
	}
	s.documents[item.Name()+"."+name] = true
}

// schemaOf returns the schema of a shape. sensitive holds the paths of sensitive members below it.
func (s *dataSchema) schemaOf(shape awsxml.Shape, sensitive [][]string) object {
	switch shape.Type() {
	case awsxml.Integer:
		return object{"type": "integer"}
	case awsxml.Float:
		return object{"type": "number"}
	case awsxml.Boolean:
		return object{"type": "boolean"}
	case awsxml.Timestamp:
		return object{"type": "string", "format": "date-time"}
	case awsxml.Blob:
		return object{"type": "string", "contentEncoding": "base64"}
	case awsxml.List:
		return object{"type": "array", "items": s.referenceOrSchema(shape.Elem(), sensitive)}
	case awsxml.Map:
		return object{"type": "object", "additionalProperties": s.referenceOrSchema(shape.Elem(), sensitive)}
	case awsxml.Struct:
		members := object{}
		for m := range shape.Members() {
			if members[m.Name] = s.memberSchema(m, sensitive); s.documents[shape.Name()+"."+m.Name] {
				members[m.Name] = object{"type": []string{"object", "string"}, "description": "A JSON document."}
			}
		}
		return object{"type": "object", "properties": members}
	}
	return object{"type": "string"}
}

// memberSchema returns the schema of a member of a structure.
func (s *dataSchema) memberSchema(m awsxml.Member, sensitive [][]string) object {
	var inside [][]string
	for _, path := range sensitive {
		if path[0] != m.Name {
			continue
		}
		if len(path) == 1 {
			return object{"anyOf": []any{
				s.referenceOrSchema(m.Shape, nil),
				object{
					"type":        "string",
					"pattern":     "^(hmac:[0-9a-f]{32})?$",
					"description": "A keyed digest: the member is sensitive.",
				},
			}}
		}
		inside = append(inside, path[1:])
	}
	return s.referenceOrSchema(m.Shape, inside)
}

// referenceOrSchema returns a reference to a structure, which may contain itself, or the schema of any other shape. A
// structure with sensitive members gets a schema in place, because it differs from the structure elsewhere.
func (s *dataSchema) referenceOrSchema(shape awsxml.Shape, sensitive [][]string) object {
	if shape.Type() != awsxml.Struct || shape.Name() == "" || len(sensitive) > 0 {
		return s.schemaOf(shape, sensitive)
	}
	name := shape.Name()
	if _, ok := s.defs[name]; !ok {
		s.defs[name] = nil // it may contain itself
		s.defs[name] = s.schemaOf(shape, nil)
	}
	return object{"$ref": "#/$defs/" + name}
}

// enclosingSchema returns the schema of the members next to the items: all others of the structure that contains the
// items, or the scalar members of the response itself.
func (s *dataSchema) enclosingSchema(k *Kind, shape awsxml.Shape) object {
	_, items, grouped := strings.Cut(k.Items, ".")
	members := object{}
	for m := range shape.Members() {
		if grouped && m.Name != items || !grouped && m.Shape.Type() < awsxml.Struct && m.Name != k.Service().format.Token {
			members[m.Name] = s.referenceOrSchema(m.Shape, nil)
		}
	}
	return object{"type": "object", "properties": members}
}
