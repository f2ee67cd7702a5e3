package inventory

import (
	"bytes"
	"fmt"
	"iter"
	"strings"

	"github.com/aws-collector/collector/record"
)

// RowOp a row relates to what is live.
type RowOp int

// The ways.
const (
	Added   RowOp = iota // no live resource has its id
	Changed              // the live one is different
	Rebased              // the live one's hash is of another version: the row takes its place, and no version ends
)

// A Row is a resource on its way into the store, but for its body. It owns its memory.
type Row struct {
	ID, Name string
	State    string // as AWS says it; "" where the kind has none
	Type     string
	Tags     string // a JSON object
	Sum      record.Digest
	Op       RowOp
}

func (r *Row) size() int {
	return len(r.ID) + len(r.Name) + len(r.State) + len(r.Type) + len(r.Tags) + 128
}

func newRow(types []string, f *changedRecord) (Row, error) {
	id, tags, data := f.id, f.view.Tags(), f.view.Data()
	r := Row{Sum: f.sum, Op: f.op}
	name, err := []byte(nil), error(nil)
	if q := f.view.Name(); len(q) > 0 {
		if name, err = unquote(q); err != nil {
			return Row{}, fmt.Errorf("name of %s: %w", id, err)
		}
	}
	var b strings.Builder // all three in one piece of memory
	b.Grow(len(id) + len(name) + len(tags))
	b.Write(id)
	b.Write(name)
	b.Write(tags)
	all := b.String()
	r.ID, r.Name, r.Tags = all[:len(id)], all[len(id):len(id)+len(name)], all[len(id)+len(name):]
	r.State, r.Type = stateAndType(types, data)
	return r, nil
}

// ResourceOf is a record as it is before it is remembered: what only a store can know of it is missing.
func ResourceOf(r record.Record) *Resource {
	out := &Resource{Record: r}
	out.State, out.Type = stateAndType(typeMembers(r.Kind), r.Data)
	return out
}

// StoredFields is the fields that a record does not have until it is remembered.
var StoredFields = [...]string{"first_seen", "state_since", "valid_from", "valid_to", "ended", "last_seen"}

// stateAndType is a resource's state: the member State or Status, or, where that is an object, its Name or Code; and its
// type: the member Type, else the one called for the kind (InstanceType, VolumeType, InterfaceType, KeyType), else InstanceType.
// Both stand near the beginning of most resources, and nothing is read that could not tell better.
func stateAndType(types []string, data []byte) (state, typ string) {
	best, known := len(types), 0
	var status string
	for key, value, at := member(data, 0); at > 0; key, value, at = member(data, at) {
		switch key := string(key); key {
		case "State":
			state = stateText(value)
		case "Status":
			status = stateText(value)
		default:
			if !strings.HasSuffix(key, typeSuffix) {
				continue
			}
			for i, t := range types[:best] {
				if key == t {
					typ, best = stateText(value), i
				}
			}
		}
		if state != "" && typ != "" && at >= known {
			n := findName(data[at:], types[:best])
			if n < 0 {
				break
			}
			known = at + n
		}
	}
	if state == "" {
		state = status
	}
	return state, typ
}

const typeSuffix = "Type"

// findName is where one of these names, each of which ends in Type, ends as a word of a JSON text, at whatever depth; -1: nowhere.
func findName(text []byte, names []string) int {
	for end := 0; len(names) > 0; {
		n := bytes.Index(text[end:], []byte(typeSuffix+`"`))
		if n < 0 {
			break
		}
		end += n + len(typeSuffix)
		for _, name := range names {
			if from := end - len(name); from > 0 && text[from-1] == '"' && string(text[from:end]) == name {
				return end
			}
		}
	}
	return -1
}

func typeMembers(kind string) []string {
	words := strings.Split(strings.TrimPrefix(kind, "ec2_"), "_")
	for i, w := range words {
		if w != "" {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return []string{"Type", strings.Join(words, "") + "Type", words[len(words)-1] + "Type", words[0] + "Type", "InstanceType"}
}

// stateText is the text of a JSON string, or of the Name or Code of an object.
func stateText(value []byte) string {
	if len(value) == 0 {
		return ""
	}
	switch value[0] {
	case '"':
		s, err := record.Unquote(value)
		if err != nil {
			return ""
		}
		return s
	case '{':
		name, code := "", ""
		for k, v := range members(value) {
			switch string(k) {
			case "Name":
				name = stateText(v)
			case "Code":
				if v[0] == '"' {
					code = stateText(v)
				}
			}
		}
		if name == "" {
			return code
		}
		return name
	}
	return ""
}

// unquote is the text of a JSON string without a copy where nothing is escaped in it.
func unquote(q []byte) ([]byte, error) {
	if len(q) >= 2 && q[0] == '"' && q[len(q)-1] == '"' && bytes.IndexByte(q, '\\') < 0 {
		return q[1 : len(q)-1], nil
	}
	s, err := record.Unquote(q)
	return []byte(s), err
}

// members ranges over the members of a JSON object: the key as it stands between its quotes, and the value. It reads JSON
// that the program itself wrote, and ends early where that is none.
func members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for key, value, at := member(object, 0); at > 0 && yield(key, value); key, value, at = member(object, at) {
		}
	}
}

// member is the member of an object that ends at next; at is where the one before ended, 0 for the first. There is none where next is 0.
func member(b []byte, at int) (key, value []byte, next int) {
	open := byte(',')
	if at == 0 {
		open = '{'
	}
	at = skipSpace(b, at)
	if at >= len(b) || b[at] != open {
		return nil, nil, 0
	}
	at = skipSpace(b, at+1)
	if at >= len(b) || b[at] != '"' {
		return nil, nil, 0
	}
	end := skipString(b, at)
	key = b[at+1 : max(end-1, at+1)]
	at = skipSpace(b, end)
	if at >= len(b) || b[at] != ':' {
		return nil, nil, 0
	}
	at = skipSpace(b, at+1)
	end = skipValue(b, at)
	return key, bytes.TrimRight(b[at:end], " \t\r\n"), end
}

func skipSpace(b []byte, at int) int {
	for at < len(b) && (b[at] == ' ' || b[at] == '\n' || b[at] == '\t' || b[at] == '\r') {
		at++
	}
	return at
}

func skipString(b []byte, at int) int {
	for at++; ; {
		n := bytes.IndexByte(b[at:], '"')
		if n < 0 {
			return len(b)
		}
		at += n + 1
		escapes := 0 // an odd number of backslashes before it
		for i := at - 2; b[i] == '\\'; i-- {
			escapes++
		}
		if escapes%2 == 0 {
			return at
		}
	}
}

func skipValue(b []byte, at int) int {
	depth := 0
	for at < len(b) {
		switch b[at] {
		case '"':
			at = skipString(b, at)
			if depth == 0 {
				return at
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return at
			}
			if depth--; depth == 0 {
				return at + 1
			}
		case ',':
			if depth == 0 {
				return at
			}
		}
		at++
	}
	return len(b)
}
