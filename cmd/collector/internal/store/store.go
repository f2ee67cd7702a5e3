// Package store opens the store that the configuration names: for a collector that writes, and for commands that read
// it beside a collector. Begin at [Open] and [Locate].
package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/postgres"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
)

// Path is where SQLite has the store in a data_dir.
func Path(dataDir string) string { return filepath.Join(dataDir, "collector.db") }

// A Store is the store for the runner: the inventory, or a store in memory.
type Store struct {
	runner.Store
	Inventory *inventory.Inventory // nil: nothing is stored
	Driver    inventory.Driver     // of the inventory, for readers; its calls do not wait for a database that hangs
}

// InMemory returns a store for a process that stores nothing.
func InMemory() *Store { return &Store{Store: runner.NewMemoryStore()} }

// Open opens the store of the configuration. pagesWanted reports whether listings wait for a page.
func Open(ctx context.Context, f *config.File, pagesWanted func() bool, log *slog.Logger) (*Store, error) {
	if f.Store.Type == "none" {
		return InMemory(), nil
	}
	s, err := openDriver(ctx, f.Store, f.DataDir, log)
	if err != nil {
		return nil, err
	}
	inv := inventory.New(s, inventory.Options{Log: log, Saturated: pagesWanted})
	return &Store{Store: inv, Inventory: inv, Driver: inv.Driver()}, nil
}

// openDriver opens the database of a store for writing.
func openDriver(ctx context.Context, s config.Store, dataDir string, log *slog.Logger) (inventory.Driver, error) {
	if s.Type == "postgres" {
		o := postgresOptions(s)
		o.Log, o.IDFile = log, filepath.Join(dataDir, "postgres.id")
		d, err := postgres.Open(ctx, o)
		if err != nil {
			return nil, err
		}
		return d, nil
	}
	d, err := sqlite.Open(ctx, sqlite.Options{
		Path: Path(dataDir), Log: log, Keep: time.Duration(s.Keep), KeepRuns: time.Duration(s.KeepRuns),
		Sync: s.Sync == "full",
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

func postgresOptions(s config.Store) postgres.Options {
	return postgres.Options{
		DSN: s.DSN.Reveal(), Schema: s.Schema, Keep: time.Duration(s.Keep), KeepRuns: time.Duration(s.KeepRuns),
		Sync: s.Sync == "full",
	}
}

// Close closes the database.
func (s *Store) Close() error {
	if s.Driver == nil {
		return nil
	}
	return s.Driver.Close()
}

// Accounts is the store of accounts for an [accounts.Retirer], or nil.
func (s *Store) Accounts() accounts.AccountStore {
	if s.Driver == nil {
		return nil
	}
	return s.Driver
}

// NotReadyReasons says why and since when store writes fail, and what to do.
func (s *Store) NotReadyReasons() []string {
	if s.Inventory == nil {
		return nil
	}
	t := s.Inventory.Health()
	if t.Err == nil {
		return nil
	}
	reason := fmt.Sprintf("store writes fail since %s: %v", t.Since.UTC().Format(time.RFC3339), t.Err)
	if hint := record.HintOf(t.Err); hint != "" {
		reason += " (" + hint + ")"
	}
	return []string{reason}
}

// InterruptRuns ends the runs that a killed process left running. A store that fails reports that itself.
func (s *Store) InterruptRuns(ctx context.Context, log *slog.Logger) {
	if s.Inventory == nil {
		return
	}
	if n, err := s.Inventory.InterruptRuns(ctx, time.Now()); err == nil && n > 0 {
		log.Warn("runs of a killed process interrupted", "runs", n,
			"hint", "Look for the end of the process in the system's log. The next runs list everything again.")
	}
}

// boardLoadTimeout is enough for some million targets.
const boardLoadTimeout = 20 * time.Second

// LoadBoard sets the status board to what the store knows, so that the status is right before the first run.
func (s *Store) LoadBoard(ctx context.Context, r *runner.Runner, board *board.Board, log *slog.Logger) {
	if s.Inventory == nil {
		return
	}
	// The listener opens after it: a slow store must not keep health checks waiting.
	ctx, cancel := context.WithTimeout(ctx, boardLoadTimeout)
	defer cancel()
	expected := func(name string) []record.Target { return r.ExpectedTargets(ctx, name) }
	if err := board.Load(ctx, s.Driver, expected); err != nil && !errors.Is(err, context.Canceled) {
		log.Warn("reading the last status failed", "error", err, "hint", cmp.Or(record.HintOf(err),
			"The status is complete after the next run of each account."))
	}
}

// NotStored is the error of a single run that listed targets which the store did not store.
func (s *Store) NotStored() error {
	if s.Inventory == nil || s.Inventory.NotStored() == 0 {
		return nil
	}
	err := fmt.Errorf("%d targets were not stored", s.Inventory.NotStored())
	if cause := s.Inventory.Err(); cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return err
}
