package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/inventory"
)

func (c *cli) dbCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "db",
		Short: "Look after the store: check, vacuum, export",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.dbCheckCommand(), c.dbVacuumCommand(), c.dbExportCommand())
	return cmd
}

func (c *cli) dbCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Read the whole store and say whether it is sound; works beside a collector that runs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withStore(cmd.Context(), func(r inventory.Store) error {
				s, err := r.Check(cmd.Context())
				if err != nil {
					return err
				}
				for _, d := range s.Damage {
					_ = safeFprintf(c.stderr, "%s\n", d)
				}
				span := "empty"
				if !s.Newest.IsZero() {
					span = "from " + s.Oldest.Format(time.RFC3339) + " to " + s.Newest.Format(time.RFC3339)
				}
				if _, err := fmt.Fprintf(c.stdout, "%d targets, %d resources, %d versions, %s; %.1f MiB, %.1f MiB of them free\n",
					s.Targets, s.Resources, s.Versions, span, float64(s.Bytes)/(1<<20), float64(s.Free)/(1<<20)); err != nil {
					return err
				}
				if len(s.Damage) > 0 {
					return errors.New("the store is damaged: keep a copy, and begin a new one: move collector.db away, or name another store.schema")
				}
				return nil
			})
		},
	}
}

func (c *cli) dbVacuumCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "vacuum",
		Short: "Forget what is older than store.keep and free the space; with SQLite the collector must not run",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := c.configuredStore(cmd.Context())
			if err != nil {
				return err
			}
			return s.vacuum(cmd.Context())
		},
	}
}
