package account

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/cmd/collector/internal/configfile"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// An Opener makes of account blocks what the runner runs: accounts with their kinds and schedules, which it opens at
// the start of each run.
type Opener struct {
	AWS           *AWS
	Selection     Selection
	Once          bool // each account runs once: its session is forgotten after the run
	Observe       runner.Observer
	UnknownFields *prometheus.CounterVec // by kind

	specs map[string]*runner.AccountSpec // one for each distinct set of options
}

// Configuration returns the accounts of a configuration, and the tasks that look for the members of its organizations;
// changed installs the configuration again after a change of the members. The caller adds the outputs. Its errors are
// about what the user wrote.
func (o *Opener) Configuration(
	f *config.File, set *accounts.Set, members *accounts.Directory, changed func(context.Context) error,
) (runner.Configuration, error) {
	out := runner.Configuration{Jitter: time.Duration(f.Jitter)}
	if o.Once {
		out.Jitter = 0 // the caller waits for the run
	}
	blocks, err := o.Selection.Blocks(set)
	if err != nil {
		return out, err
	}
	for i := range blocks {
		a, err := o.Account(&blocks[i])
		if err != nil {
			return out, err
		}
		if all, isNew := set.NewMembers[a.Name]; isNew {
			own := *a.AccountSpec
			own.Ticks = accounts.NewMemberTicks(own.Ticks, all)
			a.AccountSpec = &own
		}
		out.Accounts = append(out.Accounts, a)
	}
	for _, org := range o.Selection.Organizations(f) {
		task, err := members.Task(org, config.Match(org.Collect.Kinds, configfile.KnownNames().Kinds), out.Jitter, changed)
		if err != nil {
			return out, err
		}
		out.Tasks = append(out.Tasks, task)
	}
	return out, nil
}

// Account returns the account of a block. Accounts with equal options share one spec.
func (o *Opener) Account(b *config.Account) (*runner.Account, error) {
	spec, err := o.spec(b)
	if err != nil {
		return nil, err
	}
	signIn := &opening{Opener: o, block: b}
	return &runner.Account{Name: b.Name, AccountSpec: spec, Open: signIn.open, AfterRun: signIn.endRun}, nil
}

// spec returns the options of an account.
func (o *Opener) spec(a *config.Account) (*runner.AccountSpec, error) {
	key := fmt.Sprintf("%t %q %q %d %q %q %q %q %q %d", o.Selection.mayMatchRegion(*a), a.Schedule, a.Timezone,
		a.Timeout, a.Overlap, a.Collect.Kinds, a.Collect.Regions, a.Collect.Schedules, a.Collect.ExpectDenied,
		a.Collect.MaxGone)
	if t := o.specs[key]; t != nil {
		return t, nil
	}
	names := o.Selection.kindsInRegions(*a)
	isGlob := func(region string) bool { _, ok := record.PartitionOf(region); return !ok }
	t := &runner.AccountSpec{
		Timeout: time.Duration(a.Timeout), Overlap: runner.Overlap(a.Overlap), Narrowed: o.Selection.Narrows(),
		Regions: slices.DeleteFunc(slices.Clone(a.Collect.Regions), isGlob),
	}
	if limit := a.Collect.MaxGone; limit.Percent < 100 { // more than all cannot be missing
		t.MaxGone = inventory.MaxGone{Percent: limit.Percent, AtLeast: limit.AtLeast}
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
	if o.specs == nil {
		o.specs = map[string]*runner.AccountSpec{}
	}
	o.specs[key] = t
	return t, nil
}

// An opening signs in to an account at the start of each run. It is what remains of an account between runs.
type opening struct {
	*Opener
	block           *config.Account
	regionsComplete atomic.Bool
	opened          atomic.Pointer[Opened] // of the run in progress: its jobs share the session
}

func (o *opening) open(ctx context.Context) (runner.OpenedAccount, error) {
	if opened := o.opened.Load(); opened != nil {
		if _, err := opened.Session.Retrieve(ctx); err == nil {
			own := *opened
			return &own, nil
		} // else sign in: it finds the cause, or to which account the credentials belong now
	}
	a := *o.block
	s, err := o.AWS.Sessions.Open(ctx, a)
	if err != nil {
		return nil, err
	}
	loginDue, _ := s.LoginDue()
	o.Observe(runner.SessionExpires{Account: a.Name, At: loginDue})
	extra := []byte("{}")
	if a.ExtraTags != nil {
		if extra, err = json.Marshal(a.ExtraTags); err != nil {
			return nil, fmt.Errorf("extra_tags: %w", err)
		}
	}
	opened := &Opened{
		Session: s, lister: o.AWS.Lister, extra: extra, collect: a.Collect, regionGlobs: o.Selection.Regions,
		regionsComplete: &o.regionsComplete, unknownFields: o.UnknownFields,
	}
	o.opened.Store(opened)
	own := *opened
	return &own, nil
}

// endRun makes the next run sign in again. If there is none, it frees the credentials.
func (o *opening) endRun(ctx context.Context) {
	o.opened.Store(nil)
	if o.Once {
		o.AWS.Sessions.Forget(ctx, *o.block)
	}
}

func runnerKind(k *collectors.Kind) runner.Kind {
	refill, burst := k.Budget()
	s := k.Service()
	tagsOp := ""
	if k.TagsBy != nil {
		tagsOp = k.TagsBy.Op
	}
	return runner.Kind{
		Name: k.Name, Service: s.Name, Op: k.Op, TagsOp: tagsOp, Parent: k.Parent, Global: k.Global, Refill: refill,
		Burst: burst, Shared: s.Shared, GlobalService: s.Global,
	}
}
