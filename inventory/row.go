package inventory

import (
	"bytes"
	"fmt"
	"iter"
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

// A Row is a resource to be stored, without its body. It owns its memory.
type Row struct {
	ID, Name string
	State    string // AWS's word; "" if the kind has none
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
	var b strings.Builder // one allocation for all three
	b.Grow(len(id) + len(name) + len(tags))
	b.Write(id)
	b.Write(name)
	b.Write(tags)
	all := b.String()
	r.ID, r.Name, r.Tags = all[:len(id)], all[len(id):len(id)+len(name)], all[len(id)+len(name):]
	r.State, r.Type = stateAndType(types, data)
	return r, nil
}

// ResourceOf returns the resource of a record that is not stored: the StoredFields are zero.
func ResourceOf(r record.Record) *Resource {
	out := &Resource{Record: r}
	out.State, out.Type = stateAndType(typeMembers(r.Kind), r.Data)
	return out
}

// StoredFields are the fields that only a stored resource has.
var StoredFields = [...]string{"first_seen", "state_since", "valid_from", "valid_to", "ended", "last_seen"}

// stateAndType returns a resource's state and type. The state is the member State or Status or, if that is an object,
// its Name or Code. The type is the member Type, or the member named after the kind (InstanceType, VolumeType,
// InterfaceType, KeyType), or InstanceType. Both come early in most resources, so the scan stops as soon as nothing
// better can follow.
func stateAndType(types []string, data []byte) (state, typ string) {
	rank, lastName := len(types), 0
	var status string
	for key, value, end := member(data, 0); end > 0; key, value, end = member(data, end) {
		switch key := string(key); key {
		case "State":
			state = stateText(value)
		case "Status":
			status = stateText(value)
		default:
			if !strings.HasSuffix(key, typeSuffix) {
				continue
			}
			for i, t := range types[:rank] {
				if key == t {
					typ, rank = stateText(value), i
				}
			}
		}
		if state != "" && typ != "" && end >= lastName {
			n := findName(data[end:], types[:rank])
			if n < 0 {
				break
			}
			lastName = end + n
		}
	}
	if state == "" {
		state = status
	}
	return state, typ
}

const typeSuffix = "Type"

// findName returns where the first of names ends as a quoted word in a JSON text, at any depth, or -1. Every name ends
// in Type.
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
	first, last := words[0], words[len(words)-1]
	return []string{"Type", strings.Join(words, "") + "Type", last + "Type", first + "Type", "InstanceType"}
}

// stateText returns the text of a JSON string, or the Name or Code of an object.
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

// unquote returns the text of a JSON string, without a copy if nothing in it is escaped.
func unquote(q []byte) ([]byte, error) {
	if len(q) >= 2 && q[0] == '"' && q[len(q)-1] == '"' && bytes.IndexByte(q, '\\') < 0 {
		return q[1 : len(q)-1], nil
	}
	s, err := record.Unquote(q)
	return []byte(s), err
}

// members yields the members of a JSON object: the raw text between the key's quotes, and the value. It expects JSON
// that the program itself wrote, and stops early at anything else.
func members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for key, value, at := member(object, 0); at > 0 && yield(key, value); key, value, at = member(object, at) {
		}
	}
}

// member returns the member of an object that follows at, and where it ends. at is the end of the member before, or 0.
// next is 0 if there is no further member.
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
		escapes := 0 // an odd number of backslashes escapes the quote
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
