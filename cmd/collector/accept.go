package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth/identity"
	"github.com/aws-collector/collector/cmd/collector/internal/printer"
)

func (c *cli) acceptCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "accept [ACCOUNT]",
		Short: "Accept that an account block now signs in to another AWS account",
		Long: `If a block that did not change signs in to another AWS account than before, the collector does not collect
it: its state is auth_failed, with the reason wrong_account. This command accepts the account that was refused last.
You do not have to restart a running collector: its next run collects the new account. After that run, the resources
of the old account end as account_removed, unless another block collects that account.

Without ACCOUNT, the command lists the blocks with a refused account. It makes no AWS calls. It changes
data_dir/identities.json, so run it as the collector's user. You can also accept an account by setting account_id in
the block.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := c.config.DataDir(cmd.Context())
			if err != nil {
				return usageError(err)
			}
			log, err := c.logger(c.stderr)
			if err != nil {
				return err
			}
			identities, err := accounts.OpenIdentities(dir, identity.Options{}, log)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return c.printRefusals(identities)
			}
			return c.accept(identities, args[0])
		},
	}
}

// printRefusals prints the blocks that signed in to another account than before.
func (c *cli) printRefusals(identities *accounts.Identities) error {
	all := identities.Refusals()
	if len(all) == 0 {
		_, err := fmt.Fprintln(c.stdout, "no account block signed in to another AWS account than before")
		return err
	}
	for _, b := range all {
		err := printer.Fprintf(c.stdout, "%s: was account %s since %s; signed in to account %s (%s) at %s\n",
			b.Block, b.AccountID, day(b.Since),
			b.Refused.AccountID, b.Refused.ARN, b.Refused.At.UTC().Format("2006-01-02 15:04 MST"))
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) accept(identities *accounts.Identities, name string) error {
	last, err := identities.AcceptRefused(name)
	switch {
	case errors.Is(err, accounts.ErrNothingToAccept):
		return usageError(err)
	case err != nil:
		return err
	}
	return printer.Fprintf(c.stdout,
		"%s: account %s (%s) replaces account %s, which it was since %s; the next run collects it\n",
		name, last.Refused.AccountID, last.Refused.ARN, last.AccountID, day(last.Since))
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
