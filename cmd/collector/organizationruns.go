package main

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// membersKind is the only kind of an account that stands for an organization. Its runs list the members, shortly before
// the runs of the members.
const membersKind = "organization_members"

// startupListingTimeout is how long the start of the daemon waits for the list of members.
const startupListingTimeout = 20 * time.Second

// refreshMembers lists the members of all organizations. A daemon continues without a list that takes long, and applies
// it later. The run of the organization's block reports errors.
func (p *program) refreshMembers(ctx context.Context, f *config.File) {
	if !p.opt.once {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, startupListingTimeout)
		defer cancel()
	}
	var wg sync.WaitGroup
	for _, o := range p.selectedOrganizations(f) {
		wg.Go(func() { _ = p.members.Refresh(ctx, o, accounts.MaxListAge(o)) }) // the organization's run reports the error
	}
	wg.Wait()
}

// selectedOrganizations returns the organizations that --account may match. If it names only accounts of the file,
// there are none.
func (p *program) selectedOrganizations(f *config.File) []config.Organization {
	if len(p.opt.accounts) == 0 {
		return f.Organizations
	}
	for _, name := range p.opt.accounts {
		if !slices.ContainsFunc(f.Accounts, func(b config.PackedAccount) bool { return b.Name() == name }) {
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

// memberWarnings says what a plan, which makes no calls, cannot know about organizations.
func (p *program) memberWarnings(f *config.File) (warnings []string) {
	for _, o := range p.selectedOrganizations(f) {
		text := o.Label + `: its members are not counted; they are known after the first "run" or "run --once"`
		if l := p.members.Last(o); l != nil {
			calls := 1 + (len(l.Members)+len(l.Inactive)-1)/20
			text = fmt.Sprintf("%s: %d members, as of %s; each list of members takes %d more calls to AWS Organizations, "+
				"and more for units and tags", o.Label, len(l.Members), l.At.Format(time.RFC3339), calls)
		}
		warnings = append(warnings, text)
	}
	return warnings
}

// organizationAccount is the account of the runner whose runs list the members of an organization.
func (p *program) organizationAccount(o config.Organization, jitter time.Duration) (*runner.Account, error) {
	ticks, err := accounts.ListingTicks(o, config.Match(o.Collect.Kinds, knownNames().Kinds), jitter)
	if err != nil {
		return nil, err
	}
	return &runner.Account{
		Name: o.Label,
		AccountSpec: &runner.AccountSpec{
			Ticks: ticks, Timeout: min(time.Duration(o.Timeout), 2*accounts.ListingTimeout),
			Kinds: []runner.Kind{{Name: membersKind, Global: true}},
		},
		Open: func(ctx context.Context) (runner.OpenedAccount, error) {
			err := p.members.Refresh(ctx, o, accounts.MaxListAge(o))
			if serr := p.applyMemberChanges(ctx); err == nil {
				err = serr
			}
			if err != nil {
				return nil, err
			}
			return openedOrganization{p.members.Last(o).Warning()}, nil
		},
	}, nil
}

// openedOrganization is an organization whose members have been listed. Its run has no targets.
type openedOrganization struct{ warning error }

// Identity is zero, so that it is not compared with the identities of accounts.
func (openedOrganization) Identity() record.Identity { return record.Identity{} }

// SignIn is empty: "collector check" shows how the organization's account signs in.
func (openedOrganization) SignIn() inventory.SignIn { return inventory.SignIn{} }

func (m openedOrganization) Regions(context.Context, *runner.Gate) (runner.Plan, error) {
	return runner.Plan{NothingToList: true, Warning: m.warning}, nil
}

func (openedOrganization) List(
	context.Context, *runner.Gate, record.Target, string, string, func(context.Context, *record.Page) error,
) (runner.ListStats, error) {
	return runner.ListStats{}, nil // never called: the plan has no targets
}

// applyMemberChanges installs a new configuration if the blocks of members have changed since the last one.
func (p *program) applyMemberChanges(ctx context.Context) error {
	p.reloadMu.Lock()
	defer p.reloadMu.Unlock()
	if p.config == nil { // the first configuration is being built, with the new list
		return nil
	}
	c := p.resolveAccounts(p.config.file)
	last := p.accountSet
	unchanged := reflect.DeepEqual(c.Accounts, last.Accounts) && reflect.DeepEqual(c.Inactive, last.Inactive) &&
		slices.Equal(c.Unlisted, last.Unlisted)
	if unchanged {
		return nil
	}
	f := p.runner.Configuration()
	if f == nil {
		return nil // the program is shutting down
	}
	before := accountNames(f)
	c.NewMembers = map[string]bool{}
	for name, label := range c.Members {
		if _, known := last.Members[name]; !known {
			// With --now, members of an organization whose first list came late also run at once.
			c.NewMembers[name] = p.opt.now && slices.Contains(last.Unlisted, label)
		}
	}
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
	if len(f.Organizations) == 0 {
		return p.members.Resolve(f, nil)
	}
	return p.members.Resolve(f, p.knownIdentities(f))
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

// storeWithoutOrganizations is a store that ignores the runs of organizations: they list no resources.
type storeWithoutOrganizations struct{ runner.Store }

func (s storeWithoutOrganizations) Begin(
	ctx context.Context, t record.Target, id record.Identity, run string,
) (inventory.ScopeWriter, error) {
	if t.Kind == membersKind {
		return discardWriter{}, nil
	}
	return s.Store.Begin(ctx, t, id, run)
}

type discardWriter struct{}

func (discardWriter) Page(context.Context, *record.Page) error  { return nil }
func (discardWriter) End(context.Context, record.Outcome) error { return nil }
func (discardWriter) Committed() *record.Outcome                { return nil }
func (discardWriter) Drop()                                     {}
