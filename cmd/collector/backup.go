package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/cmd/collector/internal/store"
)

func (c *cli) dbBackupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the store to a new file; also works while a collector runs",
		Long: `Copies the store to a new file, as it is at one moment. The file is complete when the command ends, and
only you can read it. It also works while a collector runs. To restore it, use "collector db restore FILE".

docs/operations.md says what the other files of data_dir hold. For a store in Postgres, the command prints the pg_dump
command to use.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := store.Locate(cmd.Context(), c.config)
			if err != nil {
				return usageError(err)
			}
			if err := l.Backup(cmd.Context(), args[0]); err != nil {
				return fmt.Errorf("db backup: %w", err)
			}
			return printer.Fprintf(c.stdout, "%s: backup of %s\n", args[0], store.Path(l.DataDir))
		},
	}
}

func (c *cli) dbRestoreCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "restore FILE",
		Short: "Replace the store by a backup; stop the collector first",
		Long: `Puts the database of a backup in place of the store's. It first checks that the file is a sound database of
this version of collector, or of an older one. The database that was in place is kept beside it under another name. No
collector may run meanwhile: stop it first, and run the command as the user that it runs as.

The next runs find what has changed since the backup, and store and send it as new changes. For a store in Postgres,
the command prints the pg_restore command to use.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, dataDir, err := c.config.Store(cmd.Context())
			if err != nil {
				return usageError(err)
			}
			log, err := c.logger(c.stderr)
			if err != nil {
				return err
			}
			l := store.Location{Store: s, DataDir: dataDir}
			done, err := l.Restore(cmd.Context(), args[0], log)
			if done.Previous != "" {
				_ = printer.Fprintf(c.stderr, "the database that was in place is now %s\n", filepath.Base(done.Previous))
			}
			if err != nil {
				return fmt.Errorf("db restore: %w", err)
			}
			if done.OtherHistory {
				_ = printer.Fprintf(
					c.stderr, "note: %s is not a backup of the database that it replaced\n", args[0],
				)
			}
			return printer.Fprintf(c.stdout, "%s: restored from %s\n", store.Path(dataDir), args[0])
		},
	}
}
