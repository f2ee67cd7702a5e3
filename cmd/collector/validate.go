package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
)

func (c *cli) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate",
		Short: "Check the configuration and print all errors; makes no AWS calls",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := c.loadConfig(cmd.Context())
			if err != nil {
				return err
			}
			if err := c.config.InspectSignIn(l); err != nil {
				return usageError(err)
			}
			for _, w := range l.Warnings {
				if err := printer.Fprintf(c.stderr, "warning: %s\n", w); err != nil {
					return err
				}
			}
			what := fmt.Sprintf("%d accounts", len(l.File.Accounts))
			if len(l.File.Accounts) == 1 {
				what = "1 account"
			}
			switch n := len(l.File.Organizations); n {
			case 0:
			case 1:
				what += ", and the members of 1 organization"
			default:
				what += fmt.Sprintf(", and the members of %d organizations", n)
			}
			return printer.Fprintf(c.stdout, "%s: ok, %s\n", c.config.Path, what)
		},
	}
}
