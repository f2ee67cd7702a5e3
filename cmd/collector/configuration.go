package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// buildConfiguration opens the outputs, parses the schedules and connects each account block to sign-in and listing. It
// also returns the handlers of the outputs that answer HTTP requests.
func (p *program) buildConfiguration(
	ctx context.Context, f *config.File, c *accounts.Set,
) (*runner.Configuration, map[string]http.Handler, error) {
	out := runner.Configuration{Jitter: time.Duration(f.Jitter)}
	if p.opt.once {
		out.Jitter = 0 // the caller waits for the run
	}
	blocks, err := p.selectedBlocks(c)
	if err != nil {
		return nil, nil, err
	}
	specs := specCache{}
	for i := range blocks {
		acc, err := p.runnerAccount(&blocks[i], specs)
		if err != nil {
			return nil, nil, usageError(err)
		}
		if all, isNew := c.NewMembers[acc.Name]; isNew {
			own := *acc.AccountSpec
			own.Ticks = accounts.NewMemberTicks(own.Ticks, all)
			acc.AccountSpec = &own
		}
		out.Accounts = append(out.Accounts, acc)
	}
	for _, o := range p.selectedOrganizations(f) {
		kinds := config.Match(o.Collect.Kinds, knownNames().Kinds)
		task, err := p.members.Task(o, kinds, out.Jitter, p.applyMemberChanges)
		if err != nil {
			return nil, nil, usageError(err)
		}
		out.Tasks = append(out.Tasks, task)
	}
	if p.opt.dryRun {
		built, err := runner.NewConfiguration(out)
		return built, nil, err
	}
	var outputSpecs []deliver.Spec
	for _, o := range f.Outputs {
		spec := deliver.Spec{Type: o.Type, Options: o.Options, Line: o.Line, Hidden: o.Hidden}
		outputSpecs = append(outputSpecs, spec)
	}
	fan, err := p.outputs.Open(ctx, outputSpecs)
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

// selectedBlocks returns the account blocks that match --account, --kind and --region. A block that has none of the
// kinds or regions is left out without an error, but at least one block must match.
func (p *program) selectedBlocks(c *accounts.Set) ([]config.Account, error) {
	selected := c.Accounts
	narrow := func(flag, what string, globs []string, matches func(config.Account) bool) error {
		if len(globs) == 0 {
			return nil
		}
		var matching []config.Account
		for _, b := range selected {
			if matches(b) {
				matching = append(matching, b)
			}
		}
		if selected = matching; len(selected) == 0 && len(c.Unlisted) == 0 {
			return usageError(fmt.Errorf("%s %q: no account of %s has such a %s", flag, globs, p.cli.configPath, what))
		}
		return nil
	}
	hasName := func(a config.Account) bool { return config.Matches(p.opt.accounts, a.Name) }
	hasKind := func(a config.Account) bool { return len(p.selectedKinds(a)) > 0 }
	for _, err := range []error{
		narrow("--account", "name", p.opt.accounts, hasName),
		narrow("--kind", "kind to list", p.opt.kinds, hasKind),
		narrow("--region", "region to list", p.opt.regions, p.mayMatchRegion),
	} {
		if err != nil {
			return nil, err
		}
	}
	return selected, nil
}

// selectedKinds returns the kinds of an account that match --kind.
func (p *program) selectedKinds(a config.Account) []string {
	names := config.Match(a.Collect.Kinds, knownNames().Kinds)
	if len(p.opt.kinds) > 0 {
		names = config.Match(p.opt.kinds, names)
	}
	return names
}

// mayMatchRegion reports whether --region matches a region that the account may have. A region that is newer than this
// version counts if a flag or the block spells it out.
func (p *program) mayMatchRegion(a config.Account) bool {
	part, _ := record.PartitionNamed(auth.PartitionOf(a))
	possible := slices.Clone(part.Regions)
	for _, r := range slices.Concat(a.Collect.Regions, p.opt.regions) {
		if other, ok := record.PartitionOf(r); ok && other.ID == part.ID {
			possible = append(possible, r)
		}
	}
	return len(config.Match(p.opt.regions, config.Match(a.Collect.Regions, possible))) > 0
}

// specCache has an account spec for each distinct set of options.
type specCache map[string]*runner.AccountSpec

// accountSpec returns the options of an account. Accounts with equal options share one spec.
func (p *program) accountSpec(a *config.Account, specs specCache) (*runner.AccountSpec, error) {
	key := fmt.Sprintf("%q %q %d %q %q %q %q %q", a.Schedule, a.Timezone, a.Timeout, a.Overlap,
		a.Collect.Kinds, a.Collect.Regions, a.Collect.Schedules, a.Collect.ExpectDenied)
	if t := specs[key]; t != nil {
		return t, nil
	}
	names := p.selectedKinds(*a)
	isGlob := func(region string) bool { _, ok := record.PartitionOf(region); return !ok }
	t := &runner.AccountSpec{
		Timeout: time.Duration(a.Timeout), Overlap: runner.Overlap(a.Overlap), Narrowed: p.opt.narrowed(),
		Regions: slices.DeleteFunc(slices.Clone(a.Collect.Regions), isGlob),
	}
	for _, n := range names {
		k, _ := collectors.KindNamed(n)
		t.Kinds = append(t.Kinds, runnerKind(k))
		for k.Parent != "" {
			k, _ = collectors.KindNamed(k.Parent)
			known := slices.ContainsFunc(t.Parents, func(p runner.Kind) bool { return p.Name == k.Name })
			if !slices.Contains(names, k.Name) && !known {
				t.Parents = append(t.Parents, runnerKind(k))
			}
		}
	}
	if len(a.Collect.ExpectDenied) > 0 {
		t.Expected = a.Collect.Expected
	}
	var err error
	if t.Ticks, err = accounts.Ticks(*a, names); err != nil {
		return nil, err
	}
	specs[key] = t
	return t, nil
}

// runnerAccount converts an account block for the runner.
func (p *program) runnerAccount(b *config.Account, specs specCache) (*runner.Account, error) {
	t, err := p.accountSpec(b, specs)
	if err != nil {
		return nil, err
	}
	d := &accountOpener{program: p, block: b}
	acct := &runner.Account{Name: b.Name, AccountSpec: t, Open: d.open}
	if p.opt.once {
		acct.AfterRun = d.forgetSession
	}
	return acct, nil
}

// accountOpener signs in to an account at the start of each run. It is what remains of an account between runs.
type accountOpener struct {
	program         *program
	block           *config.Account
	regionsComplete atomic.Bool
}

func (d *accountOpener) open(ctx context.Context) (runner.OpenedAccount, error) {
	p, a := d.program, *d.block
	s, err := p.sessions.Open(ctx, a)
	if err != nil {
		return nil, err
	}
	loginDue, _ := s.LoginDue()
	p.observe(runner.SessionExpires{Account: a.Name, At: loginDue})
	extra := []byte("{}")
	if a.ExtraTags != nil {
		if extra, err = json.Marshal(a.ExtraTags); err != nil {
			return nil, fmt.Errorf("extra_tags: %w", err)
		}
	}
	return &openedAccount{
		lister: p.lister, session: s, extra: extra, collect: a.Collect, regionGlobs: p.opt.regions,
		regionsComplete: &d.regionsComplete, unknownFields: p.unknownFields,
	}, nil
}

// forgetSession frees the session after the only run of a process.
func (d *accountOpener) forgetSession(ctx context.Context) {
	d.program.sessions.Forget(ctx, *d.block)
}

func runnerKind(k *collectors.Kind) runner.Kind {
	refill, burst := k.Budget()
	return runner.Kind{
		Name: k.Name, Service: k.Service().Name, Op: k.Op, Parent: k.Parent, Global: k.Global, Refill: refill, Burst: burst,
	}
}

// openedAccount connects sign-in and listing. The runner knows neither.
type openedAccount struct {
	lister          *collectors.Lister
	session         *auth.Session
	extra           []byte // extra_tags, a JSON object
	collect         config.Collect
	regionGlobs     []string     // --region
	regionsComplete *atomic.Bool // AWS listed the account's regions, so a key that one of them refuses is a bad key
	missingAction   string       // the action to allow so that AWS lists the regions; for check
	unknownFields   *prometheus.CounterVec
}

func (o *openedAccount) Identity() record.Identity { return o.session.Identity }

// SignIn is how the account signed in.
func (o *openedAccount) SignIn() inventory.SignIn {
	s := inventory.SignIn{Path: strings.Join(o.session.Path(), " → ")}
	s.Expires, _ = o.session.LoginDue()
	return s
}

func (o *openedAccount) callOptions(region string, g *runner.Gate) collectors.CallOptions {
	return collectors.CallOptions{
		Session: o.session, Region: region, Gate: g,
		Sensitive: o.collect.Sensitive, RegionEnabled: o.regionsComplete.Load(),
	}
}

// Regions asks AWS which regions the account has, and chooses those that the configuration names.
func (o *openedAccount) Regions(ctx context.Context, g *runner.Gate) (runner.Plan, error) {
	part, ok := record.PartitionNamed(o.session.Identity.Partition)
	if !ok {
		return runner.Plan{}, fmt.Errorf("unknown partition %q", o.session.Identity.Partition)
	}
	ask := discoveryRegion(o.collect, part)
	rs, err := o.lister.Regions(ctx, o.callOptions(ask, g.ForRegion(ask)))
	if err != nil {
		return runner.Plan{}, err
	}
	o.regionsComplete.Store(rs.Complete)
	o.missingAction = rs.MissingAction
	plan := chooseRegions(o.collect, o.regionGlobs, rs)
	if len(plan.Regions)+len(plan.Disabled) == 0 {
		return plan, &record.Fault{
			Reason: record.Other, Hint: "Check collector_configs.regions and --region.",
			Err: errors.New("the account has none of the regions that the configuration names"),
		}
	}
	return plan, nil
}

// discoveryRegion is the region that is asked for the account's regions: the first that the configuration spells out.
func discoveryRegion(c config.Collect, part record.Partition) string {
	for _, r := range c.Regions {
		if p, ok := record.PartitionOf(r); ok && p.ID == part.ID {
			return r
		}
	}
	return part.DefaultRegion
}

// chooseRegions returns the regions of an account that match the configuration and --region.
func chooseRegions(c config.Collect, globs []string, rs collectors.Regions) runner.Plan {
	pick := func(names []string) []string {
		names = config.Match(c.Regions, names)
		if len(globs) > 0 {
			names = config.Match(globs, names)
		}
		return names
	}
	plan := runner.Plan{Regions: pick(rs.Enabled), Complete: rs.Complete && len(globs) == 0, Warning: rs.Warning}
	literal := func(r string) bool { return slices.Contains(c.Regions, r) }
	for _, r := range pick(rs.Disabled) {
		if literal(r) { // a glob means the enabled regions; a name means that region
			plan.Disabled = append(plan.Disabled, r)
		}
	}
	// Regions that the configuration spells out and that AWS did not list: newer than a fallback list, or of another
	// partition.
	for _, r := range c.Regions {
		_, isName := record.PartitionOf(r)
		planned := slices.Contains(plan.Regions, r) || slices.Contains(plan.Disabled, r)
		if !isName || planned || len(pick([]string{r})) == 0 {
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

func (o *openedAccount) Pages(
	ctx context.Context, g *runner.Gate, t record.Target, run, parent string, st *record.ListStats,
) iter.Seq2[*record.Page, error] {
	return func(yield func(*record.Page, error) bool) {
		k, ok := collectors.KindNamed(t.Kind)
		if !ok {
			yield(nil, fmt.Errorf("unknown kind %q", t.Kind))
			return
		}
		defer func() {
			if st.Unknown > 0 {
				o.unknownFields.WithLabelValues(k.Name).Add(float64(st.Unknown))
			}
		}()
		options := o.callOptions(t.Region, g)
		options.Envelope = record.NewEnvelope(t, o.session.Identity, o.extra, run, time.Now().UTC().Format(time.RFC3339))
		o.lister.Pages(ctx, options, k, parent, st)(yield)
	}
}
