package postgres

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/record"
)

// A dropped schema is not taken for a new one: nothing is stored until a restart, which logs that another history
// begins.
func TestSchemaDropped(t *testing.T) {
	o := newSchema(t)
	var log bytes.Buffer
	o.Log, o.IDFile = slog.New(slog.NewTextHandler(&log, nil)), filepath.Join(t.TempDir(), "postgres.id")
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	inv := inventory.New(s, inventory.Options{})
	if err := inventorytest.List(t, inv, "one", inventorytest.Item{ID: "i-1"}); err != nil {
		t.Fatal(err)
	}
	conn := adminConn(t, o)
	exec(t, conn, "DROP SCHEMA "+pgx.Identifier{o.Schema}.Sanitize()+" CASCADE")
	if err := inventorytest.List(t, inv, "two", inventorytest.Item{ID: "i-2"}); err == nil ||
		!strings.Contains(record.HintOf(err), "restart it") {
		t.Errorf("stored in what was dropped: %v, %s", err, record.HintOf(err))
	}
	class, object := s.c.lockKey()
	exec(
		t, conn,
		`SELECT pg_terminate_backend(pid) FROM pg_locks
			WHERE locktype = 'advisory' AND classid::bigint = $1 AND objid::bigint = $2`,
		class, object,
	)
	eventually(
		t, "it does not make the tables again",
		func() bool { return errors.Is(s.Err(), ErrReplaced) && record.HintOf(s.Err()) != "" },
	)
	if err := inv.Driver().Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := inventorytest.List(
			t, inventory.New(s, inventory.Options{}), "three", inventorytest.Item{ID: "i-3"},
		); err != nil {
			t.Error(err)
		}
		for c, err := range s.Targets(t.Context()) {
			if err != nil || c.History == "" || c.FirstComplete.IsZero() || c.FirstComplete.After(c.LastSeen) {
				t.Errorf("%v: %+v", err, c)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "store has another history"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
}
