package store

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/aws-collector/collector/cmd/collector/internal/configfile"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/postgres"
	"github.com/aws-collector/collector/inventory/sqlite"
)

// A Location says where a store is.
type Location struct {
	config.Store
	DataDir string
}

// Locate finds the store. With COLLECTOR_DATA_DIR no configuration is needed, unless there is one that names a store
// elsewhere. Of the configuration it needs only the location of the store, so references in other places need not
// resolve here. Its errors are about what the user wrote.
func Locate(ctx context.Context, source *configfile.Source) (Location, error) {
	s, dataDir, err := source.Store(ctx)
	if dir := source.Getenv("COLLECTOR_DATA_DIR"); err != nil && dir != "" {
		if _, missing := os.Stat(Path(dir)); missing == nil {
			return Location{config.Store{Type: "sqlite"}, dir}, nil
		}
	}
	return Location{s, dataDir}, err
}

// Read opens the store for reading, also while a collector runs, and closes it after read.
func (l Location) Read(ctx context.Context, read func(inventory.Store) error) (err error) {
	r, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err = read(r); errors.Is(err, syscall.EPIPE) {
		return nil // the reader of our output has seen enough, as in "| head"
	}
	return err
}

func (l Location) open(ctx context.Context) (inventory.Store, error) {
	if l.Type == "postgres" {
		r, err := postgres.OpenReader(ctx, postgresOptions(l.Store))
		if err != nil {
			return nil, err
		}
		return r, nil
	}
	r, err := sqlite.OpenReader(ctx, Path(l.DataDir))
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Vacuum deletes what is older than store.keep and store.keep_runs.
func (l Location) Vacuum(ctx context.Context) error {
	if l.Type == "postgres" {
		return postgres.Vacuum(ctx, postgresOptions(l.Store))
	}
	s, err := sqlite.Open(ctx, sqlite.Options{
		Path: Path(l.DataDir), Keep: time.Duration(l.Keep), KeepRuns: time.Duration(l.KeepRuns),
	})
	if err != nil {
		return err
	}
	return errors.Join(s.Vacuum(ctx), s.Close())
}
