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

// 100,000 resources of 2 KB in ten targets: the first load, and the run after it in which nothing has changed. What is measured
// is the store: making the pages is not.
const benchTargets, benchPages, benchItems = 10, 10, 1000

func BenchmarkFirstLoad(b *testing.B) {
	for range b.N {
		b.StopTimer()
		s, err := Open(b.Context(), Options{Path: filepath.Join(b.TempDir(), "collector.db")})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		load(b, s)
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(benchTargets*benchPages*benchItems*float64(b.N)/b.Elapsed().Seconds(), "resources/s")
}

func BenchmarkUnchanged(b *testing.B) {
	s, err := Open(b.Context(), Options{Path: filepath.Join(b.TempDir(), "collector.db")})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	load(b, s)
	b.ResetTimer()
	b.StopTimer()
	for range b.N {
		load(b, s)
	}
	b.ReportMetric(benchTargets*benchPages*benchItems*float64(b.N)/b.Elapsed().Seconds(), "resources/s")
}

// load lists everything; the timer runs while the store works.
func load(b *testing.B, s *Store) {
	b.Helper()
	pad := noise(1000) // half of it compresses, as that of an instance does
	inv := inventory.New(s, inventory.Options{})
	_, who := inventorytest.Target()
	items := make([]inventorytest.Item, benchItems)
	for n := range benchTargets {
		target := record.Target{Account: "prod", Region: fmt.Sprintf("us-east-%d", n), Kind: "ec2_instance"}
		v, err := inv.Begin(b.Context(), target, who, "run")
		if err != nil {
			b.Fatal(err)
		}
		for page := range benchPages {
			b.StopTimer()
			for i := range items {
				id := fmt.Sprintf("i-%05x%08x%04x", n, page, i)
				items[i] = inventorytest.Item{ID: id, State: "running", Type: "m5.large", Tags: map[string]string{"Name": id, "team": "platform"}, Pad: id + pad + pad[:700]}
			}
			p := inventorytest.Page(target, who, "run", items...)
			b.StartTimer()
			if err := v.Page(b.Context(), p); err != nil {
				b.Fatal(err)
			}
		}
		if err := v.End(b.Context(), record.Outcome{Target: target, Run: "run", State: record.OK, Started: time.Now()}); err != nil {
			b.Fatal(err)
		}
	}
}
