package awsxml

import (
	"strings"

	"github.com/aws-collector/collector/record"
)

// entries reads the entries of a map that begins at start in the draft, or adjacent elements that are entries. It
// appends each as a member of a structure. Other elements are only counted.
func (d *Decoder) entries(n *node, name string, empty bool, start int) error {
	var seen seenMembers
	if len(d.draft.Buf) > start { // further entries of a map: any key may be among the earlier ones
		seen.unknown = ^uint64(0)
	}
	switch {
	case n.flat:
		for more := true; more; more, name, empty = d.another(n), n.itemName.name, false {
			if err := d.entry(n, name, empty, start, &seen); err != nil {
				return err
			}
		}
		return nil
	case empty:
		return nil
	}
	return d.eachElement(n, name, func(elem string, empty bool) error {
		switch {
		case strings.EqualFold(elem, n.itemName.name):
			return d.entry(n, elem, empty, start, &seen)
		case empty:
			return nil
		}
		return d.skip(elem)
	})
}

// entry reads one entry. Of several with one key the last counts, as in the CLI and the SDK.
func (d *Decoder) entry(n *node, name string, empty bool, start int, seen *seenMembers) error {
	w := d.draft
	if cap(w.Buf)-len(w.Buf) < slack {
		if err := d.grow(); err != nil {
			return err
		}
	}
	at := len(w.Buf)
	w.Buf = append(w.Buf, ',')
	mark := w.OpenMark(record.ElementMark, len(w.Buf))
	key, err := d.keyAndValue(n, name, empty, mark)
	if err != nil {
		return err
	}
	if key == nil {
		d.page.AddUnknown(1)
		w.Truncate(at, mark)
		return nil
	}
	w.CloseMark(mark, len(w.Buf))
	bit := uint64(1) << (hashName(key) & 63)
	if seen.unknown&bit != 0 {
		from, to, _, err := d.findMember(start, key)
		if err != nil {
			return err
		}
		if from < at {
			last := d.moveToEnd(start, from, to)
			w.Truncate(last, w.FirstMarkAt(last+1))
		}
	}
	seen.unknown |= bit
	return nil
}

// keyAndValue reads the content of an entry and appends `"Key":value`. The key is nil if there is none. The value is
// written first, behind its colon: the key may come after it.
func (d *Decoder) keyAndValue(n *node, name string, empty bool, mark int) (key []byte, err error) {
	if empty {
		return nil, nil
	}
	if err := d.openElement(name); err != nil {
		return nil, err
	}
	w := d.draft
	colon := len(w.Buf)
	w.Buf = append(w.Buf, ':')
	for {
		raw, k, err := d.nextTag()
		if err != nil {
			return nil, err
		}
		if k == endTag {
			if err := d.endElement(raw, name); err != nil || key == nil {
				return nil, err
			}
			break
		}
		switch child := string(raw); {
		case strings.EqualFold(child, n.key):
			d.text = d.text[:0]
			if k != emptyTag {
				if err := d.readText(child); err != nil {
					return nil, err
				}
			}
			key = append([]byte{}, d.text...)
		case strings.EqualFold(child, n.value):
			w.Truncate(colon+1, mark+1)
			if err := d.value(n.elem, child, k == emptyTag); err != nil {
				return nil, err
			}
		default:
			d.page.AddUnknown(1)
			if k != emptyTag {
				if err := d.skip(child); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(w.Buf) == colon+1 {
		if err := d.value(n.elem, n.value, true); err != nil {
			return nil, err
		}
	}
	end := len(w.Buf)
	w.Buf = record.AppendQuote(w.Buf, key)
	w.MoveToEnd(colon, end)
	return key, nil
}
