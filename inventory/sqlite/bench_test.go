package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
)

func BenchmarkStore(b *testing.B) {
	inventorytest.Benchmark(b, func(b *testing.B) inventory.Driver {
		s, err := Open(b.Context(), Options{Path: filepath.Join(b.TempDir(), "collector.db")})
		if err != nil {
			b.Fatal(err)
		}
		return s
	})
}
