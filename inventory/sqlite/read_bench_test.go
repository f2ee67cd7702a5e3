package sqlite

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/record"
)

// BenchmarkFind reads live resources with their bodies, as an output with a label from the data does: 20,000 resources
// of 2 KB in one target, or a tenth of them with -short.
func BenchmarkFind(b *testing.B) {
	s, err := Open(b.Context(), Options{Path: filepath.Join(b.TempDir(), "collector.db")})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	target, identity := inventorytest.Target()
	v, err := inventory.New(s, inventory.Options{}).Begin(b.Context(), target, identity, "one")
	if err != nil {
		b.Fatal(err)
	}
	const items = 1000
	pages := 20
	if testing.Short() {
		pages /= 10
	}
	for page := range pages {
		list := make([]inventorytest.Item, items)
		for i := range list {
			list[i] = inventorytest.Item{
				ID:    fmt.Sprintf("i-%04x%04x", i*7919%items, page),
				State: "running",
				Pad:   incompressible(1000) + incompressible(1000),
			}
		}
		if err := v.Page(b.Context(), inventorytest.Page(target, identity, "one", list...)); err != nil {
			b.Fatal(err)
		}
	}
	if err := v.End(
		b.Context(), record.Outcome{Target: target, Run: "one", State: record.OK, Started: time.Now()},
	); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		n := 0
		for r, err := range s.Find(b.Context(), inventory.Query{Data: true}) {
			if err != nil || len(r.Data) < 2000 {
				b.Fatal(r, err)
			}
			n++
		}
		if n != pages*items {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*pages*items), "µs/resource")
}
