package runner

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws-collector/collector/record"
)

// claims records which account block signed in to which AWS account, so that only the first in the file of several
// blocks collects the same AWS account. A reload, like a start, begins with the accounts that the blocks had before.
type claims struct {
	mu        sync.Mutex
	blockOf   map[awsAccount]string // the name of the first block that signed in to it
	accountOf map[string]awsAccount // by block: a block is one account at a time
	jobs      map[string][]*job     // in progress, by block
}

type awsAccount struct{ partition, id string }

// claim is called after a job's sign-in. It refuses a block if an earlier block in the file has signed in to the same
// AWS account. If a later block has, the jobs of that block are cancelled.
func (c *claims) claim(conf *Configuration, name string, id record.Identity) error {
	if id.AccountID == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	mine, found := conf.byName[name]
	if !found {
		return nil
	}
	key := awsAccount{id.Partition, id.AccountID}
	other := c.blockOf[key]
	if theirs, found := conf.byName[other]; found && other != name {
		if theirs < mine {
			return SameAccountError(id, other)
		}
		for _, j := range c.jobs[other] {
			j.cancel(SameAccountError(id, name))
		}
	}
	c.set(key, name)
	return nil
}

// set assigns the AWS account to the block, in place of the block's former one. c.mu is held.
func (c *claims) set(key awsAccount, name string) {
	if c.blockOf == nil {
		c.blockOf, c.accountOf = map[awsAccount]string{}, map[string]awsAccount{}
	}
	if was, ok := c.accountOf[name]; ok && was != key && c.blockOf[was] == name {
		delete(c.blockOf, was)
	}
	c.blockOf[key], c.accountOf[name] = name, key
}

// reset assigns the last known AWS accounts of a configuration's blocks: one that two blocks had goes to the first.
func (c *claims) reset(conf *Configuration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blockOf, c.accountOf = nil, nil
	for _, a := range conf.Accounts {
		key := awsAccount{a.LastIdentity.Partition, a.LastIdentity.AccountID}
		if _, taken := c.blockOf[key]; key.id != "" && !taken {
			c.set(key, a.Name)
		}
	}
}

// SameAccountError is the error of a block that signed in to the AWS account of an earlier block.
func SameAccountError(id record.Identity, first string) error {
	return &record.Fault{
		Reason: record.SameAccount,
		Hint: fmt.Sprintf("Remove one of the two blocks, or check the credentials of both. "+
			"The collector uses %q.", first),
		Err: fmt.Errorf("AWS account %s (%s) is already collected by account block %q",
			id.AccountID, id.Partition, first),
	}
}

func (c *claims) addJob(j *job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jobs == nil {
		c.jobs = map[string][]*job{}
	}
	c.jobs[j.Account] = append(c.jobs[j.Account], j)
}

func (c *claims) removeJob(j *job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := slices.DeleteFunc(c.jobs[j.Account], func(o *job) bool { return o == j })
	if c.jobs[j.Account] = left; len(left) == 0 {
		delete(c.jobs, j.Account)
	}
}

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
	var ts []record.Target
	var known []record.Target
	err := catchPanic(func() (err error) {
		known, err = r.o.Store.ActiveTargets(ctx, a.Name)
		return err
	})
	if err != nil {
		r.log.Error("reading the account's stored targets failed", "account", a.Name, "error", err)
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

// targetsIn returns a target for every kind in every region; for global kinds only in the first region.
func targetsIn(account string, regions []string, kinds []Kind) []record.Target {
	var ts []record.Target
	for i, region := range regions {
		for _, k := range kinds {
			if i == 0 || !k.Global {
				ts = append(ts, record.Target{Account: account, Region: region, Kind: k.Name})
			}
		}
	}
	return ts
}
