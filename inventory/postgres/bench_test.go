package postgres

import (
	"errors"
	"fmt"
	"testing"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/inventory/postgres/postgrestest"
)

// The server has its default settings, so it waits for the disk. It shares this machine's cores.
func BenchmarkStore(b *testing.B) {
	server, err := postgrestest.Start()
	if errors.Is(err, postgrestest.ErrMissing) {
		b.Skipf("SKIPPED, NOT MEASURED: %v", err)
	}
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := server.Remove(); err != nil {
			b.Error(err)
		}
	}()
	inventorytest.Benchmark(b, func(b *testing.B) inventory.Driver {
		s, err := Open(b.Context(), Options{DSN: server.DSN(), Schema: fmt.Sprintf("bench_%d", schemas.Add(1))})
		if err != nil {
			b.Fatal(err)
		}
		return s
	})
}
