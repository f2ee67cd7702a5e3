package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
)

func (c *cli) listCommand() *cobra.Command {
	var q queryFlags
	cmd := &cobra.Command{
		Use:   "list [KIND]",
		Short: "List the resources that exist now, or existed at an earlier time",
		Long: `Lists resources from the store: those that exist now, or with --at those that existed at that time. KIND is
the name of a kind or a glob; you can omit the prefix ec2_. The command also works while a collector runs.

` + whereHelp + `

Without --columns, the formats json and jsonl show whole records.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if _, err := account.Catalogue().Pattern(args[0]); err != nil {
					if looksLikeID(args[0]) {
						err = fmt.Errorf("%q is not a kind; run %q to show a resource", args[0], "collector get "+args[0])
					}
					return usageError(err)
				}
				q.values.Add(query.Kind.Name, args[0])
			}
			return c.list(cmd, &q)
		},
	}
	q.addFlags(cmd, resourceParameters(query.Search, query.Where, query.At, query.Fields, query.Limit)...)
	cmd.Flags().Lookup(query.Fields.FlagName()).DefValue = strings.Join(listColumns(), ",")
	return cmd
}

func (c *cli) findCommand() *cobra.Command {
	var q queryFlags
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
			q.parameters = append(q.parameters, query.Search)
			return c.list(cmd, &q)
		},
	}
	q.addFlags(cmd, resourceParameters(query.Where, query.At, query.Fields, query.Limit)...)
	cmd.Flags().Lookup(query.Fields.FlagName()).DefValue = strings.Join(listColumns(), ",")
	return cmd
}

func listColumns() []string {
	return []string{"kind", "id", "name", "state", "type", "account", "region"}
}

func (c *cli) list(cmd *cobra.Command, q *queryFlags) error {
	question, err := q.question()
	if err != nil {
		return err
	}
	columns, whole := question.Fields, len(question.Fields) == 0
	if whole {
		if columns, err = query.ParseColumns(listColumns()); err != nil {
			return err
		}
	}
	question.Query.Limit = question.Limit
	question.Data = query.NeedData(columns) || whole && (q.format == "json" || q.format == "jsonl")
	return c.withStore(cmd.Context(), func(r inventory.Store) error {
		found := r.Find(cmd.Context(), question.Query)
		n, err := printer.Resources(c.out(q.format), q.format, columns, whole, found)
		if err != nil {
			return err
		}
		if question.Search != "" {
			left, err := r.NotIndexed(cmd.Context())
			if err != nil {
				return err
			}
			if left > 0 {
				_, _ = fmt.Fprintf(
					c.stderr, "%d versions are not searched yet. Run the command again while collector runs.\n", left,
				)
			}
		}
		return c.printNotes(cmd.Context(), r, question, n == 0)
	})
}
