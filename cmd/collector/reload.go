package main

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/configfile"
	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// apply builds a configuration and makes it the one that new jobs use. With an error, nothing changes.
func (p *program) apply(ctx context.Context, cfg *configfile.Loaded) error {
	for _, w := range cfg.Warnings {
		p.log.Warn("configuration warning", "warning", w)
	}
	p.refreshMembers(ctx, cfg.File)
	p.setIdentityBlocks(cfg.File)
	if err := p.installConfiguration(ctx, cfg.File, p.aws.AccountSet(cfg.File, p.members)); err != nil {
		if p.config != nil {
			p.setIdentityBlocks(p.config.File) // the configuration in force stays
		}
		return err
	}
	p.config, p.lastRead = cfg, cfg.Inputs
	p.metrics.Reloaded(true)
	return nil
}

// setIdentityBlocks tells the identities which blocks the configuration has.
func (p *program) setIdentityBlocks(f *config.File) {
	if err := p.aws.Identities.SetConfiguration(f); err != nil {
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
	p.claims.Reset(p.aws.Identities.Claimants(c, func(name string) bool { return built.Account(name) != nil }))
	p.runner.Swap(built)
	p.configured.Store(queryAccounts(built, c))
	p.blocks.Store(&blocks{f, c})
	if !p.opt.only.Narrows() { // a narrowed run knows nothing about the other accounts
		p.retirer.SetAccounts(c)
	}
	return nil
}

// buildConfiguration makes the accounts of a configuration and opens its outputs. It also returns the handlers of the
// outputs that answer HTTP requests.
func (p *program) buildConfiguration(
	ctx context.Context, f *config.File, c *accounts.Set,
) (*runner.Configuration, map[string]http.Handler, error) {
	opener := account.Opener{
		AWS: p.aws, Selection: p.opt.only, Once: p.opt.once, Observe: p.observe, UnknownFields: p.unknownFields,
	}
	out, err := opener.Configuration(f, c, p.members, p.applyMemberChanges)
	if err != nil {
		return nil, nil, usageError(err)
	}
	out.Directives = p.directives
	if p.opt.dryRun {
		built, err := runner.NewConfiguration(out)
		return built, nil, err
	}
	specs := configfile.OutputSpecs(f)
	if p.storesOnly(f) {
		specs = nil
		if p.config == nil { // at the start
			p.log.Info("no outputs configured; records are stored only",
				"hint", `Run "collector list" to see them. Set outputs: [{type: stdout}] to print them.`)
		}
	}
	fan, err := p.outputs.Open(ctx, specs)
	if err != nil {
		return nil, nil, err
	}
	closeFan := func() {
		ctx, cancel := context.WithTimeout(context.Background(), p.opt.flushTimeout)
		defer cancel()
		if err := fan.Close(ctx); err != nil {
			p.log.Error("outputs not closed cleanly", "error", err)
		}
	}
	out.Output, out.Close = fan, closeFan
	built, err := runner.NewConfiguration(out)
	if err != nil {
		closeFan()
	}
	return built, fan.Handlers(), err
}

// storesOnly reports whether records are stored and not printed: without outputs the default is standard output, and on
// a terminal nobody reads so many records.
func (p *program) storesOnly(f *config.File) bool {
	isDefault := len(f.Outputs) == 1 && f.Outputs[0].Line == 0
	return isDefault && f.Store.Type != "none" && printer.IsTerminal(printable.Unwrap(p.cli.stdout))
}

// reload reads the configuration file again. An invalid file changes nothing.
func (p *program) reload(ctx context.Context) error {
	p.reloadMu.Lock()
	defer p.reloadMu.Unlock()
	if p.cli.config.IsPiped() {
		p.log.Warn("configuration from a pipe is not reread", "config", p.cli.config.Name(),
			"hint", "Restart to load another text, or name a file with --config. Files that it refers to are read again.")
	}
	cfg, err := p.cli.loadConfig(ctx)
	p.lastRead = cfg.Inputs
	if err == nil {
		for _, key := range configfile.KeysNeedingRestart(p.config.File, cfg.File) {
			p.log.Warn("configuration key needs a restart", "key", key)
		}
		before := accountNames(p.runner.Configuration())
		if err = p.apply(ctx, cfg); err == nil && !p.opt.only.Narrows() {
			p.retireRemoved(ctx, before)
		}
	}
	if err != nil {
		p.metrics.Reloaded(false)
		p.refused.Store(&refusedReload{time.Now(), err})
		p.log.Error("reload refused, configuration unchanged",
			"config", p.cli.config.Path, "error", err, "hint", record.HintOf(err))
		return err
	}
	p.refused.Store(nil)
	p.log.Info("configuration reloaded", p.accountCounts("config", p.cli.config.Path)...)
	return nil
}

// filesRead returns the files of the configuration that were read last.
func (p *program) filesRead() configfile.Digests {
	p.reloadMu.Lock()
	defer p.reloadMu.Unlock()
	return p.lastRead
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

// startupListingTimeout is how long the start of the daemon waits for the list of members.
const startupListingTimeout = 20 * time.Second

// refreshMembers lists the members of all organizations. A daemon continues without a list that takes long, and applies
// it later.
func (p *program) refreshMembers(ctx context.Context, f *config.File) {
	if !p.opt.once {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, startupListingTimeout)
		defer cancel()
	}
	p.members.RefreshAll(ctx, p.opt.only.Organizations(f))
}

// applyMemberChanges installs a new configuration if the blocks of members have changed since the last one.
func (p *program) applyMemberChanges(ctx context.Context) error {
	p.reloadMu.Lock()
	defer p.reloadMu.Unlock()
	if p.config == nil { // the first configuration is being built, with the new list
		return nil
	}
	c := p.aws.AccountSet(p.config.File, p.members)
	if !c.MarkNewMembers(p.accountSet, p.opt.now) { // with --now, members whose first list came late also run at once
		return nil
	}
	f := p.runner.Configuration()
	if f == nil {
		return nil // the program is shutting down
	}
	before := accountNames(f)
	if err := p.installConfiguration(ctx, p.config.File, c); err != nil {
		return err
	}
	if !p.opt.only.Narrows() {
		p.retireRemoved(ctx, before)
	}
	p.log.Info("organization members changed", p.accountCounts()...)
	return nil
}

// retireRemoved retires the names that are gone, in a store that knows only names. While an organization has no list,
// it retires nothing.
func (p *program) retireRemoved(ctx context.Context, before []string) {
	if p.store.Inventory != nil || len(p.accountSet.Unlisted) > 0 {
		return
	}
	err := p.runner.RetireRemoved(ctx, slices.DeleteFunc(before, func(name string) bool {
		_, inactive := p.accountSet.Inactive[name]
		return inactive
	}))
	if err != nil {
		p.log.Error("removed accounts not retired", "error", err)
	}
}
