package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

func (c *cli) acceptCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "accept [ACCOUNT]",
		Short: "Accept that an account block signs in to another AWS account than before",
		Long: `A block that signs in as before and turns out to be another AWS account is not collected: its state is
auth_failed, the reason wrong_account. This verb accepts the account that was refused last. A running collector needs
no restart: its next run collects the new account. After that run the resources of the old account end as
account_removed, unless another block collects it.

Without ACCOUNT, it lists the blocks that wait. It makes no AWS calls: it changes data_dir/identities.json, so run it
as the user of the collector. Another way to accept an account is account_id in the block.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := c.dataDir(cmd.Context())
			if err != nil {
				return err
			}
			log, err := c.logger(c.stderr)
			if err != nil {
				return err
			}
			claims, err := openIdentities(auth.IdentityStoreOptions{Path: identitiesPath(dir)}, log)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return c.waiting(claims)
			}
			return c.accept(claims, args[0])
		},
	}
}

// waiting prints the blocks that turned out to be another account.
func (c *cli) waiting(claims *auth.FileIdentityStore) error {
	all := claims.Refusals()
	if len(all) == 0 {
		_, err := fmt.Fprintln(c.stdout, "no block turned out to be another account than before")
		return err
	}
	for _, b := range all {
		if err := safeFprintf(c.stdout, "%s: was account %s since %s, and turned out to be account %s (%s) at %s\n", b.Block,
			b.AccountID, day(b.Since), b.Refused.AccountID, b.Refused.ARN, b.Refused.At.UTC().Format("2006-01-02 15:04 MST")); err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) accept(claims *auth.FileIdentityStore, name string) error {
	if !slices.ContainsFunc(claims.Refusals(), func(b *auth.BlockIdentity) bool { return b.Block == name }) {
		return usageError(nothingToAccept(claims, name)) // nothing is written
	}
	was, err := claims.Accept(name)
	switch {
	case errors.Is(err, auth.ErrNothingRefused): // since
		return usageError(nothingToAccept(claims, name))
	case errors.Is(err, fs.ErrPermission):
		return &record.Fault{
			Reason: record.Other, Hint: "Run it as the user of the collector, who owns data_dir.", Err: fmt.Errorf("account %q: accept: %w", name, err),
		}
	case err != nil:
		return fmt.Errorf("account %q: accept: %w", name, err)
	}
	return safeFprintf(c.stdout, "%s: account %s (%s) in place of account %s, which it was since %s; the next run collects it\n",
		name, was.Refused.AccountID, was.Refused.ARN, was.AccountID, day(was.Since))
}

func nothingToAccept(claims *auth.FileIdentityStore, name string) error {
	if known := claims.ForBlock(name); len(known) > 0 {
		return fmt.Errorf("account %q: nothing to accept: it is account %s since %s, and did not turn out to be another one",
			name, known[0].AccountID, day(known[0].Since))
	}
	if waiting := claims.Refusals(); len(waiting) > 0 {
		return fmt.Errorf("account %q: nothing to accept; blocks that turned out to be another account: %s", name, quotedBlockNames(waiting))
	}
	return fmt.Errorf("account %q: nothing to accept: no block turned out to be another account", name)
}

// dataDir is where the configuration keeps its state. Nothing else of it is needed, so no other reference is
// resolved.
func (c *cli) dataDir(ctx context.Context) (string, error) {
	if dir := c.getenv("COLLECTOR_DATA_DIR"); dir != "" {
		return dir, nil
	}
	b, _, err := c.configText(ctx)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; name a file with --config or COLLECTOR_CONFIG, or data_dir with COLLECTOR_DATA_DIR", err)
		}
		return "", usageError(err)
	}
	f, err := config.Parse(b, c.configName(), knownNames())
	if err != nil {
		return "", usageError(err)
	}
	if !strings.Contains(f.DataDir, "${") {
		return f.DataDir, nil
	}
	_, dir, err := f.ResolveStore(c.lookupEnv, referenceReader(ctx))
	if err != nil {
		return "", usageError(err)
	}
	return dir, nil
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
