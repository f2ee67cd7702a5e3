package sqlite

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"
)

// A panic in a transaction releases the only connection that writes.
func TestPanicInTransaction(t *testing.T) {
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "collector.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		_ = s.write(t.Context(), func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(t.Context(), "UPDATE scope SET run = ''"); err != nil {
				return err
			}
			panic("bug")
		})
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // only a failure takes that long
	defer cancel()
	if err := s.write(ctx, func(*sql.Tx) error { return nil }); err != nil {
		t.Error(err)
	}
}
