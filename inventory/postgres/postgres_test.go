package postgres

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/inventory/postgres/postgrestest"
)

// All tests of the package share a server; each has a schema of its own.
var (
	cluster = &postgrestest.Shared{Settings: []string{"fsync=off"}}
	schemas atomic.Int64
)

func TestMain(m *testing.M) {
	if dsn := os.Getenv(killedDSNEnv); dsn != "" {
		if os.Getenv(committerEnv) != "" {
			if err := commitForBenchmark(dsn); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
		listUntilKilled(dsn)
	}
	code := m.Run()
	if err := cluster.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// newSchema returns options for an unused schema.
func newSchema(t testing.TB) Options {
	t.Helper()
	return Options{
		DSN: cluster.Server(t).DSN(), Schema: fmt.Sprintf("test_%d", schemas.Add(1)), KeepRuns: 30 * day,
	}
}

func openStore(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) { runConformance(t, false) }

// A process that shares its schema passes the same cases.
func TestConformanceOfSharedSchema(t *testing.T) {
	t.Parallel()
	runConformance(t, true)
}

func runConformance(t *testing.T, shared bool) {
	subject := inventorytest.Subject{Shared: shared}
	subject.Open = func(t *testing.T) (inventory.Driver, func() inventory.Driver) {
		o := newSchema(t)
		o.Shared = shared
		s := openStore(t, o)
		return s, func() inventory.Driver {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openStore(t, o)
			return s
		}
	}
	inventorytest.Run(t, subject)
}

// adminConn returns a connection of its own, in the store's schema.
func adminConn(t testing.TB, o Options) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), o.DSN+" search_path="+o.Schema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func exec(t testing.TB, conn *pgx.Conn, query string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func count(t testing.TB, conn *pgx.Conn, query string, args ...any) (n int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// checkConsistent checks what holds after every commit.
func checkConsistent(t testing.TB, r *Reader) {
	t.Helper()
	s, err := r.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range s.Damage {
		t.Error(d)
	}
}
