package outputs

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

// A label is a label's name, and the field of a resource with its value.
type label struct {
	name  string
	field inventory.Field
}

// sanitizeLabel replaces every character that a label's name cannot have, except at its beginning, by _.
// https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels
func sanitizeLabel(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, s)
}

// labelName returns a valid label name, which does not begin with a digit.
func labelName(s string) string {
	if s != "" && s[0] >= '0' && s[0] <= '9' {
		return "_" + sanitizeLabel(s)
	}
	return sanitizeLabel(s)
}

// parseLabels parses the labels of a configuration, sorted by name. taken tells what already uses a name, or "". A name
// that is taken, or equal to another one after sanitizing, is an error: one label would hide the other.
func parseLabels(config map[string]string, taken func(string) string) ([]label, error) {
	var all []label
	var errs []error
	from := map[string]string{}
	for _, want := range slices.Sorted(maps.Keys(config)) {
		name := labelName(want)
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
		all = append(all, label{name, f})
	}
	slices.SortFunc(all, func(a, b label) int { return strings.Compare(a.name, b.name) })
	return all, errors.Join(errs...)
}

func anyNeedsData(ls []label) bool {
	return slices.ContainsFunc(ls, func(l label) bool { return l.field.NeedsData() })
}

// value returns the label's value, or "" if the resource lacks the field.
func (l label) value(r *inventory.Resource) (string, error) {
	v, err := l.field.Value(r)
	return labelText(v), err
}

// labelText returns a field's value as text: lists with commas, objects as JSON.
func labelText(v any) string {
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
			texts[i] = labelText(e)
		}
		return strings.Join(texts, ",")
	}
	b, err := json.Marshal(v)
	if err != nil { // unreachable: the value was parsed from JSON
		return ""
	}
	return string(b)
}
