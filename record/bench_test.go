package record

import (
	"fmt"
	"testing"
)

// BenchmarkPage measures the cost of records without decoding: 1,000 are written, encoded as lines and deduplicated.
func BenchmarkPage(b *testing.B) {
	const items = 1000
	envelope := testEnvelope()
	ids := make([]string, items)
	for i := range ids {
		ids[i] = fmt.Sprintf("i-%017x", i)
	}
	var p Page
	b.ReportAllocs()
	for b.Loop() {
		p.Reset(envelope)
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

// BenchmarkDigest measures the digest that shows whether a record changed.
func BenchmarkDigest(b *testing.B) {
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
