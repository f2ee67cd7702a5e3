package awsxml

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws-collector/collector/record"
)

// A Tag is a tag of an item, from another response than the item's.
type Tag struct{ Key, Value string }

// Reasons of [Options.Tags] for an item without tags.
var (
	ErrVanished = errors.New("resource has vanished") // it gets no record
	errNoTags   = errors.New("the response has no tags of the resource")
)

// withAdded returns the shape of the items with the members that the decoder adds to them.
func (s Spec) withAdded(f Format, item *shape) (*shape, error) {
	var added []member
	text := &shape{typ: String}
	if s.TagsBy != "" {
		tag := &shape{typ: Struct, name: f.Tag, members: []member{
			{name: f.TagKey, wire: f.TagKey, shape: text}, {name: f.TagValue, wire: f.TagValue, shape: text},
		}}
		list := &shape{typ: List, item: f.Element, elem: tag}
		added = append(added, member{name: f.TagLists[0], wire: f.TagLists[0], shape: list})
	}
	if s.Under != "" {
		added = append(added, member{name: s.Under, wire: s.Under, shape: text})
	}
	if len(added) == 0 {
		return item, nil
	}
	if item.typ != Struct || s.Items == "" {
		return nil, errors.New("members cannot be added: the items are not structures in a list")
	}
	for _, m := range added {
		if item.find(m.name) != nil {
			return nil, fmt.Errorf("%s cannot be added: the response has it", m.name)
		}
	}
	with := *item
	with.members = slices.Concat(item.members, added)
	slices.SortFunc(with.members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return &with, nil
}

// addMembers adds to the item, which has been written, what is not in the response. keep is false if the item has
// vanished meanwhile.
func (d *Decoder) addMembers() (keep bool) {
	s := &d.program.spec
	if s.Under != "" {
		from := d.openAdded(s.Under)
		d.draft.Buf = record.AppendQuote(d.draft.Buf, d.options.Under)
		if n := d.program.underPart; n > 0 {
			d.page.SetID(n-1, record.SpanOf(from, len(d.draft.Buf)))
		}
		d.draft.Buf = append(d.draft.Buf, '}')
	}
	if s.TagsBy == "" {
		return true
	}
	name, err := record.Unquote(d.tagsBy.Slice(d.draft.Buf))
	if err != nil { // the member is missing or cannot be read
		d.itemErr = errors.Join(d.itemErr, d.errorHere(fmt.Errorf("%w: %s is missing", errNoTags, s.TagsBy)))
		return true
	}
	tags, err := d.options.Tags(name)
	if err == nil {
		d.addTags(tags)
	} else if d.itemErr == nil {
		d.itemErr = err
	}
	return !errors.Is(err, ErrVanished)
}

// openAdded opens the item again for another member, writes its key, and returns where its value begins.
func (d *Decoder) openAdded(key string) int {
	b := d.draft.Buf
	b = b[:len(b)-1] // the item's closing bracket
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	d.draft.Buf = append(record.AppendQuote(b, key), ':')
	return len(d.draft.Buf)
}

// addTags writes the tags that another response has, as tags writes those of this one.
func (d *Decoder) addTags(tags []Tag) {
	w, f := d.draft, &d.program.format
	start := d.openAdded(f.TagLists[0])
	set := w.OpenMark(record.SetMark, start)
	text := func(before, key, value string) record.Span {
		w.Buf = append(record.AppendQuote(append(w.Buf, before...), key), ':')
		from := len(w.Buf)
		w.Buf = record.AppendQuote(w.Buf, value)
		return record.SpanOf(from, len(w.Buf))
	}
	for _, t := range tags {
		w.Buf = append(w.Buf, ',')
		mark := w.OpenMark(record.ElementMark, len(w.Buf))
		key := text("{", f.TagKey, t.Key)
		value := text(",", f.TagValue, t.Value)
		w.Buf = append(w.Buf, '}')
		w.CloseMark(mark, len(w.Buf))
		d.page.AddTag(key, value)
		if t.Key == "Name" && d.program.spec.Name == "" {
			d.page.SetName(value)
		}
	}
	d.brackets(start, '[', ']')
	w.CloseMark(set, len(w.Buf))
	w.Buf = append(w.Buf, '}')
}
