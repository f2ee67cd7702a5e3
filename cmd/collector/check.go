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

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
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
		Short: "Sign in to every account and try every permission; lists nothing, delivers nothing",
		Long: `Signs in to each account and says who one is there, by which path and until when; which of the configured regions are enabled;
which of the configured kinds may be listed, each tried by a dry run, or by the smallest page where the API has no dry run; what is
denied, and the IAM statement that grants it; and how far this machine's clock is off.

Every kind is tried in one region of an account, where one kind is allowed, and one kind in each other region. --all-regions tries every kind in
every region. Calls keep to the budget of run: half of what EC2 documents.

An access key older than 90 days is warned of where AWS tells its age, which it does to a user who may call iam:ListAccessKeys for itself; the
collector needs that for nothing else.

Exit codes: 0 all is well, 1 no account could be entered, 2 bad usage or configuration, 3 an account could not be entered or something is
denied that expect_denied does not name.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("log-level") && c.getenv("COLLECTOR_LOG_LEVEL") == "" {
				c.logLevel = "warn" // who signed in is in the table
			}
			return c.check(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.allRegions, "all-regions", false, "try every kind in every region, not in one alone")
	f.DurationVar(&o.timeout, "timeout", 3*time.Minute, "how long the check of one account may take")
	narrowFlags(cmd, &o.runOptions)
	outputFlag(cmd, &o.format)
	return cmd
}

// check enters each account as run does, by the same fleet, and tries what run would list.
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
		log.Warn("configuration", "warning", w)
	}
	if err := makeDataDir(cfg.file.DataDir); err != nil { // MFA sessions are kept: a code is good once
		return err
	}
	p, err := c.preflight(ctx, cfg, o.runOptions, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.identities.Flush()) }()
	defer p.sessions.Close()
	defer p.members.close()

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
		all[i] = &accountCheck{program: p, account: a, block: blocks[i].Account(), limits: limits, allRegions: o.allRegions}
	}
	progress := c.progressCounter("checked", len(all), "accounts")
	inParallel(accountsAtATime, all, func(u *accountCheck) {
		ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, &record.Fault{
			Reason: record.TimedOut, Err: fmt.Errorf("the check of the account took longer than %s", o.timeout),
			Hint: "look for a proxy or firewall that swallows packets; --timeout gives it longer",
		})
		defer cancel()
		u.run(ctx)
		progress()
	})
	if ctx.Err() != nil {
		return &exitError{exitFailed, context.Cause(ctx)}
	}
	rejectDuplicateAccounts(all)
	all = append(all, p.checkOrganizations(ctx, cfg.file)...)
	if err := printCheckups(c.out(o.format), all, o.format); err != nil {
		return err
	}
	return checkExitError(all)
}

// preflight is what the program needs to enter accounts and to call EC2, and no more: no outputs, no listener, no schedule.
func (c *cli) preflight(ctx context.Context, cfg *loadedConfig, o runOptions, log *slog.Logger) (*program, error) {
	l := cfg.file.Limits
	o.aws.Version, o.aws.CallsInFlight = buildInfo().version, l.CallsInFlight
	o.aws.Getenv = c.getenv
	awsConfig, err := auth.LoadAWS(ctx, o.aws)
	if err != nil {
		return nil, err
	}
	lister, err := collectors.New(collectors.Options{
		AWS: awsConfig, Pages: record.NewPagePool(l.Pages, maxRetainedPage), Attempts: l.Attempts, MaxBackoff: time.Duration(l.MaxBackoff),
		CallTimeout: time.Duration(l.CallTimeout),
	})
	if err != nil {
		return nil, err
	}
	o.once = true // whoever asks waits for it
	claims, err := openIdentities(auth.IdentityStoreOptions{Path: identitiesPath(cfg.file.DataDir), Checking: true}, log)
	if err != nil {
		return nil, err
	}
	sessions := auth.NewSessions(auth.Options{
		AWS: awsConfig, Getenv: c.getenv, DataDir: cfg.file.DataDir, SessionKey: cfg.file.SessionKey, Identities: claims, Log: log,
	})
	return &program{
		cli: c, opt: o, log: log, observer: runner.Tee(), lister: lister, sessions: sessions, identities: claims, members: newMemberDirectory(sessions, membersPath(cfg.file.DataDir), log),
	}, nil
}

// How much of a check goes on at a time. The calls themselves are bounded by the gate, as those of a run are.
const (
	accountsAtATime = 64 // one that hangs holds one place
	triesAtATime    = 32 // of one account
)

// inParallel calls f for all of them, some at a time, and waits. f watches its context.
func inParallel[T any](places int, all []T, f func(T)) {
	var wg sync.WaitGroup
	free := make(chan struct{}, places)
	for _, x := range all {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			f(x)
		})
	}
	wg.Wait()
}

// progressCounter shows on a terminal how far something is: each call is one more, and the last takes the line away.
func (c *cli) progressCounter(done string, of int, what string) func() {
	if !c.supportsLiveView(c.stderr) {
		return func() {}
	}
	screen := printable.Unwrap(c.stderr) // which obeys
	var mu sync.Mutex
	n := 0
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if n++; n < of {
			fmt.Fprintf(screen, "\r%s %d of %d %s", done, n, of, what)
			return
		}
		fmt.Fprint(screen, "\r\x1b[K")
	}
}

// A checkup is one account's check and what it found.
type accountCheck struct {
	program    *program
	account    *runner.Account
	block      config.Account
	limits     *runner.Limits
	allRegions bool // every kind in every region

	organization bool // it is a block of organizations: whether its members could be listed

	err     error         // why the account could not be entered; then there is nothing more
	session *auth.Session // who one is
	plan    runner.Plan   // which regions
	key     *auth.KeyAge  // nil: sign-in begins with no long-lived key, or AWS does not tell
	keyErr  error         // why it does not

	mu      sync.Mutex
	results []kindResult   // of kinds
	clock   *time.Duration // how far this machine's is ahead of AWS's
}

// A try is one kind in one region.
type kindResult struct {
	record.Outcome
	Grant string // the action that is missing
}

func (u *accountCheck) run(ctx context.Context) {
	o, err := u.account.Open(ctx)
	if err != nil {
		u.err = err
		return
	}
	in := o.(*openedAccount) // as program.account opens them
	u.session = in.session
	if age, ok, err := u.program.sessions.KeyAge(ctx, in.session); err != nil {
		u.keyErr = err
	} else if ok {
		u.key = &age
	}
	if u.plan, err = in.Regions(ctx, u.limits.Gate(u.account.Name, "", runner.Kind{})); err != nil {
		u.err = err
		return
	}
	kinds := slices.Concat(u.account.Kinds, u.account.Parents)
	probe := slices.MinFunc(kinds, func(a, b runner.Kind) int { // the simplest: it has no parent, and each region its own
		return cmp.Or(compareBool(a.Parent != "", b.Parent != ""), compareBool(a.Global, b.Global))
	})
	inParallel(triesAtATime, u.plan.Regions, func(region string) { u.tryKind(ctx, in, region, probe) })
	home := u.homeRegion()
	for _, region := range u.plan.Regions {
		if region != home && !u.allRegions {
			continue
		}
		inParallel(triesAtATime, kinds, func(k runner.Kind) {
			if k.Name != probe.Name && (region == home || !k.Global) {
				u.tryKind(ctx, in, region, k)
			}
		})
	}
	slices.SortFunc(u.results, func(a, b kindResult) int { return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Kind, b.Kind)) })
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

func (u *accountCheck) tryKind(ctx context.Context, in *openedAccount, region string, k runner.Kind) {
	kind, _ := collectors.KindNamed(k.Name)
	t := in.lister.Check(ctx, in.callOptions(region, u.limits.Gate(u.account.Name, region, k)), kind)
	o := record.Outcome{Target: record.Target{Account: u.account.Name, Region: region, Kind: k.Name}, State: record.StateOf(t.Err, 0)}
	if t.Err != nil {
		o.Reason, o.Error, o.Hint = record.ReasonOf(t.Err), t.Err.Error(), record.HintOf(t.Err)
		o.Expected = o.State == record.Denied && u.account.Expected != nil && u.account.Expected(region, k.Name)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.results = append(u.results, kindResult{o, t.MissingAction})
	if t.ClockKnown && (u.clock == nil || t.ClockAhead.Abs() < u.clock.Abs()) { // the answer that was the shortest on its way
		u.clock = &t.ClockAhead
	}
}

// homeRegion is the region where every kind is tried: the partition's default if something is allowed there, else the first of
// which that is true; else the first of all.
func (u *accountCheck) homeRegion() string {
	var allowed []string
	for _, t := range u.results {
		if t.State == record.OK {
			allowed = append(allowed, t.Region)
		}
	}
	if p, ok := record.PartitionNamed(u.session.Identity.Partition); ok && slices.Contains(allowed, p.DefaultRegion) {
		return p.DefaultRegion
	}
	for _, in := range [][]string{allowed, u.plan.Regions} {
		if len(in) > 0 {
			return slices.Min(in)
		}
	}
	return ""
}

// rejectDuplicateAccounts refuses a block that turned out to be the AWS account of an earlier one, as a run does.
func rejectDuplicateAccounts(all []*accountCheck) {
	first := map[record.Identity]string{}
	for _, u := range all {
		if u.session == nil {
			continue
		}
		who := u.session.Identity
		key := record.Identity{AccountID: who.AccountID, Partition: who.Partition}
		if name, twice := first[key]; twice {
			u.err = runner.SameAccountError(who, name)
			continue
		}
		first[key] = u.account.Name
	}
}

// status is the account's row in a word, by the words of a run.
func (u *accountCheck) status() record.Status {
	if u.err != nil {
		return record.RunFailed
	}
	if u.unusable() {
		return record.RunFailed
	}
	for _, t := range u.results {
		if t.Failed() {
			return record.RunPartial
		}
	}
	return record.Success
}

// unusable reports whether no region can be listed, which is no failure of a single one.
func (u *accountCheck) unusable() bool {
	refused := len(u.plan.Disabled)
	for _, t := range u.results {
		switch k, _ := collectors.KindNamed(t.Kind); {
		case t.State == record.RegionDisabled:
			refused++
		case !k.Global || t.State != record.OK:
			return false
		}
	}
	return refused > 0
}

func checkExitError(all []*accountCheck) error {
	good, failed, partial := 0, 0, 0
	for _, u := range all {
		switch u.status() {
		case record.RunFailed:
			failed++
		case record.RunPartial:
			partial++
		case record.Success:
			if !u.organization { // which by itself is nothing
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
