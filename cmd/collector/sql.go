package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
)

func (c *cli) sqlCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "sql STATEMENT | -",
		Short: "Query the store with a SQL statement that only reads",
		Long: `Runs one SQL query, for at most ten minutes. With "-" it reads the query from standard input. It changes no
table; in Postgres, functions that it calls may do what its role may do. These views are documented and stay the same
in later versions:

  resources  the current resources: kind, id, name, state, type, account, account_id, partition, region, run,
             tags and extra_tags (JSON), data (JSON, as AWS describes the resource), and first_seen, state_since,
             valid_from, last_seen (RFC 3339, UTC)
  versions   every version: the same columns, valid_to, and ended (absent, terminated, account_removed,
             region_removed or kind_removed)
  targets    each account, region and kind: state, reason, error, hint, records, run, started, ended, last_seen,
             retired, why
  runs       each account at each tick: run, account, tick, started, ended, status, missed, ticks, targets (JSON),
             failed, records, calls, throttles, replica, version

The views are the same in SQLite and Postgres. ago('7d') is the time 7 days ago. data -> 'State' ->> 'Name' reads a
member of JSON.

For example: collector sql "SELECT account, type, count(*) FROM resources WHERE kind = 'ec2_instance' GROUP BY 1, 2"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := validateFormat(format); err != nil {
				return err
			}
			statement := args[0]
			if statement == "-" {
				b, err := io.ReadAll(io.LimitReader(os.Stdin, 1<<20))
				if err != nil {
					return err
				}
				statement = string(b)
			}
			return c.withStore(cmd.Context(), func(r inventory.Store) error {
				var l printer.Table
				err := r.Query(cmd.Context(), statement, func(columns []string, row []any) error {
					if l.Columns == nil {
						l.Columns = append([]string(nil), columns...)
					}
					if row == nil {
						return nil
					}
					out := map[string]any{}
					for i, name := range columns {
						out[name] = sqlValue(row[i], format)
					}
					if format == "jsonl" {
						_, err := c.out(format).Write(query.JSONLine(out))
						return err
					}
					l.Rows = append(l.Rows, out)
					return nil
				})
				switch {
				case err != nil:
					return fmt.Errorf("sql: %w", err)
				case format == "jsonl":
					return nil
				case len(l.Columns) == 0:
					return usageError(errors.New("sql: the statement returns no columns"))
				}
				return l.Print(c.out(format), format)
			})
		},
	}
	outputFlag(cmd, &format)
	return cmd
}

// sqlValue converts a cell. In JSON output, an object or a list stays JSON; elsewhere it is text.
func sqlValue(v any, format string) any {
	if t, ok := v.(time.Time); ok {
		v = t.UTC().Format(time.RFC3339Nano)
	}
	if b, ok := v.([]byte); ok {
		v = string(b)
	}
	s, ok := v.(string)
	isJSON := format == "json" || format == "jsonl"
	if ok && isJSON && (strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[")) && json.Valid([]byte(s)) {
		return json.RawMessage(s)
	}
	if v == nil && format == "table" {
		return ""
	}
	return v
}
