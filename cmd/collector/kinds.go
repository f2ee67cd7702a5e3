package main

import (
	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/query"
)

// catalogue returns the kinds of this program.
func catalogue() query.Catalogue {
	all := make(query.Catalogue, len(collectors.Kinds))
	for i := range collectors.Kinds {
		k := &collectors.Kinds[i]
		all[i] = query.KindLine{
			Kind: k.Name, Operation: k.Op, Parent: k.Parent, Action: k.Action(), Doc: k.DocURL(),
			Service: k.Service().Name, Global: k.Global,
		}
	}
	return all
}

func (c *cli) kindsCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "kinds",
		Short: "List every kind of resource and the IAM action that it needs",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			l := resultTable{columns: []string{"kind", "operation", "parent", "action", "doc"}}
			for _, k := range catalogue() {
				l.rows = append(l.rows, map[string]any{
					"kind": k.Kind, "operation": k.Operation, "parent": k.Parent, "action": k.Action, "doc": k.Doc,
				})
			}
			return l.print(c.out(format), format)
		},
	}
	outputFlag(cmd, &format)
	return cmd
}
