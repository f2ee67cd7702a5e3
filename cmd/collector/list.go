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
		Short: "List what is there, or was there at an instant",
		Long: `Lists the resources that are remembered: those that are there now, or with --at those of an instant. KIND is a name or a glob, also
without its ec2_. It works beside a collector that runs.

` + whereHelp + `

Without --columns, json and jsonl show whole records.`,
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
	cmd.Flags().StringSliceVar(&q.columns, "columns", []string{"kind", "id", "name", "state", "type", "account", "region"}, "the fields to show: `FIELD,…`")
	return cmd
}

// kindPattern is a kind as people write it: instance, volume, "vpc*". One that selects nothing is a slip.
func kindPattern(s string) (string, error) {
	names := knownNames().Kinds
	for _, p := range []string{s, "ec2_" + s, strings.TrimSuffix("ec2_"+s, "s")} {
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

// unknownKind is the slip of a kind's name.
func unknownKind(s string) error {
	i := slices.IndexFunc(collectors.Kinds, func(k collectors.Kind) bool { return strings.Contains(k.Name, strings.TrimPrefix(s, "ec2_")) })
	if i >= 0 {
		return &kindError{s, collectors.Kinds[i].Name}
	}
	return &kindError{s, ""}
}

type kindError struct{ name, suggestion string }

func (e *kindError) Error() string {
	if e.suggestion != "" {
		return `"` + e.name + `" is no kind; is ` + e.suggestion + ` meant? "collector kinds" lists them`
	}
	return `"` + e.name + `" is no kind; "collector kinds" lists them`
}
