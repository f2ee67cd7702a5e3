package config

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"github.com/aws-collector/collector/config/internal/yamldoc"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// Schema returns a JSON Schema of the file (draft 2020-12) for editors: every key with its meaning, default and limits,
// including the kinds and outputs of this build. It describes the structure; only [Parse] checks keys against each
// other.
func Schema(k Registry) ([]byte, error) {
	s := &schemaBuilder{registry: k}
	s.reflector = &jsonschema.Reflector{
		FieldNameTag:               "yaml",
		RequiredFromJSONSchemaTags: true,
		DoNotReference:             true,
		Anonymous:                  true,
		Mapper:                     s.scalarSchema,
		LookupComment: func(t reflect.Type, name string) string {
			if name == "" {
				return "" // types have no tags
			}
			f, _ := t.FieldByName(name)
			return f.Tag.Get("doc")
		},
	}
	root := s.structSchema(document{File: Defaults()})
	root.Version = jsonschema.Version
	root.Title = "collector configuration"
	root.Definitions = definitions(k)
	accounts, _ := root.Properties.Get("accounts")
	least := uint64(1)
	accounts.MinItems = &least
	organizations, _ := root.Properties.Get("organizations")
	organizations.MinItems, organizations.Items.Required = &least, []string{"role"}
	root.AnyOf = []*jsonschema.Schema{
		{Required: []string{"accounts"}},
		{Required: []string{"account"}},
		{Required: []string{"organizations"}},
	}
	root.Not = &jsonschema.Schema{Required: []string{"account", "accounts"}}
	if s.err != nil {
		return nil, fmt.Errorf("schema: %w", s.err)
	}
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return append(b, '\n'), nil
}

// A schemaBuilder adds the information of our tags to the schema that the library makes of the types.
type schemaBuilder struct {
	registry  Registry
	reflector *jsonschema.Reflector
	err       error
}

func ref(name string) *jsonschema.Schema { return &jsonschema.Schema{Ref: "#/$defs/" + name} }

// enumOrReference accepts one of the words, a reference, or one of more.
func enumOrReference(all []string, more ...*jsonschema.Schema) *jsonschema.Schema {
	enum := make([]any, len(all))
	for i, w := range all {
		enum[i] = w
	}
	return &jsonschema.Schema{AnyOf: append([]*jsonschema.Schema{{Enum: enum}, ref("reference")}, more...)}
}

// definitions returns the schemas of scalars and of known names. Each also accepts a reference.
func definitions(k Registry) jsonschema.Definitions {
	const durationForm = `^([0-9]+(\.[0-9]+)?|([0-9]+d)?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))*)$`
	globs := &jsonschema.Schema{Type: "string", Pattern: `[*?!]`}
	return jsonschema.Definitions{
		"regions":    enumOrReference(knownRegions(), globs),
		"scopes":     enumOrReference(append(knownRegions(), record.GlobalRegion), globs),
		"kinds":      enumOrReference(k.Kinds, globs),
		"partitions": enumOrReference(partitionIDs()),
		"reference":  {Type: "string", Pattern: `\$\{(env|file):[^}]+\}`, Description: "${env:NAME} or ${file:/path}."},
		"text":       {Extras: map[string]any{"type": []string{"string", "number", "boolean"}}},
		"duration": {
			AnyOf: []*jsonschema.Schema{
				{Type: "number", Minimum: "0"},
				{Type: "string", Pattern: durationForm},
				ref("reference"),
			},
			Description: "90s, 15m, 1h30m or 7d; a bare number is seconds.",
		},
	}
}

// scalarSchema returns the schema of a type that is a scalar in the file; nil leaves the type to the library.
func (s *schemaBuilder) scalarSchema(t reflect.Type) *jsonschema.Schema {
	switch {
	case t == reflect.TypeFor[Output]():
		return s.outputsSchema()
	case !yamldoc.IsScalar(t) || t.Kind() == reflect.Pointer:
		return nil
	case t == reflect.TypeFor[Duration](), t == reflect.TypeFor[time.Duration]():
		return ref("duration")
	case t == reflect.TypeFor[secret.String](), t.Kind() == reflect.String,
		reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return ref("text")
	case t.Kind() == reflect.Bool:
		return orReference(&jsonschema.Schema{Type: "boolean"})
	case t.Kind() == reflect.Float32, t.Kind() == reflect.Float64:
		return orReference(&jsonschema.Schema{Type: "number"})
	}
	return orReference(&jsonschema.Schema{Type: "integer"})
}

// orReference accepts what s accepts, or a reference.
func orReference(s *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{s, ref("reference")}}
}

// structSchema returns the schema of a struct whose values are the defaults.
func (s *schemaBuilder) structSchema(v any) *jsonschema.Schema {
	root := s.reflector.Reflect(v)
	s.refine(root, reflect.Indirect(reflect.ValueOf(v)))
	return root
}

// refine adds limits, words and defaults to the properties of a struct and of the structs in it.
func (s *schemaBuilder) refine(to *jsonschema.Schema, v reflect.Value) {
	for _, f := range yamldoc.FieldsOf(v.Type()) {
		p, ok := to.Properties.Get(f.Key)
		if !ok {
			s.err = fmt.Errorf("no property %q in %v", f.Key, v.Type())
			return
		}
		fv := v.FieldByIndex(f.Index)
		elem := p
		if p.Items != nil {
			elem = p.Items
		}
		s.applyLimits(elem, f)
		p.Default = defaultValue(fv)
		switch t := fv.Type(); {
		case yamldoc.IsScalar(t):
		case t.Kind() == reflect.Struct:
			s.refine(p, fv)
		case t.Kind() == reflect.Pointer:
			s.refine(p, reflect.New(t.Elem()).Elem())
		case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct &&
			!yamldoc.IsScalar(t.Elem()) && t.Elem() != reflect.TypeFor[Output]():
			s.refine(elem, reflect.New(t.Elem()).Elem())
		case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Pointer && !yamldoc.IsScalar(t.Elem()):
			s.refine(p.AdditionalProperties, reflect.New(t.Elem().Elem()).Elem())
		case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Struct && !yamldoc.IsScalar(t.Elem()):
			s.refine(p.AdditionalProperties, reflect.New(t.Elem()).Elem())
		}
	}
}

// applyLimits adds a field's enum, range and names to its schema.
func (s *schemaBuilder) applyLimits(to *jsonschema.Schema, f yamldoc.Field) {
	about := to.Description
	switch {
	case f.Names != "":
		*to = jsonschema.Schema{Ref: ref(f.Names).Ref, Description: about}
	case len(f.Enum) > 0:
		*to = *enumOrReference(f.Enum)
		to.Description = about
	}
	low, high, ok := strings.Cut(f.Limits, "..")
	switch {
	case !ok:
	case len(to.AnyOf) > 0 && to.AnyOf[0].Type == "integer":
		to.AnyOf[0].Minimum, to.AnyOf[0].Maximum = json.Number(low), json.Number(high)
	case low == "":
		to.Description = about + " At most " + high + "."
	case high == "":
		to.Description = about + " At least " + low + "."
	default:
		to.Description = about + " From " + low + " to " + high + "."
	}
}

// defaultValue returns a default as a user writes it, or nil if there is none.
func defaultValue(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case secret.String:
		return nil
	case time.Duration:
		v = reflect.ValueOf(Duration(x))
	}
	if v.Kind() == reflect.Pointer && !v.IsNil() && yamldoc.IsScalar(v.Type()) {
		return v.Elem().Interface()
	}
	switch {
	case v.IsZero():
		return nil
	case yamldoc.IsScalar(v.Type()):
		return v.Interface() // durations and similar types have MarshalText
	case v.Kind() == reflect.Slice && yamldoc.IsScalar(v.Type().Elem()):
		return v.Interface()
	}
	return nil
}

// outputsSchema has one alternative for each type of output.
func (s *schemaBuilder) outputsSchema() *jsonschema.Schema {
	later := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), Required: []string{"type"}}
	later.Properties.Set("type", ref("reference"))
	all := []*jsonschema.Schema{}
	for _, name := range slices.Sorted(maps.Keys(s.registry.Outputs)) {
		o := s.structSchema(s.registry.Outputs[name]())
		o.Version = ""
		o.Title = name
		o.Required = append(o.Required, "type")
		o.Properties.Set("type", &jsonschema.Schema{Const: name, Description: "The type of the output."})
		if err := o.Properties.MoveToFront("type"); err != nil {
			s.err = err
		}
		all = append(all, o)
	}
	return &jsonschema.Schema{OneOf: append(all, later)}
}
