package postgres

import (
	"errors"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
)

// The printed commands work: what was dumped is there again after the store was lost.
func TestDumpCommands(t *testing.T) {
	o := newSchema(t)
	for _, program := range []string{"pg_dump", "pg_restore"} {
		if _, err := osexec.LookPath(program); err != nil {
			t.Skipf("SKIPPED, NOT PASSED: no %s on this machine", program)
		}
	}
	conf, err := pgx.ParseConfig(o.DSN)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "it's a backup.dump")
	dump, errDump := DumpCommand(o, file)
	restore, errRestore := RestoreCommand(o, file)
	if err := errors.Join(errDump, errRestore); err != nil {
		t.Fatal(err)
	}
	run := func(command string) {
		t.Helper()
		c := osexec.CommandContext(t.Context(), "sh", "-c", command)
		c.Env = append(os.Environ(), "PGPASSWORD="+conf.Password)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	store := func(run, id string) {
		t.Helper()
		s := openStore(t, o)
		if err := inventorytest.List(
			t, inventory.New(s, inventory.Options{}), run, inventorytest.Item{ID: id},
		); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	store("one", "i-1")
	run(dump)
	store("two", "i-2")
	run(restore)
	r, err := OpenReader(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var ids []string
	for res, err := range r.Find(t.Context(), inventory.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, res.ID)
	}
	if len(ids) != 1 || ids[0] != "i-1" {
		t.Errorf("restored: %v", ids)
	}
}

// No part of a password is printed, however the connection string is written.
func TestDumpCommandHasNoPassword(t *testing.T) {
	for _, dsn := range []string{
		"postgres://collector:canary-EXAMPLE@db.example.com:5433/inventory?sslmode=verify-full",
		"postgres://db.example.com:5433/inventory?user=collector&password=canary-EXAMPLE",
		"host=db.example.com port=5433 dbname=inventory user=collector password='canary-EXAMPLE'",
	} {
		command, err := DumpCommand(Options{DSN: dsn}, "my backup.dump")
		const want = "pg_dump --host db.example.com --port 5433 --username collector --dbname inventory " +
			"--schema collector --format custom --file 'my backup.dump'"
		if err != nil || command != want {
			t.Errorf("%s, %v; want %s", command, err, want)
		}
		if strings.Contains(command, "canary") {
			t.Error("it has the password")
		}
	}
	if _, err := DumpCommand(Options{DSN: "postgres://a:can/ary@db/x"}, "f"); err == nil ||
		strings.Contains(err.Error(), "can") && strings.Contains(err.Error(), "ary@") {
		t.Errorf("a password that is not escaped: %v", err)
	}
}
