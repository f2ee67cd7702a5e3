package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/inventory/postgres/postgrestest"
	"github.com/aws-collector/collector/record"
)

// newBouncer returns options for an unused schema behind PgBouncer.
func newBouncer(t *testing.T, settings ...string) Options {
	t.Helper()
	o := newSchema(t)
	b, err := cluster.Server(t).StartBouncer(settings...)
	if errors.Is(err, postgrestest.ErrNoBouncer) {
		t.Skipf("SKIPPED, NOT PASSED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	o.DSN = b.DSN()
	return o
}

// A pooler of sessions may refuse the settings of a start-up message, or drop them: the store works in its own schema
// either way, and after a restart.
func TestPgBouncerOfSessions(t *testing.T) {
	newBouncer(t) // skips the test as a whole
	for name, more := range map[string]string{
		"settings refused": "",
		"settings dropped": "ignore_startup_parameters = search_path, lock_timeout, default_transaction_read_only",
	} {
		t.Run(name, func(t *testing.T) {
			o := newBouncer(t, "pool_mode = session", more)
			for _, run := range []string{"one", "two"} {
				s, err := Open(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				inv := inventory.New(s, inventory.Options{})
				if err := inventorytest.List(t, inv, run, inventorytest.Item{ID: "i-" + run}); err != nil {
					t.Fatal(err)
				}
				if got := inventorytest.IDs(t, s, inventory.Query{}); got != "i-"+run {
					t.Errorf("there is %q", got)
				}
				checkConsistent(t, s.Reader)
				if _, err := Open(t.Context(), o); !errors.Is(err, ErrInUse) {
					t.Errorf("a second writer: %v", err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			direct := o
			direct.DSN = cluster.Server(t).DSN()
			conn := adminConn(t, direct)
			if n := count(t, conn, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); n != 0 {
				t.Errorf("%d tables are in schema public", n)
			}
			if n := count(t, conn, "SELECT count(*) FROM pg_tables WHERE schemaname = $1", o.Schema); n == 0 {
				t.Error("the schema has no tables")
			}
		})
	}
}

// A pooler of transactions is refused by reader and writer, in one sentence and before anything is written.
func TestPgBouncerOfTransactions(t *testing.T) {
	newBouncer(t) // skips the test as a whole
	for name, settings := range map[string][]string{
		"transaction": {"pool_mode = transaction"},
		"one session": {"pool_mode = transaction", "default_pool_size = 1"},
		"round robin": {"pool_mode = transaction", "server_round_robin = 1", "min_pool_size = 3"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "one session" {
				settings = append(settings, "query_wait_timeout = 2")
			}
			o := newBouncer(t, settings...)
			_, err := Open(t.Context(), o)
			_, errReader := OpenReader(t.Context(), o)
			for _, err := range []error{err, errReader} {
				want := "store: store.dsn leads to a pooler in transaction mode; the store needs a session for each connection"
				if err == nil || err.Error() != want || !strings.Contains(record.HintOf(err), "pool_mode=session") {
					t.Errorf("%v\nhint: %s", err, record.HintOf(err))
				}
			}
			direct := o
			direct.DSN = cluster.Server(t).DSN()
			if n := count(t, adminConn(t, direct), "SELECT count(*) FROM pg_namespace WHERE nspname = $1", o.Schema); n != 0 {
				t.Error("the schema was created")
			}
		})
	}
}
