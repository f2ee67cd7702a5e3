package postgres

import (
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aws-collector/collector/inventory/inventorytest"
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
