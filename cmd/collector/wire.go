package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/datadir"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
	"github.com/aws-collector/collector/runner/local"
	"github.com/aws-collector/collector/runner/runlog"
	"github.com/aws-collector/collector/web"
)

// program holds what outlives a configuration: a reload keeps these objects.
type program struct {
	cli     *cli
	opt     runOptions
	log     *slog.Logger
	runLog  *runlog.Logger
	observe runner.Observer
	board   *board.Board

	configured atomic.Pointer[query.Accounts] // of the runner's configuration, for the API and the page

	metrics       *web.Metrics
	registry      *prometheus.Registry
	unknownFields *prometheus.CounterVec // by kind
	mounts        *web.Mounts
	dataDir       *datadir.Locked // nil in a dry run, which stores nothing

	sessions   *auth.Sessions
	identities *accounts.Identities // which account each block was
	claims     *accounts.Claims     // which block collects an account
	members    *accounts.Directory  // members of organizations
	retirer    *accounts.Retirer
	pages      *record.PagePool
	lister     *collectors.Lister
	store      *runStore
	storeType  string
	outputs    *deliver.Set
	runner     *runner.Runner
	engine     *local.Engine

	stdout     io.Writer // for records
	endDisplay func()
	stopServer func() error
	closers    []func() error // of what was opened, in that order

	reloadMu   sync.Mutex
	config     *loadedConfig                 // the configuration in force
	accountSet *accounts.Set                 // the accounts of the configuration in force
	refused    atomic.Pointer[refusedReload] // nil: the last reload was taken
	lastRead   inputDigests                  // the files that were read last, valid or not
}

// collect builds the program from top to bottom, in open.go; each part uses the parts above it. Then it runs each
// account once, or all of them on schedule.
func (c *cli) collect(ctx context.Context, o runOptions) (err error) {
	cfg, err := c.loadConfig(ctx)
	if err != nil {
		return err
	}
	p := &program{cli: c, opt: o}
	defer func() { err = errors.Join(err, p.close()) }()
	for _, open := range []func(context.Context, *loadedConfig) error{
		p.openDisplay,  // live view and log
		p.openMetrics,  // status board → metrics
		p.lockDataDir,  // one process a data_dir
		p.countFiles,   // fewer calls, if few files may be open
		p.openAWS,      // account → credentials → pages of records
		p.openStore,    // pages → history; which accounts there are
		p.openOutputs,  // pages → outputs
		p.openRunner,   // schedules, limits, the engine
		p.apply,        // the first built configuration: accounts, schedules, outputs
		p.loadBoard,    // the status before the first run
		p.openListener, // metrics, health, reload, the API, the page
	} {
		if err := open(ctx, cfg); err != nil {
			return err
		}
	}
	if o.once {
		err = p.runOnce(ctx)
	} else {
		err = p.runOnSchedule(ctx)
	}
	p.runLog.Stopped()
	p.endDisplay()
	if o.once {
		err = errors.Join(err, c.printSummary(c.stderr, p.board))
	}
	return errors.Join(err, p.stopServer(), p.closeOutputs())
}

// onClose adds what to call at the end of the program. The last one is called first.
func (p *program) onClose(f func() error) { p.closers = append(p.closers, f) }

func (p *program) close() error {
	var errs []error
	for _, f := range slices.Backward(p.closers) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// runOnSchedule collects until ctx ends, and drains.
func (p *program) runOnSchedule(ctx context.Context) error {
	stopWatching, stopRetiring := p.watchConfig(ctx), p.retirer.Start(ctx)
	defer stopWatching()
	defer stopRetiring()
	p.log.Info("collecting", p.accountCounts("config", p.cli.configPath, "version", buildInfo().version)...)
	return p.engine.Run(ctx)
}

// runOnce runs each account once, and waits for the outputs. Its error has the exit code.
func (p *program) runOnce(ctx context.Context) error {
	results, err := p.engine.Once(ctx)
	if err == nil {
		p.retirer.Check(ctx)
		if err = runsExitError(results, p.board); ctx.Err() != nil {
			err = &exitError{exitFailed, context.Cause(ctx)}
		}
	}
	return errors.Join(err, p.drainOutputs(ctx), undelivered(p.outputs.States()), p.store.notStored())
}

// runsExitError returns exit code 1 when nothing at all was collected, and 3 when some targets failed.
func runsExitError(results []local.RunResult, board *board.Board) error {
	good, bad := 0, 0
	for _, r := range results {
		if r.Task && r.Status == record.Success {
			continue // it collects nothing
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

// setIdentityBlocks tells the identities which blocks the configuration has.
func (p *program) setIdentityBlocks(f *config.File) {
	if err := p.identities.SetConfiguration(f); err != nil {
		p.log.Error("identity file not read", "error", err, "hint", record.HintOf(err))
	}
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
			if a := c.Accounts[i]; !yield(a.Name, a.ExtraTags) {
				return
			}
		}
	})
	p.claims.Reset(p.identities.Claimants(c, func(name string) bool { return built.Account(name) != nil }))
	p.runner.Swap(built)
	p.configured.Store(queryAccounts(built, c))
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
		p.refused.Store(&refusedReload{time.Now(), err})
		p.log.Error("reload refused, configuration unchanged",
			"config", p.cli.configPath, "error", err, "hint", record.HintOf(err))
		return err
	}
	p.refused.Store(nil)
	p.log.Info("configuration reloaded", p.accountCounts("config", p.cli.configPath)...)
	return nil
}

// accountCounts returns the attributes of a log record: the numbers of accounts and organizations, then more.
func (p *program) accountCounts(more ...any) []any {
	conf := p.runner.Configuration()
	attrs := []any{"accounts", len(conf.Accounts)}
	if n := len(conf.Tasks); n > 0 {
		attrs = append(attrs, "organizations", n)
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

func (p *program) savedTicks(dataDir string) local.Ticks {
	if p.opt.once { // a single run is not a tick
		return nil
	}
	return accounts.FormerNames{
		Ticks:      local.FileTicks(filepath.Join(dataDir, "ticks.json"), p.log),
		File:       func() *config.File { return p.config.file },
		Named:      func(name string) bool { return p.runner.Configuration().Has(name) },
		Identities: p.identities, Store: p.store.accounts(),
	}
}

// closeOutputs waits for the outputs to deliver what they still hold, until the flush timeout.
func (p *program) closeOutputs() error {
	ctx, cancel := p.flushContext(context.Background())
	defer cancel()
	p.runner.Close()
	return p.outputs.Close(ctx)
}
