package inventory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws-collector/collector/record"
)

// A RowOp is how a row relates to the live resource with its id.
type RowOp int

const (
	Added   RowOp = iota // no live resource has its id
	Changed              // the live resource differs
	Rebased              // the live hash has another version: the row replaces the version, and no version ends
)

// A Row is a resource to be stored. It owns its memory, except for Body.
type Row struct {
	ID, Name string
	State    string // AWS's word; "" if the kind has none
	Type     string
	Tags     string // a JSON object
	Search   string // see SearchText
	Sum      record.Digest
	Op       RowOp
	Body     []byte // a JSON object
}

// Size returns the bytes that the row takes in memory, about.
func (r *Row) Size() int {
	return len(r.ID) + len(r.Name) + len(r.State) + len(r.Type) + len(r.Tags) + len(r.Search) + len(r.Body) + 144
}

func newRow(f *changedRecord) (Row, error) {
	id, tags := f.id, f.view.Tags()
	r := Row{Sum: f.sum, Op: f.op, Body: f.view.Data()}
	name, err := unquote(f.view.Name())
	if err != nil {
		return Row{}, fmt.Errorf("name of %s: %w", id, err)
	}
	state, err := unquote(f.view.State())
	if err != nil {
		return Row{}, fmt.Errorf("state of %s: %w", id, err)
	}
	typ, err := unquote(f.view.Type())
	if err != nil {
		return Row{}, fmt.Errorf("type of %s: %w", id, err)
	}
	var b strings.Builder // one allocation for all
	b.Grow(len(id) + len(name) + len(state) + len(typ) + len(tags))
	cut := func(s []byte) string {
		from := b.Len()
		b.Write(s)
		return b.String()[from:]
	}
	r.ID, r.Name, r.State, r.Type, r.Tags = cut(id), cut(name), cut(state), cut(typ), cut(tags)
	r.Search = SearchText(r.ID, r.Name, tags, r.Body)
	return r, nil
}

// ResourceOf returns the resource of a record that is not stored: the StoredFields are zero.
func ResourceOf(r record.Record, kind record.KindInfo) *Resource {
	out := &Resource{Record: r}
	if len(kind.State)+len(kind.Type) == 0 {
		return out
	}
	var data map[string]json.RawMessage
	if json.Unmarshal(r.Data, &data) == nil {
		out.State, out.Type = firstText(data, kind.State), firstText(data, kind.Type)
	}
	return out
}

// firstText returns the first text at one of the paths that is not empty.
func firstText(data map[string]json.RawMessage, paths []string) string {
	for _, path := range paths {
		if text := textAt(data, path); text != "" {
			return text
		}
	}
	return ""
}

// textAt returns the text at a dotted path, "" if there is none.
func textAt(data map[string]json.RawMessage, path string) (text string) {
	name, rest, nested := strings.Cut(path, ".")
	if !nested {
		_ = json.Unmarshal(data[name], &text) // leaves it empty if the member is missing or not a text
		return text
	}
	var inner map[string]json.RawMessage
	_ = json.Unmarshal(data[name], &inner)
	return textAt(inner, rest)
}

// StoredFields are the fields that only a stored resource has.
var StoredFields = [...]string{"first_seen", "state_since", "valid_from", "valid_to", "ended", "last_seen"}

// unquote returns the text of a JSON string, without a copy if nothing in it is escaped; nothing for nothing.
func unquote(q []byte) ([]byte, error) {
	if len(q) == 0 {
		return nil, nil
	}
	if len(q) >= 2 && q[0] == '"' && q[len(q)-1] == '"' && bytes.IndexByte(q, '\\') < 0 {
		return q[1 : len(q)-1], nil
	}
	s, err := record.Unquote(q)
	return []byte(s), err
}
