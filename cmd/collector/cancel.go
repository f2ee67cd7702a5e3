package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/web/act"
)

func (c *cli) cancelCommand() *cobra.Command {
	var o remoteOptions
	cmd := &cobra.Command{
		Use:   "cancel ACCOUNT",
		Short: "Cancel the runs of an account in a running collector",
		Long: `Cancels the run of the account that is in progress, and the one that waits. What was collected so far stays;
the listings that did not end have the reason "interrupted" and say who cancelled. The next tick starts a run as
usual: "collector pause" prevents that.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var cancelled act.Cancelled
			if err := c.ask(cmd.Context(), o, args[0], "cancel", nil, &cancelled); err != nil {
				return err
			}
			return printer.Fprintf(c.stdout, "%s: cancelled %s\n", args[0], strings.Join(cancelled.Runs, ", "))
		},
	}
	remoteFlags(cmd, &o)
	return cmd
}
