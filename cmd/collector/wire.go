package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/web"
)

// program holds what outlives a configuration: a reload keeps these objects.
type program struct {
	cli           *cli
	opt           runOptions
	log           *slog.Logger
	observe       runner.Observer
	metrics       *web.Metrics
	unknownFields *prometheus.CounterVec // by kind
	sessions      *auth.Sessions
	lister        *collectors.Lister
	outputs       *outputs.Set
	runner        *runner.Runner
	store         *runStore
	retirer       *accounts.Retirer
	mounts        *web.Mounts
	current       *atomic.Pointer[runner.Configuration] // for the status view; equals the runner's

	members    *accounts.Directory // members of organizations
	identities *auth.FileIdentityStore

	reloadMu   sync.Mutex
	config     *loadedConfig // the configuration in force
	accountSet *accounts.Set // the accounts of the configuration in force
	lastRead   inputDigests  // the files that were read last, valid or not
}

// collect builds the program from top to bottom; each part uses the parts above it: configuration, observers, AWS,
// sign-in, listing, outputs, runner, the first built configuration; then one run, or the daemon.
func (c *cli) collect(ctx context.Context, o runOptions) (err error) {
	cfg, err := c.loadConfig(ctx)
	if err != nil {
		return err
	}
	if o.listen == "" {
		o.listen = cfg.file.Web.Listen
	}

	board := runner.NewBoard()
	startDisplay := c.startDisplay
	if o.display != nil {
		startDisplay = o.display
	}
	screen, stdout, closeScreen := startDisplay(ctx, board)
	defer closeScreen()
	log, err := c.logger(screen)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	view := boardView{board, new(atomic.Pointer[runner.Configuration])}
	metrics, err := web.NewMetrics(registry, view, web.MetricsOptions{
		Version: buildInfo().version, Revision: buildInfo().revision,
		LabelTags: cfg.file.Web.LabelTags, Detail: cfg.file.Web.MetricsDetail,
	})
	if err != nil {
		return usageError(fmt.Errorf("%s: %w", c.configPath, err))
	}
	runLog := newRunLogger(log)
	runLog.stopping = func() bool { return ctx.Err() != nil }
	observe := runner.Tee(board.Observe, metrics.Observe, runLog.observe)

	var dataDir lockedDir
	if !o.dryRun {
		unlock, err := lockDataDir(cfg.file.DataDir, log)
		if err != nil {
			return err
		}
		defer unlock()
		dataDir = newLockedDir(cfg.file.DataDir)
	}
	o.aws.Version, o.aws.CallsInFlight = buildInfo().version, cfg.file.Limits.CallsInFlight
	o.aws.Getenv = c.getenv
	awsConfig, err := auth.LoadAWS(ctx, o.aws)
	if err != nil {
		return err
	}
	identityOptions := auth.IdentityStoreOptions{Path: identitiesPath(cfg.file.DataDir), ReadOnly: o.dryRun}
	identities, err := openIdentities(identityOptions, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, identities.Flush()) }()
	sessions := auth.NewSessions(auth.Options{
		AWS: awsConfig, Getenv: c.getenv, DataDir: cfg.file.DataDir, SessionKey: cfg.file.SessionKey,
		Identities: identities, Log: log,
	})
	defer sessions.Close()

	digestKey, err := loadDigestKey(cfg.file.DataDir, !o.dryRun, log)
	if err != nil {
		return err
	}
	l := cfg.file.Limits
	pages := record.NewPagePool(l.Pages, maxRetainedPage)
	lister, err := collectors.New(collectors.Options{
		AWS: awsConfig, Pages: pages, Attempts: l.Attempts, MaxBackoff: time.Duration(l.MaxBackoff),
		CallTimeout: time.Duration(l.CallTimeout), GZIP: l.GZIP == nil || *l.GZIP, DigestKey: digestKey, Log: log,
		SDKStack: c.getenv(sdkStackVariable) != "",
	})
	if err != nil {
		return err
	}

	store, err := openRunStore(ctx, cfg.file, o.dryRun, pages.HasWaiters, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.close()) }()
	store.interruptRuns(ctx, log)
	retirer := accounts.NewRetirer(store.accounts(), log)
	observe = runner.Tee(observe, retirer.Observe)
	membersFile := ""
	if !o.dryRun {
		membersFile = accounts.MembersPath(cfg.file.DataDir)
	}
	members := accounts.NewDirectory(sessions.Members, membersFile, log)
	defer members.Close()
	unknownFields := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "collector_unknown_response_fields_total",
		Help: "Fields of AWS responses that this version does not know, by kind. Records contain them under AWS's name.",
	}, []string{"kind"})
	limits := runner.NewLimits(l.CallsInFlight, observe)
	registry.MustRegister(unknownFields, budgetCollector{limits})
	if store.inventory != nil {
		registry.MustRegister(storeHealth{store.inventory})
	}
	p := &program{
		cli: c, opt: o, log: log, observe: observe, metrics: metrics, unknownFields: unknownFields,
		sessions: sessions, lister: lister, store: store, retirer: retirer, members: members, identities: identities,
		current: view.current, mounts: new(web.Mounts),
		outputs: outputs.NewSet(outputs.Types, outputs.Deps{
			Stdout: stdout, Log: log, Observer: metrics, Store: store.driver, AWS: sessions.ConfigFor,
			SpoolDir: spoolsIn(cfg.file.DataDir), CursorDir: filepath.Join(cfg.file.DataDir, "cursors"),
		}),
		runner: runner.New(runner.Options{
			Store: storeWithoutOrganizations{store}, Observe: observe, Limits: limits, Log: log, Process: thisProcess(),
			OnAbandoned: func(_ record.Target, holdsPage bool) {
				if holdsPage {
					pages.ReplaceAbandoned()
				}
			},
		}),
	}
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "collector_abandoned_listings",
		Help: "Listings that did not stop after their deadline and still run. If many stay for long, please report a bug.",
	}, func() float64 { return float64(p.runner.Abandoned()) }))
	engine := runner.NewLocal(p.runner, runner.LocalOptions{
		Slots: l.CallsInFlight, DrainTimeout: time.Duration(cfg.file.DrainTimeout),
		Ticks: p.savedTicks(cfg.file.DataDir), AtStart: o.now, Log: log,
	})

	if err := p.apply(ctx, cfg); err != nil {
		return err
	}
	defer p.close()
	if !o.once { // the table and the exit code of a single run are of this run
		store.loadBoard(ctx, p.runner, board, log)
	}

	server, err := web.NewServer(web.Options{
		Status: view, Gather: registry, Log: log, ConfigFile: cfg.file.Web.ConfigFile, Hosts: cfg.file.Web.Hosts,
		Version: buildInfo().version,
		Ready: func() []string {
			return slices.Concat(notReadyReasons(p.outputs.States()), store.notReadyReasons(), dataDir.notReadyReasons())
		},
		Reload: p.reload, Mounts: p.mounts,
	})
	if err != nil {
		return usageError(err)
	}
	stopServer := func() error { return nil }
	if !o.once || o.serveOnce {
		if stopServer, err = serve(ctx, server, o); err != nil {
			return err
		}
	}

	if o.once {
		err = p.runOnce(ctx, engine, board)
		err = errors.Join(err, p.drainOutputs(ctx), undelivered(p.outputs.States()), store.notStored())
	} else {
		stopWatching, stopRetiring := p.watchConfig(ctx), retirer.Start(ctx)
		log.Info("collecting", p.accountCounts("config", c.configPath, "version", buildInfo().version)...)
		err = engine.Run(ctx)
		stopRetiring()
		stopWatching()
	}
	runLog.stopped()
	closeScreen()
	if o.once {
		err = errors.Join(err, c.printSummary(c.stderr, board))
	}
	return errors.Join(err, stopServer(), p.closeOutputs())
}

// sdkStackVariable makes the program call EC2 as the releases before did. It is not documented, and goes with the next
// release.
const sdkStackVariable = "COLLECTOR_SDK_STACK"

// maxRetainedPage is the largest buffer of a page that is reused for the next page: 1,000 instances take about 7 MiB.
const maxRetainedPage = 16 << 20

// runOnce runs each account once. Its error has the exit code.
func (p *program) runOnce(ctx context.Context, engine *runner.Local, board *runner.Board) error {
	results, err := engine.Once(ctx)
	if err != nil {
		return err
	}
	p.retirer.Check(ctx)
	if ctx.Err() != nil {
		return &exitError{exitFailed, context.Cause(ctx)}
	}
	return runsExitError(results, board)
}

// runsExitError returns exit code 1 when nothing at all was collected, and 3 when some targets failed.
func runsExitError(results []runner.RunResult, board *runner.Board) error {
	good, bad := 0, 0
	for _, r := range results {
		if isOrganization(r.Account) && r.Status == record.Success {
			continue // the run of an organization collects nothing
		}
		switch r.Status {
		case record.Success:
			good++
		case record.RunPartial:
			good, bad = good+1, bad+1
		default:
			bad++
		}
	}
	for t := range board.Targets() { // a run that timed out may have collected records
		if t.State == record.OK || t.Records > 0 {
			good++
			break
		}
	}
	switch {
	case bad == 0:
		return nil
	case good == 0:
		return &exitError{code: exitFailed}
	}
	return &exitError{code: exitPartial}
}

// apply builds a configuration and makes it the one that new jobs use. With an error, nothing changes.
func (p *program) apply(ctx context.Context, cfg *loadedConfig) error {
	for _, w := range cfg.warnings {
		p.log.Warn("configuration warning", "warning", w)
	}
	p.refreshMembers(ctx, cfg.file)
	p.setIdentityBlocks(cfg.file)
	if err := p.installConfiguration(ctx, cfg.file, p.resolveAccounts(cfg.file)); err != nil {
		if p.config != nil {
			p.setIdentityBlocks(p.config.file) // the configuration in force stays
		}
		return err
	}
	p.config, p.lastRead = cfg, cfg.inputs
	p.metrics.Reloaded(true)
	return nil
}

// installConfiguration builds a configuration with the members of its organizations, and lets new jobs use it.
func (p *program) installConfiguration(ctx context.Context, f *config.File, c *accounts.Set) error {
	built, handlers, err := p.buildConfiguration(ctx, f, c)
	if err != nil {
		return err
	}
	p.mounts.Swap(handlers)
	for _, text := range c.Duplicates {
		if p.accountSet == nil || !slices.Contains(p.accountSet.Duplicates, text) {
			p.log.Warn("configuration warning", "warning", text)
		}
	}
	p.accountSet = c
	p.metrics.SetTags(func(yield func(string, map[string]string) bool) {
		for i := range c.Accounts {
			if a := c.Accounts[i].Account(); !yield(a.Name, a.ExtraTags) {
				return
			}
		}
	})
	p.runner.Swap(built)
	p.current.Store(built)
	if !p.opt.narrowed() { // a narrowed run knows nothing about the other accounts
		p.retirer.SetAccounts(c)
	}
	return nil
}

// reload reads the configuration file again. An invalid file changes nothing.
func (p *program) reload(ctx context.Context) error {
	p.reloadMu.Lock()
	defer p.reloadMu.Unlock()
	if p.cli.pipedConfig != nil {
		p.log.Warn("configuration from a pipe is not reread", "config", p.cli.configName(),
			"hint", "Restart to load another text, or name a file with --config. Files that it refers to are read again.")
	}
	cfg, err := p.cli.loadConfig(ctx)
	p.lastRead = cfg.inputs
	if err == nil {
		for _, key := range keysNeedingRestart(p.config.file, cfg.file) {
			p.log.Warn("configuration key needs a restart", "key", key)
		}
		before := accountNames(p.runner.Configuration())
		if err = p.apply(ctx, cfg); err == nil && !p.opt.narrowed() {
			p.retireRemoved(ctx, before)
		}
	}
	if err != nil {
		p.metrics.Reloaded(false)
		p.log.Error("reload refused, configuration unchanged",
			"config", p.cli.configPath, "error", err, "hint", record.HintOf(err))
		return err
	}
	p.log.Info("configuration reloaded", p.accountCounts("config", p.cli.configPath)...)
	return nil
}

// isOrganization reports whether an account of the runner stands for an organization. Other names cannot begin so.
func isOrganization(name string) bool { return strings.HasPrefix(name, config.OrganizationPrefix) }

// accountCounts returns the attributes of a log record: the numbers of accounts and organizations, then more.
func (p *program) accountCounts(more ...any) []any {
	accounts, organizations := 0, 0
	for _, a := range p.runner.Configuration().Accounts {
		if isOrganization(a.Name) {
			organizations++
		} else {
			accounts++
		}
	}
	attrs := []any{"accounts", accounts}
	if organizations > 0 {
		attrs = append(attrs, "organizations", organizations)
	}
	return append(attrs, more...)
}

func accountNames(f *runner.Configuration) []string {
	var names []string
	for _, a := range f.Accounts {
		names = append(names, a.Name)
	}
	return names
}

// keysNeedingRestart returns the changed keys whose values are used only when the process starts.
func keysNeedingRestart(old, new *config.File) []string {
	var keys []string
	if old.DataDir != new.DataDir {
		keys = append(keys, "data_dir")
	}
	if old.SessionKey.Reveal() != new.SessionKey.Reveal() {
		keys = append(keys, "session_key")
	}
	if old.Web.Listen != new.Web.Listen || old.Web.ConfigFile != new.Web.ConfigFile ||
		!slices.Equal(old.Web.LabelTags, new.Web.LabelTags) || old.Web.MetricsDetail != new.Web.MetricsDetail ||
		!slices.Equal(old.Web.Hosts, new.Web.Hosts) {
		keys = append(keys, "web")
	}
	gzip := func(f *config.File) bool { return f.Limits.GZIP == nil || *f.Limits.GZIP }
	a, b := old.Limits, new.Limits
	a.GZIP, b.GZIP = nil, nil
	if a != b || gzip(old) != gzip(new) {
		keys = append(keys, "limits")
	}
	if !old.Store.Equal(new.Store) {
		keys = append(keys, "store")
	}
	if old.DrainTimeout != new.DrainTimeout {
		keys = append(keys, "drain_timeout")
	}
	return keys
}

func (p *program) savedTicks(dataDir string) runner.Ticks {
	if p.opt.once { // a single run is not a tick
		return nil
	}
	return renamingTicks{runner.FileTicks(filepath.Join(dataDir, "ticks.json"), func(s string) { p.log.Warn(s) }), p}
}

// closeOutputs waits for the outputs to deliver what they still hold, until the flush timeout.
func (p *program) closeOutputs() error {
	ctx, cancel := p.flushContext(context.Background())
	defer cancel()
	p.runner.Close()
	return p.outputs.Close(ctx)
}

func (p *program) close() { p.runner.Close() }
