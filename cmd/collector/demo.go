package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/cmd/collector/internal/configfile"
	"github.com/aws-collector/collector/cmd/collector/internal/live"
	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/runner/board"
	"github.com/aws-collector/collector/web"
	"github.com/aws-collector/collector/web/api"
)

//go:embed demo.yaml.tmpl
var demoConfig string

// demoCommand runs the unchanged daemon against a fake AWS in this process: with a configuration file, every way to
// sign in, a schedule, outputs and metrics. Only the addresses of AWS differ.
func (c *cli) demoCommand() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the whole program against a built-in fake AWS; needs no account",
		Long: `Starts a fake AWS in this process, writes a configuration for it, and runs the daemon on a short
schedule until Ctrl-C. The fake AWS checks what AWS checks: keys, roles, external ids, one-time codes, expired
sessions and rate limits. Nothing leaves this machine.

A terminal shows a table of the accounts and their problems, and the log is in a file. With --plain, without a
terminal and with TERM=dumb, the demo prints log lines instead.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.accounts < leastAccounts || o.days < 0 || o.days > mostDays {
				return usageError(fmt.Errorf("--accounts must be at least %d, and --days between 0 and %d",
					leastAccounts, mostDays))
			}
			o.anyPort = !cmd.Flags().Changed("listen") && c.getenv("COLLECTOR_LISTEN") == ""
			return c.demo(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", envOr(c.getenv, "COLLECTOR_LISTEN", defaultListen),
		"`ADDRESS` of the web page and the metrics; port 0 means any free port")
	f.StringVar(&o.dir, "dir", "",
		"`DIRECTORY` for the configuration, the log and the records; default: a temporary one, removed at the end")
	f.DurationVar(&o.every, "every", 15*time.Second, "how often to collect")
	f.DurationVar(&o.duration, "for", 0, "collect for this time, then stop; 0: run until Ctrl-C")
	f.IntVar(&o.accounts, "accounts", 200, fmt.Sprintf("how many accounts to simulate, at least %d", leastAccounts))
	f.IntVar(&o.days, "days", 14, "how many days of history to simulate before the start; 0: none")
	f.DurationVar(&o.latency, "latency", 80*time.Millisecond, "how long the fake AWS takes to answer")
	f.BoolVar(&o.plain, "plain", false, "print log lines, also on a terminal, instead of the table")
	return cmd
}

type demoOptions struct {
	listen, dir    string
	anyPort        bool // if the address is in use
	every, latency time.Duration
	duration       time.Duration // 0: until Ctrl-C
	plain          bool
	accounts, days int
}

const (
	leastAccounts = 15 // each has a way to sign in or a problem that no other has
	mostDays      = 90
)

// A demo is a running demo.
type demo struct {
	cli       *cli
	options   demoOptions
	scene     *awsfake.Simulation
	receiver  *receiver
	fakeURL   string
	pageURL   string
	dir       string
	onPurpose map[string]string // what is wrong with the accounts that are meant to fail
	started   time.Time         // when the daemon began to collect

	board *board.Board
	table *live.View // nil: plain lines
	log   *os.File   // nil: the log goes to stderr
}

func (c *cli) demo(ctx context.Context, o demoOptions) (err error) {
	scene := awsfake.DemoWithPast(awsfake.Options{Seed: 1, NoGzip: true}, o.accounts-leastAccounts)
	fake, err := scene.AWS.Start()
	if err != nil {
		return err
	}
	defer fake.Close()
	receiver, err := startReceiver(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, receiver.close()) }()
	listener, err := o.openListener(ctx)
	if err != nil {
		return err
	}
	defer listener.Close() // for an early error; the server closes it, too

	d := &demo{
		cli: c, options: o, scene: scene, receiver: receiver, fakeURL: fake.URL,
		pageURL: (&url.URL{Scheme: "http", Host: listener.Addr().String()}).String(), dir: o.dir,
		onPurpose: map[string]string{},
	}
	for _, a := range scene.All() {
		d.onPurpose[a.Name] = a.Problem
	}
	if o.dir == "" {
		defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }() // after an error
	}
	if err := d.makeDir(); err != nil {
		return err
	}
	err = d.run(ctx, listener)
	if err == nil {
		err = d.end()
	}
	return err
}

// openListener opens the listener of the page. Another collector probably uses the default address if it is in use;
// then any free port will do.
func (o demoOptions) openListener(ctx context.Context) (net.Listener, error) {
	l, err := web.Listen(ctx, o.listen)
	if err != nil && o.anyPort {
		l, err = web.Listen(ctx, "127.0.0.1:0")
	}
	return l, err
}

// makeDir makes the directory with the files of the configuration and, if there is a table, the file of the log.
func (d *demo) makeDir() (err error) {
	if d.dir == "" {
		d.dir, err = os.MkdirTemp("", "collector-demo-")
	} else {
		err = os.MkdirAll(d.dir, 0o700)
	}
	if err != nil {
		return err
	}
	if d.dir, err = filepath.Abs(d.dir); err != nil { // as references in a configuration are
		return err
	}
	config, err := d.config()
	if err != nil {
		return err
	}
	files := map[string][]byte{"config.yaml": config}
	for _, a := range d.scene.Accounts {
		if a.MFA != nil {
			files["totp-"+a.Name] = []byte(a.MFA.Seed)
		}
	}
	for name, text := range files {
		if err := os.WriteFile(d.path(name), text, 0o600); err != nil {
			return err
		}
	}
	if d.cli.supportsControls(d.cli.stderr) && !d.options.plain {
		d.log, err = os.OpenFile(d.path("collector.log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	}
	return err
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }

// config is a configuration for the simulated accounts.
func (d *demo) config() ([]byte, error) {
	t, err := template.New("demo.yaml").Parse(demoConfig)
	if err != nil {
		return nil, err
	}
	dir := strconv.Quote(filepath.ToSlash(d.dir))
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Every": d.options.every, "MembersEvery": 4 * d.options.every,
		"Listen": strings.TrimPrefix(d.pageURL, "http://"), "Dir": dir[1 : len(dir)-1],
		"Accounts": d.scene.Accounts, "Company": d.scene.Organization, "Receiver": d.receiver.addr,
	})
	return b.Bytes(), err
}

// run runs the daemon until ctx ends or the terminal is closed.
func (d *demo) run(ctx context.Context, listener net.Listener) error {
	if d.log != nil {
		defer d.log.Close()
	}
	d.printIntroduction()
	if err := d.begin(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	d.started = time.Now()
	if d.options.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d.options.duration, errors.New("the time of --for is over"))
		defer cancel()
	}
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { d.evolve(ctx) })
	if printer.IsTerminal(printable.Unwrap(d.cli.stderr)) {
		wg.Go(func() { d.stopWithTerminal(ctx, stop) })
	}
	defer func() { // also after a panic: the table must not stand between the shell's lines
		if d.table != nil {
			d.table.Stop()
		}
	}()
	return d.innerCLI().collect(ctx, runOptions{
		listener: listener, now: true, flushTimeout: daemonFlushTimeout, display: d.display, aws: d.awsOptions(),
	})
}

// begin simulates the past, and then what is wrong at present.
func (d *demo) begin(ctx context.Context) error {
	if d.options.days == 0 {
		d.scene.BeginLasting()
		return nil
	}
	// An error only means that the terminal is closed.
	_ = printer.Fprintf(d.cli.stderr, "Simulating %d days of history. This takes some seconds.\n", d.options.days)
	if err := d.writeHistory(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("simulate %d days of history: %w", d.options.days, err)
	}
	return nil
}

// innerCLI runs commands with the demo's configuration. It hides the real AWS of the environment.
func (d *demo) innerCLI() *cli {
	inner := *d.cli
	inner.config = &configfile.Source{
		Path: d.path("config.yaml"), Environ: d.cli.config.Environ,
		Getenv: func(name string) string { // hides the real AWS of the environment
			switch {
			case name == "AWS_CONTAINER_AUTHORIZATION_TOKEN":
				return d.scene.Container.Token
			case strings.HasPrefix(name, "AWS_"), strings.HasPrefix(name, "COLLECTOR_"):
				return ""
			}
			return d.cli.getenv(name)
		},
	}
	return &inner
}

func (d *demo) awsOptions() auth.LoadOptions {
	return auth.LoadOptions{
		Isolated: true, Endpoint: d.fakeURL,
		IMDSEndpoint: d.fakeURL, ContainerEndpoint: d.fakeURL + d.scene.Container.Path,
	}
}

// evolve changes resources between runs. The first runs get their answers at once, so that the table and the page are
// soon complete.
func (d *demo) evolve(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(d.options.every):
			d.scene.AWS.SetLatency(d.options.latency, d.options.latency/2)
			d.scene.AWS.Evolve(4)
		}
	}
}

// stopWithTerminal ends the demo when its terminal is closed. The daemon would survive: for it, SIGHUP means a reload.
func (d *demo) stopWithTerminal(ctx context.Context, stop func()) {
	for printer.IsTerminal(printable.Unwrap(d.cli.stderr)) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
	stop()
}

// display shows the table if there is a file for the log, else nothing but log lines.
func (d *demo) display(ctx context.Context, board *board.Board) (log, stdout io.Writer, stop func()) {
	d.board, stop = board, func() {} // the table stays until the outputs are closed
	if d.log == nil {
		return d.cli.stderr, d.cli.out("jsonl"), stop
	}
	screen := printable.Unwrap(d.cli.stderr)
	d.table = live.Start(screen, func() (int, int) { return live.TerminalSize(screen) },
		func(now time.Time, width, height int) []live.Line { return d.frame(ctx, now, width, height) }, true)
	if printer.IsTerminal(printable.Unwrap(d.cli.stdout)) {
		return d.log, printable.NewJSONWriter(d.table), stop
	}
	return d.log, d.cli.out("jsonl"), stop
}

// frame is the table at this moment.
func (d *demo) frame(ctx context.Context, now time.Time, width, height int) []live.Line {
	s := live.Summarize(d.board, d.onPurpose, now)
	calls := d.scene.AWS.Stats()
	lasted := live.Countdown(now.Sub(d.started))
	end := "Ctrl-C ends it."
	if ctx.Err() != nil {
		end = "Ending; listings in progress finish first."
	}
	counts := fmt.Sprintf("%d resources, %d AWS calls, %d throttled", s.Resources, calls.Calls, calls.Throttled)
	t := live.Table{
		Title: []string{
			fmt.Sprintf("collector demo against a fake AWS, for %s: %s. %s", lasted, counts, end),
			fmt.Sprintf("Demo for %s: %s. %s", lasted, counts, end),
			fmt.Sprintf("Demo for %s: %d resources. %s", lasted, s.Resources, end),
			fmt.Sprintf("Demo for %s. %s", lasted, end),
			end,
		},
		Links: []string{"page      " + d.pageURL + "/", "log       " + d.path("collector.log")},
		More: []string{
			"files     " + d.dir + ": config.yaml (save a change: it is used at once), records.jsonl, changes.jsonl",
			"query     " + d.queryCommand(),
			"receiver  " + d.receiver.describe(now),
		},
		Rows: s.Rows, Problems: s.Problems,
	}
	frame := t.Frame(width, height)
	if d.cli.getenv("NO_COLOR") != "" {
		return live.Uncolored(frame)
	}
	return frame
}

func (d *demo) queryCommand() string {
	return printable.Text(fmt.Sprintf("%s list instance --where 'state=running' --config %s",
		commandName(), d.path("config.yaml")))
}

// commandName is the command that runs this program again: `go run` leaves no binary.
func commandName() string {
	if exe, err := os.Executable(); err == nil && strings.Contains(exe, "go-build") {
		return "go run ./cmd/collector"
	}
	return os.Args[0]
}

// printIntroduction says what runs, and where its parts are.
func (d *demo) printIntroduction() {
	w := tabwriter.NewWriter(d.cli.stderr, 0, 0, 2, ' ', 0)
	defer w.Flush()
	_ = printer.Fprintf(w, "A fake AWS listens at %s: %d accounts, each with another way to sign in, "+
		"and an organization with %d members.\nThe collector collects them every %s. Nothing leaves this machine.\n",
		d.fakeURL, len(d.scene.Accounts), len(d.scene.Organization.Members), d.options.every)
	if d.log != nil {
		_ = printer.Fprintf(w, "The log is in %s.\n", d.path("collector.log"))
		return
	}
	_ = printer.Fprintf(w, "\n  web page\t%s\n", d.pageURL+"/")
	_ = printer.Fprintf(w, "  metrics\t%s\n", d.pageURL+"/metrics")
	_ = printer.Fprintf(w, "  API\t%s\n", d.pageURL+api.Prefix+"coverage")
	_ = printer.Fprintf(w, "  inventory\t%s\n\t(resources as metrics; as targets for Prometheus: %s)\n",
		d.pageURL+"/metrics/inventory", d.pageURL+"/api/v1/sd/nodes")
	_ = printer.Fprintf(w, "  records\t%s\n", d.path("records.jsonl"))
	_ = printer.Fprintf(w, "  changes\t%s (the simulated fleet changes over time)\n", d.path("changes.jsonl"))
	_ = printer.Fprintf(w, "  receiver\thttp://%s/ simulates a DataKit. It is unavailable for %s of each minute; "+
		"no record is lost.\n", d.receiver.addr, receiverAway)
	_ = printer.Fprintf(w, "  query\t%s\n\t(or: get, history, diff, changes, sql)\n", d.queryCommand())
	_ = printer.Fprintf(w, "  configuration\t%s (you can change it while the demo runs)\n", d.path("config.yaml"))
	_ = printer.Fprintf(w, "  stop\tCtrl-C\n\nSome accounts fail on purpose:\n")
	for _, a := range d.scene.All() {
		if a.Problem != "" {
			_ = printer.Fprintf(w, "  %s\t%s\n", a.Name, a.Problem)
		}
	}
	fmt.Fprintln(w)
}

// end removes the temporary directory and prints the one line of the end.
func (d *demo) end() error {
	now := time.Now()
	what := "Records and database"
	if d.log != nil {
		what = "Log, records and database"
	}
	where := "are in " + d.dir
	if d.options.dir == "" {
		if err := os.RemoveAll(d.dir); err != nil {
			return err
		}
		where = "were removed; --dir keeps them"
	}
	if d.board == nil {
		_ = printer.Fprintf(d.cli.stderr, "The demo was stopped before its first run. %s %s.\n", what, where)
		return nil
	}
	s := live.Summarize(d.board, d.onPurpose, now)
	// An error only means that the terminal is closed.
	_ = printer.Fprintf(d.cli.stderr, "The demo ran for %s: %d accounts, %d resources, %d problems. %s %s.\n",
		live.Countdown(now.Sub(d.started)), s.Accounts, s.Resources, len(s.Problems), what, where)
	return nil
}
