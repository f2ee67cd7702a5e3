package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/cmd/collector/internal/store"
	"github.com/aws-collector/collector/inventory"
)

func (c *cli) dbCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "db",
		Short: "Maintain the store: back up, restore, check, vacuum, export",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		c.dbBackupCommand(), c.dbRestoreCommand(), c.dbCheckCommand(), c.dbVacuumCommand(), c.dbExportCommand(),
	)
	return cmd
}

func (c *cli) dbCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Read the whole store and report damage; also works while a collector runs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withStore(cmd.Context(), func(r inventory.Store) error {
				s, err := r.Check(cmd.Context())
				if err != nil {
					return err
				}
				for _, d := range s.Damage {
					_ = printer.Fprintf(c.stderr, "%s\n", d)
				}
				span := "empty"
				if !s.Newest.IsZero() {
					span = "from " + s.Oldest.Format(time.RFC3339) + " to " + s.Newest.Format(time.RFC3339)
				}
				_, err = fmt.Fprintf(c.stdout, "%d targets, %d resources, %d versions, %s; %.1f MiB, of which %.1f MiB are free\n",
					s.Targets, s.Resources, s.Versions, span, float64(s.Bytes)/(1<<20), float64(s.Free)/(1<<20))
				if err != nil {
					return err
				}
				if len(s.Damage) > 0 {
					return errors.New("the store is damaged: keep a copy, stop the collector, and run `collector db restore FILE` " +
						"with a backup; without one, move collector.db away or set another store.schema")
				}
				return nil
			})
		},
	}
}

func (c *cli) dbVacuumCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "vacuum",
		Short: "Delete versions older than store.keep and free the space; with SQLite, stop the collector first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, dataDir, err := c.config.Store(cmd.Context())
			if err != nil {
				return usageError(err)
			}
			if err := (store.Location{Store: s, DataDir: dataDir}).Vacuum(cmd.Context()); err != nil {
				return err
			}
			kept := "all versions are kept"
			if s.Keep > 0 {
				before := time.Now().Add(-time.Duration(s.Keep)).UTC()
				kept = "versions that ended before " + before.Format(time.RFC3339) + " are deleted"
			}
			_, err = fmt.Fprintf(c.stdout, "done: %s; free space is returned\n", kept)
			return err
		},
	}
}
