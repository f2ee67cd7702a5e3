package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/inventory/sqlite"
)

func (c *cli) dbVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "db",
		Short: "Look after the store: check, vacuum, export",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.dbCheckVerb(), c.dbVacuumVerb(), c.dbExportVerb())
	return cmd
}

func (c *cli) dbCheckVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Read the whole store and say whether it is sound; works beside a collector that runs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.reading(cmd.Context(), func(r *sqlite.Reader) error {
				s, err := r.Check(cmd.Context())
				if err != nil {
					return err
				}
				for _, d := range s.Damage {
					fmt.Fprintln(c.stderr, d)
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
					return errors.New("the store is damaged: keep a copy, and begin a new one by moving collector.db away")
				}
				return nil
			})
		},
	}
}

func (c *cli) dbVacuumVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "vacuum",
		Short: "Forget what is older than store.keep and give the space back; the collector must not run",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, f, err := c.storeFile()
			if err != nil {
				return err
			}
			s, err := sqlite.Open(cmd.Context(), sqlite.Options{Path: path, Keep: time.Duration(f.Store.Keep)})
			if err != nil {
				return err
			}
			return errors.Join(s.Vacuum(cmd.Context()), s.Close())
		},
	}
}

func (c *cli) dbExportVerb() *cobra.Command {
	var q question
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write every record, now or as of an instant, as JSON lines or CSV",
		Long: `Writes every record that is live, or was at an instant, to standard output: JSON lines as outputs get them, with what is remembered besides, or CSV
with its data as a column of JSON. It works beside a collector that runs.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if q.format == "table" {
				q.format = "jsonl"
			}
			query, err := q.query()
			if err != nil {
				return err
			}
			columns, _, err := parseColumns(wholeColumns())
			if err != nil {
				return err
			}
			query.Data = true
			return c.reading(cmd.Context(), func(r *sqlite.Reader) error {
				_, err := printResources(c.stdout, q.format, columns, true, r.Find(cmd.Context(), query))
				return err
			})
		},
	}
	q.flags(cmd)
	q.whereFlag(cmd)
	q.atFlag(cmd)
	return cmd
}
