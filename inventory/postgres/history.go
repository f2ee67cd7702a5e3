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

// ErrReplaced is returned if the tables are no longer those that this process has written to.
var ErrReplaced = errors.New("the tables were dropped or replaced while in use")

// checkHistory returns an error if this process has written to the schema and its tables are now gone or replaced.
// Creating them again would silently begin an empty history. Only a restart accepts other tables.
func (s *Store) checkHistory(ctx context.Context, conn *pgx.Conn) error {
	if s.historyID == "" {
		return nil
	}
	var current string
	err := conn.QueryRow(ctx, "SELECT history FROM store").Scan(&current)
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "3F000" || pg.Code == "42703"),
		errors.Is(err, pgx.ErrNoRows), err == nil && current != s.historyID:
		return &record.Fault{Reason: record.Other, Err: fmt.Errorf("schema %s: %w", s.c.schema, ErrReplaced),
			Hint: "Restore the schema, or restart the collector to begin a new history. Until then nothing is stored."}
	}
	return err
}

// recordHistory records the id of the schema's history, for this process and, in a file, for the next one. It warns if
// the id in the file is another.
func (s *Store) recordHistory(ctx context.Context, conn *pgx.Conn) error {
	if s.historyID != "" {
		return nil
	}
	var current string
	if err := conn.QueryRow(ctx, "SELECT history FROM store").Scan(&current); err != nil {
		return err
	}
	s.historyID = current
	if s.idFile == "" {
		return nil
	}
	b, err := statefile.Read(s.idFile)
	before := strings.TrimSpace(string(b))
	switch {
	case err == nil && before == current:
		return nil
	case err == nil && len(before) == len(current):
		s.log.Warn("store has another history", "schema", s.c.schema, "history", current, "previous", before,
			"hint", "If the schema was not replaced on purpose, stop the collector and restore it.")
	case !errors.Is(err, fs.ErrNotExist):
		aside, errMove := statefile.MoveDamaged(s.idFile)
		s.log.Warn("store history id file damaged",
			"path", s.idFile, "error", errors.Join(err, errMove), "moved_to", aside,
			"hint", "Nothing to do: the file is written again. A replaced schema is not noticed this time.")
	}
	if err := statefile.Write(s.idFile, []byte(current+"\n")); err != nil {
		s.log.Warn("store history id file not written",
			"path", s.idFile, "error", err, "hint", statefile.Hint(s.idFile, err))
	}
	return nil
}
