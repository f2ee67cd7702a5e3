package collectors

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws-collector/collector/collectors/internal/ec2xml"
)

// DataSchema is the JSON Schema (draft 2020-12) of the data of the kind's records, made from the SDK's own tables. It asks
// for nothing, as AWS sends no member always, and forbids no other members, as AWS adds them. A sensitive member may be
// its digest. The error is a row that the tables do not bear out.
func (k *Kind) DataSchema() ([]byte, error) {
	prog, err := ec2xml.Compile(k.spec())
	if err != nil {
		return nil, fmt.Errorf("kind %s: %w", k.Name, err)
	}
	s := dataSchema{defs: map[string]any{}}
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
	root["description"] = fmt.Sprintf("The data of a record of %s: an item of %s as the AWS CLI prints it as JSON. %s", k.Name, k.Op, k.DocURL())
	if len(s.defs) > 0 {
		root["$defs"] = s.defs
	}
	b, err := json.MarshalIndent(root, "", "  ")
	return append(b, '\n'), err
}

type object = map[string]any

// A dataSchema gathers the structures of a kind, which may hold each other.
type dataSchema struct {
	defs      map[string]any // by the SDK's name of a structure
	sensitive [][]string
}

// schemaOf is the schema of a shape. below is what is sensitive in it, as paths from it.
func (s *dataSchema) schemaOf(shape ec2xml.Shape, below [][]string) object {
	switch shape.Type() {
	case ec2xml.Integer:
		return object{"type": "integer"}
	case ec2xml.Float:
		return object{"type": "number"}
	case ec2xml.Boolean:
		return object{"type": "boolean"}
	case ec2xml.Timestamp:
		return object{"type": "string", "format": "date-time"}
	case ec2xml.Blob:
		return object{"type": "string", "contentEncoding": "base64"}
	case ec2xml.List:
		return object{"type": "array", "items": s.referenceOrSchema(shape.Elem(), below)}
	case ec2xml.Struct:
		members := object{}
		for m := range shape.Members() {
			members[m.Name] = s.memberSchema(m, below)
		}
		return object{"type": "object", "properties": members}
	}
	return object{"type": "string"}
}

// memberSchema is the schema of a member of a structure.
func (s *dataSchema) memberSchema(m ec2xml.Member, below [][]string) object {
	var inside [][]string
	for _, path := range below {
		if path[0] != m.Name {
			continue
		}
		if len(path) == 1 {
			return object{"anyOf": []any{
				s.referenceOrSchema(m.Shape, nil),
				object{"type": "string", "pattern": "^(hmac:[0-9a-f]{32})?$", "description": "A keyed digest: the member is sensitive."},
			}}
		}
		inside = append(inside, path[1:])
	}
	return s.referenceOrSchema(m.Shape, inside)
}

// referenceOrSchema is a reference to a structure, which may hold itself; or the schema of anything else. What has something sensitive
// in it is written in place, as it is not what the structure is elsewhere.
func (s *dataSchema) referenceOrSchema(shape ec2xml.Shape, below [][]string) object {
	if shape.Type() != ec2xml.Struct || shape.Name() == "" || len(below) > 0 {
		return s.schemaOf(shape, below)
	}
	name := shape.Name()
	if _, ok := s.defs[name]; !ok {
		s.defs[name] = nil // it may hold itself
		s.defs[name] = s.schemaOf(shape, nil)
	}
	return object{"$ref": "#/$defs/" + name}
}

// enclosingSchema is the schema of what stands beside the items: of a structure that holds them, all of it but them; of the answer
// itself, its plain members.
func (s *dataSchema) enclosingSchema(k *Kind, shape ec2xml.Shape) object {
	_, items, grouped := strings.Cut(k.Items, ".")
	members := object{}
	for m := range shape.Members() {
		if grouped && m.Name != items || !grouped && m.Shape.Type() < ec2xml.Struct && m.Name != "NextToken" {
			members[m.Name] = s.referenceOrSchema(m.Shape, nil)
		}
	}
	return object{"type": "object", "properties": members}
}
