package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
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

func storePath(dataDir string) string { return filepath.Join(dataDir, "collector.db") }

// runStore is the store for the runner: the inventory, or with store: none a store in memory.
type runStore struct {
	runner.Store
	inventory *inventory.Inventory // nil: nothing is stored
	driver    inventory.Driver     // of the inventory, for readers; its calls do not wait for a database that hangs
}

// openRunStore opens the store of the configuration. A dry run stores nothing. pagesWanted reports whether listings
// wait for a page.
func openRunStore(
	ctx context.Context, f *config.File, dryRun bool, pagesWanted func() bool, log *slog.Logger,
) (*runStore, error) {
	if dryRun || f.Store.Type == "none" {
		return &runStore{Store: runner.NewMemoryStore()}, nil
	}
	s, err := openDriver(ctx, f.Store, f.DataDir, log)
	if err != nil {
		return nil, err
	}
	inv := inventory.New(s, inventory.Options{Log: log, Saturated: pagesWanted})
	return &runStore{Store: inv, inventory: inv, driver: inv.Driver()}, nil
}

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
		Path: storePath(dataDir), Log: log, Keep: time.Duration(s.Keep), KeepRuns: time.Duration(s.KeepRuns),
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

func (s *runStore) close() error {
	if s.driver == nil {
		return nil
	}
	return s.driver.Close()
}

// accounts is the store of accounts for an [accounts.Retirer], or nil.
func (s *runStore) accounts() accounts.AccountStore {
	if s.driver == nil {
		return nil
	}
	return s.driver
}

// notReadyReasons says why and since when store writes fail, and what to do.
func (s *runStore) notReadyReasons() []string {
	if s.inventory == nil {
		return nil
	}
	t := s.inventory.Health()
	if t.Err == nil {
		return nil
	}
	reason := fmt.Sprintf("store writes fail since %s: %v", t.Since.UTC().Format(time.RFC3339), t.Err)
	if hint := record.HintOf(t.Err); hint != "" {
		reason += " (" + hint + ")"
	}
	return []string{reason}
}

// interruptRuns ends the runs that a killed process left running. A store that fails reports that itself.
func (s *runStore) interruptRuns(ctx context.Context, log *slog.Logger) {
	if s.inventory == nil {
		return
	}
	if n, err := s.inventory.InterruptRuns(ctx, time.Now()); err == nil && n > 0 {
		log.Warn("runs of a killed process interrupted", "runs", n,
			"hint", "Look for the end of the process in the system's log. The next runs list everything again.")
	}
}

// boardLoadTimeout is enough for some million targets.
const boardLoadTimeout = 20 * time.Second

// loadBoard sets the status board to what the store knows, so that the status is right before the first run.
func (s *runStore) loadBoard(ctx context.Context, r *runner.Runner, board *board.Board, log *slog.Logger) {
	if s.inventory == nil {
		return
	}
	// The listener opens after it: a slow store must not keep health checks waiting.
	ctx, cancel := context.WithTimeout(ctx, boardLoadTimeout)
	defer cancel()
	expected := func(name string) []record.Target { return r.ExpectedTargets(ctx, name) }
	if err := board.Load(ctx, s.driver, expected); err != nil && !errors.Is(err, context.Canceled) {
		log.Warn("reading the last status failed", "error", err, "hint", cmp.Or(record.HintOf(err),
			"The status is complete after the next run of each account."))
	}
}

// thisProcess names the process in the runs that it stores.
func thisProcess() inventory.Process {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return inventory.Process{Replica: host, Version: buildInfo().version}
}

// notStored is the error of a single run that listed targets which the store did not store.
func (s *runStore) notStored() error {
	if s.inventory == nil || s.inventory.NotStored() == 0 {
		return nil
	}
	err := fmt.Errorf("%d targets were not stored", s.inventory.NotStored())
	if cause := s.inventory.Err(); cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return &exitError{exitPartial, err}
}

// withStore opens the store for reading, also while a collector runs. Of the configuration it needs only the location
// of the store, so references in other places need not resolve here.
func (c *cli) withStore(ctx context.Context, read func(inventory.Store) error) error {
	p, err := c.locateStore(ctx)
	if err != nil {
		return err
	}
	return p.read(ctx, read)
}

// read opens the store for reading.
func (p storeLocation) read(ctx context.Context, read func(inventory.Store) error) (err error) {
	r, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err = read(r); errors.Is(err, syscall.EPIPE) {
		return nil // the reader of our output has seen enough, as in "| head"
	}
	return err
}

// storeLocation says where a store is.
type storeLocation struct {
	config.Store
	dataDir string
}

func (p storeLocation) open(ctx context.Context) (inventory.Store, error) {
	if p.Type == "postgres" {
		r, err := postgres.OpenReader(ctx, postgresOptions(p.Store))
		if err != nil {
			return nil, err
		}
		return r, nil
	}
	r, err := sqlite.OpenReader(ctx, storePath(p.dataDir))
	if err != nil {
		return nil, err
	}
	return r, nil
}

// vacuum deletes what is older than store.keep and store.keep_runs.
func (p storeLocation) vacuum(ctx context.Context) error {
	if p.Type == "postgres" {
		return postgres.Vacuum(ctx, postgresOptions(p.Store))
	}
	s, err := sqlite.Open(ctx, sqlite.Options{
		Path: storePath(p.dataDir), Keep: time.Duration(p.Keep), KeepRuns: time.Duration(p.KeepRuns),
	})
	if err != nil {
		return err
	}
	return errors.Join(s.Vacuum(ctx), s.Close())
}

// locateStore finds the store. With COLLECTOR_DATA_DIR no configuration is needed, unless there is one that names a
// store elsewhere.
func (c *cli) locateStore(ctx context.Context) (storeLocation, error) {
	p, err := c.configuredStore(ctx)
	if dir := c.getenv("COLLECTOR_DATA_DIR"); err != nil && dir != "" {
		if _, missing := os.Stat(storePath(dir)); missing == nil {
			return storeLocation{Store: config.Store{Type: "sqlite"}, dataDir: dir}, nil
		}
	}
	return p, err
}

// configuredStore is the location of the store in the configuration.
func (c *cli) configuredStore(ctx context.Context) (storeLocation, error) {
	b, _, err := c.configText(ctx)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; name a file with --config or COLLECTOR_CONFIG, "+
				"or the directory of the store with COLLECTOR_DATA_DIR", err)
		}
		return storeLocation{}, usageError(err)
	}
	f, err := config.Parse(b, c.configName(), knownNames())
	if err != nil {
		return storeLocation{}, usageError(err)
	}
	dir := c.getenv("COLLECTOR_DATA_DIR")
	if dir != "" && f.Store.Type == "sqlite" {
		return storeLocation{f.Store, dir}, nil
	}
	s, dataDir, err := f.ResolveStore(c.lookupEnv, referenceReader(ctx))
	if err != nil {
		return storeLocation{}, usageError(err)
	}
	if s.Type == "none" {
		return storeLocation{}, usageError(&record.Fault{
			Reason: record.Other, Hint: "Set store: {type: sqlite} to store what the next runs list.",
			Err: fmt.Errorf("%s has store: none, so nothing is stored", c.configPath),
		})
	}
	if dir != "" {
		dataDir = dir
	}
	return storeLocation{s, dataDir}, nil
}
