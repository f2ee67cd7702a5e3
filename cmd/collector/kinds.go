package main

import (
	"strings"

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
			l := printer.Table{Columns: []string{"kind", "operation", "parent", "action", "doc", "service"}}
			for _, k := range account.Catalogue() {
				l.Rows = append(l.Rows, map[string]any{
					"kind": k.Kind, "service": k.Service, "operation": k.Operation, "parent": k.Parent, "action": k.Action,
					"doc": k.Doc,
				})
			}
			return l.Print(c.out(format), format)
		},
	}
	outputFlag(cmd, &format)
	return cmd
}

// kindsValue is a flag of kinds as people write them: instance, ec2_instance, instances or a glob.
type kindsValue struct{ patterns *[]string }

func (v kindsValue) Type() string { return "list" }

func (v kindsValue) String() string {
	if v.patterns == nil { // the zero value, with which help compares
		return ""
	}
	return strings.Join(*v.patterns, ",")
}

// Set adds kinds that are separated by commas.
func (v kindsValue) Set(text string) error {
	for name := range strings.SplitSeq(text, ",") {
		pattern, err := account.Catalogue().Pattern(strings.TrimSpace(name))
		if err != nil {
			return err
		}
		*v.patterns = append(*v.patterns, pattern)
	}
	return nil
}
