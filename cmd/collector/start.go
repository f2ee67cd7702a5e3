package main

import (
	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/web/act"
)

func (c *cli) startCommand() *cobra.Command {
	var o remoteOptions
	cmd := &cobra.Command{
		Use:   "start ACCOUNT",
		Short: "Start a run of an account in a running collector, now",
		Long: `Starts a run of all kinds of the account, or lists the members of an organization, without waiting for the
schedule. The account's overlap rule applies: with skip, the command fails while an earlier run is in progress. A
paused account can be started. The command does not wait for the run: "collector runs RUN" shows it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var started act.Started
			if err := c.ask(cmd.Context(), o, args[0], "run", nil, &started); err != nil {
				return err
			}
			return printer.Fprintf(c.stdout, "%s: run %s started\n", args[0], started.Run)
		},
	}
	remoteFlags(cmd, &o)
	return cmd
}
