// Package check signs in to accounts and finds out what a run could list there, without listing it: who signed in and
// how, which regions are enabled, which kinds are allowed, and whether clock and keys are about to fail. Begin at
// [Checker].
package check

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// A Checker checks accounts.
type Checker struct {
	AWS           *account.AWS
	Selection     account.Selection
	CallsInFlight int
	AllRegions    bool          // check every kind in every region
	Timeout       time.Duration // of one account
	Progress      func()        // is called after each account
}

// Accounts checks the accounts of blocks. Its errors are about what the user wrote; what fails in an account is its
// result.
func (c *Checker) Accounts(ctx context.Context, blocks []config.Account) ([]*Account, error) {
	opener := account.Opener{AWS: c.AWS, Selection: c.Selection, Once: true, Observe: runner.Tee()}
	limits := runner.NewLimits(c.CallsInFlight, nil)
	all := make([]*Account, len(blocks))
	for i := range blocks {
		a, err := opener.Account(&blocks[i])
		if err != nil {
			return nil, err
		}
		all[i] = &Account{Checker: c, account: a, block: blocks[i], limits: limits}
	}
	inParallel(accountsAtATime, all, func(a *Account) {
		ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, &record.Fault{
			Reason: record.TimedOut, Err: fmt.Errorf("the check of the account took longer than %s", c.Timeout),
			Hint: "Check whether a proxy or firewall drops packets, or set a longer --timeout.",
		})
		defer cancel()
		a.run(ctx)
		c.Progress()
	})
	rejectDuplicateAccounts(all)
	return all, nil
}

// Result checks one account within the limits of the runs of a program, and returns what [Print] prints as JSON.
func (c *Checker) Result(ctx context.Context, block config.Account, limits *runner.Limits) (map[string]any, error) {
	opener := account.Opener{AWS: c.AWS, Selection: c.Selection, Observe: runner.Tee()}
	a, err := opener.Account(&block)
	if err != nil {
		return nil, err
	}
	one := &Account{Checker: c, account: a, block: block, limits: limits}
	one.run(ctx)
	return one.asJSON(time.Now()), nil
}

// Organization tells who asked for the members of an organization, and whether AWS answered. The members have been
// listed.
func (c *Checker) Organization(ctx context.Context, o config.Organization, members *accounts.Directory) *Account {
	a := &Account{
		Checker: c, account: &runner.Account{Name: o.Label, AccountSpec: &runner.AccountSpec{}}, organization: true,
		err: members.LastError(o), block: config.Account{Name: o.Label, SignIn: o.Via, Collect: o.Collect},
	}
	if s, err := c.AWS.Sessions.Open(ctx, a.block); err == nil {
		a.session = s
	}
	a.plan.Warning = members.Last(o).Warning()
	return a
}

// Status is the status that one run of all accounts would have.
func Status(all []*Account) record.Status {
	good, failed, partial := 0, 0, 0
	for _, a := range all {
		switch a.status() {
		case record.RunFailed:
			failed++
		case record.RunPartial:
			partial++
		case record.Success:
			if !a.organization { // an organization alone collects nothing
				good++
			}
		}
	}
	switch {
	case good+partial == 0:
		return record.RunFailed
	case failed+partial > 0:
		return record.RunPartial
	}
	return record.Success
}

// The concurrency of a check. The gate limits the calls themselves, as in a run.
const (
	accountsAtATime = 64 // an account that hangs occupies one slot
	triesAtATime    = 32 // in each account
)

// inParallel calls f for each item, in up to limit goroutines, and waits. f must stop when its context ends.
func inParallel[T any](limit int, all []T, f func(T)) {
	var wg sync.WaitGroup
	free := make(chan struct{}, limit)
	for _, x := range all {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			f(x)
		})
	}
	wg.Wait()
}

// An Account is the check of one account and its result.
type Account struct {
	*Checker
	account *runner.Account
	block   config.Account
	limits  *runner.Limits

	organization bool // the account stands for an organization: only the list of its members is checked

	err     error         // why the account could not be opened; then the other results are empty
	session *auth.Session // the identity
	plan    runner.Plan   // the regions
	action  string        // that lists the regions, if it is to be allowed
	key     *auth.KeyAge  // nil: sign-in uses no long-lived key, or its age is unknown
	keyErr  error         // why its age is unknown

	mu      sync.Mutex
	results []kindResult
	clock   *time.Duration // how far this machine's clock is ahead of AWS's
}

// kindResult is the result for one kind in one region.
type kindResult struct {
	record.Outcome
	Action        string // that lists the kind
	MissingAction string // the action to allow, if that would help
}

func (ac *Account) run(ctx context.Context) {
	o, err := ac.account.Open(ctx)
	if err != nil {
		ac.err = err
		return
	}
	in := o.(*account.Opened) // account.Opener returns no other type
	ac.session = in.Session
	if age, ok, err := ac.AWS.Sessions.KeyAge(ctx, in.Session); err != nil {
		ac.keyErr = err
	} else if ok {
		ac.key = &age
	}
	var kinds, global []runner.Kind
	for _, k := range slices.Concat(ac.account.Kinds, ac.account.Parents) {
		if k.GlobalService {
			global = append(global, k)
		} else {
			kinds = append(kinds, k)
		}
	}
	if len(kinds) > 0 {
		if ac.plan, err = in.Regions(ctx, ac.limits.Gate(ac.account.Name, "", runner.Kind{})); err != nil {
			ac.err = err
			return
		}
		ac.action = in.MissingAction()
		ac.tryInRegions(ctx, in, kinds)
	}
	inParallel(triesAtATime, global, func(k runner.Kind) { ac.tryKind(ctx, in, record.GlobalRegion, k) })
	slices.SortFunc(ac.results, func(a, b kindResult) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Kind, b.Kind))
	})
}

// tryInRegions tries one kind in every region, and the others in one region or, with AllRegions, in all.
func (ac *Account) tryInRegions(ctx context.Context, in *account.Opened, kinds []runner.Kind) {
	probe := slices.MinFunc(kinds, func(a, b runner.Kind) int { // prefer a kind without a parent that is regional
		return cmp.Or(compareBool(a.Parent != "", b.Parent != ""), compareBool(a.Global, b.Global))
	})
	inParallel(triesAtATime, ac.plan.Regions, func(region string) { ac.tryKind(ctx, in, region, probe) })
	home := ac.homeRegion()
	for _, region := range ac.plan.Regions {
		if region != home && !ac.AllRegions {
			continue
		}
		inParallel(triesAtATime, kinds, func(k runner.Kind) {
			if k.Name != probe.Name && (region == home || !k.Global) {
				ac.tryKind(ctx, in, region, k)
			}
		})
	}
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func (ac *Account) tryKind(ctx context.Context, in *account.Opened, region string, k runner.Kind) {
	kind, _ := collectors.KindNamed(k.Name)
	t := in.Check(ctx, region, ac.limits.Gate(ac.account.Name, region, k), kind)
	target := record.Target{Account: ac.account.Name, Region: region, Kind: k.Name}
	o := record.Outcome{Target: target, State: record.StateOf(t.Err, 0)}
	if t.Err != nil {
		o.Reason, o.Error, o.Hint = record.ReasonOf(t.Err), t.Err.Error(), record.HintOf(t.Err)
		o.Expected = o.State == record.Denied && ac.account.Expected != nil && ac.account.Expected(region, k.Name)
	}
	ac.mu.Lock()
	defer ac.mu.Unlock()
	ac.results = append(ac.results, kindResult{o, kind.Action(), t.MissingAction})
	// The smallest difference is of the fastest response, so it is the most exact.
	if t.ClockKnown && (ac.clock == nil || t.ClockAhead.Abs() < ac.clock.Abs()) {
		ac.clock = &t.ClockAhead
	}
}

// homeRegion is the region in which every kind is checked: the partition's default region if something is allowed
// there, else the first region in which something is allowed, else the first region.
func (ac *Account) homeRegion() string {
	var allowed []string
	for _, t := range ac.results {
		if t.State == record.OK {
			allowed = append(allowed, t.Region)
		}
	}
	if p, ok := record.PartitionNamed(ac.session.Identity.Partition); ok && slices.Contains(allowed, p.DefaultRegion) {
		return p.DefaultRegion
	}
	for _, in := range [][]string{allowed, ac.plan.Regions} {
		if len(in) > 0 {
			return slices.Min(in)
		}
	}
	return ""
}

// rejectDuplicateAccounts fails a block that signs in to the same AWS account as an earlier block, as a run does.
func rejectDuplicateAccounts(all []*Account) {
	first := map[record.Identity]string{}
	for _, ac := range all {
		if ac.session == nil {
			continue
		}
		id := ac.session.Identity
		key := record.Identity{AccountID: id.AccountID, Partition: id.Partition}
		if name, duplicate := first[key]; duplicate {
			ac.err = accounts.SameAccountError(id, name)
			continue
		}
		first[key] = ac.account.Name
	}
}

// status is the status that a run of the account would have.
func (ac *Account) status() record.Status {
	if ac.err != nil {
		return record.RunFailed
	}
	if ac.unusable() {
		return record.RunFailed
	}
	for _, t := range ac.results {
		if t.Failed() {
			return record.RunPartial
		}
	}
	return record.Success
}

// unusable reports whether no region can be listed. A single region that cannot be listed is not a failure.
func (ac *Account) unusable() bool {
	refused, kinds := len(ac.plan.Disabled), account.Catalogue()
	for _, t := range ac.results {
		switch {
		case t.State == record.RegionDisabled:
			refused++
		case kinds.ProvesUsable(t.Outcome):
			return false
		}
	}
	return refused > 0
}
