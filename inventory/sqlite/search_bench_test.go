package sqlite

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/record"
)

// BenchmarkSearch finds the first 100 resources with a text among 100,000 in 100 targets: parts of ids, addresses and
// tags, most of which few resources have, and two texts that all have.
func BenchmarkSearch(b *testing.B) {
	s, err := Open(b.Context(), Options{Path: filepath.Join(b.TempDir(), "collector.db")})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const targets, items = 100, 1000
	for n := range targets {
		listForSearch(b, s, n, items)
	}
	var size int64
	if err := s.db.QueryRow("SELECT sum(pgsize) FROM dbstat WHERE name LIKE 'search%'").Scan(&size); err != nil {
		b.Fatal(err)
	}
	for name, text := range map[string]func(i int) string{
		"id":      func(i int) string { return fmt.Sprintf("%05x", uint32(i)*2654435761>>8&0xfffff) },
		"address": func(i int) string { return fmt.Sprintf("10.%d.%d.%d", i%targets, i%4, i%250) },
		"name":    func(i int) string { return fmt.Sprintf("web-%d-%d", i%targets, i%items) },
		"all":     func(int) string { return "platform" },
		"short":   func(int) string { return "i-" },
	} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				n := 0
				q := inventory.Query{Search: text(7919 * len(took)), Limit: 101}
				for _, err := range s.Find(b.Context(), q) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n > q.Limit || n == 0 && name != "id" {
					b.Fatalf("%q finds %d", q.Search, n)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
			b.ReportMetric(float64(size)/targets/items, "index-B/resource")
		})
	}
}

func listForSearch(b *testing.B, s *Store, target, items int) {
	b.Helper()
	t, identity := inventorytest.Target()
	t.Region = fmt.Sprintf("us-east-%d", target)
	w, err := inventory.New(s, inventory.Options{}).Begin(b.Context(), t, identity, "one")
	if err != nil {
		b.Fatal(err)
	}
	list := make([]inventorytest.Item, items)
	for i := range list {
		list[i] = inventorytest.Item{
			ID: fmt.Sprintf("i-%08x%09x", uint32(i*7919+target)*2654435761, i*target), State: "running",
			Address: fmt.Sprintf("10.%d.%d.%d", target, i/250, i%250),
			Tags:    map[string]string{"Name": fmt.Sprintf("web-%d-%d", target, i), "team": "platform"},
		}
	}
	if err := w.Page(b.Context(), inventorytest.Page(t, identity, "one", list...)); err != nil {
		b.Fatal(err)
	}
	if err := w.End(
		b.Context(), record.Outcome{Target: t, Run: "one", State: record.OK, Started: time.Now()},
	); err != nil {
		b.Fatal(err)
	}
}
