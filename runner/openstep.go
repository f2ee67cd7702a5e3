package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// An openStep is the first step of each job: the sign-in and, in a job without a region, the plan.
type openStep struct {
	j *job

	account signedInAccount
	plan    Plan
}

// A signedInAccount is what the sign-in returned. opened is nil if it failed.
type signedInAccount struct {
	opened   OpenedAccount
	identity record.Identity
}

func (e *openStep) target() record.Target {
	return record.Target{Account: e.j.Account, Region: e.j.Region}
}

func (e *openStep) run() bool {
	j := e.j
	if err := j.stopErr(); err != nil {
		return e.end(err)
	}
	account := new(signedInAccount)
	return j.supervise(j.late, func() error { return e.signIn(j.ctx, account) }, func(err error) bool {
		if err != errAbandoned {
			e.account = *account
		}
		if err != nil || j.Region != "" || !j.needsRegions() {
			return e.end(err)
		}
		plan := new(Plan)
		return j.supervise(j.late, func() error { return e.findRegions(j.ctx, plan) }, func(err error) bool {
			if err == nil {
				e.plan = *plan
			}
			return e.end(err)
		})
	})
}

func (e *openStep) signIn(ctx context.Context, account *signedInAccount) error {
	j := e.j
	o, err := j.a.Open(ctx)
	if err != nil {
		if err = e.signInErr(ctx, err); errors.As(err, new(*signInError)) {
			e.storeSignIn(inventory.SignIn{Error: err.Error(), Hint: record.HintOf(err)})
		}
		return err
	}
	if late := j.late.Err(); late != nil {
		return late
	}
	identity := o.Identity()
	account.opened, account.identity = o, identity
	claimErr := j.r.o.Claim(j.Account, identity)
	if j.Region != "" {
		return claimErr // the run's opening job has stored the sign-in
	}
	signIn := o.SignIn()
	signIn.AccountID, signIn.Partition, signIn.ARN = identity.AccountID, identity.Partition, identity.ARN
	if claimErr != nil {
		signIn.Error, signIn.Hint = claimErr.Error(), record.HintOf(claimErr)
	} else {
		j.r.observe(SignedIn{j.Account, identity})
	}
	e.storeSignIn(signIn)
	return claimErr
}

func (e *openStep) findRegions(ctx context.Context, plan *Plan) error {
	g := e.j.r.o.Limits.Gate(e.j.Account, "", Kind{})
	defer g.close()
	var err error
	if *plan, err = e.account.opened.Regions(ctx, g); err != nil {
		return &planError{err}
	}
	return nil
}

// storeSignIn stores how the account signed in at the begin of the run.
func (e *openStep) storeSignIn(s inventory.SignIn) {
	if e.j.Region != "" {
		return
	}
	s.Account, s.Checked = e.j.Account, time.Now()
	e.j.r.runWriter.add(func(ctx context.Context) error { return e.j.r.o.Store.PutSignIn(ctx, s) })
}

// signInErr marks an error as a failed sign-in, unless the run was cancelled meanwhile.
func (e *openStep) signInErr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return &signInError{err}
}

// A signInError marks an error of the sign-in: the state is auth_failed, the reason is the error's own.
type signInError struct{ error }

func (e *signInError) Unwrap() error { return e.error }

// A planError marks an error of finding the account's regions: a state that is harmless for one region is a failure for
// all of them.
type planError struct{ err error }

func (e *planError) Error() string { return "find the regions: " + e.err.Error() }
func (e *planError) Unwrap() error { return e.err }

// end reads from the store which targets a failure prevents, or retires the targets that a plan no longer has.
func (e *openStep) end(err error) bool {
	j := e.j
	err = j.listingErr(e.target(), err)
	j.opened, j.identity = e.account.opened, e.account.identity
	switch {
	case j.Region != "" && err == nil:
		j.addListings()
		return true
	case j.Region != "":
		kinds, unknown := j.selectedKinds()
		for _, k := range kinds {
			j.addSteps(j.newListing(k, j.Region, err))
		}
		for _, name := range unknown {
			j.addSteps(j.newListing(Kind{Name: name}, j.Region, errRemoved))
		}
		return true
	case err != nil:
		return e.fail(err)
	case len(e.plan.Regions) == 0 && j.needsRegions():
		j.applyPlan(e.plan)
		return true
	}
	ctx, late, stop := j.storeContext()
	return j.supervise(late, func() error { return j.retire(ctx, j.identity, e.plan) }, func(err error) bool {
		stop()
		switch {
		case err == errAbandoned:
			j.logEndAbandoned(e.target())
		case !errors.Is(err, context.Canceled): // else the program is stopping, and the store did not fail
			configured := func(name string) bool { return j.conf.Account(name) != nil }
			j.r.retireOutage.report(j.r.log, j.Account, err, configured, "account", j.Account)
		}
		j.applyPlan(e.plan)
		return true
	})
}

// fail ends every target that a failure prevents. Global services are listed also if the regions are not known.
func (e *openStep) fail(cause error) bool {
	j := e.j
	kinds, unknown := j.selectedKinds()
	if errors.As(cause, new(*planError)) {
		j.addGlobalJob(kinds)
		kinds = withoutGlobalServices(kinds)
	}
	expected := new([]record.Target)
	ctx, late, stop := j.storeContext()
	read := func() error {
		*expected = j.r.expectedTargets(ctx, j.a, kinds)
		return nil
	}
	return j.supervise(late, read, func(err error) bool {
		stop()
		failed := targetsIn(j.Account, []string{""}, kinds)
		if err == nil {
			failed = *expected
		} else {
			j.logEndAbandoned(e.target())
		}
		for _, t := range failed {
			k, ok := j.a.kind(t.Kind)
			err := cause
			if !ok {
				k, err = Kind{Name: t.Kind}, errRemoved
			}
			j.addSteps(j.newListing(k, t.Region, err))
		}
		for _, name := range unknown {
			j.addSteps(j.newListing(Kind{Name: name}, "", errRemoved))
		}
		return true
	})
}

// retire retires targets in regions that a complete answer of AWS no longer names, and targets of kinds that are no
// longer configured.
func (j *job) retire(ctx context.Context, id record.Identity, plan Plan) error {
	known, err := j.r.o.Store.ActiveTargets(ctx, j.Account)
	if err != nil {
		return err
	}
	allRegions := plan.Complete && plan.Warning == nil
	var regions, kinds []record.Target
	for _, t := range known {
		planned := t.Region == record.GlobalRegion ||
			slices.Contains(plan.Regions, t.Region) || slices.Contains(plan.Disabled, t.Region)
		switch {
		case allRegions && !planned:
			regions = append(regions, t)
		case !j.a.Narrowed && !slices.ContainsFunc(j.a.Kinds, func(k Kind) bool { return k.Name == t.Kind }):
			kinds = append(kinds, t)
		}
	}
	if len(regions) > 0 {
		err = j.r.o.Store.Retire(ctx, id, regions, inventory.RegionRemoved)
	}
	if len(kinds) > 0 {
		err = errors.Join(err, j.r.o.Store.Retire(ctx, id, kinds, inventory.KindRemoved))
	}
	return err
}

// NotEnabledError is the error of a configured region that the account has not enabled.
func NotEnabledError(region string) error {
	return &record.Fault{
		Reason: record.DisabledRegion,
		Hint:   "Enable the region for the account, or remove it from regions.",
		Err:    fmt.Errorf("region %s is not enabled for the account", region),
	}
}

// applyPlan makes the follow-up jobs of a plan.
func (j *job) applyPlan(plan Plan) {
	kinds, unknown := j.selectedKinds()
	j.tally.AllKinds = len(kinds) == len(j.a.Kinds)
	j.addGlobalJob(kinds)
	for _, name := range unknown {
		j.addSteps(j.newListing(Kind{Name: name}, "", errRemoved))
	}
	if j.needsRegions() {
		j.addRegionJobs(plan, withoutGlobalServices(kinds))
	}
}

// needsRegions reports whether the job lists a kind that has regions. If not, AWS is not asked for the regions.
func (j *job) needsRegions() bool {
	kinds, _ := j.selectedKinds()
	return len(kinds) == 0 || len(withoutGlobalServices(kinds)) > 0
}

func withoutGlobalServices(kinds []Kind) []Kind {
	return slices.DeleteFunc(slices.Clone(kinds), func(k Kind) bool { return k.GlobalService })
}

// addGlobalJob adds the follow-up job of the global services.
func (j *job) addGlobalJob(kinds []Kind) {
	next := j.Job
	next.Region, next.Kinds = record.GlobalRegion, nil
	for _, k := range kinds {
		if k.GlobalService {
			next.Kinds = append(next.Kinds, k.Name)
		}
	}
	if len(next.Kinds) > 0 {
		j.followUps = append(j.followUps, next)
	}
}

// addRegionJobs adds the follow-up jobs of a plan's regions, and ends the targets in regions that are not enabled.
func (j *job) addRegionJobs(plan Plan, kinds []Kind) {
	plan = j.r.plans.set(j.Account, plan)
	j.r.observe(RegionsPlanned{j.Account, plan.Regions, plan.Disabled, plan.Warning})
	var all, regional []string
	for _, k := range kinds {
		all = append(all, k.Name)
		if !k.Global {
			regional = append(regional, k.Name)
		}
	}
	for i, region := range plan.Regions {
		next := j.Job
		next.Region, next.Kinds = region, regional // jobs share the slice: thousands may wait
		if i == 0 {
			next.Kinds = all
		}
		if len(next.Kinds) > 0 {
			j.followUps = append(j.followUps, next)
		}
	}
	for i, region := range plan.Disabled {
		for _, k := range kinds {
			if k.Global && (i > 0 || len(plan.Regions) > 0) {
				continue
			}
			j.addSteps(j.newListing(k, region, NotEnabledError(region)))
		}
	}
	if len(plan.Regions)+len(plan.Disabled) == 0 {
		for _, k := range kinds {
			j.addSteps(j.newListing(k, "", &record.Fault{
				Reason: record.Other,
				Hint:   "Set regions to names or globs of regions that are enabled for the account.",
				Err:    errors.New("regions matches no enabled region of the account"),
			}))
		}
	}
}
