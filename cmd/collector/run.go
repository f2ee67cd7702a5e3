package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/live"
	"github.com/aws-collector/collector/cmd/collector/internal/plan"
	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/runner/board"
	"github.com/aws-collector/collector/web"
)

// runOptions are the values of the flags of run. The demo sets them itself.
type runOptions struct {
	once, dryRun, now bool
	only              account.Selection
	serveOnce         bool // listen with --once too
	flushTimeout      time.Duration

	aws      auth.LoadOptions
	listener net.Listener // already open; nil: listen at the address
	display  displayFunc  // nil: cli.startDisplay
}

func (c *cli) runCommand() *cobra.Command {
	var o runOptions
	var planned bool
	var format string
	var assume map[string]int // number of resources in each region, by kind
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Collect all accounts on schedule, or once with --once",
		Long: `Collects every account on its schedule until the process gets SIGTERM or Ctrl-C. A second signal, at least one
second later, stops it at once. The configuration is loaded again after SIGHUP, after POST /-/reload, and when the
configuration file changes.

With --once, collects each account one time and exits. The exit code is 0 if all targets succeeded, 1 if nothing was
collected, 2 for wrong usage or a wrong configuration, and 3 if some targets failed that expect_denied does not name.

With --plan, makes no AWS calls. Prints how many AWS calls a run makes in each account and region, how long they take
at the rate limits of the collector, and how many calls that is per day. Each call appears in CloudTrail, which
GuardDuty reads.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.once = o.once || o.dryRun
			o.serveOnce = cmd.Flags().Changed("listen")
			if !o.once && !cmd.Flags().Changed("flush-timeout") {
				o.flushTimeout = daemonFlushTimeout
			}
			if planned {
				return c.plan(cmd.Context(), plan.Options{Selection: o.only, Once: o.once, Assume: assume}, format)
			}
			if len(assume) > 0 || cmd.Flags().Changed("output") {
				return usageError(errors.New("--assume and -o work with --plan only"))
			}
			return c.collect(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.once, "once", false, "collect each account one time, now, and exit")
	f.BoolVar(&o.now, "now", false, "collect each account one time at the start, then on schedule")
	f.BoolVar(&o.dryRun, "dry-run", false, "collect one time, but store nothing and send nothing to outputs")
	f.BoolVar(&planned, "plan", false, "make no AWS calls; print how many calls a run would make")
	f.StringToIntVar(&assume, "assume", nil,
		"with --plan: assume this number of resources of a kind in each region, as `KIND=N`; can be repeated")
	f.Lookup("assume").DefValue = "" // pflag would show an empty list
	f.StringVarP(&format, "output", "o", "table", "with --plan: output `FORMAT`, table or json")
	f.StringVar(&c.config.Listen, "listen", "", "`ADDRESS` of the web page, /metrics and the health checks; "+
		"default: COLLECTOR_LISTEN, else web.listen; with --once, nothing listens unless you set this flag")
	f.DurationVar(&o.flushTimeout, "flush-timeout", time.Minute,
		"how long to wait for outputs at the end; without --once the default is "+daemonFlushTimeout.String())
	narrowFlags(cmd, &o.only)
	return cmd
}

// daemonFlushTimeout is how long a daemon waits for outputs at its end. The end of each target flushes what was sent
// for it, so only an output that hangs needs the time. Together with drain_timeout it must fit into the 35 s of
// deploy/compose.yaml.
const daemonFlushTimeout = 3 * time.Second

// plan prints an estimate of the calls that a configuration makes. It makes no AWS calls.
func (c *cli) plan(ctx context.Context, o plan.Options, format string) error {
	if format != "table" && format != "json" {
		return usageError(fmt.Errorf("-o %q is not table or json", format))
	}
	cfg, err := c.loadConfig(ctx)
	if err != nil {
		return err
	}
	o.CallsInFlight, o.Selection.File = cfg.File.Limits.CallsInFlight, c.config.Path
	members := accounts.NewDirectory(nil, accounts.MembersPath(cfg.File.DataDir), slog.New(slog.DiscardHandler))
	p, err := plan.Make(cfg.File, members, o)
	if err != nil {
		return usageError(err)
	}
	if format == "json" {
		return printer.JSON(c.out(format), p)
	}
	return p.Print(c.out(format))
}

func narrowFlags(cmd *cobra.Command, only *account.Selection) {
	f := cmd.Flags()
	f.StringSliceVar(&only.Accounts, "account", nil, "only accounts that match this `GLOB`; can be repeated")
	f.StringSliceVar(&only.Regions, "region", nil, "only regions that match this `GLOB`; can be repeated")
	f.Var(kindsValue{&only.Kinds}, "kind", "only kinds that match this `GLOB`; can be repeated")
}

// A displayFunc returns the writers for log lines and records while the board is shown.
type displayFunc func(ctx context.Context, board *board.Board) (log, stdout io.Writer, stop func())

// startDisplay returns the writers for log lines and records: above a live view on a terminal, else directly.
func (c *cli) startDisplay(ctx context.Context, board *board.Board) (log, stdout io.Writer, stop func()) {
	if ctx.Err() != nil || !c.supportsLiveView(c.stderr) {
		return c.stderr, c.out("jsonl"), func() {}
	}
	screen := printable.Unwrap(c.stderr)
	l := live.Start(screen, func() (int, int) { return live.TerminalSize(screen) },
		func(now time.Time, _, height int) []live.Line {
			return live.Progress(board, now, height)
		}, false)
	if !printer.IsTerminal(printable.Unwrap(c.stdout)) {
		return l, c.out("jsonl"), l.Stop
	}
	return l, printable.NewJSONWriter(l), l.Stop
}

// pageURL is where a browser on this machine finds the page, or "" if the listener has no port.
func pageURL(address net.Addr) string {
	host, port, err := net.SplitHostPort(address.String())
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}

// serve serves until stop is called, at the address if there is no listener yet. An address that is in use is an error
// here, at the start. page is the address of the page.
func serve(
	ctx context.Context, s *web.Server, l net.Listener, address string,
) (stop func() error, page string, err error) {
	if l == nil {
		if l, err = web.Listen(ctx, address); err != nil {
			return nil, "", err
		}
	}
	page = pageURL(l.Addr())
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	return func() error {
		stillConnected := errors.New("clients are still connected")
		ctx, cancel := context.WithTimeoutCause(context.Background(), 3*time.Second, stillConnected)
		defer cancel()
		err := s.Shutdown(ctx)
		return errors.Join(err, <-done)
	}, page, nil
}
