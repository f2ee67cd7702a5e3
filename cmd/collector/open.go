package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth/identity"
	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/configfile"
	"github.com/aws-collector/collector/cmd/collector/internal/openfiles"
	"github.com/aws-collector/collector/cmd/collector/internal/store"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/datadir"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/all"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
	"github.com/aws-collector/collector/runner/local"
	"github.com/aws-collector/collector/runner/runlog"
	"github.com/aws-collector/collector/web"
)

// openDisplay starts the live view, if there is a terminal, and the log above it.
func (p *program) openDisplay(ctx context.Context, _ *configfile.Loaded) (err error) {
	p.board = board.New()
	start := p.cli.startDisplay
	if p.opt.display != nil {
		start = p.opt.display
	}
	var screen io.Writer
	screen, p.stdout, p.endDisplay = start(ctx, p.board)
	p.onClose(func() error {
		p.endDisplay()
		return nil
	})
	p.log, err = p.cli.logger(screen)
	return err
}

// openMetrics connects the observers of the runner: status board, metrics, log.
func (p *program) openMetrics(ctx context.Context, cfg *configfile.Loaded) (err error) {
	p.registry, p.mounts = prometheus.NewRegistry(), new(web.Mounts)
	p.metrics, err = web.NewMetrics(p.registry, p.board, web.MetricsOptions{
		Version: buildInfo().version, Revision: buildInfo().revision,
		LabelTags: cfg.File.Web.LabelTags, Detail: cfg.File.Web.MetricsDetail,
	})
	if err != nil {
		return usageError(fmt.Errorf("%s: %w", p.cli.config.Path, err))
	}
	p.unknownFields = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "collector_unknown_response_fields_total",
		Help: "Fields of AWS responses that this version does not know, by kind. Records contain them under AWS's name.",
	}, []string{"kind"})
	p.registry.MustRegister(p.unknownFields)
	p.runLog = runlog.New(p.log, func() bool { return ctx.Err() != nil })
	p.observe = runner.Tee(p.board.Observe, p.metrics.Observe, p.runLog.Observe)
	return nil
}

// lockDataDir locks data_dir for this process. A dry run stores nothing.
func (p *program) lockDataDir(_ context.Context, cfg *configfile.Loaded) (err error) {
	if p.opt.dryRun {
		return nil
	}
	if p.dataDir, err = datadir.Lock(cfg.File.DataDir, p.log); err != nil {
		return err
	}
	p.onClose(func() error {
		p.dataDir.Unlock()
		return nil
	})
	return nil
}

// openAWS opens the sessions and the clients that list, and closes them at the end of the program.
func (p *program) openAWS(ctx context.Context, cfg *configfile.Loaded) error {
	digestKey, err := datadir.DigestKey(cfg.File.DataDir, !p.opt.dryRun, p.log)
	if err != nil {
		return err
	}
	openfiles.Warn(cfg.File, p.log)
	p.aws, err = p.cli.openAWS(ctx, cfg, account.AWSOptions{
		Load: p.opt.aws, Identities: identity.Options{ReadOnly: p.opt.dryRun}, DigestKey: digestKey, Log: p.log,
	})
	if err != nil {
		return err
	}
	p.onClose(p.aws.Close)
	return nil
}

// openAWS opens the sessions and the clients that list.
func (c *cli) openAWS(ctx context.Context, cfg *configfile.Loaded, o account.AWSOptions) (*account.AWS, error) {
	o.Load.Version, o.Load.Getenv, o.CommandEnv = buildInfo().version, c.getenv, c.config.CommandEnv
	o.Load.CallsInFlight = openfiles.CallsInFlight(cfg.File)
	return account.OpenAWS(ctx, cfg.File, o)
}

// openStore opens the store, and what says which accounts there are.
func (p *program) openStore(ctx context.Context, cfg *configfile.Loaded) (err error) {
	p.store = store.InMemory()
	if !p.opt.dryRun {
		if p.store, err = store.Open(ctx, cfg.File, p.aws.Pages.HasWaiters, p.log); err != nil {
			return err
		}
	}
	p.onClose(p.store.Close)
	p.store.InterruptRuns(ctx, p.log)
	if p.store.Inventory != nil {
		p.registry.MustRegister(web.StoreHealth(p.store.Inventory))
	}
	p.storeType = cfg.File.Store.Type
	p.retirer = accounts.NewRetirer(p.store.Accounts(), p.log)
	p.observe = runner.Tee(p.observe, p.retirer.Observe)
	file := ""
	if !p.opt.dryRun {
		file = accounts.MembersPath(cfg.File.DataDir)
	}
	p.members = accounts.NewDirectory(p.aws.Sessions.Members, file, p.log)
	p.onClose(func() error {
		p.members.Close()
		return nil
	})
	return nil
}

// openOutputs makes the set that opens the outputs of a configuration.
func (p *program) openOutputs(_ context.Context, cfg *configfile.Loaded) error {
	p.outputs = deliver.NewSet(all.Types, outputs.Deps{
		Stdout: p.stdout, Log: p.log, Observer: p.metrics, Store: p.store.Driver, AWS: p.aws.Sessions.ConfigFor,
		SpoolDir: filepath.Join(cfg.File.DataDir, "spools"), CursorDir: filepath.Join(cfg.File.DataDir, "cursors"),
		Kind: collectors.InfoOf,
	})
	return nil
}

// openRunner makes the runner and the engine that starts its jobs.
func (p *program) openRunner(_ context.Context, cfg *configfile.Loaded) (err error) {
	calls := openfiles.CallsInFlight(cfg.File)
	p.limits = runner.NewLimits(calls, p.observe)
	file := ""
	if !p.opt.dryRun {
		file = directivesPath(cfg.File.DataDir)
	}
	if p.directives, err = runner.OpenDirectives(file, p.log); err != nil {
		return err
	}
	p.claims = accounts.NewClaims(func(account string, cause error) { p.runner.Cancel(account, cause) })
	p.runner = runner.New(runner.Options{
		Store: p.store, Observe: p.observe, Limits: p.limits, Log: p.log,
		Process: thisProcess(), Claim: p.claims.Claim,
	})
	p.onClose(func() error {
		p.runner.Close()
		return nil
	})
	p.registry.MustRegister(web.Budgets(p.limits), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "collector_abandoned_listings",
		Help: "Listings that did not stop after their deadline and still run. If many stay for long, please report a bug.",
	}, func() float64 { return float64(p.runner.Abandoned()) }))
	p.engine = local.New(p.runner, local.Options{
		Slots: calls, DrainTimeout: max(time.Duration(cfg.File.DrainTimeout), 1), // 0 is the default there
		Ticks: p.savedTicks(cfg.File.DataDir), AtStart: p.opt.now, Log: p.log,
	})
	return nil
}

// loadBoard sets the status to what the store knows. The table and the exit code of a single run are of this run.
func (p *program) loadBoard(ctx context.Context, _ *configfile.Loaded) error {
	if !p.opt.once {
		p.store.LoadBoard(ctx, p.runner, p.board, p.log)
	}
	return nil
}

// openListener serves metrics, health, reload and the page. A single run does so only if asked to.
func (p *program) openListener(ctx context.Context, cfg *configfile.Loaded) error {
	w := cfg.File.Web
	guard := web.NewGuard(w.ConfigFile, w.ActUsers)
	acts := p.newActs()
	questions := p.newAPI(acts, guard)
	routes, err := p.pageRoutes(w.LabelTags, questions, acts, guard)
	if err != nil {
		return err
	}
	protocol, err := newMCP(w.MCP, questions)
	if err != nil {
		return err
	}
	server, err := web.NewServer(web.Options{
		Gather: p.metrics.Gatherer(p.registry),
		Log:    p.log, ConfigFile: w.ConfigFile, Hosts: w.Hosts, Guard: guard, Reload: p.reload, Mounts: p.mounts,
		API: questions, MCP: protocol, Routes: routes, Ready: p.notReady,
	})
	if err != nil {
		return usageError(err)
	}
	p.stopServer = func() error { return nil }
	if p.opt.once && !p.opt.serveOnce {
		return nil
	}
	stop, page, err := serve(ctx, server, p.opt.listener, w.Listen)
	if err != nil {
		return err
	}
	p.stopServer = stop
	if w.ConfigFile == "" && page != "" { // the file may say that the page has TLS
		p.log.Info("page ready", "url", page)
	}
	return nil
}

// savedTicks is the file of ticks, under the names that accounts have now.
func (p *program) savedTicks(dataDir string) local.Ticks {
	if p.opt.once { // a single run is not a tick
		return nil
	}
	return accounts.FormerNames{
		Ticks:      local.FileTicks(filepath.Join(dataDir, ticksFile), p.log),
		File:       func() *config.File { return p.config.File },
		Named:      func(name string) bool { return p.runner.Configuration().Has(name) },
		Identities: p.aws.Identities, Store: p.store.Accounts(),
	}
}

// closeOutputs waits for the outputs to deliver what they still hold, until the flush timeout.
func (p *program) closeOutputs() error {
	ctx, cancel := p.flushContext(context.Background())
	defer cancel()
	p.runner.Close()
	return p.outputs.Close(ctx)
}

// ticksFile is the file of the last ticks in data_dir.
const ticksFile = "ticks.json"
