package store

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/aws-collector/collector/internal/datadir"
	"github.com/aws-collector/collector/inventory/postgres"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/record"
)

// clientError is the error of a command that Postgres has its own program for.
func clientError(what, command string) error {
	return &record.Fault{
		Reason: record.Other, Err: fmt.Errorf("the store is in Postgres, which has its own program to %s it", what),
		Hint: "Run: " + command + " (it takes the password from PGPASSWORD or ~/.pgpass, and TLS options from PGSSLMODE).",
	}
}

// Backup copies the store to a new file, also while a collector runs.
func (l Location) Backup(ctx context.Context, file string) error {
	if l.Type != "postgres" {
		return sqlite.Backup(ctx, Path(l.DataDir), file)
	}
	command, err := postgres.DumpCommand(postgresOptions(l.Store), file)
	if err != nil {
		return err
	}
	return clientError("back up", command)
}

// Restore replaces the store by a backup. No collector may use data_dir meanwhile.
func (l Location) Restore(ctx context.Context, file string, log *slog.Logger) (sqlite.Restored, error) {
	if l.Type == "postgres" {
		command, err := postgres.RestoreCommand(postgresOptions(l.Store), file)
		if err == nil {
			err = clientError("restore", command)
		}
		return sqlite.Restored{}, err
	}
	dir, err := datadir.Lock(l.DataDir, log)
	if err != nil {
		return sqlite.Restored{}, err
	}
	defer dir.Unlock()
	return sqlite.Restore(ctx, file, Path(l.DataDir))
}
