package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// buildConfiguration builds a configuration: outputs opened, schedules parsed, account blocks bound to sign-in and listing.
// With it come the handlers of the outputs that are asked.
func (p *program) buildConfiguration(ctx context.Context, f *config.File, c *accountSet) (*runner.Configuration, map[string]http.Handler, error) {
	out := runner.Configuration{Jitter: time.Duration(f.Jitter)}
	if p.opt.once {
		out.Jitter = 0 // whoever asked for a run waits for it
	}
	blocks, err := p.selectedBlocks(c)
	if err != nil {
		return nil, nil, err
	}
	known := specCache{}
	for i := range blocks {
		acc, err := p.runnerAccount(&blocks[i], known)
		if err != nil {
			return nil, nil, usageError(err)
		}
		if all, joined := c.newMembers[acc.Name]; joined {
			own := *acc.AccountSpec
			own.Ticks = newMemberTicks(own.Ticks, all)
			acc.AccountSpec = &own
		}
		out.Accounts = append(out.Accounts, acc)
	}
	for _, o := range p.selectedOrganizations(f) {
		acc, err := p.organizationAccount(o, out.Jitter)
		if err != nil {
			return nil, nil, usageError(err)
		}
		out.Accounts = append(out.Accounts, acc)
	}
	if p.opt.dryRun {
		fleet, err := runner.NewConfiguration(out)
		return fleet, nil, err
	}
	var specs []outputs.Spec
	for _, o := range f.Outputs {
		specs = append(specs, outputs.Spec{Type: o.Type, Options: o.Options, Line: o.Line, Hidden: o.Hidden})
	}
	fan, err := p.outputs.Open(ctx, specs)
	if err != nil {
		return nil, nil, err
	}
	closeFan := func() {
		ctx, cancel := context.WithTimeout(context.Background(), p.opt.flushTimeout)
		defer cancel()
		if err := fan.Close(ctx); err != nil {
			p.log.Error("closing outputs", "error", err)
		}
	}
	out.Outputs, out.Close = []runner.Output{outputSink{fan}}, closeFan
	built, err := runner.NewConfiguration(out)
	if err != nil {
		closeFan()
	}
	return built, fan.Handlers(), err
}

// selectedBlocks are the account blocks that --account, --kind and --region leave something of. To narrow is to ask for what there is of
// something, so an account that has none of it is left out and no failure; but one of them must have it.
func (p *program) selectedBlocks(c *accountSet) ([]config.PackedAccount, error) {
	left := c.accounts
	narrow := func(flag, what string, globs []string, keep func(config.Account) bool) error {
		if len(globs) == 0 {
			return nil
		}
		var kept []config.PackedAccount
		for _, b := range left {
			if keep(b.Account()) {
				kept = append(kept, b)
			}
		}
		if left = kept; len(left) == 0 && len(c.unlisted) == 0 {
			return usageError(fmt.Errorf("%s %q: no account of %s has such a %s", flag, globs, p.cli.configPath, what))
		}
		return nil
	}
	for _, err := range []error{
		narrow("--account", "name", p.opt.accounts, func(a config.Account) bool { return config.Matches(p.opt.accounts, a.Name) }),
		narrow("--kind", "kind to list", p.opt.kinds, func(a config.Account) bool { return len(p.selectedKinds(a)) > 0 }),
		narrow("--region", "region to list", p.opt.regions, p.mayMatchRegion),
	} {
		if err != nil {
			return nil, err
		}
	}
	return left, nil
}

// accountsOf is the accounts themselves, for who needs all of them at once.
func accountsOf(blocks []config.PackedAccount) []config.Account {
	all := make([]config.Account, len(blocks))
	for i := range blocks {
		all[i] = blocks[i].Account()
	}
	return all
}

// selectedKinds are those that an account lists and --kind leaves.
func (p *program) selectedKinds(a config.Account) []string {
	names := config.Match(a.Collect.Kinds, knownNames().Kinds)
	if len(p.opt.kinds) > 0 {
		names = config.Match(p.opt.kinds, names)
	}
	return names
}

// mayMatchRegion reports whether --region leaves any region that the account could turn out to list. Regions newer than this
// version count, where they are spelt out.
func (p *program) mayMatchRegion(a config.Account) bool {
	part, _ := record.PartitionNamed(auth.PartitionOf(a))
	could := slices.Clone(part.Regions)
	for _, r := range slices.Concat(a.Collect.Regions, p.opt.regions) {
		if its, ok := record.PartitionOf(r); ok && its.ID == part.ID {
			could = append(could, r)
		}
	}
	return len(config.Match(p.opt.regions, config.Match(a.Collect.Regions, could))) > 0
}

// specCache are the terms that were made, by what they were made of.
type specCache map[string]*runner.AccountSpec

// accountSpec is what the account shares with others that are configured alike.
func (p *program) accountSpec(a *config.Account, known specCache) (*runner.AccountSpec, error) {
	key := fmt.Sprintf("%q %q %d %q %q %q %q %q", a.Schedule, a.Timezone, a.Timeout, a.Overlap, a.Collect.Kinds, a.Collect.Regions, a.Collect.Schedules, a.Collect.ExpectDenied)
	if t := known[key]; t != nil {
		return t, nil
	}
	names := p.selectedKinds(*a)
	t := &runner.AccountSpec{Timeout: time.Duration(a.Timeout), Overlap: runner.Overlap(a.Overlap), Narrowed: p.opt.narrowed(),
		Regions: slices.DeleteFunc(slices.Clone(a.Collect.Regions), func(r string) bool { _, ok := record.PartitionOf(r); return !ok })}
	for _, n := range names {
		k, _ := collectors.KindNamed(n)
		t.Kinds = append(t.Kinds, runnerKind(k))
		for k.Parent != "" {
			k, _ = collectors.KindNamed(k.Parent)
			if !slices.Contains(names, k.Name) && !slices.ContainsFunc(t.Parents, func(p runner.Kind) bool { return p.Name == k.Name }) {
				t.Parents = append(t.Parents, runnerKind(k))
			}
		}
	}
	if len(a.Collect.ExpectDenied) > 0 {
		t.Expected = a.Collect.Expected
	}
	var err error
	if t.Ticks, err = accountTicks(*a, names); err != nil {
		return nil, err
	}
	known[key] = t
	return t, nil
}

// runnerAccount is a block as the runner knows it.
func (p *program) runnerAccount(b *config.PackedAccount, known specCache) (*runner.Account, error) {
	a := b.Account()
	t, err := p.accountSpec(&a, known)
	if err != nil {
		return nil, err
	}
	d := &accountOpener{program: p, block: b}
	acct := &runner.Account{Name: a.Name, AccountSpec: t, LastIdentity: p.previousIdentity(a), Open: d.open}
	if p.opt.once {
		acct.AfterRun = d.forgetSession
	}
	return acct, nil
}

// A door is what is kept of an account for as long as nobody is in.
type accountOpener struct {
	program         *program
	block           *config.PackedAccount
	regionsComplete atomic.Bool
}

func (d *accountOpener) open(ctx context.Context) (runner.OpenedAccount, error) {
	p, a := d.program, d.block.Account()
	s, err := p.sessions.Open(ctx, a)
	if err != nil {
		return nil, err
	}
	lapses, _ := s.LoginDue()
	p.observer.Expires(a.Name, lapses)
	extra := []byte("{}")
	if a.ExtraTags != nil {
		if extra, err = json.Marshal(a.ExtraTags); err != nil {
			return nil, fmt.Errorf("extra_tags: %w", err)
		}
	}
	return &openedAccount{lister: p.lister, session: s, extra: extra, collect: a.Collect, regionGlobs: p.opt.regions, regionsComplete: &d.regionsComplete, unknownMembers: p.unknownMembers}, nil
}

// forgetSession is for a run after which there is no other.
func (d *accountOpener) forgetSession(ctx context.Context) {
	d.program.sessions.Forget(ctx, d.block.Account())
}

func runnerKind(k *collectors.Kind) runner.Kind {
	refill, burst := k.Budget()
	return runner.Kind{Name: k.Name, Op: k.Op, Parent: k.Parent, Global: k.Global, Refill: refill, Burst: burst}
}

// accountTicks is one tick for the account's schedule, and one more for each schedule that some kinds have for themselves.
func accountTicks(a config.Account, names []string) ([]runner.Tick, error) {
	loc, err := config.LoadTimezone(a.Timezone)
	if err != nil {
		return nil, fmt.Errorf("account %q: timezone %q: %w", a.Name, a.Timezone, err)
	}
	bySpec := map[string][]string{}
	for _, n := range names {
		spec, ok := a.Collect.ScheduleOf(n)
		if !ok {
			spec = a.Schedule
		}
		bySpec[spec] = append(bySpec[spec], n)
	}
	var ticks []runner.Tick
	for _, spec := range slices.Sorted(maps.Keys(bySpec)) {
		s, err := config.ParseSchedule(spec, loc)
		if err != nil {
			return nil, fmt.Errorf("account %q: schedule %q: %w", a.Name, spec, err)
		}
		ticks = append(ticks, runner.Tick{Spec: spec + " " + loc.String(), Schedule: s, Kinds: bySpec[spec]})
	}
	return ticks, nil
}

// openedAccount joins sign-in and listing behind the runner's back: the one place where both are seen.
type openedAccount struct {
	lister          *collectors.Lister
	session         *auth.Session
	extra           []byte // extra_tags, a JSON object
	collect         config.Collect
	regionGlobs     []string     // --region
	regionsComplete *atomic.Bool // AWS has said which regions the account has: a key that one of them refuses is a bad key
	unknownMembers  *prometheus.CounterVec
}

func (o *openedAccount) Identity() record.Identity { return o.session.Identity }

func (o *openedAccount) callOptions(region string, g *runner.Gate) collectors.CallOptions {
	return collectors.CallOptions{Session: o.session, Region: region, Gate: g, Sensitive: o.collect.Sensitive, RegionEnabled: o.regionsComplete.Load()}
}

// Regions asks AWS which regions the account has, and picks those that the configuration names.
func (o *openedAccount) Regions(ctx context.Context, g *runner.Gate) (runner.Plan, error) {
	part, ok := record.PartitionNamed(o.session.Identity.Partition)
	if !ok {
		return runner.Plan{}, fmt.Errorf("partition %q is not known", o.session.Identity.Partition)
	}
	ask := discoveryRegion(o.collect, part)
	rs, err := o.lister.Regions(ctx, o.callOptions(ask, g.ForRegion(ask)))
	if err != nil {
		return runner.Plan{}, err
	}
	o.regionsComplete.Store(rs.Complete)
	plan := chooseRegions(o.collect, o.regionGlobs, rs)
	if len(plan.Regions)+len(plan.Disabled) == 0 {
		return plan, &record.Fault{
			Reason: record.Other, Hint: "look at collector_configs.regions and --region",
			Err: errors.New("none of the account's regions is one that the configuration names"),
		}
	}
	return plan, nil
}

// discoveryRegion is where AWS is asked for an account's regions: where the account certainly is, if the configuration says.
func discoveryRegion(c config.Collect, part record.Partition) string {
	for _, r := range c.Regions {
		if p, ok := record.PartitionOf(r); ok && p.ID == part.ID {
			return r
		}
	}
	return part.DefaultRegion
}

// chooseRegions picks, of the regions that an account has, those that the configuration names and --region leaves.
func chooseRegions(c config.Collect, narrow []string, rs collectors.Regions) runner.Plan {
	pick := func(names []string) []string {
		names = config.Match(c.Regions, names)
		if len(narrow) > 0 {
			names = config.Match(narrow, names)
		}
		return names
	}
	plan := runner.Plan{Regions: pick(rs.Enabled), Complete: rs.Complete && len(narrow) == 0, Warning: rs.Warning}
	literal := func(r string) bool { return slices.Contains(c.Regions, r) }
	for _, r := range pick(rs.Disabled) {
		if literal(r) { // a glob asks for what is there; a name asks for that region
			plan.Disabled = append(plan.Disabled, r)
		}
	}
	for _, r := range c.Regions { // named, and yet unknown to AWS's answer: newer than a fallback list, or of no partition of the account
		if _, ok := record.PartitionOf(r); !ok || slices.Contains(plan.Regions, r) || slices.Contains(plan.Disabled, r) || len(pick([]string{r})) == 0 {
			continue
		}
		if rs.Complete {
			plan.Disabled = append(plan.Disabled, r)
		} else {
			plan.Regions = append(plan.Regions, r)
		}
	}
	return plan
}

func (o *openedAccount) List(ctx context.Context, g *runner.Gate, t record.Target, run, parent string, emit func(context.Context, *record.Page) error) (runner.ListStats, error) {
	k, ok := collectors.KindNamed(t.Kind)
	if !ok {
		return runner.ListStats{}, fmt.Errorf("no kind %q", t.Kind)
	}
	w := o.callOptions(t.Region, g)
	w.Envelope = record.NewEnvelope(t, o.session.Identity, o.extra, run, time.Now().UTC().Format(time.RFC3339))
	s, err := o.lister.List(ctx, w, k, parent, emit)
	if s.Unknown > 0 {
		o.unknownMembers.WithLabelValues(k.Name).Add(float64(s.Unknown))
	}
	return runner.ListStats{Duplicates: s.Duplicates}, err
}

// outputSink lends the runner's pages to the outputs.
type outputSink struct{ fan *outputs.Fan }

func (outputSink) Name() string { return "outputs" }

func (s outputSink) Write(ctx context.Context, id runner.PageID, p *record.Page) error {
	t := id.Target
	return s.fan.Send(ctx, outputs.Batch{
		ID:     fmt.Sprintf("%s/%s/%s/%s/%d/%d", id.Run, t.Account, t.Region, t.Kind, id.Attempt, id.Page),
		Target: t, Run: id.Run, N: p.Len(), Lines: p.Lines(),
	})
}

func (s outputSink) End(ctx context.Context, o record.Outcome) error { return s.fan.End(ctx, o) }
