package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/auth/identity"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/internal/datadir"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/all"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
	"github.com/aws-collector/collector/runner/local"
	"github.com/aws-collector/collector/runner/runlog"
	"github.com/aws-collector/collector/web"
)

// openDisplay starts the live view, if there is a terminal, and the log above it.
func (p *program) openDisplay(ctx context.Context, _ *loadedConfig) (err error) {
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
func (p *program) openMetrics(ctx context.Context, cfg *loadedConfig) (err error) {
	p.registry, p.mounts = prometheus.NewRegistry(), new(web.Mounts)
	p.metrics, err = web.NewMetrics(p.registry, p.board, web.MetricsOptions{
		Version: buildInfo().version, Revision: buildInfo().revision,
		LabelTags: cfg.file.Web.LabelTags, Detail: cfg.file.Web.MetricsDetail,
	})
	if err != nil {
		return usageError(fmt.Errorf("%s: %w", p.cli.configPath, err))
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
func (p *program) lockDataDir(_ context.Context, cfg *loadedConfig) (err error) {
	if p.opt.dryRun {
		return nil
	}
	if p.dataDir, err = datadir.Lock(cfg.file.DataDir, p.log); err != nil {
		return err
	}
	p.onClose(func() error {
		p.dataDir.Unlock()
		return nil
	})
	return nil
}

// openAWS makes what signs in and what lists.
func (p *program) openAWS(ctx context.Context, cfg *loadedConfig) error {
	digestKey, err := datadir.DigestKey(cfg.file.DataDir, !p.opt.dryRun, p.log)
	if err != nil {
		return err
	}
	identities := identity.Options{ReadOnly: p.opt.dryRun}
	if err := p.openSignIn(ctx, cfg, identities, digestKey); err != nil {
		return err
	}
	p.onClose(p.identities.Flush)
	p.onClose(func() error {
		p.sessions.Close()
		return nil
	})
	return nil
}

// openSignIn makes the sessions and the lister, for a run and for a check.
func (p *program) openSignIn(
	ctx context.Context, cfg *loadedConfig, identities identity.Options, digestKey []byte,
) error {
	l := cfg.file.Limits
	o := p.opt.aws
	o.Version, o.CallsInFlight, o.Getenv = buildInfo().version, p.callsInFlight(cfg), p.cli.getenv
	awsConfig, err := auth.LoadAWS(ctx, o)
	if err != nil {
		return err
	}
	p.pages = record.NewPagePool(l.Pages, maxRetainedPage)
	p.lister, err = collectors.New(collectors.Options{
		AWS: awsConfig, Pages: p.pages, Attempts: l.Attempts, MaxBackoff: time.Duration(l.MaxBackoff),
		CallTimeout: time.Duration(l.CallTimeout), GZIP: l.GZIP == nil || *l.GZIP, DigestKey: digestKey, Log: p.log,
		SDKStack: p.cli.getenv(sdkStackVariable) != "",
	})
	if err != nil {
		return err
	}
	if p.identities, err = accounts.OpenIdentities(cfg.file.DataDir, identities, p.log); err != nil {
		return err
	}
	p.sessions = auth.NewSessions(auth.Options{
		AWS: awsConfig, Getenv: p.cli.getenv, CommandEnv: p.cli.referenced.others,
		DataDir: cfg.file.DataDir, SessionKey: cfg.file.SessionKey, Identities: p.identities.Store, Log: p.log,
	})
	return nil
}

// sdkStackVariable names the variable that makes the program call EC2 as earlier releases did. It is not documented,
// and the next release does not have it.
const sdkStackVariable = "COLLECTOR_SDK_STACK"

// maxRetainedPage is the largest buffer of a page that is reused for the next page: 1,000 instances take about 7 MiB.
const maxRetainedPage = 16 << 20

// openStore opens the store, and what says which accounts there are.
func (p *program) openStore(ctx context.Context, cfg *loadedConfig) (err error) {
	if p.store, err = openRunStore(ctx, cfg.file, p.opt.dryRun, p.pages.HasWaiters, p.log); err != nil {
		return err
	}
	p.onClose(p.store.close)
	p.store.interruptRuns(ctx, p.log)
	if p.store.inventory != nil {
		p.registry.MustRegister(web.StoreHealth(p.store.inventory))
	}
	p.storeType = cfg.file.Store.Type
	p.retirer = accounts.NewRetirer(p.store.accounts(), p.log)
	p.observe = runner.Tee(p.observe, p.retirer.Observe)
	file := ""
	if !p.opt.dryRun {
		file = accounts.MembersPath(cfg.file.DataDir)
	}
	p.members = accounts.NewDirectory(p.sessions.Members, file, p.log)
	p.onClose(func() error {
		p.members.Close()
		return nil
	})
	return nil
}

// openOutputs makes what opens the outputs of a configuration.
func (p *program) openOutputs(_ context.Context, cfg *loadedConfig) error {
	p.outputs = deliver.NewSet(all.Types, outputs.Deps{
		Stdout: p.stdout, Log: p.log, Observer: p.metrics, Store: p.store.driver, AWS: p.sessions.ConfigFor,
		SpoolDir: spoolsIn(cfg.file.DataDir), CursorDir: filepath.Join(cfg.file.DataDir, "cursors"), Kind: collectors.InfoOf,
	})
	return nil
}

// openRunner makes the runner and the engine that starts its jobs.
func (p *program) openRunner(_ context.Context, cfg *loadedConfig) error {
	calls := p.callsInFlight(cfg)
	limits := runner.NewLimits(calls, p.observe)
	p.claims = accounts.NewClaims(func(account string, cause error) { p.runner.Cancel(account, cause) })
	p.runner = runner.New(runner.Options{
		Store: p.store, Observe: p.observe, Limits: limits, Log: p.log,
		Process: thisProcess(), Claim: p.claims.Claim,
	})
	p.onClose(func() error {
		p.runner.Close()
		return nil
	})
	p.registry.MustRegister(web.Budgets(limits), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "collector_abandoned_listings",
		Help: "Listings that did not stop after their deadline and still run. If many stay for long, please report a bug.",
	}, func() float64 { return float64(p.runner.Abandoned()) }))
	p.engine = local.New(p.runner, local.Options{
		Slots: calls, DrainTimeout: max(time.Duration(cfg.file.DrainTimeout), 1), // 0 is the default there
		Ticks: p.savedTicks(cfg.file.DataDir), AtStart: p.opt.now, Log: p.log,
	})
	return nil
}

// loadBoard sets the status to what the store knows. The table and the exit code of a single run are of this run.
func (p *program) loadBoard(ctx context.Context, _ *loadedConfig) error {
	if !p.opt.once {
		p.store.loadBoard(ctx, p.runner, p.board, p.log)
	}
	return nil
}

// openListener serves metrics, health, reload and the page. A single run does so only if asked to.
func (p *program) openListener(ctx context.Context, cfg *loadedConfig) error {
	w := cfg.file.Web
	questions := p.newAPI()
	routes, err := p.pageRoutes(w.LabelTags, questions)
	if err != nil {
		return err
	}
	server, err := web.NewServer(web.Options{
		Gather: p.registry, Log: p.log, ConfigFile: w.ConfigFile, Hosts: w.Hosts, Reload: p.reload, Mounts: p.mounts,
		API: questions, Routes: routes, Ready: p.notReady,
	})
	if err != nil {
		return usageError(err)
	}
	p.stopServer = func() error { return nil }
	if p.opt.once && !p.opt.serveOnce {
		return nil
	}
	if p.opt.listen == "" {
		p.opt.listen = w.Listen
	}
	p.stopServer, err = serve(ctx, server, p.opt)
	return err
}
