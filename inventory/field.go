package inventory

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Field names a part of a resource, in --where and in --columns: a column (Fields), tags.KEY, extra_tags.KEY, or
// data.MEMBER.MEMBER, which descends into every element of a list on its path.
type Field struct {
	name string // a column, "tags", "extra_tags" or "data"
	key  string // of tags
	path []string
}

// Fields are the columns of a resource, besides tags, extra_tags and data.
var Fields = [...]string{"kind", "id", "name", "state", "type", "account", "account_id", "partition", "region", "run",
	"first_seen", "state_since", "valid_from", "valid_to", "ended", "last_seen"}

// ParseField parses the name of a field.
func ParseField(s string) (Field, error) {
	name, rest, dotted := strings.Cut(s, ".")
	switch {
	case slices.Contains(Fields[:], s):
		return Field{name: s}, nil
	case name == "tags" || name == "extra_tags":
		if dotted && rest == "" {
			return Field{}, fmt.Errorf("%s: the tag key is missing", s)
		}
		return Field{name: name, key: rest}, nil
	case name == "data":
		f := Field{name: name}
		if dotted {
			f.path = strings.Split(rest, ".")
		}
		if slices.Contains(f.path, "") {
			return Field{}, fmt.Errorf("%s: the member name is missing", s)
		}
		return f, nil
	case name != "" && name[0] >= 'A' && name[0] <= 'Z':
		return Field{}, fmt.Errorf("unknown field %s: did you mean data.%s?", s, s)
	}
	known := strings.Join(Fields[:], ", ")
	return Field{}, fmt.Errorf("unknown field %s: known fields are %s, tags.KEY, extra_tags.KEY and data.MEMBER", s, known)
}

// NeedsData reports whether the field is in the resource's data.
func (f Field) NeedsData() bool { return f.name == "data" }

// isInstant reports whether the field is a column of instants.
func (f Field) isInstant() bool {
	return slices.Contains([]string{"first_seen", "state_since", "valid_from", "valid_to", "last_seen"}, f.name)
}

// Value returns the field of r: a string, a time.Time or a decoded JSON value, or nil if r does not have it. A path
// through a list gives a list.
func (f Field) Value(r *Resource) (any, error) {
	switch f.name {
	case "tags":
		return tag(r.Tags, f.key), nil
	case "extra_tags":
		return tag(r.ExtraTags, f.key), nil
	case "data":
		v, err := decode(r.Data)
		if err != nil {
			return nil, fmt.Errorf("data of %s: %w", r.ID, err)
		}
		found, many := walk(v, f.path)
		switch {
		case len(found) == 0:
			return nil, nil
		case !many:
			return found[0], nil
		}
		return found, nil
	}
	return f.column(r), nil
}

func (f Field) column(r *Resource) any {
	switch f.name {
	case "kind":
		return text(r.Kind)
	case "id":
		return text(r.ID)
	case "name":
		return text(r.Name)
	case "state":
		return text(r.State)
	case "type":
		return text(r.Type)
	case "account":
		return text(r.Account)
	case "account_id":
		return text(r.AccountID)
	case "partition":
		return text(r.Partition)
	case "region":
		return text(r.Region)
	case "run":
		return text(r.Run)
	case "ended":
		return text(r.Ended)
	case "first_seen":
		return instant(r.FirstSeen)
	case "state_since":
		return instant(r.StateSince)
	case "valid_from":
		return instant(r.ValidFrom)
	case "valid_to":
		return instant(r.ValidTo)
	case "last_seen":
		return instant(r.LastSeen)
	}
	return nil
}

func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func instant(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

func tag(m map[string]string, key string) any {
	if key == "" {
		return m
	}
	if v, ok := m[key]; ok {
		return v
	}
	return nil
}

// walk returns the values at path; many reports whether the path passed through a list.
func walk(v any, path []string) (found []any, many bool) {
	switch v := v.(type) {
	case []any:
		if len(path) == 0 {
			return v, true
		}
		for _, e := range v {
			f, _ := walk(e, path)
			found = append(found, f...)
		}
		return found, true
	case map[string]any:
		if len(path) > 0 {
			if next, ok := v[path[0]]; ok {
				return walk(next, path[1:])
			}
			return nil, false
		}
	}
	if len(path) > 0 || v == nil {
		return nil, false
	}
	return []any{v}, false
}

// scalars returns the field's values as comparisons need them: one for each value that the path found.
func (f Field) scalars(r *Resource) ([]any, error) {
	v, err := f.Value(r)
	if err != nil || v == nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	out := make([]any, 0, len(list))
	for _, v := range list {
		switch v := v.(type) {
		case string, time.Time:
			out = append(out, v)
		case json.Number:
			out = append(out, v.String())
		case bool:
			out = append(out, strconv.FormatBool(v))
		default: // an object: it exists, but compares with nothing
			out = append(out, string(encode(v)))
		}
	}
	return out, nil
}

// ErrTime is the error of ParseTime.
var ErrTime = errors.New("is not a time: write 2026-11-01, 2026-11-01T08:00Z, or 3d for three days ago")

// ParseTime parses an instant: RFC 3339, also without seconds; a date, which means its first instant in UTC; or an age
// such as 90m, 12h or 3d.
func ParseTime(s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	if age, ok := parseAge(s); ok {
		return now.Add(-age).UTC(), nil
	}
	return time.Time{}, ErrTime
}

func parseAge(s string) (time.Duration, bool) {
	var age time.Duration
	if days, rest, ok := strings.Cut(s, "d"); ok {
		n := 0
		for _, c := range []byte(days) {
			if c < '0' || c > '9' || n > 36500 {
				return 0, false
			}
			n = 10*n + int(c-'0')
		}
		if days == "" {
			return 0, false
		}
		if age, s = time.Duration(n)*24*time.Hour, rest; s == "" {
			return age, true
		}
	}
	d, err := time.ParseDuration(s)
	return age + d, err == nil && d >= 0 && s[0] != '+'
}
