package main

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// What a block of organizations is to the runner: an account with one thing to do, which is to open it. Its run comes shortly before
// those of its members, and lists them.
const membersKind = "organization_members"

// Between a list of members and the next, and before a run.
const (
	memberListingLead     = time.Minute
	startupListingTimeout = 20 * time.Second // what the start of the daemon waits for a list
)

// refreshMembers lists the members of all organizations, a new configuration's first. A daemon goes on without a list that is slow: it comes
// in later. What fails is shown as its block's failure.
func (p *program) refreshMembers(ctx context.Context, f *config.File) {
	if !p.opt.once {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, startupListingTimeout)
		defer cancel()
	}
	var wg sync.WaitGroup
	for _, o := range p.selectedOrganizations(f) {
		wg.Go(func() { _ = p.members.refresh(ctx, o, maxListAge(o)) }) // its own run says what failed
	}
	wg.Wait()
}

// selectedOrganizations is the blocks that can have members which --account asks for: none of them, where it names accounts of the file alone.
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

// checkOrganizations is a row a block: who asked, and whether AWS answered.
func (p *program) checkOrganizations(ctx context.Context, f *config.File) []*accountCheck {
	var rows []*accountCheck
	for _, o := range p.selectedOrganizations(f) {
		u := &accountCheck{
			program: p, account: &runner.Account{Name: o.Label, AccountSpec: &runner.AccountSpec{}}, organization: true, err: p.members.lastError(o),
			block: config.Account{Name: o.Label, SignIn: o.Via, Collect: o.Collect},
		}
		if s, err := p.sessions.Open(ctx, u.block); err == nil {
			u.session = s
		}
		u.plan.Warning = p.members.lastList(o).warning()
		rows = append(rows, u)
	}
	return rows
}

// memberWarnings is what a plan, which calls nobody, cannot know.
func (p *program) memberWarnings(f *config.File) (warnings []string) {
	for _, o := range p.selectedOrganizations(f) {
		text := fmt.Sprintf("%s: its members are not known before a first \"run\" or \"run --once\" has listed them, and are not counted", o.Label)
		if r := p.members.lastList(o); r != nil {
			text = fmt.Sprintf("%s: %d members, as of %s; listing them is %d calls more to AWS Organizations each time, and more for units and tags",
				o.Label, len(r.Members), r.At.Format(time.RFC3339), 1+(len(r.Members)+len(r.Inactive)-1)/20)
		}
		warnings = append(warnings, text)
	}
	return warnings
}

// organizationAccount is the block itself, as an account.
func (p *program) organizationAccount(o config.Organization, jitter time.Duration) (*runner.Account, error) {
	ticks, err := memberListingTicks(o, jitter)
	if err != nil {
		return nil, err
	}
	return &runner.Account{
		Name: o.Label, AccountSpec: &runner.AccountSpec{Ticks: ticks, Timeout: min(time.Duration(o.Timeout), 2*listingTimeout), Kinds: []runner.Kind{{Name: membersKind, Global: true}}},
		Open: func(ctx context.Context) (runner.OpenedAccount, error) {
			err := p.members.refresh(ctx, o, maxListAge(o))
			if serr := p.applyMemberChanges(ctx); err == nil {
				err = serr
			}
			if err != nil {
				return nil, err
			}
			return openedOrganization{p.members.lastList(o).warning()}, nil
		},
	}, nil
}

// openedOrganization is an organization that was opened.
type openedOrganization struct{ warning error }

func (openedOrganization) Identity() record.Identity { return record.Identity{} } // it is no account, and takes none's place

func (m openedOrganization) Regions(context.Context, *runner.Gate) (runner.Plan, error) {
	return runner.Plan{NothingToList: true, Warning: m.warning}, nil
}

func (openedOrganization) List(context.Context, *runner.Gate, record.Target, string, string, func(context.Context, *record.Page) error) (runner.ListStats, error) {
	return runner.ListStats{}, nil // a plan without a region has no target
}

// applyMemberChanges makes a new fleet if the members, or what they are called, have changed since the last one was made.
func (p *program) applyMemberChanges(ctx context.Context) error {
	p.reloadMu.Lock()
	defer p.reloadMu.Unlock()
	if p.config == nil { // the first fleet is being made, with what was just found out
		return nil
	}
	c := p.resolveAccounts(p.config.file)
	if reflect.DeepEqual(c.accounts, p.accountSet.accounts) && reflect.DeepEqual(c.inactive, p.accountSet.inactive) && slices.Equal(c.unlisted, p.accountSet.unlisted) {
		return nil
	}
	f := p.runner.Configuration()
	if f == nil {
		return nil // the program ends
	}
	before := accountNames(f)
	c.newMembers = map[string]bool{}
	for name, label := range c.members {
		if _, was := p.accountSet.members[name]; !was {
			c.newMembers[name] = p.opt.now && slices.Contains(p.accountSet.unlisted, label) // it would have been at the start, but for a list that was slow
		}
	}
	if err := p.installConfiguration(ctx, p.config.file, c); err != nil {
		return err
	}
	if !p.opt.narrowed() {
		p.retireRemoved(ctx, before)
	}
	p.log.Info("the members of organizations have changed", p.accountCounts()...)
	return nil
}

// resolveAccounts is what the configuration amounts to now.
func (p *program) resolveAccounts(f *config.File) *accountSet {
	if p.members == nil {
		return &accountSet{accounts: f.Accounts}
	}
	if len(f.Organizations) == 0 {
		return p.members.resolveAccounts(f, nil)
	}
	return p.members.resolveAccounts(f, p.knownIdentities(f))
}

// retireRemoved tells a store that remembers names alone which of them are gone. Where an organization could not be listed, nobody is.
func (p *program) retireRemoved(ctx context.Context, before []string) {
	if len(p.accountSet.unlisted) > 0 {
		return
	}
	p.retirer.retireByName(ctx, p.runner, slices.DeleteFunc(before, func(name string) bool {
		_, asleep := p.accountSet.inactive[name]
		return asleep
	}))
}

// memberListingTicks is when the members are listed: before each instant at which one of them is due, by any of its schedules.
func memberListingTicks(o config.Organization, jitter time.Duration) ([]runner.Tick, error) {
	ticks, err := accountTicks(config.Account{Name: o.Label, Schedule: o.Schedule, Timezone: o.Timezone, Collect: o.Collect},
		config.Match(o.Collect.Kinds, knownNames().Kinds))
	if err != nil {
		return nil, err
	}
	ahead := listingLead(o) + min(jitter, schedulePeriod(o)/10) // it starts spread over the jitter, as its members do
	var all unionSchedule
	spec := "members"
	for _, t := range ticks {
		e := leadSchedule{t.Schedule, ahead}
		if strings.HasPrefix(t.Spec, "@every") { // it has no instants of its own, but counts from when it is asked: there is no before
			e.lead = 0
		}
		all = append(all, e)
		spec += " " + t.Spec
	}
	return []runner.Tick{{Spec: spec, Schedule: all}}, nil
}

// newMemberTicks is the ticks of a member that has just joined. @every counts from when it is asked: the first run is now, not the one after the
// next list.
func newMemberTicks(ticks []runner.Tick, all bool) []runner.Tick {
	at := time.Now().Add(newMemberDelay)
	ticks = slices.Clone(ticks)
	for i, t := range ticks {
		if all || strings.HasPrefix(t.Spec, "@every") {
			ticks[i].Schedule = extraRunSchedule{t.Schedule, at}
		}
	}
	return ticks
}

const newMemberDelay = 3 * time.Second // the fleet is being built

// extraRunSchedule is a schedule with an instant more.
type extraRunSchedule struct {
	runner.Schedule
	at time.Time
}

func (s extraRunSchedule) Next(t time.Time) time.Time {
	next := s.Schedule.Next(t)
	if t.Before(s.at) && (next.IsZero() || s.at.Before(next)) {
		return s.at
	}
	return next
}

// leadSchedule is a schedule, lead before each of its instants.
type leadSchedule struct {
	runner.Schedule
	lead time.Duration
}

func (e leadSchedule) Next(t time.Time) time.Time {
	next := e.Schedule.Next(t.Add(e.lead))
	if next.IsZero() {
		return next
	}
	return next.Add(-e.lead)
}

// unionSchedule is several schedules as one.
type unionSchedule []leadSchedule

func (e unionSchedule) Next(t time.Time) (next time.Time) {
	for _, s := range e {
		if at := s.Next(t); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// listingLead is how long before the members' runs they are listed: a minute, and less where they are collected more often than each two.
func listingLead(o config.Organization) time.Duration {
	return min(memberListingLead, schedulePeriod(o)/2)
}

// maxListAge is how long a list is new enough not to be made again.
func maxListAge(o config.Organization) time.Duration { return listingLead(o) / 2 }

// schedulePeriod is the time between two instants of the block's schedule, the shortest of the next few.
func schedulePeriod(o config.Organization) time.Duration {
	loc, err := config.LoadTimezone(o.Timezone)
	if err != nil {
		return time.Hour // before says what is wrong with it
	}
	s, err := config.ParseSchedule(o.Schedule, loc)
	if err != nil {
		return time.Hour
	}
	at, least := s.Next(time.Now()), 24*time.Hour
	for range 8 {
		next := s.Next(at)
		if at.IsZero() || next.IsZero() {
			break
		}
		least, at = min(least, next.Sub(at)), next
	}
	return least
}

// storeWithoutOrganizations is a ledger that hears nothing of organizations' own runs: they list no resources, and in no account.
type storeWithoutOrganizations struct{ runner.Store }

func (l storeWithoutOrganizations) Begin(ctx context.Context, t record.Target, id record.Identity, run string) (runner.ScopeWriter, error) {
	if t.Kind == membersKind {
		return discardWriter{}, nil
	}
	return l.Store.Begin(ctx, t, id, run)
}

type discardWriter struct{}

func (discardWriter) Page(context.Context, *record.Page) error  { return nil }
func (discardWriter) End(context.Context, record.Outcome) error { return nil }
func (discardWriter) Drop()                                     {}
