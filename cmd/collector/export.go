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

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs/parquet"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
)

const parquetFormat = "parquet"

func (c *cli) dbExportCommand() *cobra.Command {
	q := queryFlags{extraFormats: []string{parquetFormat}}
	var file string
	var history bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write all records, of now or of an earlier time, as JSON lines, CSV or Parquet",
		Long: `Writes the records of all current resources. With --at, writes those of an earlier time; with --history,
every stored version.

JSON lines have the record as outputs get it, and what the store knows about it. CSV has the data in one column, as
JSON. In Parquet, the columns are the same for every kind. The command also works while a collector runs, and what it
writes is the state at one moment.

Without --file, it writes to standard output. With --file, the file appears when it is complete; then it replaces a
file with the same name.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("output") {
				q.format = formatFromName(file)
			}
			question, err := q.question()
			if err != nil {
				return err
			}
			if q.format == "table" {
				return usageError(errors.New("-o table: export writes jsonl, json, csv or parquet"))
			}
			if q.format == parquetFormat && file == "" && printer.IsTerminal(printable.Unwrap(c.stdout)) {
				return usageError(&record.Fault{
					Reason: record.Other, Hint: "Set --file records.parquet, or redirect the output to a file.",
					Err: errors.New("-o parquet: a terminal cannot show Parquet"),
				})
			}
			question.Data = true
			return c.withStore(cmd.Context(), func(r inventory.Store) error {
				versions := r.Find
				if history {
					versions = r.History
				}
				return c.writeToFile(file, func(w io.Writer) error {
					if c.raw {
						w = printer.RawCSV{Writer: w}
					}
					return export(cmd.Context(), w, q.format, versions, question.Query)
				})
			})
		},
	}
	q.addFlags(cmd, resourceParameters(query.Where, query.At)...)
	o := cmd.Flags().Lookup("output")
	o.Usage = "`FORMAT`: jsonl, json, csv or parquet; default: what the name of --file says, else jsonl"
	o.DefValue = ""
	cmd.Flags().StringVar(&file, "file", "", "write to this `FILE`")
	cmd.Flags().BoolVar(&history, "history", false, "write every stored version, with the time in which it was valid")
	cmd.MarkFlagsMutuallyExclusive("at", "history")
	return cmd
}

// formatFromName derives the format from the name of a file.
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
	columns, err := query.ParseColumns(query.AllFields())
	if err != nil {
		return err
	}
	_, err = printer.Resources(w, format, columns, true, versions(ctx, q))
	return err
}

func exportParquet(w io.Writer, versions iter.Seq2[*inventory.Resource, error]) error {
	out := parquet.NewWriter[parquet.Version](w)
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

// writeToFile calls write with standard output, or with a temporary file that it renames to path when it is complete.
func (c *cli) writeToFile(path string, write func(io.Writer) error) (err error) {
	if path == "" {
		return write(c.out(parquetFormat))
	}
	// A device or a pipe is written to instead of being replaced.
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
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
