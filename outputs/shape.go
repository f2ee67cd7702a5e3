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
)

// Shaping is which records and changes an output is sent, and how their members are called there. It happens before a
// spool, once; the ends of targets pass as they are.
type Shaping struct {
	Where  string            `yaml:"where" doc:"Only what satisfies this condition, as 'kind=ec2_instance and tags.env=prod': the language of collector list --where. Of a change, what the resource was or what it has become must satisfy it."`
	Rename map[string]string `yaml:"rename" doc:"Members by other names, as {data.InstanceId: host.id, tags.team: labels.team}: a path in the record to a path in what is sent; \"\" leaves the member out. No path goes through a list."`
}

// recordMembers is the members that an output which translates lines reads: there, they keep their names.
var recordMembers = []string{
	"kind", "id", "account", "account_id", "partition", "region", "name", "tags", "extra_tags", "run", "collected_at",
	"data",
}

// validate reports everything that is wrong. translates says that the output does not send the lines as they are.
func (s *Shaping) validate(translates bool) error {
	var errs []error
	if s.Where != "" {
		w, err := inventory.ParseWhere(s.Where, time.Time{})
		if err != nil {
			errs = append(errs, fmt.Errorf("where: %w", err))
		} else if f, uses := w.Uses(inventory.StoredFields[:]...); uses {
			errs = append(errs, fmt.Errorf("where: %s is known to the store only, and this looks at what is just being collected", f))
		}
	}
	for _, from := range slices.Sorted(maps.Keys(s.Rename)) {
		to := s.Rename[from]
		switch root, rest, _ := strings.Cut(from, "."); {
		case !validPath(from) || to != "" && !validPath(to):
			errs = append(errs, fmt.Errorf("rename: %q: %q: a path is members with dots between, as data.InstanceId", from, to))
		case !slices.Contains(recordMembers, root):
			errs = append(
				errs,
				fmt.Errorf("rename: %q: a record has no %s; it has %s", from, root, strings.Join(recordMembers, ", ")),
			)
		case slices.Contains([]string{"tags", "extra_tags", "data"}, root) && (rest != "" || !translates):
			if into, _, nested := strings.Cut(to, "."); translates && to != "" &&
				(!nested || !slices.Contains([]string{"tags", "extra_tags", "data"}, into)) {
				errs = append(
					errs,
					fmt.Errorf(
						"rename: %q: %q: this output translates records, so a member can move within tags, extra_tags and data only",
						from,
						to,
					),
				)
			}
		case translates:
			errs = append(errs, fmt.Errorf("rename: %q: this output translates records and needs %s as it is", from, from))
		}
	}
	return errors.Join(errs...)
}

func validPath(path string) bool { return !slices.Contains(strings.Split(path, "."), "") }

func (s *Shaping) isEmpty() bool { return s == nil || s.Where == "" && len(s.Rename) == 0 }

// apply is b as the output is to have it. Its lines are b's own where nothing is to be done, else new ones.
func (s *Shaping) apply(b Batch, now time.Time) (Batch, error) {
	if s.isEmpty() {
		return b, nil
	}
	var where *inventory.Where
	if s.Where != "" {
		var err error
		if where, err = inventory.ParseWhere(s.Where, now); err != nil { // it was parsed before; ages are taken from now
			return b, fmt.Errorf("where: %w", err)
		}
		if kinds := where.RequiredValues("kind"); kinds != nil && b.Target.Kind != "" &&
			!slices.Contains(kinds, b.Target.Kind) {
			b.N, b.Lines = 0, nil
			return b, nil
		}
	}
	moves := make([]move, 0, len(s.Rename))
	for from, to := range s.Rename {
		moves = append(moves, move{splitPath(from), splitPath(to)})
	}
	slices.SortFunc(moves, func(a, b move) int { // what is inside moves before what it is in
		return cmp.Or(cmp.Compare(len(b.from), len(a.from)), slices.Compare(a.from, b.from))
	})
	var out bytes.Buffer
	n := 0
	for raw := range bytes.Lines(b.Lines) {
		kept, err := shapeLine(&out, raw, where, moves)
		if err != nil {
			return b, err
		}
		n += kept
	}
	b.N, b.Lines = n, out.Bytes()
	return b, nil
}

// shapeLine appends raw, if it is to be sent, and says how many records that is.
func shapeLine(out *bytes.Buffer, raw []byte, where *inventory.Where, moves []move) (int, error) {
	l, err := parseLine(raw)
	if err != nil {
		return 0, err
	}
	if l.Target != "" {
		out.Write(raw)
		return 0, nil
	}
	if where != nil && l.Change == "" { // a change was asked for by the condition, of which either side may be true
		if ok, err := where.Match(inventory.ResourceOf(l.Record)); err != nil || !ok {
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
		return 0, fmt.Errorf("a line that is no JSON object: %w", err)
	}
	rec := line
	if l.Change != "" {
		rec, _ = line["record"].(map[string]any)
	}
	for _, m := range moves {
		m.apply(rec)
	}
	e := json.NewEncoder(out) // which ends the line
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

// apply moves a member. What does not exist moves nothing; what stood at the new place is replaced.
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

// removeMember takes the member out. A tag's key may have dots in it, so the rest of a path is also tried as one key.
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
