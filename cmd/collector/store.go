package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/postgres"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

func storePath(dataDir string) string { return filepath.Join(dataDir, "collector.db") }

// A ledger is the store as the runner knows it: the inventory, or, with store: none, a memory of this process.
type runStore struct {
	runner.Store
	inventory *inventory.Inventory // nil: nothing is remembered
	driver    inventory.Driver     // the inventory's, for who reads; nobody waits through it for a database that hangs
}

// openRunStore opens what the configuration says. A dry run remembers nothing. crowded reports whether listings wait for a page.
func openRunStore(ctx context.Context, f *config.File, dryRun bool, crowded func() bool, log *slog.Logger) (*runStore, error) {
	if dryRun || f.Store.Type == "none" {
		return &runStore{Store: runner.NewMemoryStore()}, nil
	}
	s, err := openDriver(ctx, f.Store, f.DataDir, log)
	if err != nil {
		return nil, err
	}
	inv := inventory.New(s, inventory.Options{Log: log, Saturated: crowded})
	return &runStore{Store: inventoryAdapter{inv}, inventory: inv, driver: inv.Driver()}, nil
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
	d, err := sqlite.Open(ctx, sqlite.Options{Path: storePath(dataDir), Log: log, Keep: time.Duration(s.Keep), Sync: s.Sync == "full"})
	if err != nil {
		return nil, err
	}
	return d, nil
}

func postgresOptions(s config.Store) postgres.Options {
	return postgres.Options{DSN: s.DSN.Reveal(), Schema: s.Schema, Keep: time.Duration(s.Keep), Sync: s.Sync == "full"}
}

func (l *runStore) close() error {
	if l.driver == nil {
		return nil
	}
	return l.driver.Close()
}

// notReadyReasons says why the store does not store at the moment, since when, and what to do.
func (l *runStore) notReadyReasons() []string {
	if l.inventory == nil {
		return nil
	}
	t := l.inventory.Health()
	if t.Err == nil {
		return nil
	}
	why := fmt.Sprintf("store writes fail since %s: %v", t.Since.UTC().Format(time.RFC3339), t.Err)
	if hint := record.HintOf(t.Err); hint != "" {
		why += " (" + hint + ")"
	}
	return []string{why}
}

// notStored is what a run by hand must not end well with: targets that were listed and are not remembered.
func (l *runStore) notStored() error {
	if l.inventory == nil || l.inventory.NotStored() == 0 {
		return nil
	}
	err := fmt.Errorf("%d targets were not stored", l.inventory.NotStored())
	if now := l.inventory.Err(); now != nil {
		err = fmt.Errorf("%w: %w", err, now)
	}
	return &exitError{exitPartial, err}
}

// inventoryAdapter is the inventory in the runner's words: neither package knows the other.
type inventoryAdapter struct{ *inventory.Inventory }

func (r inventoryAdapter) Begin(ctx context.Context, t record.Target, id record.Identity, run string) (runner.ScopeWriter, error) {
	v, err := r.Inventory.Begin(ctx, t, id, run)
	if err != nil {
		return nil, err
	}
	return writerAdapter{v}, nil
}

type writerAdapter struct{ *inventory.ScopeWriter }

func (v writerAdapter) End(ctx context.Context, o record.Outcome) error {
	err := v.ScopeWriter.End(ctx, o)
	if errors.Is(err, inventory.ErrFenced) {
		return runner.ErrFenced
	}
	return err
}

// withStore opens the store for a question, beside a collector that runs. It needs the configuration for where the store is
// and for nothing else, so a reference elsewhere that cannot be resolved here is no hindrance.
func (c *cli) withStore(ctx context.Context, ask func(inventory.Store) error) (err error) {
	s, err := c.locateStore(ctx)
	if err != nil {
		return err
	}
	r, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err = ask(r); errors.Is(err, syscall.EPIPE) {
		return nil // whoever read has seen enough: "| head"
	}
	return err
}

// A place is where a store is.
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

// vacuum forgets what is older than store.keep.
func (p storeLocation) vacuum(ctx context.Context) error {
	if p.Type == "postgres" {
		return postgres.Vacuum(ctx, postgresOptions(p.Store))
	}
	s, err := sqlite.Open(ctx, sqlite.Options{Path: storePath(p.dataDir), Keep: time.Duration(p.Keep)})
	if err != nil {
		return err
	}
	return errors.Join(s.Vacuum(ctx), s.Close())
}

// locateStore is where the store is. With COLLECTOR_DATA_DIR no configuration is needed to ask what is there, unless there is one and
// it says that the store is elsewhere.
func (c *cli) locateStore(ctx context.Context) (storeLocation, error) {
	p, err := c.configuredStore(ctx)
	if dir := c.getenv("COLLECTOR_DATA_DIR"); err != nil && dir != "" {
		if _, missing := os.Stat(storePath(dir)); missing == nil {
			return storeLocation{Store: config.Store{Type: "sqlite"}, dataDir: dir}, nil
		}
	}
	return p, err
}

// configuredStore is where the configuration has its store.
func (c *cli) configuredStore(ctx context.Context) (storeLocation, error) {
	b, _, err := c.configText(ctx)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; name a file with --config or COLLECTOR_CONFIG, or the directory of the store with COLLECTOR_DATA_DIR", err)
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
		return storeLocation{}, usageError(&record.Fault{Reason: record.Other, Hint: "store: {type: sqlite} remembers what the next runs list",
			Err: fmt.Errorf("%s says store: none, so nothing is remembered", c.configPath)})
	}
	if dir != "" {
		dataDir = dir
	}
	return storeLocation{s, dataDir}, nil
}
