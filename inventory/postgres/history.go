package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/record"
)

// ErrReplaced says that the tables are not the ones any more that this process has written to.
var ErrReplaced = errors.New("the tables were dropped or replaced while they are in use")

// checkHistory is an error where this process has written to the schema and its tables are gone or others: made anew they would be an empty
// history, of which nobody was told. Only a restart takes them.
func (s *Store) checkHistory(ctx context.Context, conn *pgx.Conn) error {
	if s.historyID == "" {
		return nil
	}
	var now string
	err := conn.QueryRow(ctx, "SELECT history FROM store").Scan(&now)
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "3F000" || pg.Code == "42703"), errors.Is(err, pgx.ErrNoRows), err == nil && now != s.historyID:
		return &record.Fault{Reason: record.Other, Err: fmt.Errorf("schema %s: %w", s.c.schema, ErrReplaced),
			Hint: "Restore the schema, or restart the collector to begin a new history in what is there now. Until then nothing is stored."}
	}
	return err
}

// recordHistory keeps which history the schema has, for this process and, in a file, for the next. It says where it is not the one before.
func (s *Store) recordHistory(ctx context.Context, conn *pgx.Conn) error {
	if s.historyID != "" {
		return nil
	}
	var now string
	if err := conn.QueryRow(ctx, "SELECT history FROM store").Scan(&now); err != nil {
		return err
	}
	s.historyID = now
	if s.idFile == "" {
		return nil
	}
	b, err := statefile.Read(s.idFile)
	before := strings.TrimSpace(string(b))
	switch {
	case err == nil && before == now:
		return nil
	case err == nil && len(before) == len(now):
		s.log.Warn("the store has another history", "schema", s.c.schema, "history", now, "before", before,
			"hint", "The schema was made anew, or it is another database. If that was not meant, stop the collector and restore the schema.")
	case !errors.Is(err, fs.ErrNotExist):
		aside, moved := statefile.MoveDamaged(s.idFile)
		s.log.Warn("the id of the store's history is damaged", "path", s.idFile, "error", errors.Join(err, moved), "moved", aside)
	}
	if err := statefile.Write(s.idFile, []byte(now+"\n")); err != nil {
		s.log.Warn("the id of the store's history cannot be written", "path", s.idFile, "error", err)
	}
	return nil
}
