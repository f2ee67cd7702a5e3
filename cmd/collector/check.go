package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/auth/identity"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/datadir"
	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

type checkOptions struct {
	runOptions
	format     string
	allRegions bool
	timeout    time.Duration // of one account
}

func (c *cli) checkCommand() *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Sign in to every account and check every permission; collects nothing",
		Long: `Signs in to each account and reports:

  - the identity that the collector has there, how it signed in, and when the credentials expire
  - which of the configured regions are enabled
  - which of the configured kinds may be listed, and the IAM statement that allows the denied ones
  - how far the clock of this machine is wrong

To check a kind, the command sends a dry run, or asks for the smallest page if the API has no dry run. It checks every
kind in one region of the account, and one kind in each other region. With --all-regions it checks every kind in every
region. The calls stay within the rate limits of run: half of the limits that EC2 documents.

The command warns about access keys older than 90 days, if the user may call iam:ListAccessKeys for itself. The
collector needs this permission for nothing else.

Exit codes: 0 if everything is well, 1 if it could sign in to no account, 2 for wrong usage or a wrong configuration,
3 if it could not sign in to an account or something is denied that expect_denied does not name.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("log-level") && c.getenv("COLLECTOR_LOG_LEVEL") == "" {
				c.logLevel = "warn" // the table shows who signed in
			}
			return c.check(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.allRegions, "all-regions", false, "check every kind in every region, not only in one")
	f.DurationVar(&o.timeout, "timeout", 3*time.Minute, "maximum time for the check of one account")
	narrowFlags(cmd, &o.runOptions)
	outputFlag(cmd, &o.format)
	return cmd
}

// check opens each account as run does, with the same configuration, and checks what run would list.
func (c *cli) check(ctx context.Context, o checkOptions) (err error) {
	if err := validateFormat(o.format); err != nil {
		return err
	}
	cfg, err := c.loadConfig(ctx)
	if err != nil {
		return err
	}
	log, err := c.logger(c.stderr)
	if err != nil {
		return err
	}
	for _, w := range cfg.warnings {
		log.Warn("configuration warning", "warning", w)
	}
	if err := datadir.Make(cfg.file.DataDir); err != nil { // stores MFA sessions, because a code works only once
		return err
	}
	p, err := c.preflight(ctx, cfg, o.runOptions, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.identities.Flush()) }()
	defer p.sessions.Close()
	defer p.members.Close()

	p.refreshMembers(ctx, cfg.file)
	blocks, err := p.selectedBlocks(p.resolveAccounts(cfg.file))
	if err != nil {
		return err
	}
	limits := runner.NewLimits(cfg.file.Limits.CallsInFlight, nil)
	all := make([]*accountCheck, len(blocks))
	for i := range blocks {
		a, err := p.runnerAccount(&blocks[i], specCache{})
		if err != nil {
			return usageError(err)
		}
		all[i] = &accountCheck{
			program: p, account: a, block: blocks[i], limits: limits, allRegions: o.allRegions,
		}
	}
	progress := c.progressCounter("checked", len(all), "accounts")
	inParallel(accountsAtATime, all, func(ac *accountCheck) {
		ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, &record.Fault{
			Reason: record.TimedOut, Err: fmt.Errorf("the check of the account took longer than %s", o.timeout),
			Hint: "Check whether a proxy or firewall drops packets, or set a longer --timeout.",
		})
		defer cancel()
		ac.run(ctx)
		progress()
	})
	if ctx.Err() != nil {
		return &exitError{exitFailed, context.Cause(ctx)}
	}
	rejectDuplicateAccounts(all)
	all = append(all, p.checkOrganizations(ctx, cfg.file)...)
	if err := printChecks(c.out(o.format), all, o.format); err != nil {
		return err
	}
	return checkExitError(all)
}

// preflight builds the parts of the program that sign in and call EC2: no outputs, no listener, no schedule.
func (c *cli) preflight(ctx context.Context, cfg *loadedConfig, o runOptions, log *slog.Logger) (*program, error) {
	o.once = true // the caller waits for the result
	p := &program{cli: c, opt: o, log: log, observe: runner.Tee()}
	if err := p.openSignIn(ctx, cfg, identity.Options{Checking: true}, nil); err != nil {
		return nil, err
	}
	p.members = accounts.NewDirectory(p.sessions.Members, accounts.MembersPath(cfg.file.DataDir), log)
	return p, nil
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

// progressCounter shows "checked 3 of 10 accounts" on a terminal. Each call of the result counts one more, and the last
// call erases the line.
func (c *cli) progressCounter(verb string, total int, noun string) func() {
	if !c.supportsLiveView(c.stderr) {
		return func() {}
	}
	screen := printable.Unwrap(c.stderr) // control sequences must pass unescaped
	var mu sync.Mutex
	n := 0
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if n++; n < total {
			fmt.Fprintf(screen, "\r%s %d of %d %s", verb, n, total, noun)
			return
		}
		fmt.Fprint(screen, "\r\x1b[K")
	}
}

// accountCheck is the check of one account and its result.
type accountCheck struct {
	program    *program
	account    *runner.Account
	block      config.Account
	limits     *runner.Limits
	allRegions bool // check every kind in every region

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
	MissingAction string
}

func (ac *accountCheck) run(ctx context.Context) {
	o, err := ac.account.Open(ctx)
	if err != nil {
		ac.err = err
		return
	}
	in := o.(*openedAccount) // program.runnerAccount returns no other type
	ac.session = in.session
	if age, ok, err := ac.program.sessions.KeyAge(ctx, in.session); err != nil {
		ac.keyErr = err
	} else if ok {
		ac.key = &age
	}
	if ac.plan, err = in.Regions(ctx, ac.limits.Gate(ac.account.Name, "", runner.Kind{})); err != nil {
		ac.err = err
		return
	}
	ac.action = in.missingAction
	kinds := slices.Concat(ac.account.Kinds, ac.account.Parents)
	probe := slices.MinFunc(kinds, func(a, b runner.Kind) int { // prefer a kind without a parent that is regional
		return cmp.Or(compareBool(a.Parent != "", b.Parent != ""), compareBool(a.Global, b.Global))
	})
	inParallel(triesAtATime, ac.plan.Regions, func(region string) { ac.tryKind(ctx, in, region, probe) })
	home := ac.homeRegion()
	for _, region := range ac.plan.Regions {
		if region != home && !ac.allRegions {
			continue
		}
		inParallel(triesAtATime, kinds, func(k runner.Kind) {
			if k.Name != probe.Name && (region == home || !k.Global) {
				ac.tryKind(ctx, in, region, k)
			}
		})
	}
	slices.SortFunc(ac.results, func(a, b kindResult) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Kind, b.Kind))
	})
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

func (ac *accountCheck) tryKind(ctx context.Context, in *openedAccount, region string, k runner.Kind) {
	kind, _ := collectors.KindNamed(k.Name)
	t := in.lister.Check(ctx, in.callOptions(region, ac.limits.Gate(ac.account.Name, region, k)), kind)
	target := record.Target{Account: ac.account.Name, Region: region, Kind: k.Name}
	o := record.Outcome{Target: target, State: record.StateOf(t.Err, 0)}
	if t.Err != nil {
		o.Reason, o.Error, o.Hint = record.ReasonOf(t.Err), t.Err.Error(), record.HintOf(t.Err)
		o.Expected = o.State == record.Denied && ac.account.Expected != nil && ac.account.Expected(region, k.Name)
	}
	ac.mu.Lock()
	defer ac.mu.Unlock()
	ac.results = append(ac.results, kindResult{o, t.MissingAction})
	// The smallest difference is of the fastest response, so it is the most exact.
	if t.ClockKnown && (ac.clock == nil || t.ClockAhead.Abs() < ac.clock.Abs()) {
		ac.clock = &t.ClockAhead
	}
}

// homeRegion is the region in which every kind is checked: the partition's default region if something is allowed
// there, else the first region in which something is allowed, else the first region.
func (ac *accountCheck) homeRegion() string {
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
func rejectDuplicateAccounts(all []*accountCheck) {
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
func (ac *accountCheck) status() record.Status {
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
func (ac *accountCheck) unusable() bool {
	refused, kinds := len(ac.plan.Disabled), catalogue()
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

func checkExitError(all []*accountCheck) error {
	good, failed, partial := 0, 0, 0
	for _, ac := range all {
		switch ac.status() {
		case record.RunFailed:
			failed++
		case record.RunPartial:
			partial++
		case record.Success:
			if !ac.organization { // an organization alone collects nothing
				good++
			}
		}
	}
	switch {
	case good+partial == 0:
		return &exitError{code: exitFailed}
	case failed+partial > 0:
		return &exitError{code: exitPartial}
	}
	return nil
}
