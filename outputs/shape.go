package outputs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// Shaping selects the records and changes that an output gets, and renames their members. It is applied once, before
// the spool. The ends of targets are not changed.
type Shaping struct {
	Where  string            `yaml:"where" doc:"Send only what matches this condition, such as 'kind=ec2_instance and tags.env=prod', in the language of collector list --where. A change is sent if the resource matches before or after it."`
	Rename map[string]string `yaml:"rename" doc:"Rename members, such as {data.InstanceId: host.id, tags.team: labels.team}: from a path in the record to a path in the output; \"\" removes the member. Paths cannot go through lists."`
}

// recordMembers are the members that an output which translates records needs under their own names.
var recordMembers = []string{
	"kind", "id", "account", "account_id", "partition", "region", "name", "tags", "extra_tags", "run", "collected_at",
	"data",
}

// validate reports every error. translates: the output sends another format than the lines.
func (s *Shaping) validate(translates bool) error {
	var errs []error
	if s.Where != "" {
		w, err := inventory.ParseWhere(s.Where, time.Time{})
		if err != nil {
			errs = append(errs, fmt.Errorf("where: %w", err))
		} else if f, uses := w.Uses(inventory.StoredFields[:]...); uses {
			errs = append(errs,
				fmt.Errorf("where: %s is known only in the store, and cannot be used for records as they are collected", f))
		}
	}
	for _, from := range slices.Sorted(maps.Keys(s.Rename)) {
		to := s.Rename[from]
		switch root, rest, _ := strings.Cut(from, "."); {
		case !validPath(from) || to != "" && !validPath(to):
			errs = append(errs, fmt.Errorf("rename: %q: %q: a path is members separated by dots, such as data.InstanceId",
				from, to))
		case !slices.Contains(recordMembers, root):
			errs = append(
				errs,
				fmt.Errorf("rename: %q: unknown member %s; known members: %s", from, root, strings.Join(recordMembers, ", ")),
			)
		case slices.Contains([]string{"tags", "extra_tags", "data"}, root) && (rest != "" || !translates):
			if into, _, nested := strings.Cut(to, "."); translates && to != "" &&
				(!nested || !slices.Contains([]string{"tags", "extra_tags", "data"}, into)) {
				errs = append(
					errs,
					fmt.Errorf(
						"rename: %q: %q: this output translates records, so members can move only within tags, extra_tags and data",
						from,
						to,
					),
				)
			}
		case translates:
			errs = append(errs, fmt.Errorf("rename: %q: this output translates records and needs %s under its own name", from,
				from))
		}
	}
	return errors.Join(errs...)
}

func validPath(path string) bool { return !slices.Contains(strings.Split(path, "."), "") }

func (s *Shaping) isEmpty() bool { return s == nil || s.Where == "" && len(s.Rename) == 0 }

// Apply returns the batch as the output gets it. If there is nothing to do, the lines are the same. kind is
// [Deps.KindInfo].
func (s *Shaping) Apply(b Batch, now time.Time, kind func(string) record.KindInfo) (Batch, error) {
	if s.isEmpty() {
		return b, nil
	}
	var where *inventory.Where
	if s.Where != "" {
		var err error
		if where, err = inventory.ParseWhere(s.Where, now); err != nil { // valid; parsed again for ages relative to now
			return b, fmt.Errorf("where: %w", err)
		}
		if kinds := where.RequiredValues("kind"); kinds != nil && b.Target.Kind != "" &&
			!slices.Contains(kinds, b.Target.Kind) {
			b.N, b.Lines = 0, nil
			return b, nil
		}
	}
	matches := func(*Line) (bool, error) { return true, nil }
	if where != nil {
		matches = func(l *Line) (bool, error) { return where.Match(inventory.ResourceOf(l.Record, kind(l.Kind))) }
	}
	moves := make([]move, 0, len(s.Rename))
	for from, to := range s.Rename {
		moves = append(moves, move{splitPath(from), splitPath(to)})
	}
	slices.SortFunc(moves, func(a, b move) int { // nested members first
		return cmp.Or(cmp.Compare(len(b.from), len(a.from)), slices.Compare(a.from, b.from))
	})
	var out bytes.Buffer
	n := 0
	for raw := range bytes.Lines(b.Lines) {
		records, err := shapeLine(&out, raw, matches, moves)
		if err != nil {
			return b, err
		}
		n += records
	}
	b.N, b.Lines = n, out.Bytes()
	return b, nil
}

// shapeLine appends the line if it is sent, and returns its number of records.
func shapeLine(out *bytes.Buffer, raw []byte, matches func(*Line) (bool, error), moves []move) (int, error) {
	l, err := ParseLine(raw)
	if err != nil {
		return 0, err
	}
	if l.Target != "" {
		out.Write(raw)
		return 0, nil
	}
	if l.Change == "" { // changes were already selected by the store's query
		if ok, err := matches(l); err != nil || !ok {
			return 0, err
		}
	}
	if len(moves) == 0 {
		out.Write(raw)
		return 1, nil
	}
	var line map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&line); err != nil {
		return 0, fmt.Errorf("a line is not a JSON object: %w", err)
	}
	rec := line
	if l.Change != "" {
		rec, _ = line["record"].(map[string]any)
	}
	for _, m := range moves {
		m.apply(rec)
	}
	e := json.NewEncoder(out) // Encode ends the line
	e.SetEscapeHTML(false)
	return 1, e.Encode(line)
}

type move struct{ from, to []string }

func splitPath(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ".")
}

// apply moves a member. A missing member is ignored; a member at the new path is replaced.
func (m move) apply(rec map[string]any) {
	v, ok := removeMember(rec, m.from)
	if !ok || len(m.to) == 0 {
		return
	}
	for _, key := range m.to[:len(m.to)-1] {
		next, ok := rec[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			rec[key] = next
		}
		rec = next
	}
	rec[m.to[len(m.to)-1]] = v
}

// removeMember removes a member and returns it. The rest of a path is also tried as one key, because tag keys contain
// dots.
func removeMember(o map[string]any, path []string) (any, bool) {
	if whole := strings.Join(path, "."); len(path) > 0 {
		if v, ok := o[whole]; ok {
			delete(o, whole)
			return v, true
		}
	}
	if len(path) < 2 {
		return nil, false
	}
	next, ok := o[path[0]].(map[string]any)
	if !ok {
		return nil, false
	}
	return removeMember(next, path[1:])
}
