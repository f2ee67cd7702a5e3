package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
)

// The contract in the repository is that of the routes. UPDATE_OPENAPI=1 writes it.
func TestContractIsThatOfTheRoutes(t *testing.T) {
	want := contractOf(t)
	if os.Getenv("UPDATE_OPENAPI") != "" {
		if err := os.WriteFile("openapi.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(contract, want) {
		t.Error("openapi.json is not the contract of the routes: run UPDATE_OPENAPI=1 go test ./web/api -run ContractIs")
	}
}

// contractOf makes the OpenAPI document: https://spec.openapis.org/oas/v3.1.1.html
func contractOf(t *testing.T) []byte {
	t.Helper()
	s := schemas{}
	paths := map[string]any{}
	for _, rt := range routes() {
		paths[rt.path] = map[string]any{methodOf(&rt): operationOf(s, &rt)}
	}
	problems := map[string]any{
		"description": "An error (RFC 9457), with a hint",
		"content":     map[string]any{"application/problem+json": map[string]any{"schema": s.of(reflect.TypeFor[problem]())}},
	}
	b, err := json.MarshalIndent(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "collector", "version": "1",
			"summary":     "What AWS accounts contain, contained, and when it changed",
			"description": "docs/api.md has examples. A set is a page of items: pass its next as cursor for the following page.",
			"license":     map[string]any{"name": "Apache 2.0", "identifier": "Apache-2.0"},
		},
		"servers":    []any{map[string]any{"url": "/"}},
		"paths":      paths,
		"components": map[string]any{"schemas": s, "responses": map[string]any{"problem": problems}},
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func methodOf(rt *route) string {
	if rt.status != 0 {
		return "post"
	}
	return "get"
}

func operationOf(s schemas, rt *route) map[string]any {
	parameters := []any{}
	for part := range strings.SplitSeq(rt.path, "/") {
		if name, isParameter := strings.CutPrefix(part, "{"); isParameter {
			parameters = append(parameters, map[string]any{
				"name": strings.TrimSuffix(name, "}"), "in": "path", "required": true, "schema": map[string]any{"type": "string"},
			})
		}
	}
	given := slices.Clone(rt.parameters)
	for i := range given {
		schema := map[string]any{"type": "string"}
		switch p := &given[i]; {
		case p.List:
			schema = map[string]any{"type": "array", "items": map[string]any{"type": "string"}}
		case p.Value == "":
			schema = map[string]any{"type": "boolean"}
		}
		usage := strings.ReplaceAll(given[i].Usage, "`", "")
		parameters = append(parameters, queryParameter(given[i].Name, strings.ToUpper(usage[:1])+usage[1:], schema))
	}
	if rt.paged {
		parameters = append(parameters,
			queryParameter(query.Limit.Name, "The rows of a page",
				map[string]any{"type": "integer", "minimum": 1, "maximum": maxPage, "default": defaultPage}),
			queryParameter(rt.cursorName(), "The next of the page before", map[string]any{"type": "string"}))
	}
	content := map[string]any{}
	if rt.answer != nil {
		content[typeJSON] = map[string]any{"schema": s.answer(rt)}
	}
	for _, media := range rt.streams {
		content[media] = map[string]any{"schema": map[string]any{"type": "string"}}
	}
	op := map[string]any{
		"operationId": operationID(rt.path), "summary": rt.summary, "parameters": parameters,
		"responses": map[string]any{
			strconv.Itoa(max(rt.status, http.StatusOK)): map[string]any{"description": rt.summary, "content": content},
			"default": map[string]any{"$ref": "#/components/responses/problem"},
		},
	}
	if rt.example != "" {
		op["description"] = "Example: " + strings.ToUpper(methodOf(rt)) + " " + Prefix + rt.example
	}
	if rt.body != nil {
		op["requestBody"] = map[string]any{"content": map[string]any{
			typeJSON: map[string]any{"schema": s.of(reflect.TypeOf(rt.body)), "example": rt.body},
		}}
	}
	return op
}

func queryParameter(name, usage string, schema any) map[string]any {
	return map[string]any{"name": name, "in": "query", "description": usage, "schema": schema}
}

func operationID(path string) string {
	between := func(c rune) bool { return strings.ContainsRune("/{}.", c) }
	words := strings.FieldsFunc(strings.TrimPrefix(path, Prefix), between)
	for i := range words[1:] {
		words[i+1] = title(words[i+1])
	}
	return strings.Join(words, "")
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// schemas are the JSON Schemas of types, by name.
type schemas map[string]any

// answer is the schema of a route's answer.
func (s schemas) answer(rt *route) any {
	schema := s.of(reflect.TypeOf(rt.answer))
	if rt.otherItem == nil {
		return schema
	}
	other := map[string]any{"type": "object", "properties": map[string]any{
		"items": map[string]any{"type": "array", "items": s.of(reflect.TypeOf(rt.otherItem))},
	}, "required": []string{"items", "as_of"}}
	return map[string]any{"anyOf": []any{schema, other}}
}

// of returns the schema of a type, as encoding/json writes it.
func (s schemas) of(t reflect.Type) any {
	switch t {
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return map[string]any{}
	case reflect.TypeFor[record.Status]():
		return map[string]any{"type": "string", "enum": record.Statuses}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return map[string]any{"anyOf": []any{s.of(t.Elem()), map[string]any{"type": "null"}}}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Interface:
		return map[string]any{}
	case reflect.Struct:
		name := schemaName(t)
		if _, known := s[name]; !known {
			s[name] = nil // a type may contain itself
			properties, required := map[string]any{}, []string{}
			s.addFields(t, properties, &required)
			slices.Sort(required)
			s[name] = map[string]any{
				"type": "object", "properties": properties, "required": required, "additionalProperties": false,
			}
		}
		return map[string]any{"$ref": "#/components/schemas/" + name}
	}
	panic("no schema for " + t.String())
}

func (s schemas) addFields(t reflect.Type, properties map[string]any, required *[]string) {
	for f := range t.Fields() {
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			s.addFields(inner, properties, required)
		case tag == "-" || !f.IsExported():
		case strings.HasPrefix(options, "omit"):
			if f.Type.Kind() == reflect.Pointer {
				properties[tag] = s.of(f.Type.Elem())
			} else {
				properties[tag] = s.of(f.Type)
			}
		default:
			properties[tag] = s.of(f.Type)
			*required = append(*required, tag)
		}
	}
}

// schemaName is the name of a type without its package: CoverageSet for set[query.CoverageLine].
func schemaName(t reflect.Type) string {
	name, item, isSet := strings.Cut(t.Name(), "[")
	if isSet {
		item = strings.TrimSuffix(item, "]")
		name = strings.TrimSuffix(item[strings.LastIndexByte(item, '.')+1:], "Line") + "Set"
	}
	return title(strings.TrimSuffix(name, "Line"))
}
