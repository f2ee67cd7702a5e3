package postgres

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Every code that an operator can meet has a hint.
func TestHints(t *testing.T) {
	for code, want := range map[string]string{
		"28P01": "password",
		"28000": "pg_hba.conf",
		"3D000": "createdb",
		"3F000": "collector run",
		"42P01": "collector run",
		"42501": "CREATE SCHEMA",
		"53300": "connections",
		"53400": "limit",
		"53100": "disk",
		"53200": "memory",
		"58030": "disk",
		"58P01": "disk",
		"58000": "disk",
		"25006": "primary",
		"25P03": "time-out",
		"25P04": "time-out",
		"57P05": "time-out",
		"57014": "statement_timeout",
		"55P03": "pg_blocking_pids",
		"40001": "Nothing to do",
		"40P01": "Nothing to do",
		"57P01": "Nothing to do",
		"57P02": "Nothing to do",
		"57P03": "Nothing to do",
		"08006": "Nothing to do",
		"57P04": "dropped",
		"26000": "pool_mode=session",
		"42P05": "pool_mode=session",
		"23505": "collector db check",
		"XX000": "log",
		"XX001": "collector db check",
		"XX002": "collector db check",
	} {
		if got := hintOf(&pgconn.PgError{Code: code}); !strings.Contains(got, want) {
			t.Errorf("%s: %q does not say %q", code, got, want)
		}
	}
	if got := hintOf(&pgconn.PgError{Code: "22012"}); got != "" { // a division by zero in a user's statement
		t.Errorf("a hint without a reason: %q", got)
	}
}
