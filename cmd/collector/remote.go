package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/client"
	"github.com/aws-collector/collector/internal/userfile"
)

// A remoteOptions says which running collector a command asks.
type remoteOptions struct {
	server  string
	timeout time.Duration
}

// remoteHelp is the end of the help of each command that asks a running collector.
const remoteHelp = `

The command asks a running collector: the one of the configuration, at web.listen, or that of --server. The collector
lets users of web.act_users act, or, where that is not set, clients on its machine. Set COLLECTOR_USER, and the
password in the file that COLLECTOR_PASSWORD_FILE names, or in COLLECTOR_PASSWORD.

Exit codes: 0 if it was done, 1 if the collector refused it or does not answer, 2 for wrong usage or an unknown
account.`

func remoteFlags(cmd *cobra.Command, o *remoteOptions) {
	cmd.Long += remoteHelp
	cmd.Flags().StringVar(&o.server, "server", "", "`URL` of the collector; environment: COLLECTOR_SERVER; "+
		"default: COLLECTOR_LISTEN, else web.listen of the configuration, on this machine")
	cmd.Flags().DurationVar(&o.timeout, "timeout", time.Minute, "how long to wait for the answer")
}

// ask asks for an act on an account, and decodes its result into answer.
func (c *cli) ask(ctx context.Context, o remoteOptions, account, verb string, body, answer any) error {
	server, err := c.serverURL(o.server), error(nil)
	if server == "" {
		if server, err = client.ListenURL(c.listenAddress(ctx)); err != nil {
			return usageError(err)
		}
	}
	remote, err := c.remote(ctx, server)
	if err != nil {
		return usageError(err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("no answer within %s", o.timeout))
	defer cancel()
	return refusalError(remote.Act(ctx, account, verb, body, answer))
}

// serverURL is the collector that --server or the environment names; "": none.
func (c *cli) serverURL(flag string) string { return cmp.Or(flag, c.getenv("COLLECTOR_SERVER")) }

// remote returns a client of a running collector.
func (c *cli) remote(ctx context.Context, server string) (*client.Client, error) {
	password, err := c.remotePassword(ctx)
	if err != nil {
		return nil, err
	}
	return client.New(client.Options{Server: server, User: c.getenv("COLLECTOR_USER"), Password: password})
}

// refusalError makes an error of the client a usage error if the collector says that the request is wrong.
func refusalError(err error) error {
	if r := (*client.Refusal)(nil); errors.As(err, &r) &&
		(r.Status == http.StatusNotFound || r.Status == http.StatusBadRequest) {
		return usageError(err)
	}
	return err
}

// serverFlag adds --server to a command that asks a question.
func serverFlag(cmd *cobra.Command, server *string) {
	cmd.Flags().StringVar(server, "server", "", "ask the running collector at this `URL` in place of the store; "+
		"environment: COLLECTOR_SERVER, COLLECTOR_USER, COLLECTOR_PASSWORD_FILE, COLLECTOR_PASSWORD")
}

// serverFlagError explains that a command without --server does not have it on purpose; nil for another error.
func serverFlagError(cmd *cobra.Command, err error) error {
	if err.Error() != "unknown flag: --server" {
		return nil
	}
	return fmt.Errorf("%s cannot ask a running collector: no route of the API answers it. "+
		"Run it where the store and the configuration are; list, find, query, get, history, diff, changes, runs and status "+
		"have --server", cmd.CommandPath())
}

// remotePassword is the password of COLLECTOR_USER. It is never an argument, which other users of the machine see.
func (c *cli) remotePassword(ctx context.Context) (string, error) {
	path := c.getenv("COLLECTOR_PASSWORD_FILE")
	if path == "" {
		return c.getenv("COLLECTOR_PASSWORD"), nil
	}
	b, err := userfile.Read(ctx, path, 4<<10)
	if err != nil {
		return "", fmt.Errorf("COLLECTOR_PASSWORD_FILE: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// listenAddress is where the collector of the configuration listens. An invalid file is no reason to fail: a running
// collector continues with the last valid configuration.
func (c *cli) listenAddress(ctx context.Context) string {
	if v := c.getenv("COLLECTOR_LISTEN"); v != "" {
		return v
	}
	if cfg, err := c.config.Load(ctx); err == nil {
		return cfg.File.Web.Listen
	}
	return defaultListen
}
