package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/web"
)

// runOptions are what the flags of run say, and what the demo says in their place.
type runOptions struct {
	once, dryRun, now        bool
	accounts, regions, kinds []string // globs that narrow; none: everything
	listen                   string   // "": the configuration's
	serveOnce                bool     // listen during --once too
	flushTimeout             time.Duration
	assume                   map[string]int // of a plan: resources of a kind in each region

	aws          auth.LoadOptions
	onListening  func(addr string) // told where the listener is
	printSummary bool              // the table at the end of a daemon too
}

// narrowed reports whether less is looked at than what the configuration names: then what is not seen is not gone.
func (o *runOptions) narrowed() bool { return len(o.accounts)+len(o.regions)+len(o.kinds) > 0 }

func (c *cli) runCommand() *cobra.Command {
	var o runOptions
	var plan bool
	var format string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Collect on schedule until stopped; or once",
		Long: `Collects every account on its schedule until it is told to stop (SIGTERM, Ctrl-C; again after a second: at once). SIGHUP, a
changed configuration file and POST /-/reload load the configuration again.

With --once each account is collected once, now, and the exit code says how it went: 0 done, 1 failed (nothing was collected), 2 bad
usage or configuration, 3 partial (some targets failed that expect_denied does not name).

With --plan nobody is called: it prints how many calls to AWS a run will make in each account and region, how long they take at the
pace that the collector keeps, and how many a day they are by the schedules. CloudTrail records each call, and GuardDuty reads it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.once = o.once || o.dryRun
			o.serveOnce = cmd.Flags().Changed("listen")
			if !o.once && !cmd.Flags().Changed("flush-timeout") {
				o.flushTimeout = daemonFlushTimeout
			}
			if plan {
				return c.plan(cmd.Context(), o, c.out(format), format)
			}
			if len(o.assume) > 0 || cmd.Flags().Changed("output") {
				return usageError(errors.New("--assume and -o are for --plan"))
			}
			return c.collect(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.once, "once", false, "collect each account once, now, and exit")
	f.BoolVar(&o.now, "now", false, "collect each account once at the start, and then on schedule")
	f.BoolVar(&o.dryRun, "dry-run", false, "collect once, but deliver and remember nothing")
	f.BoolVar(&plan, "plan", false, "call nobody; print how many calls AWS would get")
	f.StringToIntVar(&o.assume, "assume", nil, "for --plan: `KIND=N`, how many resources of a kind there are in each region; repeatable")
	f.StringVarP(&format, "output", "o", "table", "for --plan: `FORMAT`, table or json")
	f.StringVar(&o.listen, "listen", "", "`ADDRESS` of /metrics and health; default: COLLECTOR_LISTEN, else web.listen; with --once nothing listens unless this is given")
	f.DurationVar(&o.flushTimeout, "flush-timeout", time.Minute, "how long outputs may take to acknowledge at the end; of the daemon "+daemonFlushTimeout.String())
	narrowFlags(cmd, &o)
	return cmd
}

// daemonFlushTimeout is what outputs get at the end of a daemon. Each target's end has flushed what was sent of it, so there is little to
// wait for but an output that hangs; and with drain_timeout before it, the whole must fit into the 35 s of deploy/compose.yaml.
const daemonFlushTimeout = 3 * time.Second

func narrowFlags(cmd *cobra.Command, o *runOptions) {
	f := cmd.Flags()
	f.StringSliceVar(&o.accounts, "account", nil, "only accounts that match this `GLOB`; repeatable")
	f.StringSliceVar(&o.regions, "region", nil, "only regions that match this `GLOB`; repeatable")
	f.StringSliceVar(&o.kinds, "kind", nil, "only kinds that match this `GLOB`; repeatable")
}

// serve opens the listener, so that an address that is taken is said now, and serves until stop.
func serve(ctx context.Context, s *web.Server, listen string, listening func(string)) (stop func() error, err error) {
	l, err := web.Listen(ctx, listen)
	if err != nil {
		return nil, err
	}
	if listening != nil {
		listening(l.Addr().String())
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	return func() error {
		ctx, cancel := context.WithTimeoutCause(context.Background(), 3*time.Second, errors.New("clients are still connected"))
		defer cancel()
		err := s.Shutdown(ctx)
		return errors.Join(err, <-done)
	}, nil
}
