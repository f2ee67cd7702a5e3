package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

func storePath(dataDir string) string { return filepath.Join(dataDir, "collector.db") }

// A ledger is the store as the runner knows it: the inventory, or, with store: none, a memory of this process.
type ledger struct {
	runner.Ledger
	inventory *inventory.Inventory // nil: nothing is remembered
	store     inventory.Driver
}

// openLedger opens what the configuration says. A dry run remembers nothing.
func openLedger(ctx context.Context, f *config.File, dryRun bool, log *slog.Logger) (*ledger, error) {
	if dryRun || f.Store.Type == "none" {
		return &ledger{Ledger: runner.NewMemory()}, nil
	}
	s, err := sqlite.Open(ctx, sqlite.Options{
		Path: storePath(f.DataDir), Log: log, Keep: time.Duration(f.Store.Keep), Sync: f.Store.Sync == "full",
	})
	if err != nil {
		return nil, err
	}
	inv := inventory.New(s, inventory.Options{Log: log})
	return &ledger{Ledger: remembering{inv}, inventory: inv, store: s}, nil
}

func (l *ledger) close() error {
	if l.store == nil {
		return nil
	}
	return l.store.Close()
}

// notReady says why the store does not remember at the moment.
func (l *ledger) notReady() []string {
	if l.inventory == nil {
		return nil
	}
	if err := l.inventory.Err(); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// forgotten is what a run by hand must not end well with: targets that were listed and are not remembered.
func (l *ledger) forgotten() error {
	if l.inventory == nil || l.inventory.Lost() == 0 {
		return nil
	}
	err := fmt.Errorf("the store did not remember %d targets", l.inventory.Lost())
	if now := l.inventory.Err(); now != nil {
		err = fmt.Errorf("%w: %w", err, now)
	}
	return &exitError{exitPartial, err}
}

// remembering is the inventory in the runner's words: neither package knows the other.
type remembering struct{ *inventory.Inventory }

func (r remembering) Begin(ctx context.Context, t record.Target, id record.Identity, run string) (runner.Visit, error) {
	v, err := r.Inventory.Begin(ctx, t, id, run)
	if err != nil {
		return nil, err
	}
	return visit{v}, nil
}

type visit struct{ *inventory.Visit }

func (v visit) End(ctx context.Context, o record.Outcome) error {
	err := v.Visit.End(ctx, o)
	if errors.Is(err, inventory.ErrFenced) {
		return runner.ErrFenced
	}
	return err
}

// reading opens the store for a question, beside a collector that runs. It needs the configuration for where the store is
// and for nothing else, so a reference that cannot be resolved here is no hindrance.
func (c *cli) reading(ctx context.Context, ask func(*sqlite.Reader) error) (err error) {
	path, err := c.storePath()
	if err != nil {
		return err
	}
	r, err := sqlite.OpenReader(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err = ask(r); errors.Is(err, syscall.EPIPE) {
		return nil // whoever read has seen enough: "| head"
	}
	return err
}

// storePath is where the store is. With COLLECTOR_DATA_DIR no configuration is needed to ask it.
func (c *cli) storePath() (string, error) {
	if dir := c.getenv("COLLECTOR_DATA_DIR"); dir != "" {
		if _, err := os.Stat(storePath(dir)); err == nil {
			return storePath(dir), nil
		}
	}
	path, _, err := c.storeFile()
	return path, err
}

// storeFile is where the configuration has its store, and the configuration.
func (c *cli) storeFile() (string, *config.File, error) {
	b, err := os.ReadFile(c.configPath)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; name a file with --config or COLLECTOR_CONFIG, or the directory of the store with COLLECTOR_DATA_DIR", err)
		}
		return "", nil, usage(err)
	}
	f, err := config.Parse(b, filepath.Base(c.configPath), known())
	if err != nil {
		return "", nil, usage(err)
	}
	if f.Store.Type == "none" {
		return "", nil, usage(&record.Fault{Reason: record.Other, Hint: "store: {type: sqlite} remembers what the next runs list",
			Err: fmt.Errorf("%s says store: none, so nothing is remembered", c.configPath)})
	}
	if dir := c.getenv("COLLECTOR_DATA_DIR"); dir != "" {
		f.DataDir = dir
	} else if strings.Contains(f.DataDir, "${") {
		if err := f.Resolve(c.lookup, os.ReadFile); err != nil {
			return "", nil, usage(err)
		}
	}
	return storePath(f.DataDir), f, nil
}
