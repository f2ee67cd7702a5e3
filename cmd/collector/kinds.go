package main

import (
	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/printer"
)

func (c *cli) kindsCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "kinds",
		Short: "List every kind of resource and the IAM action that it needs",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := validateFormat(format); err != nil {
				return err
			}
			l := printer.Table{Columns: []string{"kind", "operation", "parent", "action", "doc"}}
			for _, k := range account.Catalogue() {
				l.Rows = append(l.Rows, map[string]any{
					"kind": k.Kind, "operation": k.Operation, "parent": k.Parent, "action": k.Action, "doc": k.Doc,
				})
			}
			return l.Print(c.out(format), format)
		},
	}
	outputFlag(cmd, &format)
	return cmd
}
