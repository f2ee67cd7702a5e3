package main

import (
	"context"
	"slices"
	"time"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/runner"
)

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
	p.members.RefreshAll(ctx, p.selectedOrganizations(f))
}

// selectedOrganizations returns the organizations that --account may match. If it names only accounts of the file,
// there are none.
func (p *program) selectedOrganizations(f *config.File) []config.Organization {
	if len(p.opt.accounts) == 0 {
		return f.Organizations
	}
	for _, name := range p.opt.accounts {
		if !slices.ContainsFunc(f.Accounts, func(b config.Account) bool { return b.Name == name }) {
			return f.Organizations
		}
	}
	return nil
}

// checkOrganizations returns a check for each organization: who asked AWS, and whether it answered.
func (p *program) checkOrganizations(ctx context.Context, f *config.File) []*accountCheck {
	var rows []*accountCheck
	for _, o := range p.selectedOrganizations(f) {
		ac := &accountCheck{
			program: p, account: &runner.Account{Name: o.Label, AccountSpec: &runner.AccountSpec{}}, organization: true,
			err: p.members.LastError(o), block: config.Account{Name: o.Label, SignIn: o.Via, Collect: o.Collect},
		}
		if s, err := p.sessions.Open(ctx, ac.block); err == nil {
			ac.session = s
		}
		ac.plan.Warning = p.members.Last(o).Warning()
		rows = append(rows, ac)
	}
	return rows
}

// applyMemberChanges installs a new configuration if the blocks of members have changed since the last one.
func (p *program) applyMemberChanges(ctx context.Context) error {
	p.reloadMu.Lock()
	defer p.reloadMu.Unlock()
	if p.config == nil { // the first configuration is being built, with the new list
		return nil
	}
	c := p.resolveAccounts(p.config.file)
	if !c.Follows(p.accountSet, p.opt.now) { // with --now, members whose first list came late also run at once
		return nil
	}
	f := p.runner.Configuration()
	if f == nil {
		return nil // the program is shutting down
	}
	before := accountNames(f)
	if err := p.installConfiguration(ctx, p.config.file, c); err != nil {
		return err
	}
	if !p.opt.narrowed() {
		p.retireRemoved(ctx, before)
	}
	p.log.Info("organization members changed", p.accountCounts()...)
	return nil
}

// resolveAccounts returns the account blocks of a configuration, with those of known members.
func (p *program) resolveAccounts(f *config.File) *accounts.Set {
	if p.members == nil {
		return &accounts.Set{Accounts: f.Accounts}
	}
	if len(f.Organizations) == 0 || p.identities == nil {
		return p.members.Resolve(f, nil)
	}
	return p.members.Resolve(f, p.identities.LastOf(f))
}

// retireRemoved retires the names that are gone, in a store that knows only names. While an organization has no list,
// it retires nothing.
func (p *program) retireRemoved(ctx context.Context, before []string) {
	if p.store.inventory != nil || len(p.accountSet.Unlisted) > 0 {
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
