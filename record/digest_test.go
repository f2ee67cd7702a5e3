package record

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// A tree is JSON with the mark of each part. The same tree can be written as different drafts.
type tree struct {
	text    string // a leaf
	members []branch
	list    []*tree // a list
	isList  bool
	set     bool
}
type branch struct {
	key      string
	volatile bool
	t        *tree
}

func drawTree(t *rapid.T, depth int) *tree {
	kind := rapid.IntRange(0, 3).Draw(t, "kind")
	if depth == 0 {
		kind = 0
	}
	switch kind {
	case 1:
		x := &tree{members: []branch{}}
		for i := range rapid.IntRange(0, 4).Draw(t, "members") {
			volatile := rapid.IntRange(0, 3).Draw(t, "volatile") == 0
			x.members = append(x.members, branch{fmt.Sprint("K", i), volatile, drawTree(t, depth-1)})
		}
		return x
	case 2, 3:
		x := &tree{isList: true, set: kind == 2}
		for range rapid.IntRange(0, 4).Draw(t, "elems") {
			x.list = append(x.list, drawTree(t, depth-1))
		}
		return x
	}
	return &tree{text: rapid.SampledFrom([]string{`"a"`, `"b"`, `1`, `true`, `"x,y]"`, `""`}).Draw(t, "text")}
}

// draft writes the tree. A non-nil rnd shuffles sets and changes or leaves out volatile members.
func (x *tree) draft(d *Draft, rnd *rand.Rand) {
	switch {
	case x.members != nil:
		d.Buf = append(d.Buf, '{')
		first := true
		for _, m := range x.members {
			if m.volatile && rnd != nil && rnd.IntN(3) == 0 {
				continue
			}
			if !first {
				d.Buf = append(d.Buf, ',')
			}
			first = false
			cut := -1
			if m.volatile {
				cut = d.OpenMark(VolatileMark, len(d.Buf))
			}
			d.Buf = append(AppendQuote(d.Buf, m.key), ':')
			if m.volatile && rnd != nil && rnd.IntN(2) == 0 {
				d.Buf = fmt.Appendf(d.Buf, "%d", rnd.IntN(1000))
			} else {
				m.t.draft(d, rnd)
			}
			if cut >= 0 {
				d.CloseMark(cut, len(d.Buf))
			}
		}
		d.Buf = append(d.Buf, '}')
	case x.isList:
		order := make([]int, len(x.list))
		for i := range order {
			order[i] = i
		}
		set := -1
		if x.set {
			set = d.OpenMark(SetMark, len(d.Buf))
			if rnd != nil {
				rnd.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			}
		}
		d.Buf = append(d.Buf, '[')
		for i, n := range order {
			if i > 0 {
				d.Buf = append(d.Buf, ',')
			}
			elem := -1
			if x.set {
				elem = d.OpenMark(ElementMark, len(d.Buf))
			}
			x.list[n].draft(d, rnd)
			if elem >= 0 {
				d.CloseMark(elem, len(d.Buf))
			}
		}
		d.Buf = append(d.Buf, ']')
		if set >= 0 {
			d.CloseMark(set, len(d.Buf))
		}
	default:
		d.Buf = append(d.Buf, x.text...)
	}
}

// model is the canonical form, made directly from the tree.
func (x *tree) model() string {
	switch {
	case x.members != nil:
		s := "{"
		for _, m := range x.members {
			if m.volatile {
				continue
			}
			if len(s) > 1 {
				s += ","
			}
			s += fmt.Sprintf("%q:%s", m.key, m.t.model())
		}
		return s + "}"
	case x.isList:
		var elems []string
		for _, e := range x.list {
			elems = append(elems, e.model())
		}
		if x.set { // insertion sort
			for i := range elems {
				for j := i; j > 0 && elems[j] < elems[j-1]; j-- {
					elems[j], elems[j-1] = elems[j-1], elems[j]
				}
			}
		}
		s := "["
		for i, e := range elems {
			if i > 0 {
				s += ","
			}
			s += e
		}
		return s + "]"
	}
	return x.text
}

func pageWith(x *tree, rnd *rand.Rand) *Page {
	p := new(Page)
	p.Reset(testEnvelope())
	p.SetFixedID("one")
	p.BeginItem(0)
	x.draft(&p.Items, rnd)
	p.EndItem()
	p.EncodeLines("")
	return p
}

func digestOf(p *Page) Digest {
	for v := range p.Views() {
		return v.Digest()
	}
	panic("an empty page")
}

func TestDigestIgnoresOrderAndVolatile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := drawTree(t, 4)
		p := pageWith(x, nil)
		sum := digestOf(p)
		if got, want := string(p.scratch), digestPrefix+x.model(); got != want {
			t.Fatalf("canonical form\n%s\nwant\n%s", got, want)
		}
		rnd := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed")))
		if q := pageWith(x, rnd); digestOf(q) != sum {
			t.Fatalf("another order or another volatile member changed the digest:\n%s\n%s", p.Lines(), q.Lines())
		}
		y := drawTree(t, 4)
		if same := x.model() == y.model(); same != (digestOf(pageWith(y, nil)) == sum) {
			t.Fatalf("same content: %v, but the digests do not agree\n%s\n%s", same, x.model(), y.model())
		}
	})
}

// TestDigestIsStable compares digests with those of the first release. If it fails, the canonical form changed: raise
// DigestVersion, and the prefix with it.
func TestDigestIsStable(t *testing.T) {
	leaf := func(s string) *tree { return &tree{text: s} }
	x := &tree{members: []branch{
		{"Id", false, leaf(`"i-1"`)}, {"At", true, leaf(`"2026-11-21T22:15:03Z"`)},
		{"Groups", false, &tree{isList: true, set: true, list: []*tree{leaf(`"b"`), leaf(`"a"`), leaf(`"a"`)}}},
		{"Servers", false, &tree{isList: true, list: []*tree{leaf(`"b"`), leaf(`"a"`)}}},
	}}
	for _, c := range []struct {
		t      *tree
		form   string
		digest string
	}{
		{x, `{"Id":"i-1","Groups":["a","a","b"],"Servers":["b","a"]}`, "7b7d1c2b6e5e02b7d05309b216b99554"},
		{&tree{members: []branch{}}, `{}`, "21d76e4ec6b7d846492588c2a8fc479f"},
	} {
		p := pageWith(c.t, nil)
		digest := digestOf(p)
		form := fmt.Sprintf("collector content %d\n%s", DigestVersion, c.form)
		if got := hex.EncodeToString(digest[:]); got != c.digest || string(p.scratch) != form {
			t.Errorf("version %d: %s of %s", DigestVersion, got, p.scratch)
		}
	}
}

func TestDigestAllocatesNothing(t *testing.T) {
	p := pageWith(&tree{isList: true, set: true, list: []*tree{{text: "3"}, {text: "2"}, {text: "1"}}}, nil)
	for v := range p.Views() {
		if n := testing.AllocsPerRun(100, func() { v.Digest() }); n > 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func TestMoveToEndMovesMarks(t *testing.T) {
	var d Draft
	d.Buf = []byte(`{"A":[1,2],"B":[4,3],"C":0`)
	outer := d.OpenMark(ElementMark, 0) // begins where the first member does, and stays
	for _, at := range []int{5, 15} {
		s := d.OpenMark(SetMark, at)
		d.CloseMark(d.OpenMark(ElementMark, at+1), at+2)
		d.CloseMark(d.OpenMark(ElementMark, at+3), at+4)
		d.CloseMark(s, at+5)
	}
	if at := d.MoveToEnd(0, 10); at != len(d.Buf)-10 || string(d.Buf) != `,"B":[4,3],"C":0{"A":[1,2]` {
		t.Errorf("%d %s", at, d.Buf)
	}
	var c Canonicalizer
	d.Buf[0], d.Buf[16] = '{', ','
	d.Buf = append(d.Buf, '}')
	d.CloseMark(outer, len(d.Buf))
	if got := c.append(nil, d.Buf, 0, len(d.Buf), d.marks[1:]); !bytes.Equal(got, []byte(`{"B":[3,4],"C":0,"A":[1,2]}`)) {
		t.Errorf("%s", got)
	}
	if m := d.marks[0]; m.from != 0 || int(m.nested) != 6 {
		t.Errorf("the outer mark is %+v", m)
	}
	d.Truncate(16, d.FirstMarkAt(17))
	if string(d.Buf) != `{"B":[4,3],"C":0` || len(d.marks) != 4 {
		t.Errorf("%s %v", d.Buf, d.marks)
	}
}
