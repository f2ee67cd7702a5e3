package record

import (
	"fmt"
	"testing"
)

// BenchmarkPage is what records cost beside their decoding: a page of 1,000 is written, sealed into lines and freed of repeats.
func BenchmarkPage(b *testing.B) {
	const items = 1000
	stamp := testEnvelope()
	ids := make([]string, items)
	for i := range ids {
		ids[i] = fmt.Sprintf("i-%017x", i)
	}
	var p Page
	b.ReportAllocs()
	for b.Loop() {
		p.Reset(stamp)
		for _, id := range ids {
			writeItem(&p, id, "web")
		}
		p.EncodeLines("")
		var seen SeenIDs
		if p.Dedupe(&seen) != 0 || p.Len() != items {
			b.Fatal("records were lost")
		}
		b.SetBytes(int64(len(p.Lines())))
	}
	b.ReportMetric(float64(b.N)*items/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkSum is the hash of a record that says whether it has changed.
func BenchmarkSum(b *testing.B) {
	var p Page
	p.Reset(testEnvelope())
	writeItem(&p, "i-0abc", "web")
	p.EncodeLines("")
	b.ReportAllocs()
	for b.Loop() {
		for v := range p.Views() {
			_ = v.Digest()
		}
	}
}
