package main

import (
	"cmp"
	"errors"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/web/act"
)

func (c *cli) acknowledgeCommand() *cobra.Command {
	var o remoteOptions
	var f act.Failure
	var reason string
	cmd := &cobra.Command{
		Use:   "acknowledge ACCOUNT --reason REASON",
		Short: "Acknowledge a failure of an account in a running collector",
		Long: `Marks a failure as known. The page shows it last, with who acknowledged it, and the account no longer counts
as one that needs you because of it. The mark is removed when the listings fail for another reason, or fail again
after they were complete. "collector status" shows the reasons.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return usageError(errors.New("collector acknowledge needs --reason REASON, such as --reason access_denied; " +
					"run \"collector status\" to see the reasons"))
			}
			f.Reason = record.Reason(reason)
			var a runner.Acknowledgement
			if err := c.ask(cmd.Context(), o, args[0], "acknowledge", f, &a); err != nil {
				return err
			}
			return printer.Fprintf(c.stdout, "%s: %s acknowledged by %s, in %s, for %s\n", a.Account, a.Reason, a.By,
				cmp.Or(a.Region, "all regions"), cmp.Or(a.Kind, "all kinds"))
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&reason, "reason", "", "`REASON` of the failure, such as access_denied")
	fs.StringVar(&f.Region, "region", "", "only in this `REGION`")
	fs.StringVar(&f.Kind, "kind", "", "only this `KIND`")
	fs.StringVar(&f.Note, "note", "", "`TEXT` that says why, for others")
	remoteFlags(cmd, &o)
	return cmd
}
