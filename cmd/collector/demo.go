package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/internal/awsfake"
)

//go:embed demo.yaml.tmpl
var demoConfig string

// demoCommand runs the unchanged daemon against a fake AWS in this process: with a configuration file, every way to
// sign in, a schedule, outputs and metrics. Only the addresses of AWS differ.
func (c *cli) demoCommand() *cobra.Command {
	var listen, dir string
	var every, duration, latency time.Duration
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the whole program against a built-in fake AWS; needs no account",
		Long: `Starts a fake AWS in this process, writes a configuration for it, and runs the daemon on a short
schedule until Ctrl-C. The fake AWS checks what AWS checks: keys, roles, external ids, one-time codes, expired
sessions and rate limits. Nothing leaves this machine.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if duration > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeoutCause(ctx, duration, errors.New("the time of --for is over"))
				defer cancel()
			}
			listenChosen := cmd.Flags().Changed("listen") || c.getenv("COLLECTOR_LISTEN") != ""
			if !listenChosen && addressInUse(ctx, listen) {
				listen = "127.0.0.1:0" // probably another collector runs here; the demo takes any free port
			}
			return c.demo(ctx, demoOptions{listen: listen, dir: dir, every: every, latency: latency})
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", envOr(c.getenv, "COLLECTOR_LISTEN", defaultListen),
		"`ADDRESS` of the web page and the metrics; port 0 means any free port")
	f.StringVar(&dir, "dir", "",
		"`DIRECTORY` for the configuration and the records; default: a temporary one, removed at the end")
	f.DurationVar(&every, "every", 15*time.Second, "how often to collect")
	f.DurationVar(&duration, "for", 0, "stop after this time; 0: run until Ctrl-C")
	f.DurationVar(&latency, "latency", 80*time.Millisecond, "how long the fake AWS takes to answer")
	return cmd
}

// addressInUse reports whether listening at the address fails.
func addressInUse(ctx context.Context, address string) bool {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err == nil {
		err = l.Close()
	}
	return err != nil
}

type demoOptions struct {
	listen, dir    string
	every, latency time.Duration
}

func (c *cli) demo(ctx context.Context, o demoOptions) (err error) {
	scene := awsfake.Demo(awsfake.Options{Seed: 1, Latency: o.latency, Jitter: o.latency / 2})
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

	dir := o.dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "collector-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	config, err := demoConfigFile(scene, dir, receiver.addr, o)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		return err
	}

	var evolution sync.WaitGroup // resources change between runs
	evolveCtx, stop := context.WithCancel(ctx)
	defer evolution.Wait()
	defer stop()
	evolution.Go(func() {
		for {
			select {
			case <-evolveCtx.Done():
				return
			case <-time.After(o.every):
				scene.AWS.Evolve(4)
			}
		}
	})

	inner := *c
	inner.configPath = path
	inner.getenv = func(name string) string { // hides the real AWS of the environment
		switch {
		case name == "AWS_CONTAINER_AUTHORIZATION_TOKEN":
			return scene.Container.Token
		case strings.HasPrefix(name, "AWS_"), strings.HasPrefix(name, "COLLECTOR_"):
			return ""
		}
		return c.getenv(name)
	}
	return inner.collect(ctx, runOptions{
		listen: o.listen, printSummary: true, now: true, flushTimeout: 10 * time.Second,
		aws: auth.LoadOptions{
			Isolated: true, Endpoint: fake.URL,
			IMDSEndpoint: fake.URL, ContainerEndpoint: fake.URL + scene.Container.Path,
		},
		onListening: func(addr string) { c.printDemoWelcome(scene, fake.URL, addr, receiver.addr, dir, o) },
	})
}

// demoConfigFile is a configuration for the simulated accounts.
func demoConfigFile(scene *awsfake.Simulation, dir, receiver string, o demoOptions) ([]byte, error) {
	t, err := template.New("demo.yaml").Parse(demoConfig)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Every": o.every, "Listen": o.listen, "Dir": filepath.ToSlash(dir), "Accounts": scene.Accounts,
		"Company": scene.Organization, "Receiver": receiver,
	})
	return b.Bytes(), err
}

// commandName is the command that runs this program again: `go run` leaves no binary.
func commandName() string {
	if exe, err := os.Executable(); err == nil && strings.Contains(exe, "go-build") {
		return "go run ./cmd/collector"
	}
	return "collector"
}

func (c *cli) printDemoWelcome(scene *awsfake.Simulation, fakeURL, addr, receiver, dir string, o demoOptions) {
	w := tabwriter.NewWriter(c.stderr, 0, 0, 2, ' ', 0)
	page := (&url.URL{Scheme: "http", Host: addr}).String()
	configPath := filepath.Join(dir, "config.yaml")
	_ = safeFprintf(w, "\nA fake AWS listens at %s: %d accounts, each with another way to sign in, "+
		"and an organization with %d members.\nThe collector collects them every %s. Nothing leaves this machine.\n\n",
		fakeURL, len(scene.Accounts), len(scene.Organization.Members), o.every)
	_ = safeFprintf(w, "  web page\t%s\n", page+"/")
	_ = safeFprintf(w, "  metrics\t%s\n", page+"/metrics")
	_ = safeFprintf(w, "  inventory\t%s\n\t(resources as metrics; as targets for Prometheus: %s)\n",
		page+"/metrics/inventory", page+"/api/v1/sd/nodes")
	_ = safeFprintf(w, "  records\t%s\n", filepath.Join(dir, "records.jsonl"))
	_ = safeFprintf(w, "  changes\t%s (the simulated fleet changes over time)\n", filepath.Join(dir, "changes.jsonl"))
	_ = safeFprintf(w, "  receiver\thttp://%s/ simulates a DataKit. It is unavailable for %s of each minute; "+
		"no record is lost.\n", receiver, receiverAway)
	_ = safeFprintf(w, "  query\t%s list instance --where 'state=running' --config %s\n"+
		"\t(or: get, history, diff, changes, sql)\n", commandName(), configPath)
	_ = safeFprintf(w, "  configuration\t%s (you can change it while the demo runs)\n", configPath)
	_ = safeFprintf(w, "  stop\tCtrl-C\n\nSome accounts fail on purpose:\n")
	for _, a := range slices.Concat(scene.Accounts, scene.Organization.Members) {
		if a.Problem != "" {
			_ = safeFprintf(w, "  %s\t%s\n", a.Name, a.Problem)
		}
	}
	fmt.Fprintln(w)
	_ = w.Flush()
}
