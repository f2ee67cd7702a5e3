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
	server := startForBenchmark(b)
	inventorytest.Benchmark(b, func(b *testing.B) inventory.Driver { return openForBenchmark(b, server) })
}

func BenchmarkSearch(b *testing.B) {
	s := openForBenchmark(b, startForBenchmark(b))
	defer s.Close()
	inventorytest.BenchmarkSearch(b, s)
}

func startForBenchmark(b *testing.B) *postgrestest.Server {
	b.Helper()
	server, err := postgrestest.Start()
	if errors.Is(err, postgrestest.ErrMissing) {
		b.Skipf("SKIPPED, NOT MEASURED: %v", err)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := server.Remove(); err != nil {
			b.Error(err)
		}
	})
	return server
}

func openForBenchmark(b *testing.B, server *postgrestest.Server) *Store {
	b.Helper()
	s, err := Open(b.Context(), Options{DSN: server.DSN(), Schema: fmt.Sprintf("bench_%d", schemas.Add(1))})
	if err != nil {
		b.Fatal(err)
	}
	return s
}
