package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"time"

	_ "modernc.org/sqlite"
)

// A versionStore stores versions of instances. A nil store stores nothing.
type versionStore struct{ db *sql.DB }

type row struct {
	id   string
	data []byte
}

func openVersionStore(ctx context.Context, path string) (*versionStore, error) {
	if path == "" {
		return nil, nil
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(wal)&_pragma=synchronous(normal)")
	if err != nil {
		return nil, err
	}
	_, err = db.ExecContext(
		ctx,
		`CREATE TABLE IF NOT EXISTS version (
			id TEXT NOT NULL, valid_from INTEGER NOT NULL, valid_to INTEGER, hash BLOB NOT NULL, data TEXT NOT NULL
		);
		CREATE UNIQUE INDEX IF NOT EXISTS live ON version (id) WHERE valid_to IS NULL`,
	)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &versionStore{db}, nil
}

func (m *versionStore) close() error {
	if m == nil {
		return nil
	}
	return m.db.Close()
}

// savePage stores new and changed instances in one transaction.
func (m *versionStore) savePage(ctx context.Context, rows []row) error {
	if m == nil {
		return nil
	}
	tx, err := m.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // has no effect after a commit
	known, err := tx.PrepareContext(ctx, "SELECT hash FROM version WHERE id = ? AND valid_to IS NULL")
	if err != nil {
		return err
	}
	defer known.Close()
	end, err := tx.PrepareContext(ctx, "UPDATE version SET valid_to = ? WHERE id = ? AND valid_to IS NULL")
	if err != nil {
		return err
	}
	defer end.Close()
	insert, err := tx.PrepareContext(ctx, "INSERT INTO version (id, valid_from, hash, data) VALUES (?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer insert.Close()
	now := time.Now().UnixMicro()
	for _, r := range rows {
		hash := sha256.Sum256(r.data)
		var was []byte
		switch err := known.QueryRowContext(ctx, r.id).Scan(&was); {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return err
		case string(was) == string(hash[:]):
			continue
		default:
			if _, err := end.ExecContext(ctx, now, r.id); err != nil {
				return err
			}
		}
		if _, err := insert.ExecContext(ctx, r.id, now, hash[:], string(r.data)); err != nil {
			return err
		}
	}
	return tx.Commit()
}
