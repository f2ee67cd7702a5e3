package postgres

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/record"
)

// Tables of the last release are migrated: nothing in them is lost, and they are written to.
// testdata/release-0436523.sql was made by that commit, from the listings that [inventorytest.CheckRelease] expects.
func TestMigrateLastRelease(t *testing.T) {
	script, err := os.ReadFile("testdata/release-0436523.sql")
	if err != nil {
		t.Fatal(err)
	}
	o := newSchema(t)
	text := strings.ReplaceAll(string(script), "SCHEMA.", pgx.Identifier{o.Schema}.Sanitize()+".")
	text = strings.Replace(text, "CREATE SCHEMA SCHEMA;", "CREATE SCHEMA "+pgx.Identifier{o.Schema}.Sanitize()+";", 1)
	exec(t, adminConn(t, o), text)
	inventorytest.CheckRelease(t, openStore(t, o))
}

// A newer program that says so may have migrated the tables.
func TestNewerCompatibleTablesAreUsed(t *testing.T) {
	o := newSchema(t)
	if err := openStore(t, o).Close(); err != nil {
		t.Fatal(err)
	}
	exec(t, adminConn(t, o), "ALTER TABLE run ADD COLUMN later text; UPDATE store SET version = 99")
	openStore(t, o)
	r, err := OpenReader(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// The end of a run deletes what is too old, with the causes that no run names any more, and no others.
func TestOldRunsAndCausesGo(t *testing.T) {
	s := openStore(t, newSchema(t))
	for i, age := range []time.Duration{60 * day, 33 * day, 29 * day, 0} {
		at := time.Now().Add(-age)
		r := inventory.Run{
			ID: inventory.FirstRunID(at), Account: "a", Tick: at, Started: at, Ended: at, Status: record.RunFailed,
			Causes: []inventory.Cause{{State: record.Error, Error: fmt.Sprint("cause ", i), Targets: 1}},
		}
		if err := s.EndRun(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for table, want := range map[string]int{"run": 2, "cause": 2} {
		var n int
		err := s.writePool.QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&n)
		if err != nil || n != want {
			t.Errorf("%d rows in %s, want %d: %v", n, table, want, err)
		}
	}
}
