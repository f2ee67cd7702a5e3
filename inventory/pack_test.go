package inventory

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws-collector/collector/record"
)

// A copyPacker is a scope update that packs by copying.
type copyPacker struct{ ScopeUpdate }

func (copyPacker) Pack(lines []byte) []byte { return slices.Clone(lines) }

func testPage(t *testing.T, n int, pad string) *record.Page {
	t.Helper()
	p := new(record.Page)
	p.Reset(
		record.NewEnvelope(
			record.Target{Account: "a", Region: "r", Kind: "ec2_instance"},
			record.Identity{AccountID: "222222222222", Partition: "aws"}, []byte(`{}`), "run", "2026-11-21T22:15:03Z",
		),
	)
	for i := range n {
		d := &p.Items
		p.BeginItem(1)
		d.Buf = append(d.Buf, `{"InstanceId":`...)
		from := len(d.Buf)
		d.Buf = record.AppendQuote(d.Buf, string(rune('a'+i%26))+strings.Repeat("x", i/26))
		p.SetID(0, record.SpanOf(from, len(d.Buf)))
		d.Buf = append(d.Buf, ",\n \"Pad\":"...)
		d.Buf = record.AppendQuote(d.Buf, pad)
		d.Buf = append(d.Buf, '}')
		p.EndItem()
		p.EncodeLines("")
	}
	return p
}

// Each row has its line, even if a body contains line feeds, and all bytes are given back.
func TestPacker(t *testing.T) {
	var all atomic.Int64
	p := packer{maxTotal: 1 << 20, total: &all}
	page := testPage(t, 100, "")
	for v := range page.Views() {
		id, err := unquote(v.ID())
		if err != nil {
			t.Fatal(err)
		}
		if err := p.add(copyPacker{}, &changedRecord{view: v, id: id}); err != nil {
			t.Fatal(err)
		}
	}
	p.close(copyPacker{})
	page.Poison()
	n := 0
	for _, pack := range p.packs {
		rows := pack.Rows
		for body := range Bodies(pack.Bodies) {
			if !strings.Contains(string(body), `"`+rows[0].ID+`"`) {
				t.Errorf("%s has the body %s", rows[0].ID, body)
			}
			rows = rows[1:]
			n++
		}
		if len(rows) > 0 {
			t.Errorf("%d rows have no body", len(rows))
		}
	}
	if n != 100 || len(p.packs) != (100+PackRows-1)/PackRows || all.Load() < 100*40 {
		t.Errorf("%d rows in %d packs of %d bytes", n, len(p.packs), all.Load())
	}
	p.drop()
	if all.Load() != 0 {
		t.Errorf("%d bytes are still counted", all.Load())
	}
}

// A writer stages when all writers together have too much, or when it has more than its share. Small amounts stay
// buffered.
func TestShouldStage(t *testing.T) {
	for _, c := range []struct {
		own, others int64
		full        bool
	}{
		{own: minStageBytes, others: 0, full: false},
		{own: minStageBytes, others: defaultMaxBuffered, full: true},
		{own: minStageBytes - 1, others: defaultMaxBuffered, full: false},
		{own: defaultMaxBuffered / 4, others: 0, full: true},
		{own: 0, others: 2 * defaultMaxBuffered, full: false},
	} {
		var all atomic.Int64
		all.Store(c.own + c.others)
		p := packer{maxTotal: defaultMaxBuffered, total: &all, bytes: c.own}
		if p.shouldStage() != c.full {
			t.Errorf("with %d of its own and %d of others: full is %t", c.own, c.others, !c.full)
		}
	}
}
