package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/aws-collector/collector/config/internal/yamldoc"
)

func compileSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	b, err := Schema(testRegistry())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON decodes YAML as an editor does before it validates.
func asJSON(t testing.TB, b []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return toJSONTypes(v)
}

func toJSONTypes(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = toJSONTypes(v[k])
		}
	case map[any]any:
		m := map[string]any{}
		for k := range v {
			m[fmt.Sprint(k)] = toJSONTypes(v[k])
		}
		return m
	case []any:
		for i := range v {
			v[i] = toJSONTypes(v[i])
		}
	case time.Time:
		return v.Format(time.DateOnly)
	}
	return v
}

func TestSchemaAcceptsGoodFiles(t *testing.T) {
	s := compileSchema(t)
	all := readFiles(t, "testdata/good/*.yaml")
	for path, b := range readFiles(t, "../config.example.yaml") {
		all[path] = withoutOutputs(t, b)
	}
	for path, b := range all {
		if err := s.Validate(asJSON(t, b)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A schema must reject mistakes in keys, types and words. Only Parse finds the others.
func TestSchemaRejectsBadFiles(t *testing.T) {
	s := compileSchema(t)
	for path, b := range readFiles(t, "testdata/bad/*.yaml") {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		structural := false
		for _, prefix := range []string{
			"a-list", "account-a-list", "account-and-accounts", "accounts-", "unknown-key", "not-in-this-build",
			"regions-no-list", "secret-a-", "name-a-mapping", "number-in-", "number-no-", "number-fraction", "number-too-",
			"bool-yes", "null-", "no-accounts", "credential-source", "kind-slip", "kind-unknown", "region-slip",
			"region-ill-formed", "partition-unknown", "sensitive", "overlap", "timeout-negative", "timeout-no-unit",
			"limits-calls", "limits-attempts", "output-without-type", "output-unknown", "output-option-of", "tag-a-list",
			"tag-null", "many-at-once",
		} {
			structural = structural || strings.HasPrefix(name, prefix)
		}
		if structural && s.Validate(asJSON(t, b)) == nil {
			t.Errorf("%s is accepted", path)
		}
	}
}

// Every key has a description, and every object rejects unknown keys.
func TestSchemaIsComplete(t *testing.T) {
	b, err := Schema(testRegistry())
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(b, &root); err != nil {
		t.Fatal(err)
	}
	if root["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("$schema is %v", root["$schema"])
	}
	keys := 0
	var walk func(path string, v any)
	walk = func(path string, v any) {
		m, ok := v.(map[string]any)
		if !ok {
			return
		}
		props, _ := m["properties"].(map[string]any)
		_, reference := m["required"].([]any)
		if len(props) > 1 || len(props) == 1 && !reference {
			if m["additionalProperties"] != false {
				t.Errorf("%s accepts any key", path)
			}
		}
		for k, p := range props {
			keys++
			p, _ := p.(map[string]any)
			if d, _ := p["description"].(string); d == "" && p["$ref"] != "#/$defs/reference" {
				t.Errorf("%s.%s has no description", path, k)
			}
			walk(path+"."+k, p)
		}
		for _, k := range []string{"items", "additionalProperties"} {
			walk(path+"."+k, m[k])
		}
		for _, k := range []string{"oneOf", "anyOf"} {
			list, _ := m[k].([]any)
			for i, p := range list {
				walk(fmt.Sprintf("%s.%s[%d]", path, k, i), p)
			}
		}
	}
	walk("", root)
	if keys < 60 {
		t.Errorf("found only %d keys", keys)
	}
	for path, want := range map[string]any{
		"properties.schedule.default":                                                     "*/15 * * * *",
		"properties.timeout.default":                                                      "1h",
		"properties.limits.properties.gzip.default":                                       true,
		"properties.limits.properties.pages.anyOf.0.maximum":                              1024.0,
		"properties.collector_configs.properties.kinds.default.0":                         "ec2_instance",
		"properties.overlap.anyOf.0.enum.1":                                               "queue",
		"properties.outputs.items.oneOf.0.properties.type.const":                          "file",
		"properties.outputs.items.oneOf.0.properties.compression.default":                 "none",
		"properties.accounts.items.properties.collector_configs.properties.kinds.default": nil,
	} {
		var v any = root
		for _, step := range strings.Split(path, ".") {
			switch x := v.(type) {
			case map[string]any:
				v = x[step]
			case []any:
				var i int
				if _, err := fmt.Sscan(step, &i); err != nil || i >= len(x) {
					t.Fatalf("%s: no %s", path, step)
				}
				v = x[i]
			}
		}
		if !reflect.DeepEqual(v, want) {
			t.Errorf("%s is %v, want %v", path, v, want)
		}
	}
}

// The example uses every key. The single account: and the keys of a postgres store are comments, because they exclude
// other keys of the example.
func TestExample(t *testing.T) {
	for path, b := range readFiles(t, "../config.example.yaml") {
		f, err := Parse(withoutOutputs(t, b), path, exampleRegistry(b))
		if err != nil {
			t.Fatal(err)
		}
		err = f.Resolve(func(name string) (string, bool) {
			switch {
			case strings.HasSuffix(name, "_AK_ID"):
				return "AKIAIOSFODNN7EXAMPLE", true
			case strings.HasSuffix(name, "_AK_SECRET"):
				return exampleSecret, true
			case name == "SESSION_KEY":
				return strings.Repeat("0f", SessionKeySize), true
			case strings.HasSuffix(name, "_SEED"):
				return exampleSeed, true
			}
			return "012345", true
		}, func(path string) ([]byte, error) {
			if strings.HasSuffix(path, ".json") {
				return []byte(`{"Statement": []}`), nil
			}
			return []byte(exampleSecret), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		checkWarnings(t, f, "accounts[5].token_code")
		var root yaml.Node
		if err := yaml.Unmarshal(b, &root); err != nil {
			t.Fatal(err)
		}
		shown := map[string]bool{}
		collectKeys(root.Content[0], "", shown)
		for _, key := range keysOf(reflect.TypeFor[document](), "") {
			same := key // an organization block has keys of an account block, which the example shows in full
			for _, at := range []string{"organizations.via.", "organizations.collector_configs."} {
				if rest, ok := strings.CutPrefix(key, at); ok {
					same = strings.TrimSuffix("accounts."+strings.TrimPrefix(at, "organizations."), "via.") + rest
				}
			}
			if !shown[key] && (key == "store.dsn" || key == "store.schema" || key == "profiles") { // as comments
				shown[key] = strings.Contains(string(b), "# "+strings.TrimPrefix(key, "store.")+": ")
			}
			if !shown[key] && !shown[same] && key != "account" && !strings.HasPrefix(key, "account.") {
				t.Errorf("%s does not show %s", path, key)
			}
		}
		if !strings.Contains(string(b), "# account:") {
			t.Errorf("%s does not show account:", path)
		}
	}
}

// withoutOutputs removes the outputs from the example. Tests of the program use the whole file.
func withoutOutputs(t *testing.T, example []byte) []byte {
	t.Helper()
	before, after, ok := bytes.Cut(example, []byte("\noutputs:\n"))
	_, after, more := bytes.Cut(after, []byte("\nstore:\n"))
	if !ok || !more {
		t.Fatal("the example has no outputs before its store")
	}
	return slices.Concat(before, []byte("\noutputs: [{type: stdout}]\nstore:\n"), after)
}

// exampleRegistry contains the kinds of the example. A test of the program checks that they exist.
func exampleRegistry(example []byte) Registry {
	k := testRegistry()
	for _, name := range regexp.MustCompile(`\bec2_[a-z_]*[a-z]\b`).FindAll(example, -1) {
		k.Kinds = append(k.Kinds, string(name))
	}
	slices.Sort(k.Kinds)
	k.Kinds = slices.Compact(k.Kinds)
	return k
}

func collectKeys(n *yaml.Node, path string, shown map[string]bool) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			p := strings.TrimPrefix(path+"."+n.Content[i].Value, ".")
			shown[p] = true
			collectKeys(n.Content[i+1], p, shown)
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			collectKeys(c, path, shown)
		}
	}
}

// keysOf returns the path of every key of the type.
func keysOf(t reflect.Type, path string) []string {
	var keys []string
	for _, f := range yamldoc.FieldsOf(t) {
		p := strings.TrimPrefix(path+"."+f.Key, ".")
		keys = append(keys, p)
		e := f.Type
		for e.Kind() == reflect.Slice || e.Kind() == reflect.Pointer {
			e = e.Elem()
		}
		if e.Kind() == reflect.Struct && !yamldoc.IsScalar(e) && e != reflect.TypeFor[Output]() {
			keys = append(keys, keysOf(e, p)...)
		}
	}
	return keys
}
