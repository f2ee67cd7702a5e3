package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs/parquet"
	"github.com/aws-collector/collector/record"
)

const parquetFormat = "parquet"

func (c *cli) dbExportCommand() *cobra.Command {
	q := queryFlags{extraFormats: []string{parquetFormat}}
	var file string
	var history bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write every record, now or as of an instant, as JSON lines, CSV or Parquet",
		Long: `Writes every record that is live, or was at an instant, or with --history every version that is remembered: JSON lines as outputs get
them, with what is remembered besides; CSV with its data as a column of JSON; or Parquet, whose columns are the same for every kind. It works
beside a collector that runs, and what it writes is of one moment.

Without --file it writes to standard output. A file is there when it is whole, and not before; one of the same name is replaced then.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("output") {
				q.format = formatFromName(file)
			}
			query, err := q.query()
			if err != nil {
				return err
			}
			if q.format == "table" {
				return usageError(errors.New("-o table: an export is jsonl, json, csv or parquet"))
			}
			if q.format == parquetFormat && file == "" && isTerminal(printable.Unwrap(c.stdout)) {
				return usageError(&record.Fault{Reason: record.Other, Hint: "name a file, as in --file records.parquet, or send it into one",
					Err: errors.New("-o parquet: a terminal cannot show Parquet")})
			}
			query.Data = true
			return c.withStore(cmd.Context(), func(r inventory.Store) error {
				versions := r.Find
				if history {
					versions = r.History
				}
				return c.writeToFile(file, func(w io.Writer) error { return export(cmd.Context(), w, q.format, versions, query) })
			})
		},
	}
	q.addFlags(cmd)
	o := cmd.Flags().Lookup("output")
	o.Usage, o.DefValue = "`FORMAT`: jsonl, json, csv or parquet; default by the name of --file, else jsonl", ""
	q.addWhereFlag(cmd)
	q.addAtFlag(cmd)
	cmd.Flags().StringVar(&file, "file", "", "write to this `FILE`")
	cmd.Flags().BoolVar(&history, "history", false, "every version that is remembered, from when to when it was so")
	cmd.MarkFlagsMutuallyExclusive("at", "history")
	return cmd
}

// formatFromName is what the name of a file says of its format.
func formatFromName(file string) string {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".parquet":
		return parquetFormat
	case ".csv":
		return "csv"
	case ".json":
		return "json"
	}
	return "jsonl"
}

type finder func(context.Context, inventory.Query) iter.Seq2[*inventory.Resource, error]

func export(ctx context.Context, w io.Writer, format string, versions finder, q inventory.Query) error {
	if format == parquetFormat {
		return exportParquet(w, versions(ctx, q))
	}
	columns, _, err := parseColumns(allColumns())
	if err != nil {
		return err
	}
	_, err = printResources(w, format, columns, true, versions(ctx, q))
	return err
}

func exportParquet(w io.Writer, versions iter.Seq2[*inventory.Resource, error]) error {
	out, err := parquet.NewWriter[parquet.Version](w)
	if err != nil {
		return err
	}
	for r, err := range versions {
		if err != nil {
			return err
		}
		if err := out.Write(parquet.VersionOf(r)); err != nil {
			return err
		}
	}
	return out.Close()
}

// writeToFile calls write with standard output, or with a file that gets its name when it is whole.
func (c *cli) writeToFile(path string, write func(io.Writer) error) (err error) {
	if path == "" {
		return write(c.out(parquetFormat))
	}
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() { // a device or a pipe is written to, and not replaced
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("--file: %w", err)
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".collector-export-*")
	if err != nil {
		return fmt.Errorf("--file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(write(f), f.Chmod(0o640), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
