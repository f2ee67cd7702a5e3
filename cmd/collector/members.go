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
	membersLead  = time.Minute
	membersFirst = 20 * time.Second // what the start of the daemon waits for a list
)

// prepare lists the members of all organizations, a new configuration's first. A daemon goes on without a list that is slow: it comes
// in later. What fails is shown as its block's failure.
func (p *program) prepare(ctx context.Context, f *config.File) {
	if !p.opt.once {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, membersFirst)
		defer cancel()
	}
	var wg sync.WaitGroup
	for _, o := range p.organizations(f) {
		wg.Go(func() { _ = p.roster.refresh(ctx, o, freshFor(o)) }) // its own run says what failed
	}
	wg.Wait()
}

// organizations is the blocks that can have members which --account asks for: none of them, where it names accounts of the file alone.
func (p *program) organizations(f *config.File) []config.Organization {
	if len(p.opt.accounts) == 0 {
		return f.Organizations
	}
	for _, name := range p.opt.accounts {
		if !slices.ContainsFunc(f.Accounts, func(b config.Block) bool { return b.Name() == name }) {
			return f.Organizations
		}
	}
	return nil
}

// checkOrganizations is a row a block: who asked, and whether AWS answered.
func (p *program) checkOrganizations(ctx context.Context, f *config.File) []*checkup {
	var rows []*checkup
	for _, o := range p.organizations(f) {
		u := &checkup{
			program: p, account: &runner.Account{Name: o.Label, Terms: &runner.Terms{}}, organization: true, err: p.roster.failure(o),
			block: config.Account{Name: o.Label, SignIn: o.Via, Collect: o.Collect},
		}
		if s, err := p.sessions.Open(ctx, u.block); err == nil {
			u.session = s
		}
		u.plan.Warning = p.roster.known(o).warning()
		rows = append(rows, u)
	}
	return rows
}

// notListed is what a plan, which calls nobody, cannot know.
func (p *program) notListed(f *config.File) (warnings []string) {
	for _, o := range p.organizations(f) {
		text := fmt.Sprintf("%s: its members are not known before a first \"run\" or \"run --once\" has listed them, and are not counted", o.Label)
		if r := p.roster.known(o); r != nil {
			text = fmt.Sprintf("%s: %d members, as of %s; listing them is %d calls more to AWS Organizations each time, and more for units and tags",
				o.Label, len(r.Members), r.At.Format(time.RFC3339), 1+(len(r.Members)+len(r.Asleep)-1)/20)
		}
		warnings = append(warnings, text)
	}
	return warnings
}

// organization is the block itself, as an account.
func (p *program) organization(o config.Organization, jitter time.Duration) (*runner.Account, error) {
	ticks, err := before(o, jitter)
	if err != nil {
		return nil, err
	}
	return &runner.Account{
		Name: o.Label, Terms: &runner.Terms{Ticks: ticks, Timeout: min(time.Duration(o.Timeout), 2*listingTimeout), Kinds: []runner.Kind{{Name: membersKind, Global: true}}},
		Open: func(ctx context.Context) (runner.Opened, error) {
			err := p.roster.refresh(ctx, o, freshFor(o))
			if serr := p.follow(ctx); err == nil {
				err = serr
			}
			if err != nil {
				return nil, err
			}
			return listedMembers{p.roster.known(o).warning()}, nil
		},
	}, nil
}

// listedMembers is an organization that was opened.
type listedMembers struct{ warning error }

func (listedMembers) Identity() record.Identity { return record.Identity{} } // it is no account, and takes none's place

func (m listedMembers) Regions(context.Context, *runner.Gate) (runner.Plan, error) {
	return runner.Plan{Done: true, Warning: m.warning}, nil
}

func (listedMembers) List(context.Context, *runner.Gate, record.Target, string, string, func(context.Context, *record.Page) error) (runner.ListStats, error) {
	return runner.ListStats{}, nil // a plan without a region has no target
}

// follow makes a new fleet if the members, or what they are called, have changed since the last one was made.
func (p *program) follow(ctx context.Context) error {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	if p.now == nil { // the first fleet is being made, with what was just found out
		return nil
	}
	c := p.census(p.now.file)
	if reflect.DeepEqual(c.accounts, p.last.accounts) && reflect.DeepEqual(c.asleep, p.last.asleep) && slices.Equal(c.unknown, p.last.unknown) {
		return nil
	}
	f := p.runner.Fleet()
	if f == nil {
		return nil // the program ends
	}
	before := accountNames(f)
	c.joined = map[string]bool{}
	for name, label := range c.members {
		if _, was := p.last.members[name]; !was {
			c.joined[name] = p.opt.now && slices.Contains(p.last.unknown, label) // it would have been at the start, but for a list that was slow
		}
	}
	if err := p.build(ctx, p.now.file, c); err != nil {
		return err
	}
	if !p.opt.narrowed() {
		p.retired(ctx, before)
	}
	p.log.Info("the members of organizations have changed", p.counted()...)
	return nil
}

// census is what the configuration amounts to now.
func (p *program) census(f *config.File) *census {
	if p.roster == nil {
		return &census{accounts: f.Accounts}
	}
	if len(f.Organizations) == 0 {
		return p.roster.census(f, nil)
	}
	return p.roster.census(f, p.identities(f))
}

// retired tells a store that remembers names alone which of them are gone. Where an organization could not be listed, nobody is.
func (p *program) retired(ctx context.Context, before []string) {
	if len(p.last.unknown) > 0 {
		return
	}
	p.retire.removed(ctx, p.runner, slices.DeleteFunc(before, func(name string) bool {
		_, asleep := p.last.asleep[name]
		return asleep
	}))
}

// before is when the members are listed: before each instant at which one of them is due, by any of its schedules.
func before(o config.Organization, jitter time.Duration) ([]runner.Tick, error) {
	ticks, err := accountTicks(config.Account{Name: o.Label, Schedule: o.Schedule, Timezone: o.Timezone, Collect: o.Collect},
		config.Match(o.Collect.Kinds, known().Kinds))
	if err != nil {
		return nil, err
	}
	ahead := lead(o) + min(jitter, period(o)/10) // it starts spread over the jitter, as its members do
	var all earliest
	spec := "members"
	for _, t := range ticks {
		e := earlier{t.Schedule, ahead}
		if strings.HasPrefix(t.Spec, "@every") { // it has no instants of its own, but counts from when it is asked: there is no before
			e.lead = 0
		}
		all = append(all, e)
		spec += " " + t.Spec
	}
	return []runner.Tick{{Spec: spec, Schedule: all}}, nil
}

// prompt is the ticks of a member that has just joined. @every counts from when it is asked: the first run is now, not the one after the
// next list.
func prompt(ticks []runner.Tick, all bool) []runner.Tick {
	at := time.Now().Add(promptly)
	ticks = slices.Clone(ticks)
	for i, t := range ticks {
		if all || strings.HasPrefix(t.Spec, "@every") {
			ticks[i].Schedule = promptSchedule{t.Schedule, at}
		}
	}
	return ticks
}

const promptly = 3 * time.Second // the fleet is being built

// promptSchedule is a schedule with an instant more.
type promptSchedule struct {
	runner.Schedule
	at time.Time
}

func (s promptSchedule) Next(t time.Time) time.Time {
	next := s.Schedule.Next(t)
	if t.Before(s.at) && (next.IsZero() || s.at.Before(next)) {
		return s.at
	}
	return next
}

// earlier is a schedule, lead before each of its instants.
type earlier struct {
	runner.Schedule
	lead time.Duration
}

func (e earlier) Next(t time.Time) time.Time {
	next := e.Schedule.Next(t.Add(e.lead))
	if next.IsZero() {
		return next
	}
	return next.Add(-e.lead)
}

// earliest is several schedules as one.
type earliest []earlier

func (e earliest) Next(t time.Time) (next time.Time) {
	for _, s := range e {
		if at := s.Next(t); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// lead is how long before the members' runs they are listed: a minute, and less where they are collected more often than each two.
func lead(o config.Organization) time.Duration { return min(membersLead, period(o)/2) }

// freshFor is how long a list is new enough not to be made again.
func freshFor(o config.Organization) time.Duration { return lead(o) / 2 }

// period is the time between two instants of the block's schedule, the shortest of the next few.
func period(o config.Organization) time.Duration {
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

// withoutMembers is a ledger that hears nothing of organizations' own runs: they list no resources, and in no account.
type withoutMembers struct{ runner.Ledger }

func (l withoutMembers) Begin(ctx context.Context, t record.Target, id record.Identity, run string) (runner.Visit, error) {
	if t.Kind == membersKind {
		return noVisit{}, nil
	}
	return l.Ledger.Begin(ctx, t, id, run)
}

type noVisit struct{}

func (noVisit) Page(context.Context, *record.Page) error  { return nil }
func (noVisit) End(context.Context, record.Outcome) error { return nil }
func (noVisit) Drop()                                     {}
