package inventory

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Deltas returns the differences between the data of two versions, as a person would name them: members by their path
// (State.Name), elements of a list by their key or id (Tags[team].Value), and for other lists the elements that were
// added and removed. The order of a list is ignored.
func Deltas(before, after json.RawMessage) ([]Delta, error) {
	a, err := decode(before)
	if err != nil {
		return nil, err
	}
	b, err := decode(after)
	if err != nil {
		return nil, err
	}
	var d deltas
	d.compare("", a, b)
	return d, nil
}

func decode(raw json.RawMessage) (v any, err error) {
	if len(raw) == 0 {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}

type deltas []Delta

func (d *deltas) add(path string, a, b any) {
	*d = append(*d, Delta{Path: path, From: encode(a), To: encode(b)})
}

// encode cannot fail: v was decoded from JSON.
func encode(v any) json.RawMessage {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
	return bytes.TrimRight(buf.Bytes(), "\n")
}

func (d *deltas) compare(path string, a, b any) {
	switch a := a.(type) {
	case map[string]any:
		if b, ok := b.(map[string]any); ok {
			d.members(path, a, b, func(k string) string { return strings.TrimPrefix(path+"."+k, ".") })
			return
		}
	case []any:
		if b, ok := b.([]any); ok {
			d.lists(path, a, b)
			return
		}
	}
	if a, b := encode(a), encode(b); !bytes.Equal(a, b) {
		*d = append(*d, Delta{Path: path, From: a, To: b})
	}
}

func (d *deltas) members(path string, a, b map[string]any, name func(string) string) {
	keys := slices.Collect(maps.Keys(a))
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		x, inA := a[k]
		y, inB := b[k]
		switch {
		case !inA:
			d.add(name(k), nil, y)
		case !inB:
			d.add(name(k), x, nil)
		default:
			d.compare(name(k), x, y)
		}
	}
}

func (d *deltas) lists(path string, a, b []any) {
	if x, y, ok := keyed(a, b); ok {
		d.members(path, x, y, func(k string) string { return path + "[" + k + "]" })
		return
	}
	text := func(v any) string { return string(encode(v)) }
	count := map[string]int{}
	for _, v := range b {
		count[text(v)]++
	}
	for _, v := range a {
		if s := text(v); count[s] > 0 {
			count[s]--
		} else {
			d.add(path+"[]", v, nil)
		}
	}
	for _, v := range b {
		if s := text(v); count[s] > 0 {
			count[s]--
			d.add(path+"[]", nil, v)
		}
	}
}

// keyed turns two lists of objects into maps if one member is unique among the elements of each list: Key, or a member
// that ends in Id, or one that ends in Name.
func keyed(a, b []any) (x, y map[string]any, ok bool) {
	if len(a)+len(b) == 0 {
		return nil, nil, true
	}
	first, _ := slices.Concat(a, b)[0].(map[string]any)
	rank := func(k string) int {
		switch {
		case k == "Key":
			return 0
		case strings.HasSuffix(k, "Id"):
			return 1
		case strings.HasSuffix(k, "Name"):
			return 2
		}
		return 3
	}
	names := slices.SortedFunc(
		maps.Keys(first), func(p, q string) int { return cmp.Or(cmp.Compare(rank(p), rank(q)), cmp.Compare(p, q)) },
	)
	for _, name := range names {
		if rank(name) == 3 {
			break
		}
		if x, ok = byMember(a, name); !ok {
			continue
		}
		if y, ok = byMember(b, name); ok {
			return x, y, true
		}
	}
	return nil, nil, false
}

func byMember(list []any, name string) (map[string]any, bool) {
	m := make(map[string]any, len(list))
	for _, v := range list {
		o, _ := v.(map[string]any)
		key, ok := o[name].(string)
		if _, twice := m[key]; !ok || twice {
			return nil, false
		}
		m[key] = v
	}
	return m, true
}
