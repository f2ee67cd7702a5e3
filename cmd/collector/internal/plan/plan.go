// Package plan estimates the calls that a configuration makes, without asking AWS. Begin at [Make].
package plan

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// CallDuration is how long a call takes in a plan. AWS documents no value; from far away calls take longer.
const CallDuration = 80 * time.Millisecond

// A Plan is an estimate of the calls that a configuration makes. Its numbers are lower bounds: they are exact for an
// account without resources, when AWS answers at once.
type Plan struct {
	Assumptions []string  `json:"assumptions"`
	Warnings    []string  `json:"warnings"`
	Regions     []Region  `json:"regions"`
	Accounts    []Account `json:"accounts"`
	Services    []Service `json:"services"`
	Costs       []Cost    `json:"costs"` // highest first
	Total       Total     `json:"total"`
}

// A Region is a region in the runs of one schedule of an account.
type Region struct {
	Account     string  `json:"account"`
	Schedule    string  `json:"schedule"`
	Region      string  `json:"region"`
	OptIn       bool    `json:"opt_in"` // a glob matches it, and it exists only if the account has opted in
	Kinds       int     `json:"kinds"`
	Calls       int     `json:"calls"`
	Seconds     float64 `json:"seconds"`
	CallsPerDay float64 `json:"calls_per_day"`

	cost           *listingCost
	discoveryCalls int // calls that find the regions of the account
}

// listingCost is the cost of listing in a region. It is the same for all regions of a run, except for global kinds.
type listingCost struct {
	kinds      int // without parents that are listed only for their ids
	byKind     map[string]int
	calls      int
	ofChildren int // calls of kinds with a parent
	seconds    float64
}

// An Account is the runs of one schedule of an account. Regions that need an opt-in are counted separately.
type Account struct {
	Account     string  `json:"account"`
	Schedule    string  `json:"schedule"`
	Regions     int     `json:"regions"`
	Calls       int     `json:"calls"`
	Seconds     float64 `json:"seconds"`
	RunsPerDay  float64 `json:"runs_per_day"`
	CallsPerDay float64 `json:"calls_per_day"`

	OptInRegions     int     `json:"opt_in_regions"`
	OptInCalls       int     `json:"opt_in_calls"`
	OptInCallsPerDay float64 `json:"opt_in_calls_per_day"`
}

// A Cost is the cost of one kind in all accounts and regions, without regions that need an opt-in.
type Cost struct {
	Kind        string  `json:"kind"`
	Action      string  `json:"action"`
	Calls       int     `json:"calls"` // if each schedule runs once
	CallsPerDay float64 `json:"calls_per_day"`
}

// A Total is the cost of all accounts.
type Total struct {
	Accounts         int     `json:"accounts"`
	Calls            int     `json:"calls"` // if each schedule runs once
	Seconds          float64 `json:"seconds"`
	CallsPerDay      float64 `json:"calls_per_day"`
	OptInCallsPerDay float64 `json:"opt_in_calls_per_day"`
}

// Options are the options of a plan.
type Options struct {
	Selection     account.Selection
	Once          bool // of a single run instead of schedules
	CallsInFlight int
	Assume        map[string]int // assumed resources of a kind in each region
}

// planner has what all accounts of a plan share.
type planner struct {
	Options
	now       time.Time
	rates     map[string]float64 // runs per day, by spec
	uncounted map[string]bool    // kinds whose parent has no assumed resources
}

// Make returns the plan of a configuration and of the members of its organizations that were found before. Its errors
// are about what the user wrote.
func Make(f *config.File, members *accounts.Directory, o Options) (*Plan, error) {
	for kind, n := range o.Assume {
		if _, ok := collectors.KindNamed(kind); !ok || n < 0 {
			return nil, fmt.Errorf("--assume %s=%d: want a kind that %q lists, and a number of resources",
				kind, n, "collector kinds")
		}
	}
	pl := planner{Options: o, now: time.Now(), rates: map[string]float64{}, uncounted: map[string]bool{}}
	return pl.plan(f, members)
}

func (pl *planner) plan(f *config.File, members *accounts.Directory) (*Plan, error) {
	blocks, err := pl.Selection.Blocks(members.Resolve(f, nil))
	if err != nil {
		return nil, err
	}
	out := &Plan{Warnings: []string{}, Total: Total{Accounts: len(blocks)}}
	out.Warnings = append(out.Warnings, members.EstimateNotes(pl.Selection.Organizations(f))...)
	costs := costs{}
	opener := account.Opener{Selection: pl.Selection, Once: pl.Once}
	for i := range blocks {
		a, err := opener.Account(&blocks[i])
		if err != nil {
			return nil, err
		}
		ticks := a.Ticks
		if pl.Once {
			ticks = []runner.Tick{{Spec: "once"}}
		}
		for _, t := range ticks {
			rows, err := pl.runRegions(blocks[i], a, t)
			if err != nil {
				return nil, err
			}
			sum := pl.summarize(a, t, rows)
			out.Regions, out.Accounts = append(out.Regions, rows...), append(out.Accounts, sum)
			out.Warnings = append(out.Warnings, pl.warnings(a, sum)...)
			costs.add(rows, pl.runsADay(t))
			out.Total.Calls += sum.Calls
			out.Total.CallsPerDay += sum.CallsPerDay
			out.Total.OptInCallsPerDay += sum.OptInCallsPerDay
			out.Total.Seconds = max(out.Total.Seconds, sum.Seconds)
		}
	}
	out.Total.Seconds = round(max(out.Total.Seconds, callSeconds(out.Total.Calls, pl.CallsInFlight)))
	out.Costs, out.Services, out.Assumptions = costs.sorted(), costs.services(), pl.assumptions()
	return out, nil
}

// costs are the costs by kind.
type costs map[string]*Cost

// add adds a run in regions.
func (c costs) add(rows []Region, runsADay float64) {
	count := func(kind string, calls int) {
		if c[kind] == nil {
			c[kind] = &Cost{Kind: kind, Action: actionOf(kind)}
		}
		c[kind].Calls += calls
		c[kind].CallsPerDay += float64(calls) * runsADay
	}
	regions := map[*listingCost]int{}
	for _, r := range rows {
		if r.discoveryCalls > 0 {
			count(regionDiscovery, r.discoveryCalls)
		}
		if !r.OptIn {
			regions[r.cost]++
		}
	}
	for cost, n := range regions {
		for kind, calls := range cost.byKind {
			count(kind, n*calls)
		}
	}
}

// sorted returns the costs, the highest first.
func (c costs) sorted() []Cost {
	var all []Cost
	for _, cost := range c {
		all = append(all, *cost)
	}
	slices.SortFunc(all, func(a, b Cost) int {
		return cmp.Or(cmp.Compare(b.CallsPerDay, a.CallsPerDay), cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Kind, b.Kind))
	})
	return all
}

// regionDiscovery stands in place of a kind for the call that finds the regions.
const regionDiscovery = "(finding the regions)"

func actionOf(kind string) string {
	if k, ok := collectors.KindNamed(kind); ok {
		return k.Action()
	}
	return "ec2:DescribeRegions"
}

// plannedRegions returns the regions that a block lists for certain, those that it lists if the account has opted in,
// and the region that is asked for the list of regions.
func (pl *planner) plannedRegions(block config.Account) (certain, optIn []string, discovery string, err error) {
	part, ok := record.PartitionNamed(auth.PartitionOf(block))
	if !ok {
		return nil, nil, "", fmt.Errorf("account %q: unknown partition %q", block.Name, auth.PartitionOf(block))
	}
	var rs collectors.Regions
	for _, r := range part.Regions {
		if part.IsOptIn(r) && !slices.Contains(block.Collect.Regions, r) {
			rs.Disabled = append(rs.Disabled, r)
		} else {
			rs.Enabled = append(rs.Enabled, r)
		}
	}
	globs := pl.Selection.Regions
	certain = account.ChooseRegions(block.Collect, globs, rs).Regions
	optIn = account.ChooseRegions(block.Collect, globs, collectors.Regions{Enabled: rs.Disabled, Complete: true}).Regions
	if len(certain)+len(optIn) == 0 {
		return nil, nil, "", fmt.Errorf("account %q: no region of partition %s matches "+
			"collector_configs.regions and --region", block.Name, part.ID)
	}
	return certain, optIn, account.DiscoveryRegion(block.Collect, part), nil
}

// runRegions returns the regions of a run: what the runner's jobs will do.
func (pl *planner) runRegions(block config.Account, a *runner.Account, t runner.Tick) ([]Region, error) {
	var kinds, global []runner.Kind
	for _, k := range a.Kinds {
		switch {
		case len(t.Kinds) > 0 && !slices.Contains(t.Kinds, k.Name):
		case k.GlobalService:
			global = append(global, k)
		default:
			kinds = append(kinds, k)
		}
	}
	var rows []Region
	if len(global) > 0 {
		rows = append(rows, Region{
			Account: a.Name, Schedule: t.Spec, Region: record.GlobalRegion, cost: pl.listingCost(a, global, true),
		})
	}
	if len(kinds) > 0 {
		regional, err := pl.inRegions(block, a, t, kinds)
		if err != nil {
			return nil, err
		}
		rows = append(rows, regional...)
	}
	for i := range rows {
		r := &rows[i]
		r.Kinds, r.Calls = r.cost.kinds, r.cost.calls+r.discoveryCalls
		r.Seconds = round(r.cost.seconds + callSeconds(r.discoveryCalls, 1))
		r.CallsPerDay = round(float64(r.Calls) * pl.runsADay(t))
	}
	return rows, nil
}

// inRegions returns the regions of a run with the costs of kinds that have regions.
func (pl *planner) inRegions(
	block config.Account, a *runner.Account, t runner.Tick, kinds []runner.Kind,
) ([]Region, error) {
	certain, optIn, discovery, err := pl.plannedRegions(block)
	if err != nil {
		return nil, err
	}
	first, others := pl.listingCost(a, kinds, true), pl.listingCost(a, kinds, false)
	var rows []Region
	for i, region := range slices.Concat(certain, optIn) {
		cost := others
		if i == 0 {
			cost = first
		}
		rows = append(rows, Region{
			Account: a.Name, Schedule: t.Spec, Region: region, OptIn: i >= len(certain), cost: cost,
		})
	}
	at := slices.IndexFunc(rows, func(r Region) bool { return r.Region == discovery })
	if at < 0 {
		rows = append(rows, Region{Account: a.Name, Schedule: t.Spec, Region: discovery, cost: new(listingCost)})
		at = len(rows) - 1
	}
	rows[at].discoveryCalls = 1
	return rows, nil
}

// listingCost returns the cost of listing kinds in a region, with global kinds if global is set.
func (pl *planner) listingCost(a *runner.Account, kinds []runner.Kind, global bool) *listingCost {
	cost := &listingCost{byKind: map[string]int{}}
	shared := map[string]int{} // calls by service, of services whose APIs share one budget
	for _, k := range kinds {
		if k.Global && !global {
			continue
		}
		cost.kinds++
		// A parent that is not a kind of the account is listed for its ids.
		for isListed := true; isListed; k, isListed = parentOf(a, k) {
			if _, counted := cost.byKind[k.Name]; counted {
				continue
			}
			n := pl.calls(k.Name)
			cost.byKind[k.Name] = n
			cost.calls += n
			if k.Parent != "" {
				cost.ofChildren += n
			}
			budgeted := n
			if k.Shared {
				shared[k.Service] += n
				budgeted = shared[k.Service]
			}
			cost.seconds = max(cost.seconds, budgetWait(k, budgeted))
		}
	}
	cost.seconds = max(cost.seconds, pl.listingSeconds(cost.calls, cost.ofChildren, 1))
	return cost
}

func parentOf(a *runner.Account, k runner.Kind) (runner.Kind, bool) {
	for _, ks := range [][]runner.Kind{a.Kinds, a.Parents} {
		if i := slices.IndexFunc(ks, func(p runner.Kind) bool { return p.Name == k.Parent }); i >= 0 {
			return ks[i], true
		}
	}
	return runner.Kind{}, false
}

// calls is how many calls list a kind in a region: one for each page, or one for each resource of the parent, and those
// for the tags.
func (pl *planner) calls(name string) int {
	k, _ := collectors.KindNamed(name)
	pages := 1
	if k.Max > 0 {
		pages = max(1, (pl.Assume[name]+k.Max-1)/k.Max)
	}
	ofTags := 0
	if n := pl.Assume[name]; k.TagsBy != nil {
		ofTags = max((n+k.TagsBy.Max-1)/k.TagsBy.Max, min(n, pl.Assume[k.Parent])) // each parent has pages of its own
	}
	if k.Parent == "" {
		return pages + ofTags
	}
	parents := pl.Assume[k.Parent]
	if parents == 0 {
		pl.uncounted[name] = true
		return 0
	}
	return max(parents, pages) + ofTags
}

// budgetWait is how many seconds calls wait for the budget of a kind's API in a region.
func budgetWait(k runner.Kind, calls int) float64 {
	perSecond, atOnce := runner.BudgetOf(k.Refill, k.Burst)
	return float64(max(0, calls-atOnce)) / perSecond
}

// listingSeconds is how long calls take in a number of regions, some of kinds with a parent: those are listed for
// several parents at once.
func (pl *planner) listingSeconds(calls, ofChildren, regions int) float64 {
	width := runner.RunConcurrency(pl.CallsInFlight, 1)
	return max(callSeconds(calls-ofChildren, runner.RunConcurrency(pl.CallsInFlight, regions)),
		callSeconds(calls, runner.RunConcurrency(pl.CallsInFlight, regions*width)))
}

// callSeconds is how long calls take with a number of them in flight.
func callSeconds(calls, concurrency int) float64 {
	return math.Ceil(float64(calls)/float64(concurrency)) * CallDuration.Seconds()
}

func round(f float64) float64 { return math.Round(f*100) / 100 }

func (pl *planner) summarize(a *runner.Account, t runner.Tick, rows []Region) Account {
	sum := Account{Account: a.Name, Schedule: t.Spec, RunsPerDay: round(pl.runsADay(t))}
	discovery, ofChildren := 0, 0
	for _, r := range rows {
		discovery += r.discoveryCalls
		if r.OptIn {
			sum.OptInRegions++
			sum.OptInCalls += r.Calls
			continue
		}
		if r.Kinds > 0 {
			sum.Regions++
		}
		sum.Calls += r.Calls
		ofChildren += r.cost.ofChildren
		sum.Seconds = max(sum.Seconds, r.cost.seconds)
	}
	listing := pl.listingSeconds(sum.Calls-discovery, ofChildren, sum.Regions)
	sum.Seconds = round(max(sum.Seconds, listing) + callSeconds(discovery, 1))
	sum.CallsPerDay = round(float64(sum.Calls) * pl.runsADay(t))
	sum.OptInCallsPerDay = round(float64(sum.OptInCalls) * pl.runsADay(t))
	return sum
}

// runsADay is the mean of the coming year, which includes weekdays, months and daylight saving time.
func (pl *planner) runsADay(t runner.Tick) float64 {
	if t.Schedule == nil {
		return 0
	}
	if n, ok := pl.rates[t.Spec]; ok {
		return n
	}
	const days = 365
	at := t.Schedule.Next(pl.now)
	end := pl.now.AddDate(0, 0, days)
	n := 0.0
	if gap := t.Schedule.Next(at).Sub(at); gap > 0 && gap < time.Minute { // only @every is so fast, and is so all year
		n = days * 24 * float64(time.Hour) / float64(gap)
	} else {
		for ; !at.IsZero() && !at.After(end); at = t.Schedule.Next(at) {
			n++
		}
	}
	pl.rates[t.Spec] = n / days
	return pl.rates[t.Spec]
}

// warnings reports runs that take longer than they may.
func (pl *planner) warnings(a *runner.Account, s Account) []string {
	var out []string
	if period := 24 * 3600 / s.RunsPerDay; s.RunsPerDay > 0 && s.Seconds > period {
		out = append(out, fmt.Sprintf("account %q: a run of schedule %q takes at least %s, longer than until the next run",
			s.Account, s.Schedule, formatSeconds(s.Seconds)))
	}
	if a.Timeout > 0 && s.Seconds > a.Timeout.Seconds() {
		out = append(out, fmt.Sprintf("account %q: a run of schedule %q takes at least %s, longer than its timeout of %s",
			s.Account, s.Schedule, formatSeconds(s.Seconds), a.Timeout))
	}
	return out
}

func (pl *planner) assumptions() []string {
	perRegion := runner.RunConcurrency(pl.CallsInFlight, 1)
	perAccount := runner.RunConcurrency(pl.CallsInFlight, pl.CallsInFlight)
	out := []string{
		"All numbers are lower bounds: each listing has one page, AWS refuses and throttles nothing, " +
			"and no call is repeated.",
		fmt.Sprintf("A call takes %s. In each account and region, an API gets at most half of the refill and burst that "+
			"its service documents (see docs/kinds.md). At most %d calls are in flight for an account in a region "+
			"(as many for each of several parents), %d for an account, and %d in total.",
			CallDuration, perRegion, perAccount, pl.CallsInFlight),
		"Globs match the regions that this version knows. Regions that need an opt-in are shown as opt-in, " +
			"and no sum includes them.",
		"Signing in also calls STS, but rarely: sessions are used until they expire.",
	}
	if !pl.Once {
		out = append(out, "A day is the average day of the coming year.")
	}
	for _, kind := range slices.Sorted(maps.Keys(pl.Assume)) {
		out = append(out, fmt.Sprintf("Each region has %d resources of kind %s.", pl.Assume[kind], kind))
	}
	if len(pl.uncounted) > 0 {
		out = append(out, "A kind with a parent needs a call for each resource of the parent. Their number is unknown, "+
			"so these kinds count as zero: "+strings.Join(slices.Sorted(maps.Keys(pl.uncounted)), ", ")+
			". To count them, use --assume PARENT=N.")
	}
	return out
}
