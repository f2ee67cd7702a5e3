package sqlite

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/aws-collector/collector/record"
)

// Every code that an operator can meet has a hint, also as an extended code.
func TestHints(t *testing.T) {
	for code, want := range map[int]string{
		sqlite3.SQLITE_BUSY:               "end it",
		sqlite3.SQLITE_BUSY_SNAPSHOT:      "end it",
		sqlite3.SQLITE_LOCKED:             "end it",
		sqlite3.SQLITE_CORRUPT:            "collector db check",
		sqlite3.SQLITE_CORRUPT_VTAB:       "collector db check",
		sqlite3.SQLITE_NOTADB:             "collector db check",
		sqlite3.SQLITE_FULL:               "disk is full",
		sqlite3.SQLITE_READONLY:           "writable",
		sqlite3.SQLITE_READONLY_DIRECTORY: "writable",
		sqlite3.SQLITE_READONLY_DBMOVED:   "Restart",
		sqlite3.SQLITE_PERM:               "writable",
		sqlite3.SQLITE_CANTOPEN:           "writable",
		sqlite3.SQLITE_CANTOPEN_ISDIR:     "writable",
		sqlite3.SQLITE_NOMEM:              "memory",
		sqlite3.SQLITE_IOERR_NOMEM:        "memory",
		sqlite3.SQLITE_AUTH:               "SELECT",
		sqlite3.SQLITE_TOOBIG:             "shorter",
		sqlite3.SQLITE_IOERR:              "disk",
		sqlite3.SQLITE_IOERR_FSYNC:        "disk",
		sqlite3.SQLITE_PROTOCOL:           "local disk",
		sqlite3.SQLITE_NOLFS:              "local disk",
		sqlite3.SQLITE_SCHEMA:             "again",
		sqlite3.SQLITE_CONSTRAINT:         "collector db check",
		sqlite3.SQLITE_CONSTRAINT_UNIQUE:  "collector db check",
		sqlite3.SQLITE_INTERRUPT:          "",
		sqlite3.SQLITE_ERROR:              "",
	} {
		if got := hintOf(code); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("code %d: %q does not say %q", code, got, want)
		}
	}
}

// A user's statement that names something else than the views is told about them.
func TestHintOfStatement(t *testing.T) {
	path := filepath.Join(t.TempDir(), "collector.db")
	s, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for statement, want := range map[string]string{
		"SELECT * FROM instances":          "no such table: instances",
		"SELECT nam FROM resources":        "no such column: nam",
		"SELECT nofunc(1)":                 "no such function: nofunc",
		"SELEC 1":                          `near "SELEC"`,
		"SELECT abs(-9223372036854775808)": "integer overflow",
	} {
		err := s.Query(context.Background(), statement, func([]string, []any) error { return nil })
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(record.HintOf(err), "views resources,") {
			t.Errorf("%s: %v, hint %q", statement, err, record.HintOf(err))
		}
	}
}
