package main

import (
	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/web/act"
)

func (c *cli) pauseCommand() *cobra.Command {
	var o remoteOptions
	var note string
	cmd := &cobra.Command{
		Use:   "pause ACCOUNT",
		Short: "Pause the schedule of an account in a running collector",
		Long: `Pauses the schedule of the account, also over restarts, until "collector resume". Its ticks are missed with the
reason "paused", nothing of it counts as overdue, and "collector start" can still start it. A run in progress goes on:
"collector cancel" ends it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var s act.PauseState
			err := c.ask(cmd.Context(), o, args[0], "pause", map[string]string{"note": note}, &s)
			if err != nil || s.Paused == nil {
				return err
			}
			because := ""
			if s.Paused.Note != "" {
				because = ": " + s.Paused.Note
			}
			return printer.Fprintf(c.stdout, "%s: paused by %s since %s%s\n",
				args[0], s.Paused.By, query.CellText(s.Paused.At), because)
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "`TEXT` that says why, for others")
	remoteFlags(cmd, &o)
	return cmd
}

func (c *cli) resumeCommand() *cobra.Command {
	var o remoteOptions
	cmd := &cobra.Command{
		Use:   "resume ACCOUNT",
		Short: "Resume the schedule of a paused account in a running collector",
		Long:  `Lets the schedule of the account apply again. Missed ticks are not made up for: the next one runs.`,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var s act.PauseState
			if err := c.ask(cmd.Context(), o, args[0], "resume", nil, &s); err != nil {
				return err
			}
			return printer.Fprintf(c.stdout, "%s: its schedule applies\n", args[0])
		},
	}
	remoteFlags(cmd, &o)
	return cmd
}
