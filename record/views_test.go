package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A modelItem is an item of the model: each of its parts may be absent.
type modelItem struct {
	id             string
	name           *string
	tags           []modelTag
	volatile, list []string
	enclosing      bool
}

type modelTag struct {
	key string
	val *string // nil: no value
}

// draft writes the item as a decoder would: a mark and a span for each part that is present.
func (x modelItem) draft(p *Page) {
	d := &p.Items
	text := func(s string) Span {
		from := len(d.Buf)
		d.Buf = AppendQuote(d.Buf, s)
		return SpanOf(from, len(d.Buf))
	}
	p.BeginItem(1)
	d.Buf = append(d.Buf, `{"Id":`...)
	p.SetID(0, text(x.id))
	if x.name != nil {
		d.Buf = append(d.Buf, `,"Name":`...)
		p.SetName(text(*x.name))
	}
	for i, v := range x.volatile {
		d.Buf = append(d.Buf, ',')
		m := d.OpenMark(VolatileMark, len(d.Buf))
		d.Buf = fmt.Appendf(d.Buf, `"Volatile%d":`, i)
		text(v)
		d.CloseMark(m, len(d.Buf))
	}
	if x.list != nil {
		d.Buf = append(d.Buf, `,"List":`...)
		set := d.OpenMark(SetMark, len(d.Buf))
		for i, v := range x.list {
			d.Buf = append(d.Buf, "[,"[min(i, 1)])
			e := d.OpenMark(ElementMark, len(d.Buf))
			text(v)
			d.CloseMark(e, len(d.Buf))
		}
		if len(x.list) == 0 {
			d.Buf = append(d.Buf, '[')
		}
		d.Buf = append(d.Buf, ']')
		d.CloseMark(set, len(d.Buf))
	}
	d.Buf = append(d.Buf, `,"Tags":[`...)
	for i, t := range x.tags {
		if i > 0 {
			d.Buf = append(d.Buf, ',')
		}
		d.Buf = append(d.Buf, `{"Key":`...)
		key, val := text(t.key), Span{}
		if t.val != nil {
			d.Buf = append(d.Buf, `,"Value":`...)
			val = text(*t.val)
		}
		d.Buf = append(d.Buf, '}')
		p.AddTag(key, val)
	}
	d.Buf = append(d.Buf, "]}"...)
	if !p.EndItem() {
		panic("no id")
	}
	if x.enclosing {
		p.Enclosing.Buf = append(p.Enclosing.Buf, `,"Owner":"o"`...)
		p.EncodeLines("Enclosing")
	} else {
		p.EncodeLines("")
	}
}

func quoted(s string) string { return string(AppendQuote(nil, s)) }

// The model: what each method of a view should return.

func (x modelItem) wantName() string {
	if x.name == nil || *x.name == "" {
		return ""
	}
	return quoted(*x.name)
}

func (x modelItem) wantTags() string {
	var tags []string
	for _, t := range x.tags {
		val := `""`
		if t.val != nil {
			val = quoted(*t.val)
		}
		tags = append(tags, quoted(t.key)+":"+val)
	}
	return "{" + strings.Join(tags, ",") + "}"
}

func (x modelItem) wantData(canonical bool) string {
	b := `{"Id":` + quoted(x.id)
	if x.name != nil {
		b += `,"Name":` + quoted(*x.name)
	}
	if !canonical {
		for i, v := range x.volatile {
			b += fmt.Sprintf(`,"Volatile%d":%s`, i, quoted(v))
		}
	}
	if x.list != nil {
		var list []string
		for _, v := range x.list {
			list = append(list, quoted(v))
		}
		if canonical {
			slices.Sort(list)
		}
		b += `,"List":[` + strings.Join(list, ",") + "]"
	}
	var tags []string
	for _, t := range x.tags {
		tag := `{"Key":` + quoted(t.key)
		if t.val != nil {
			tag += `,"Value":` + quoted(*t.val)
		}
		tags = append(tags, tag+"}")
	}
	b += `,"Tags":[` + strings.Join(tags, ",") + "]"
	if x.enclosing {
		b += `,"Enclosing":{"Owner":"o"}`
	}
	return b + "}"
}

func (x modelItem) wantLine() string {
	name := x.wantName()
	if name != "" {
		name = `,"name":` + name
	}
	return `{"kind":"ec2_instance","id":` + quoted(x.id) +
		`,"account":"prod","account_id":"222222222222","partition":"aws","region":"us-east-1"` + name +
		`,"tags":` + x.wantTags() +
		`,"extra_tags":{"account_name":"prod"},"run":"01JD","collected_at":"2026-11-21T22:15:03Z","data":` +
		x.wantData(false) + "}\n"
}

func drawItems(t *rapid.T) []modelItem {
	word := rapid.StringMatching(`[a-c"é\n]{0,3}`)
	maybe := rapid.Custom(func(t *rapid.T) *string {
		if s := word.Draw(t, "text"); rapid.Bool().Draw(t, "there") {
			return &s
		}
		return nil
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) modelItem {
		x := modelItem{
			id:        rapid.StringMatching(`i-[0-5]`).Draw(t, "id"),
			name:      maybe.Draw(t, "name"),
			volatile:  rapid.SliceOfN(word, 0, 2).Draw(t, "volatile"),
			enclosing: rapid.Bool().Draw(t, "enclosing"),
		}
		if rapid.Bool().Draw(t, "has a list") {
			x.list = rapid.SliceOfN(word, 0, 3).Draw(t, "list")
		}
		keys := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "Name"}), 0, 3, rapid.ID)
		for _, key := range keys.Draw(t, "keys") {
			x.tags = append(x.tags, modelTag{key, maybe.Draw(t, "value")})
		}
		return x
	}), 0, 8).Draw(t, "things")
}

// Each method of a view returns what the model returns, over the pages of a listing with duplicates and absent parts.
// The pages are reused, so an absent part may have been present before.
func TestViewsOverRandomPages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p Page
		var seen SeenIDs
		shown := map[string]bool{}
		for n := range rapid.IntRange(1, 3).Draw(t, "pages") {
			p.Poison()
			p.Reset(testEnvelope())
			var want []modelItem
			for _, x := range drawItems(t) {
				x.draft(&p)
				if !shown[x.id] {
					shown[x.id] = true
					want = append(want, x)
				}
			}
			all := p.Len()
			if dropped := p.Dedupe(&seen); dropped != all-len(want) || p.Len() != len(want) {
				t.Fatalf("page %d: %d of %d were dropped, %d left, want %d", n, dropped, all, p.Len(), len(want))
			}
			lines := ""
			i := 0
			for v := range p.Views() {
				x := want[i]
				i++
				lines += x.wantLine()
				for _, is := range []struct{ what, got, want string }{
					{"id", string(v.ID()), quoted(x.id)},
					{"name", string(v.Name()), x.wantName()},
					{"tags", string(v.Tags()), x.wantTags()},
					{"data", string(v.Data()), x.wantData(false)}, {"line", string(v.Line()), x.wantLine()},
				} {
					if is.got != is.want {
						t.Fatalf("page %d, record %d: %s\ngot  %s\nwant %s", n, i, is.what, is.got, is.want)
					}
				}
				digest, want := v.Digest(), sha256.Sum256([]byte(digestPrefix+x.wantData(true)))
				if !bytes.Equal(digest[:], want[:16]) {
					t.Fatalf("page %d, record %d: the digest is not that of %s", n, i, x.wantData(true))
				}
				if !json.Valid(v.Line()) {
					t.Fatalf("not JSON: %s", v.Line())
				}
			}
			if string(p.Lines()) != lines {
				t.Fatalf("page %d: lines\ngot  %s\nwant %s", n, p.Lines(), lines)
			}
		}
	})
}

func TestAbsentSpan(t *testing.T) {
	var none Span
	if none.Present() || none.Slice([]byte("abc")) != nil || none.shifted(-279) != none || none.len() != 0 {
		t.Errorf("absent: %+v", none)
	}
	if empty := SpanOf(0, 0); !empty.Present() || empty.Slice([]byte("abc")) == nil || empty.shifted(2) != SpanOf(2, 2) {
		t.Errorf("empty: %+v", empty)
	}
}
