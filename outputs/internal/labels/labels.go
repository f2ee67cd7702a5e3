// Package labels makes labels of Prometheus from fields of a resource.
package labels

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws-collector/collector/inventory"
)

// A Label is a label's name, and the field of a resource with its value.
type Label struct {
	Name  string
	field inventory.Field
}

// Sanitize replaces every character that a label's name cannot have, except at its beginning, by _.
// https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels
func Sanitize(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, s)
}

// Name returns a valid label name, which does not begin with a digit.
func Name(s string) string {
	if s != "" && s[0] >= '0' && s[0] <= '9' {
		return "_" + Sanitize(s)
	}
	return Sanitize(s)
}

// Parse parses the labels of a configuration, sorted by name. taken tells what already uses a name, or "". A name
// that is taken, or equal to another one after sanitizing, is an error: one label would hide the other.
func Parse(config map[string]string, taken func(string) string) ([]Label, error) {
	var all []Label
	var errs []error
	from := map[string]string{}
	for _, want := range slices.Sorted(maps.Keys(config)) {
		name := Name(want)
		by, duplicate := from[name]
		switch {
		case duplicate:
			errs = append(errs, fmt.Errorf("labels.%s: it and %q would both become the label %s; remove one", want, by, name))
			continue
		case taken(name) != "":
			errs = append(errs, fmt.Errorf("labels.%s: the label %s is %s; use another name", want, name, taken(name)))
			continue
		}
		from[name] = want
		f, err := inventory.ParseField(config[want])
		if err != nil {
			errs = append(errs, fmt.Errorf("labels.%s: %w", want, err))
			continue
		}
		all = append(all, Label{name, f})
	}
	slices.SortFunc(all, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
	return all, errors.Join(errs...)
}

func AnyNeedsData(ls []Label) bool {
	return slices.ContainsFunc(ls, func(l Label) bool { return l.field.NeedsData() })
}

// Value returns the label's value, or "" if the resource lacks the field.
func (l Label) Value(r *inventory.Resource) (string, error) {
	v, err := l.field.Value(r)
	return Text(v), err
}

// Text returns a field's value as text: lists with commas, objects as JSON.
func Text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return strings.ToValidUTF8(v, "\uFFFD")
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case []any:
		texts := make([]string, len(v))
		for i, e := range v {
			texts[i] = Text(e)
		}
		return strings.Join(texts, ",")
	}
	b, err := json.Marshal(v)
	if err != nil { // unreachable: the value was parsed from JSON
		return ""
	}
	return string(b)
}
