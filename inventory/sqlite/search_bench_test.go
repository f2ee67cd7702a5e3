package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/aws-collector/collector/inventory/inventorytest"
)

func BenchmarkSearch(b *testing.B) {
	s, err := Open(b.Context(), Options{Path: filepath.Join(b.TempDir(), "collector.db")})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	inventorytest.BenchmarkSearch(b, s)
	var size int64
	if err := s.db.QueryRow("SELECT sum(pgsize) FROM dbstat WHERE name LIKE 'search%'").Scan(&size); err != nil {
		b.Fatal(err)
	}
	b.Logf("the index has %d bytes", size)
}
