package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
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
				kind, err := kindPattern(args[0])
				if err != nil {
					return err
				}
				q.kinds = append(q.kinds, kind)
			}
			return c.list(cmd, &q)
		},
	}
	q.addFlags(cmd)
	q.addWhereFlag(cmd)
	q.addAtFlag(cmd)
	defaultColumns := []string{"kind", "id", "name", "state", "type", "account", "region"}
	cmd.Flags().StringSliceVar(&q.columns, "columns", defaultColumns, "the fields to show, as `FIELD,…`")
	return cmd
}

// kindPattern completes a kind as people write it: instance, volume, "vpc*". A pattern must match some kind.
func kindPattern(s string) (string, error) {
	names := knownNames().Kinds
	patterns := []string{s}
	for i := range collectors.Services {
		p := collectors.Services[i].Name + "_" + s
		patterns = append(patterns, p, strings.TrimSuffix(p, "s"))
	}
	for _, p := range patterns {
		if len(config.Match([]string{p}, names)) > 0 {
			return p, nil
		}
	}
	return "", usageError(unknownKind(s))
}

func (c *cli) list(cmd *cobra.Command, q *queryFlags) error {
	query, err := q.query()
	if err != nil {
		return err
	}
	columns, data, err := parseColumns(q.columns)
	if err != nil {
		return err
	}
	whole := !cmd.Flags().Changed("columns")
	query.Data = data || whole && (q.format == "json" || q.format == "jsonl")
	return c.withStore(cmd.Context(), func(r inventory.Store) error {
		_, err := printResources(c.out(q.format), q.format, columns, whole, r.Find(cmd.Context(), query))
		return err
	})
}

// unknownKind is the error for an unknown kind. It suggests a kind with a similar name.
func unknownKind(s string) error {
	isSimilar := func(k collectors.Kind) bool { return strings.Contains(k.Name, collectors.ShortKind(s)) }
	if i := slices.IndexFunc(collectors.Kinds, isSimilar); i >= 0 {
		return &kindError{s, collectors.Kinds[i].Name}
	}
	return &kindError{s, ""}
}

type kindError struct{ name, suggestion string }

func (e *kindError) Error() string {
	if e.suggestion != "" {
		return `unknown kind "` + e.name + `"; did you mean ` + e.suggestion + `? Run "collector kinds" to list all kinds`
	}
	return `unknown kind "` + e.name + `"; run "collector kinds" to list all kinds`
}
