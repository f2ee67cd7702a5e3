package runner

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws-collector/collector/record"
)

// claims knows which account block entered which AWS account, so that two blocks which turn out to be one account do not
// both collect it: the first in the file does. A reload, and a start, begins with what is known of the blocks from before.
type claims struct {
	mu        sync.Mutex
	blockOf   map[awsAccount]string // the first of the blocks that did, by name
	accountOf map[string]awsAccount // the other way round: a block is one account at a time
	jobs      map[string][]*job     // by block, under way
}

type awsAccount struct{ partition, id string }

// claim is called when a job's account is signed in to. It refuses a block whose AWS account an earlier block in the file
// has entered. If it was a later block that came first, that one's jobs end: it is the second.
func (c *claims) claim(f *Configuration, name string, id record.Identity) error {
	if id.AccountID == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	mine, found := f.byName[name]
	if !found {
		return nil
	}
	key := awsAccount{id.Partition, id.AccountID}
	other := c.blockOf[key]
	if theirs, found := f.byName[other]; found && other != name {
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

// set makes the account the block's, and no other. c.mu is held.
func (c *claims) set(key awsAccount, name string) {
	if c.blockOf == nil {
		c.blockOf, c.accountOf = map[awsAccount]string{}, map[string]awsAccount{}
	}
	if was, ok := c.accountOf[name]; ok && was != key && c.blockOf[was] == name {
		delete(c.blockOf, was)
	}
	c.blockOf[key], c.accountOf[name] = name, key
}

// reset starts with what is known of a fleet's blocks. Of two that were one account, it is the first's.
func (c *claims) reset(f *Configuration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blockOf, c.accountOf = nil, nil
	for _, a := range f.Accounts {
		key := awsAccount{a.LastIdentity.Partition, a.LastIdentity.AccountID}
		if _, taken := c.blockOf[key]; key.id != "" && !taken {
			c.set(key, a.Name)
		}
	}
}

// SameAccountError is what is said to a block that turned out to be the AWS account of an earlier one.
func SameAccountError(id record.Identity, first string) error {
	return &record.Fault{
		Reason: record.SameAccount,
		Hint:   fmt.Sprintf("remove one of the two blocks, or check which credentials each of them is given: %q is the one that is collected", first),
		Err:    fmt.Errorf("this is AWS account %s (%s), which the block %q is already", id.AccountID, id.Partition, first),
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

// plans remembers the regions of each account's last good plan, so that a run which cannot even ask for one knows what it
// fails.
type plans struct {
	mu       sync.Mutex
	last     map[string][]string // by account
	interned map[string][]string // by what they hold; emptied by a reload
}

// set remembers a plan, if it has regions. Most accounts have the same ones: what it returns shares its lists with them.
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

// expectedTargets are those that a run of these kinds would have, as far as anyone knows: by the last good plan; else those that
// the ledger knows from before a restart; else by the regions that the file spells out; else one a kind in region "",
// so that a failure is seen whatever is known.
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
		r.log.Error("the ledger could not say what it knows of an account", "account", a.Name, "error", err)
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

// targetsIn is every kind in every region, the global ones in the first.
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
