package main

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
)

func (c *cli) listCommand() *cobra.Command {
	var q listFlags
	cmd := &cobra.Command{
		Use:   "list [KIND | ID]",
		Short: "List the resources that exist now, or existed at an earlier time",
		Long: `Lists resources from the store: those that exist now, or with --at those that existed at that time. KIND is
the name of a kind or a glob; you can omit the prefix ec2_. With an id in place of KIND, it is the same as "get ID".
The command also works while a collector runs.

` + whereHelp + `

Without --columns, the formats json and jsonl show full records.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				switch _, err := account.Catalogue().Pattern(args[0]); {
				case err != nil && looksLikeID(args[0]):
					return c.get(cmd, &q.queryFlags, args[0])
				case err != nil:
					return usageError(err)
				}
				q.values.Add(query.Kind.Name, args[0])
			}
			return c.list(cmd, &q)
		},
	}
	q.add(cmd, query.OfList())
	return cmd
}

func (c *cli) findCommand() *cobra.Command {
	var q listFlags
	cmd := &cobra.Command{
		Use:   "find TEXT",
		Short: "Find resources by any part of an id, name, address, tag or account",
		Long: `Lists the resources that have TEXT in their id, their name, an IP address or DNS name, a key or value of a
tag, or the name or id of their account. Upper and lower case are the same. It is the same as list --search TEXT.`,
		Example: `  collector find 10.20.30.7
  collector find checkout --at 30d`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.values.Set(query.Search.Name, args[0])
			q.parameters = query.OfList()
			return c.list(cmd, &q)
		},
	}
	q.add(cmd, slices.DeleteFunc(query.OfList(), func(p query.Parameter) bool { return p.Name == query.Search.Name }))
	return cmd
}

// listFlags are the flags of the commands that list resources.
type listFlags struct {
	queryFlags
	quiet bool
}

func (q *listFlags) add(cmd *cobra.Command, parameters []query.Parameter) {
	q.extraFormats = []string{"wide", "yaml"}
	q.addFlags(cmd, parameters...)
	serverFlag(cmd, &q.server)
	cmd.Flags().Lookup(query.Fields.FlagName()).DefValue = strings.Join(listColumns(""), ",")
	cmd.Flags().Lookup("output").Usage = "`FORMAT`: table, wide (a table with more columns), json, jsonl, csv or yaml"
	cmd.Flags().BoolVarP(&q.quiet, "quiet", "q", false, "print only ids, one on each line")
}

// listColumns are the columns of a format.
func listColumns(format string) []string {
	columns := []string{"kind", "id", "name", "state", "type", "account", "region"}
	if format == "wide" {
		columns = append(columns, "account_id", "first_seen", "state_since", "tags")
	}
	return columns
}

func (c *cli) list(cmd *cobra.Command, q *listFlags) error {
	question, err := q.question()
	if err != nil {
		return err
	}
	columns, records := question.Fields, len(question.Fields) == 0
	if records {
		if columns, err = query.ParseColumns(listColumns(q.format)); err != nil {
			return err
		}
	}
	format := q.format
	if format == "wide" {
		format = "table"
	}
	question.Data = query.NeedData(columns) || records && printer.IsStructured(format)
	return c.withAnswers(cmd.Context(), &q.queryFlags, func(from query.Answers) error {
		found := question.FindSorted(func(q inventory.Query) iter.Seq2[*inventory.Resource, error] {
			return from.Find(cmd.Context(), q)
		})
		n := 0
		if q.quiet {
			n, err = printer.IDs(c.stdout, found)
		} else {
			n, err = printer.Resources(c.out(format), format, columns, records, found)
		}
		if err != nil {
			return err
		}
		left, err := from.NotIndexed(cmd.Context(), &question)
		if err != nil {
			return err
		}
		if left > 0 {
			_, _ = fmt.Fprintf(
				c.stderr, "%d versions are not searched yet. Run the command again while collector runs.\n", left,
			)
		}
		return c.printNotes(cmd.Context(), from, &question, n == 0)
	})
}
