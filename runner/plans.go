package runner

import (
	"context"
	"strings"
	"sync"

	"github.com/aws-collector/collector/record"
)

// plans keeps the regions of each account's last successful plan, so that a run that fails before it has a plan can
// still report every target that it fails.
type plans struct {
	mu       sync.Mutex
	last     map[string][]string // by account
	interned map[string][]string // by content; emptied by a reload
}

// set records a plan that has regions. Most accounts have the same regions: the plan that it returns shares its lists
// with theirs.
func (p *plans) set(account string, plan Plan) Plan {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last = map[string][]string{}
	}
	plan.Regions, plan.Disabled = p.intern(plan.Regions), p.intern(plan.Disabled)
	if len(plan.Regions) > 0 {
		p.last[account] = plan.Regions
	}
	return plan
}

func (p *plans) intern(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	key := strings.Join(list, " ")
	if same, ok := p.interned[key]; ok {
		return same
	}
	if p.interned == nil {
		p.interned = map[string][]string{}
	}
	p.interned[key] = list
	return list
}

func (p *plans) retain(accounts map[string][]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.interned = nil
	for name := range p.last {
		if _, ok := accounts[name]; !ok {
			delete(p.last, name)
		}
	}
}

// ExpectedTargets are the targets that a run of an account or a task would have: those that fail if it cannot begin.
func (r *Runner) ExpectedTargets(ctx context.Context, name string) []record.Target {
	conf := r.Configuration()
	if t := conf.Task(name); t != nil {
		return []record.Target{t.target()}
	}
	if a := conf.Account(name); a != nil {
		return r.expectedTargets(ctx, a, a.Kinds)
	}
	return nil
}

// expectedTargets are the targets that a run of these kinds would have, by the best source that there is: the last
// successful plan; else the store, for after a restart; else the regions that the configuration names; else one target
// for each kind in region "", so that a failure is reported in any case.
func (r *Runner) expectedTargets(ctx context.Context, a *Account, kinds []Kind) []record.Target {
	r.plans.mu.Lock()
	regions, ok := r.plans.last[a.Name]
	r.plans.mu.Unlock()
	if ok {
		return targetsIn(a.Name, regions, kinds)
	}
	wanted := map[string]bool{}
	for _, k := range kinds {
		wanted[k.Name] = true
	}
	if len(withoutGlobalServices(kinds)) == 0 {
		return targetsIn(a.Name, nil, kinds)
	}
	var ts []record.Target
	var known []record.Target
	err := CatchPanic(func() (err error) {
		known, err = r.o.Store.ActiveTargets(ctx, a.Name)
		return err
	})
	if err != nil {
		r.log.Error("reading the account's stored targets failed",
			"account", a.Name, "error", err, "hint", record.HintOf(err))
	}
	for _, t := range known {
		if wanted[t.Kind] {
			ts = append(ts, t)
		}
	}
	switch {
	case len(ts) > 0:
		return ts
	case len(a.Regions) > 0:
		return targetsIn(a.Name, a.Regions, kinds)
	}
	return targetsIn(a.Name, []string{""}, kinds)
}

// targetsIn returns a target for every kind in every region; for global kinds only in the first region, for kinds of
// global services only one.
func targetsIn(account string, regions []string, kinds []Kind) []record.Target {
	var ts []record.Target
	for _, k := range kinds {
		if k.GlobalService {
			ts = append(ts, record.Target{Account: account, Region: record.GlobalRegion, Kind: k.Name})
		}
	}
	for i, region := range regions {
		for _, k := range kinds {
			if !k.GlobalService && (i == 0 || !k.Global) {
				ts = append(ts, record.Target{Account: account, Region: region, Kind: k.Name})
			}
		}
	}
	return ts
}
