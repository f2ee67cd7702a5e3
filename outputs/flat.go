package outputs

import (
	"bytes"
	"encoding/json"
	"iter"
	"maps"
	"slices"
)

// extraTags ranges over an account's extra_tags, sorted, each under the name that it goes out by. One rule holds for every
// output that puts them beside names of its own: the built-in name stays what it is, and the account's tag goes out as
// extra_<key>; if that is taken too, as extra_extra_<key>. builtIn reports whether the output uses a name itself, or its
// receiver does.
func extraTags(tags map[string]string, builtIn func(name string) bool) iter.Seq2[string, string] {
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

// members is the resource's top-level members. Of data that is no object, none.
func members(data json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(data, &m) != nil {
		return nil
	}
	return m
}

// scalar is a text, number or truth value as text. It is not ok for null, objects and lists.
func scalar(raw json.RawMessage) (text string, ok bool) {
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

// scalarOrName is [scalar], and of an object its Name or Code: {"Code":16,"Name":"running"} is how AWS writes some states.
func scalarOrName(raw json.RawMessage) (string, bool) {
	if text, ok := scalar(raw); ok {
		return text, true
	}
	m := members(raw)
	for _, key := range []string{"Name", "Code"} {
		if text, ok := scalar(m[key]); ok {
			return text, true
		}
	}
	return "", false
}

// compactJSON is JSON without white space: as text, the form of a nested member.
func compactJSON(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}
