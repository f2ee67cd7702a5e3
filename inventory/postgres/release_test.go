package postgres

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aws-collector/collector/inventory"
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

func TestNewerCompatibleTablesAreUsed(t *testing.T) {
	o := newSchema(t)
	inventorytest.CheckNewerRelease(t, inventorytest.NewerRelease{
		Open: func() inventory.Driver { return openStore(t, o) },
		Change: func() {
			exec(t, adminConn(t, o), fmt.Sprint(
				"ALTER TABLE run ADD COLUMN later text; UPDATE store SET version = ", inventorytest.NewerVersion,
			))
		},
		OpenReader: func() (io.Closer, error) { return OpenReader(t.Context(), o) },
		Version:    func() int { return count(t, adminConn(t, o), "SELECT version FROM store") },
	})
}

func TestOldRunsAndCausesGo(t *testing.T) {
	o := newSchema(t)
	s := openStore(t, o)
	conn := adminConn(t, o)
	inventorytest.CheckOldRuns(t, s, func(table string) int { return count(t, conn, "SELECT count(*) FROM "+table) })
}
