package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/auth/identity"
	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/check"
	"github.com/aws-collector/collector/internal/datadir"
	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/record"
)

type checkOptions struct {
	only       account.Selection
	format     string
	allRegions bool
	timeout    time.Duration // of one account
	aws        auth.LoadOptions
}

func (c *cli) checkCommand() *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Sign in to every account and check every permission; collects nothing",
		Long: `Signs in to each account and reports:

  - the identity that the collector has there, how it signed in, and when the credentials expire
  - which of the configured regions are enabled
  - which of the configured kinds may be listed, and the IAM statement that allows the denied ones
  - how far the clock of this machine is wrong

To check a kind, the command sends a dry run, or asks for the smallest page if the API has no dry run. It checks every
kind in one region of the account, and one kind in each other region. With --all-regions it checks every kind in every
region. The calls stay within the rate limits of run: half of the limits that EC2 documents.

The command warns about access keys older than 90 days, if the user may call iam:ListAccessKeys for itself. The
collector needs this permission for nothing else.

Exit codes: 0 if everything is well, 1 if it could sign in to no account, 2 for wrong usage or a wrong configuration,
3 if it could not sign in to an account or something is denied that expect_denied does not name.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("log-level") && c.getenv("COLLECTOR_LOG_LEVEL") == "" {
				c.logLevel = "warn" // the table shows who signed in
			}
			return c.check(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.allRegions, "all-regions", false, "check every kind in every region, not only in one")
	f.DurationVar(&o.timeout, "timeout", 3*time.Minute, "maximum time for the check of one account")
	narrowFlags(cmd, &o.only)
	outputFlag(cmd, &o.format)
	return cmd
}

// check opens each account as run does, with the same configuration, and checks what run would list.
func (c *cli) check(ctx context.Context, o checkOptions) (err error) {
	if err := validateFormat(o.format); err != nil {
		return err
	}
	cfg, err := c.loadConfig(ctx)
	if err != nil {
		return err
	}
	log, err := c.logger(c.stderr)
	if err != nil {
		return err
	}
	for _, w := range cfg.Warnings {
		log.Warn("configuration warning", "warning", w)
	}
	if err := datadir.Make(cfg.File.DataDir); err != nil { // stores MFA sessions, because a code works only once
		return err
	}
	aws, err := c.openAWS(ctx, cfg, account.AWSOptions{
		Load: o.aws, Identities: identity.Options{Checking: true}, Log: log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, aws.Close()) }()
	members := accounts.NewDirectory(aws.Sessions.Members, accounts.MembersPath(cfg.File.DataDir), log)
	defer members.Close()

	o.only.File = c.config.Path
	organizations := o.only.Organizations(cfg.File)
	members.RefreshAll(ctx, organizations)
	blocks, err := o.only.Blocks(aws.AccountSet(cfg.File, members))
	if err != nil {
		return usageError(err)
	}
	checker := check.Checker{
		AWS: aws, Selection: o.only, CallsInFlight: cfg.File.Limits.CallsInFlight,
		AllRegions: o.allRegions, Timeout: o.timeout, Progress: c.progressCounter("checked", len(blocks), "accounts"),
	}
	all, err := checker.Accounts(ctx, blocks)
	if err != nil {
		return usageError(err)
	}
	if ctx.Err() != nil {
		return &exitError{exitFailed, context.Cause(ctx)}
	}
	for _, org := range organizations {
		all = append(all, checker.Organization(ctx, org, members))
	}
	if err := check.Print(c.out(o.format), all, o.format); err != nil {
		return err
	}
	switch check.Status(all) {
	case record.RunFailed:
		return &exitError{code: exitFailed}
	case record.RunPartial:
		return &exitError{code: exitPartial}
	}
	return nil
}

// progressCounter shows "checked 3 of 10 accounts" on a terminal. Each call of the result counts one more, and the last
// call erases the line.
func (c *cli) progressCounter(verb string, total int, noun string) func() {
	if !c.supportsLiveView(c.stderr) {
		return func() {}
	}
	screen := printable.Unwrap(c.stderr) // control sequences must pass unescaped
	var mu sync.Mutex
	n := 0
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if n++; n < total {
			fmt.Fprintf(screen, "\r%s %d of %d %s", verb, n, total, noun)
			return
		}
		fmt.Fprint(screen, "\r\x1b[K")
	}
}
