// Package fields reads members of a resource's JSON, and names an account's extra_tags, for outputs that send another
// format than the lines.
package fields

import (
	"bytes"
	"encoding/json"
	"iter"
	"maps"
	"slices"
)

// StateMembers are the members of a resource that hold its state or its type.
var StateMembers = []string{"State", "Status", "Type"}

// ExtraTags yields an account's extra_tags, sorted, each with the name under which it is sent. All outputs that send
// them together with their own names share one rule: a built-in name keeps its meaning, and the account's tag is sent
// as extra_<key>, or as extra_extra_<key> if that name is used too. builtIn reports whether the output or its receiver
// uses a name.
func ExtraTags(tags map[string]string, builtIn func(name string) bool) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		used := map[string]bool{}
		for _, key := range slices.Sorted(maps.Keys(tags)) {
			name := key
			for builtIn(name) || used[name] {
				name = "extra_" + name
			}
			used[name] = true
			if !yield(name, tags[key]) {
				return
			}
		}
	}
}

// Members returns the top-level members of a resource; none if data is not an object.
func Members(data json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(data, &m) != nil {
		return nil
	}
	return m
}

// Scalar returns a string, number or boolean as text. ok is false for null, objects and arrays.
func Scalar(raw json.RawMessage) (text string, ok bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return "", false
	}
	switch raw[0] {
	case '"':
		return text, json.Unmarshal(raw, &text) == nil
	case '{', '[', 'n':
		return "", false
	}
	return string(raw), true
}

// ScalarOrName is [Scalar], or the Name or Code of an object: AWS writes some states as {"Code":16,"Name":"running"}.
func ScalarOrName(raw json.RawMessage) (string, bool) {
	if text, ok := Scalar(raw); ok {
		return text, true
	}
	m := Members(raw)
	for _, key := range []string{"Name", "Code"} {
		if text, ok := Scalar(m[key]); ok {
			return text, true
		}
	}
	return "", false
}

// CompactJSON returns JSON without white space: the text form of a nested member.
func CompactJSON(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

func SortedKeys(m map[string]json.RawMessage) []string { return slices.Sorted(maps.Keys(m)) }
