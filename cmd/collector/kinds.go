package main

import (
	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/collectors"
)

func (c *cli) kindsCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "kinds",
		Short: "List every kind of resource and the IAM action that it needs",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			l := resultTable{columns: []string{"kind", "operation", "parent", "action", "doc"}}
			for i := range collectors.Kinds {
				k := &collectors.Kinds[i]
				l.rows = append(l.rows, map[string]any{
					"kind": k.Name, "operation": k.Op, "parent": k.Parent, "action": k.Action(), "doc": k.DocURL(),
				})
			}
			return l.print(c.out(format), format)
		},
	}
	outputFlag(cmd, &format)
	return cmd
}
