package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/configfile"
	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/cmd/collector/internal/store"
	"github.com/aws-collector/collector/internal/datadir"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
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
	blocks     atomic.Pointer[blocks]         // of the same configuration, for acts

	metrics       *web.Metrics
	registry      *prometheus.Registry
	unknownFields *prometheus.CounterVec // by kind
	mounts        *web.Mounts
	dataDir       *datadir.Locked // nil in a dry run, which stores nothing

	aws        *account.AWS
	claims     *accounts.Claims    // which block collects an account
	members    *accounts.Directory // members of organizations
	retirer    *accounts.Retirer
	store      *store.Store
	storeType  string
	outputs    *deliver.Set
	limits     *runner.Limits
	directives *runner.Directives // what people decided about accounts
	runner     *runner.Runner
	engine     runner.Engine

	stdout     io.Writer // for records
	endDisplay func()
	stopServer func() error
	closers    []func() error // of what was opened, in that order

	reloadMu   sync.Mutex
	config     *configfile.Loaded            // the configuration in force
	accountSet *accounts.Set                 // the accounts of the configuration in force
	refused    atomic.Pointer[refusedReload] // nil: the last reload was taken
	lastRead   configfile.Digests            // the files that were read last, valid or not
}

// collect builds the program from top to bottom, in open.go; each part uses the parts above it. Then it runs each
// account once, or all of them on schedule.
func (c *cli) collect(ctx context.Context, o runOptions) (err error) {
	cfg, err := c.loadConfig(ctx)
	if err != nil {
		return err
	}
	o.only.File = c.config.Path
	p := &program{cli: c, opt: o}
	defer func() { err = errors.Join(err, p.close()) }()
	for _, open := range []func(context.Context, *configfile.Loaded) error{
		p.openDisplay,  // live view and log
		p.openMetrics,  // status board → metrics
		p.lockDataDir,  // one process a data_dir
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
		err = errors.Join(err, printer.Summary(c.stderr, p.board))
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
	stopWatching := configfile.Watch(ctx, p.log, p.filesRead, func(ctx context.Context) {
		_ = p.reload(ctx) // logged and counted there
	})
	stopRetiring := p.retirer.Start(ctx)
	defer stopWatching()
	defer stopRetiring()
	p.log.Info("collecting", p.accountCounts("config", p.cli.config.Path, "version", buildInfo().version)...)
	return p.engine.Run(ctx)
}
