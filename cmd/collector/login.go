package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/auth/identity"
	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/datadir"
	"github.com/aws-collector/collector/secret"
)

type loginOptions struct {
	codeStdin bool
	aws       auth.LoadOptions
}

func (c *cli) loginCommand() *cobra.Command {
	var o loginOptions
	cmd := &cobra.Command{
		Use:   "login ACCOUNT",
		Short: "Start an account's MFA session with a code that you type",
		Long: `Asks for a one-time code of the account's MFA device and starts an MFA session of up to 36 hours.
The session is stored in data_dir, where every collector that shares data_dir finds it; you do not have to restart a
running collector. One login serves all accounts with the same key and device.

The code is read from the terminal and is not shown. In a script, pass it on standard input with --code-stdin. If the
block has a totp_seed or a token_command, the command uses that instead of asking.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("log-level") && c.getenv("COLLECTOR_LOG_LEVEL") == "" {
				c.logLevel = "warn" // the command prints the result itself
			}
			return c.login(cmd.Context(), args[0], cmd.InOrStdin(), o)
		},
	}
	cmd.Flags().BoolVar(&o.codeStdin, "code-stdin", false, "read the code from standard input")
	return cmd
}

func (c *cli) login(ctx context.Context, name string, in io.Reader, o loginOptions) (err error) {
	cfg, err := c.loadConfig(ctx)
	if err != nil {
		return err
	}
	log, err := c.logger(c.stderr)
	if err != nil {
		return err
	}
	all := c.signInAccounts(cfg.File, log)
	i := slices.IndexFunc(all, func(a config.Account) bool { return a.Name == name })
	if i < 0 {
		var names []string
		for _, a := range all[:min(len(all), 20)] {
			names = append(names, a.Name)
		}
		return usageError(fmt.Errorf("%s has no account %q; accounts: %s", c.config.Path, name, strings.Join(names, ", ")))
	}
	if err := datadir.Make(cfg.File.DataDir); err != nil {
		return err
	}
	aws, err := c.openAWS(ctx, cfg, account.AWSOptions{
		Load: o.aws, Identities: identity.Options{Checking: true}, Log: log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, aws.Close()) }()

	a := all[i]
	done, err := aws.Sessions.Login(ctx, a, func(ctx context.Context, device string) (secret.String, error) {
		return c.readCode(ctx, in, device, o.codeStdin)
	})
	if err != nil {
		return fmt.Errorf("account %q: %w", name, err)
	}
	expires := done.Expires.UTC().Format("2006-01-02 15:04 MST")
	remaining := config.Duration(time.Until(done.Expires).Round(time.Minute))
	if err := printer.Fprintf(c.stdout, "%s: MFA session of %s until %s (%s)\n",
		name, done.Device, expires, remaining); err != nil {
		return err
	}
	session, err := aws.Sessions.Open(ctx, a) // the MFA session stays valid if a role behind it fails
	if err != nil {
		return fmt.Errorf("account %q: the MFA session is valid, but %w", name, err)
	}
	return printer.Fprintf(c.stdout, "%s: signed in as %s\n", name, session.Identity.ARN)
}

// signInAccounts has every block that can sign in: of the file, of known members, and of organizations.
func (c *cli) signInAccounts(f *config.File, log *slog.Logger) []config.Account {
	all := accounts.NewDirectory(nil, accounts.MembersPath(f.DataDir), log).Resolve(f, nil).Accounts
	for _, o := range f.Organizations {
		all = append(all, config.Account{Name: o.Label, SignIn: o.Via, Collect: o.Collect})
	}
	return all
}

// readCode reads a code from the terminal without echo, or if piped a line from standard input.
func (c *cli) readCode(ctx context.Context, in io.Reader, device string, piped bool) (secret.String, error) {
	read := func() (string, error) {
		line, err := bufio.NewReader(io.LimitReader(in, 256)).ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = nil // the last line may have no line break
		}
		return line, err
	}
	if !piped {
		f, ok := in.(*os.File)
		if !ok || !term.IsTerminal(int(f.Fd())) {
			return secret.String{}, usageError(errors.New(
				"login: standard input is not a terminal; pass the code with --code-stdin"))
		}
		fd := int(f.Fd())
		before, err := term.GetState(fd)
		if err != nil {
			return secret.String{}, fmt.Errorf("login: %w", err)
		}
		defer func() { _ = term.Restore(fd, before) }() // an interrupted read leaves echo off
		_ = printer.Fprintf(c.stderr, "One-time code of %s: ", device)
		defer fmt.Fprintln(c.stderr)
		read = func() (string, error) {
			b, err := term.ReadPassword(fd)
			return string(b), err
		}
	}
	type line struct {
		text string
		err  error
	}
	got := make(chan line, 1)
	go func() { // reading cannot be canceled; when ctx ends, the process ends
		text, err := read()
		got <- line{text, err}
	}()
	select {
	case l := <-got:
		text := strings.TrimSpace(l.text)
		if l.err != nil || !isCode(text) {
			return secret.String{}, usageError(cmp.Or(l.err,
				fmt.Errorf("login: a code has 6 digits, got %d characters", len(text))))
		}
		return secret.New(text), nil
	case <-ctx.Done():
		return secret.String{}, context.Cause(ctx)
	}
}

func isCode(s string) bool { return len(s) == 6 && strings.Trim(s, "0123456789") == "" }
