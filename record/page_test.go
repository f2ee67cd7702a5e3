package record

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
	"testing/synctest"
	"time"
)

var (
	testTarget   = Target{Account: "prod", Region: "us-east-1", Kind: "ec2_instance"}
	testIdentity = Identity{AccountID: "222222222222", Partition: "aws"}
)

func testEnvelope() *Envelope {
	return NewEnvelope(testTarget, testIdentity, []byte(`{"account_name":"prod"}`), "01JD", "2026-11-21T22:15:03Z")
}

// writeItem writes an item with an id and a name as a decoder would.
func writeItem(p *Page, id, name string) {
	p.BeginItem(1)
	b := p.Items.Buf
	from := len(b)
	b = append(b, `{"InstanceId":`...)
	at := len(b)
	b = AppendQuote(b, id)
	p.SetID(0, SpanOf(at, len(b)))
	b = append(b, `,"Tags":`...)
	p.Items.Buf = b
	set := p.Items.OpenMark(SetMark, len(b))
	b = append(b, '[')
	if name != "" {
		elem := p.Items.OpenMark(ElementMark, len(b))
		b = append(b, `{"Key":`...)
		k := len(b)
		b = append(b, `"Name"`...)
		key := SpanOf(k, len(b))
		b = append(b, `,"Value":`...)
		v := len(b)
		b = AppendQuote(b, name)
		val := SpanOf(v, len(b))
		b = append(b, '}')
		p.Items.CloseMark(elem, len(b))
		p.AddTag(key, val)
		p.SetName(val)
	}
	b = append(b, ']')
	p.Items.CloseMark(set, len(b))
	p.Items.Buf = append(b, '}')
	if !p.EndItem() || from == len(p.Items.Buf) {
		panic("no id")
	}
}

func TestLineFormat(t *testing.T) {
	var p Page
	p.Reset(testEnvelope())
	writeItem(&p, "i-0abc", `web "1"`)
	p.Enclosing.Buf = append(p.Enclosing.Buf, `,"OwnerId":"222222222222","ReservationId":"r-1"`...)
	p.EncodeLines("Reservation")
	writeItem(&p, "i-0abd", "")
	p.EncodeLines("")
	want := `{"kind":"ec2_instance","id":"i-0abc",` +
		`"account":"prod","account_id":"222222222222","partition":"aws","region":"us-east-1",` +
		`"name":"web \"1\"","tags":{"Name":"web \"1\""},"extra_tags":{"account_name":"prod"},` +
		`"run":"01JD","collected_at":"2026-11-21T22:15:03Z",` +
		`"data":{"InstanceId":"i-0abc","Tags":[{"Key":"Name","Value":"web \"1\""}],` +
		`"Reservation":{"OwnerId":"222222222222","ReservationId":"r-1"}}}` + "\n" +
		`{"kind":"ec2_instance","id":"i-0abd",` +
		`"account":"prod","account_id":"222222222222","partition":"aws","region":"us-east-1",` +
		`"tags":{},"extra_tags":{"account_name":"prod"},"run":"01JD","collected_at":"2026-11-21T22:15:03Z",` +
		`"data":{"InstanceId":"i-0abd","Tags":[]}}` + "\n"
	if got := string(p.Lines()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for l := range bytes.Lines(p.Lines()) {
		var r Record
		if err := json.Unmarshal(l, &r); err != nil || r.Kind != "ec2_instance" || r.Account != "prod" || r.Run != "01JD" {
			t.Errorf("%+v, %v", r, err)
		}
	}
	views := slices.Collect(p.Views())
	if len(views) != 2 || p.Len() != 2 {
		t.Fatalf("%d views of %d records", len(views), p.Len())
	}
	v := views[0]
	if string(v.ID()) != `"i-0abc"` || string(v.Name()) != `"web \"1\""` ||
		string(v.Tags()) != `{"Name":"web \"1\""}` || !bytes.HasSuffix(v.Line(), []byte("\n")) {
		t.Errorf("view: %s %s %s", v.ID(), v.Name(), v.Tags())
	}
	if name, err := Unquote(v.Name()); name != `web "1"` || err != nil {
		t.Errorf("name %q, %v", name, err)
	}
	if len(views[1].Name()) != 0 {
		t.Errorf("name %s", views[1].Name())
	}
}

func TestEmptyEnclosingIsObject(t *testing.T) {
	var p Page
	p.Reset(testEnvelope())
	writeItem(&p, "i-1", "")
	p.EncodeLines("Reservation")
	if !strings.HasSuffix(string(p.Lines()), `"Tags":[],"Reservation":{}}}`+"\n") {
		t.Errorf("%s", p.Lines())
	}
}

func TestIDPartsAreJoined(t *testing.T) {
	var p Page
	p.Reset(testEnvelope())
	p.BeginItem(3)
	p.Items.Buf = append(p.Items.Buf, `{"A":"a","N":7}`...)
	p.SetID(0, SpanOf(5, 8))
	p.SetID(2, SpanOf(13, 14))
	if !p.EndItem() {
		t.Error("it has an id")
	}
	p.EncodeLines("")
	for v := range p.Views() {
		if string(v.ID()) != `"a//7"` {
			t.Errorf("id %s", v.ID())
		}
	}
	p.BeginItem(2)
	if p.EndItem() {
		t.Error("an item without any part of its id has an id")
	}
	p.SetFixedID("settings")
	if !p.EndItem() {
		t.Error("a fixed id is one")
	}
}

// Two members that may have a "/" make different ids if one of them is escaped.
func TestEscapedIDPartsDoNotCollide(t *testing.T) {
	seen := map[string][2]string{}
	rapid.Check(t, func(t *rapid.T) {
		var parts [2]string
		for i := range parts {
			parts[i] = rapid.StringMatching(`[ab/%2F"é]{0,4}`).Draw(t, "part")
		}
		var p Page
		p.Reset(testEnvelope())
		p.SetEscapedParts(1)
		p.BeginItem(2)
		for i, part := range parts {
			from := len(p.Items.Buf)
			p.Items.Buf = AppendQuote(p.Items.Buf, part)
			p.SetID(i, SpanOf(from, len(p.Items.Buf)))
		}
		p.EndItem()
		p.EncodeLines("")
		for v := range p.Views() {
			id, err := Unquote(v.ID())
			if err != nil {
				t.Fatal(err)
			}
			if other, ok := seen[id]; ok && other != parts {
				t.Fatalf("%q and %q have the id %s", parts, other, id)
			}
			seen[id] = parts
			if !strings.ContainsAny(parts[0], "/%") && id != parts[0]+"/"+parts[1] {
				t.Fatalf("%q has the id %s", parts, id)
			}
		}
	})
}

func TestDedupe(t *testing.T) {
	var p Page
	var seen SeenIDs
	fill := func(ids ...string) {
		p.Reset(testEnvelope())
		for _, id := range ids {
			writeItem(&p, id, "n-"+id)
			p.EncodeLines("")
		}
	}
	ids := func() (ids []string) {
		for v := range p.Views() {
			id, err := Unquote(v.ID())
			hasID := bytes.Contains(v.Data(), fmt.Appendf(nil, `{"InstanceId":%q`, id))
			if err != nil || !hasID || string(v.Name()) != fmt.Sprintf("%q", "n-"+id) {
				t.Errorf("%s: %s %s, %v", v.ID(), v.Name(), v.Data(), err)
			}
			ids = append(ids, id)
		}
		return ids
	}
	fill("a", "b", "a", "c", "b", "d")
	before := map[string]Digest{}
	for v := range p.Views() {
		before[string(v.ID())] = v.Digest()
	}
	if n := p.Dedupe(&seen); n != 2 || !slices.Equal(ids(), []string{"a", "b", "c", "d"}) {
		t.Errorf("dropped %d, left %v", n, ids())
	}
	for v := range p.Views() {
		if v.Digest() != before[string(v.ID())] {
			t.Errorf("%s: its digest changed when it moved", v.ID())
		}
	}
	if n := bytes.Count(p.Lines(), []byte("\n")); n != 4 {
		t.Errorf("%d lines", n)
	}
	fill("d", "e", "a")
	if n := p.Dedupe(&seen); n != 2 || !slices.Equal(ids(), []string{"e"}) {
		t.Errorf("second page: dropped %d, left %v", n, ids())
	}
	if seen.Len() != 5 {
		t.Errorf("%d ids seen", seen.Len())
	}
}

func TestSeenIDs(t *testing.T) {
	var s SeenIDs
	for i := range 100_000 {
		if !s.add(fmt.Appendf(nil, "i-%017x", i)) {
			t.Fatalf("%d was reported as seen", i)
		}
	}
	for i := range 100_000 {
		if s.add(fmt.Appendf(nil, "i-%017x", i)) {
			t.Fatalf("%d was reported as new", i)
		}
	}
	if s.Len() != 100_000 {
		t.Errorf("%d ids", s.Len())
	}
}

func TestPoison(t *testing.T) {
	var p Page
	p.Reset(testEnvelope())
	writeItem(&p, "i-0abc", "secret")
	p.EncodeLines("")
	var kept View
	for v := range p.Views() {
		kept = v
		v.Digest()
	}
	line := kept.Line()
	p.Poison()
	if want := bytes.Repeat([]byte{0xDB}, len(line)); !bytes.Equal(line, want) {
		t.Errorf("%s", line)
	}
	for _, b := range [][]byte{p.lines, p.Items.Buf, p.scratch} {
		if bytes.Contains(b[:cap(b)], []byte("secret")) {
			t.Error("a buffer was left out")
		}
	}
}

func TestBorrowedBytesAreCapped(t *testing.T) {
	var p Page
	p.Reset(testEnvelope())
	writeItem(&p, "i-1", "")
	p.EncodeLines("")
	before := string(p.Lines())
	for v := range p.Views() {
		_ = append(v.ID(), "overwritten"...)
		_ = append(v.Data(), "overwritten"...)
	}
	if string(p.Lines()) != before {
		t.Errorf("%s", p.Lines())
	}
}

func TestPagePool(t *testing.T) {
	s := NewPagePool(2, 1<<20)
	a, b := s.Take(t.Context()), s.Take(t.Context())
	if a == nil || b == nil || a == b {
		t.Fatal("two pages")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if p := s.Take(ended); p != nil {
		t.Error("a third page")
	}
	s.Return(a)
	if p := s.Take(ended); p != a {
		t.Error("a page that is free is taken even when the context has ended")
	}
	a.Items.Buf = make([]byte, 2<<20)
	s.Return(a)
	if p := s.Take(t.Context()); p == a || p.MemorySize() != 0 {
		t.Error("a page over the size limit was kept")
	}
}

func TestMaxEncodedSize(t *testing.T) {
	var p Page
	p.Reset(testEnvelope())
	for i := range 100 {
		writeItem(&p, fmt.Sprint("i-", i), strings.Repeat("n", i))
	}
	p.Enclosing.Buf = append(p.Enclosing.Buf, `,"OwnerId":"222222222222"`...)
	bound := p.MaxEncodedSize()
	p.EncodeLines("Reservation")
	if got := p.UsedSize(); got > bound || got < bound/10 {
		t.Errorf("%d bytes, the bound was %d", got, bound)
	}
}

// A page that is out for long after its borrower's context ended is replaced. If it is returned after all, the pool has
// no more pages than before.
func TestLostPageIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewPagePool(1, 1<<20)
		ctx, cancel := context.WithCancel(t.Context())
		free := func() *Page {
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			return s.Take(ended)
		}
		lost := s.Take(ctx)
		cancel()
		time.Sleep(replaceAfter - time.Millisecond)
		if free() != nil {
			t.Fatal("replaced too early")
		}
		time.Sleep(time.Second)
		p := s.Take(t.Context())
		if p == nil || p == lost {
			t.Fatal("not replaced")
		}
		s.Return(lost)
		if free() != nil {
			t.Error("more pages than there were")
		}
		s.Return(p)
		s.Return(p)
		if got := s.Take(t.Context()); got != p || free() != nil {
			t.Error("a page that was returned twice is twice in the pool")
		}
	})
}

// The end of a context has no effect on a page that was returned before, nor on its next borrower.
func TestReturnedPageIsNotReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewPagePool(1, 1<<20)
		for _, late := range []bool{false, true} {
			ctx, cancel := context.WithCancel(t.Context())
			p := s.Take(ctx)
			if late {
				cancel()
				synctest.Wait()
			}
			s.Return(p)
			cancel()
			next := s.Take(t.Context())
			time.Sleep(2 * replaceAfter)
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if next != p || s.Take(ended) != nil {
				t.Error("the page was replaced")
			}
			s.Return(next)
		}
	})
}
