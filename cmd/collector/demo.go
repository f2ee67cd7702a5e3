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

// demoCommand runs the daemon, unchanged, against an AWS in this process: a configuration file, sign-ins of every kind, a
// schedule, outputs, metrics. Only the addresses of AWS are other ones.
func (c *cli) demoCommand() *cobra.Command {
	var listen, dir string
	var every, lasting, latency time.Duration
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the whole program against a built-in AWS; needs nothing",
		Long: `Starts an AWS in this process that enforces what AWS enforces (keys, roles, external ids, one-time codes, sessions that end,
throttling), writes a configuration for it and runs the daemon on a short schedule until Ctrl-C. Nothing leaves this machine.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if lasting > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeoutCause(ctx, lasting, errors.New("the demo's time is over"))
				defer cancel()
			}
			if !cmd.Flags().Changed("listen") && c.getenv("COLLECTOR_LISTEN") == "" && addressInUse(ctx, listen) {
				listen = "127.0.0.1:0" // a collector runs here already: that is no reason not to look at another
			}
			return c.demo(ctx, demoOptions{listen: listen, dir: dir, every: every, latency: latency})
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", envOr(c.getenv, "COLLECTOR_LISTEN", defaultListen), "`ADDRESS` of the page and the metrics; port 0: any")
	f.StringVar(&dir, "dir", "", "`DIRECTORY` for the configuration and the records; default: a new one, removed at the end")
	f.DurationVar(&every, "every", 15*time.Second, "how often to collect")
	f.DurationVar(&lasting, "for", 0, "stop by itself after this long; 0: run until Ctrl-C")
	f.DurationVar(&latency, "latency", 80*time.Millisecond, "how long the built-in AWS takes to answer")
	return cmd
}

// addressInUse reports whether nobody can listen at the address.
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
	cloud, err := scene.AWS.Start()
	if err != nil {
		return err
	}
	defer cloud.Close()

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

	var live sync.WaitGroup // the fleet changes between runs
	living, stop := context.WithCancel(ctx)
	defer live.Wait()
	defer stop()
	live.Go(func() {
		for {
			select {
			case <-living.Done():
				return
			case <-time.After(o.every):
				scene.AWS.Evolve(4)
			}
		}
	})

	inner := *c
	inner.configPath = path
	inner.getenv = func(name string) string { // the environment's own AWS is not this one
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
			Isolated: true, Endpoint: cloud.URL, IMDSEndpoint: cloud.URL, ContainerEndpoint: cloud.URL + scene.Container.Path,
		},
		onListening: func(addr string) { c.printDemoWelcome(scene, cloud.URL, addr, receiver.addr, dir, o) },
	})
}

// demoConfigFile is the scene as somebody would write it down.
func demoConfigFile(scene *awsfake.Simulation, dir, receiver string, o demoOptions) ([]byte, error) {
	t, err := template.New("demo.yaml").Parse(demoConfig)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Every": o.every, "Listen": o.listen, "Dir": filepath.ToSlash(dir), "Accounts": scene.Accounts, "Company": scene.Organization,
		"Receiver": receiver,
	})
	return b.Bytes(), err
}

// commandName is how whoever sees the demo can call the program: `go run` leaves no binary behind.
func commandName() string {
	if exe, err := os.Executable(); err == nil && strings.Contains(exe, "go-build") {
		return "go run ./cmd/collector"
	}
	return "collector"
}

func (c *cli) printDemoWelcome(scene *awsfake.Simulation, cloud, addr, receiver, dir string, o demoOptions) {
	w := tabwriter.NewWriter(c.stderr, 0, 0, 2, ' ', 0)
	page := url.URL{Scheme: "http", Host: addr}
	_ = safeFprintf(w, "\nA built-in AWS answers at %s: %d accounts, each entered in another way, and an organization of %d.\nThe collector lists them every %s. Nothing leaves this machine.\n\n", cloud, len(scene.Accounts), len(scene.Organization.Members), o.every)
	_ = safeFprintf(w, "  page\t%s\n", page.String()+"/")
	_ = safeFprintf(w, "  metrics\t%s\n", page.String()+"/metrics")
	_ = safeFprintf(w, "  inventory\t%s\n\t(metrics of what there is; as targets for Prometheus: %s)\n", page.String()+"/metrics/inventory", page.String()+"/api/v1/sd/nodes")
	_ = safeFprintf(w, "  records\t%s\n", filepath.Join(dir, "records.jsonl"))
	_ = safeFprintf(w, "  changes\t%s (of the fleet, which lives)\n", filepath.Join(dir, "changes.jsonl"))
	_ = safeFprintf(w, "  a receiver\thttp://%s/ stands for a DataKit, and is away for %s of each minute: nothing is lost\n", receiver, receiverAway)
	_ = safeFprintf(w, "  ask it\t%s list instance --where 'state=running' --config %s\n\t(get, history, diff, changes and sql too)\n", commandName(), filepath.Join(dir, "config.yaml"))
	_ = safeFprintf(w, "  configuration\t%s (change it while this runs)\n", filepath.Join(dir, "config.yaml"))
	_ = safeFprintf(w, "  stop\tCtrl-C\n\nSome are in trouble on purpose:\n")
	for _, a := range slices.Concat(scene.Accounts, scene.Organization.Members) {
		if a.Problem != "" {
			_ = safeFprintf(w, "  %s\t%s\n", a.Name, a.Problem)
		}
	}
	fmt.Fprintln(w)
	_ = w.Flush()
}
