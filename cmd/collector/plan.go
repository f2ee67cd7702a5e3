package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// assumedCallDuration is how long a call takes in a plan. AWS documents no value; from far away calls take longer.
const assumedCallDuration = 80 * time.Millisecond

// shownCosts is the number of kinds in the table of costs; -o json has all.
const shownCosts = 10

// plan is an estimate of the calls that a configuration makes, without asking AWS. Its numbers are lower bounds: they
// are exact for an account without resources, when AWS answers at once.
type plan struct {
	Assumptions []string      `json:"assumptions"`
	Warnings    []string      `json:"warnings"`
	Regions     []planRegion  `json:"regions"`
	Accounts    []planAccount `json:"accounts"`
	Costs       []planCost    `json:"costs"` // highest first
	Total       planTotal     `json:"total"`
}

// planRegion is a region in the runs of one schedule of an account.
type planRegion struct {
	Account  string  `json:"account"`
	Schedule string  `json:"schedule"`
	Region   string  `json:"region"`
	OptIn    bool    `json:"opt_in"` // a glob matches it, and it exists only if the account has opted in
	Kinds    int     `json:"kinds"`
	Calls    int     `json:"calls"`
	Seconds  float64 `json:"seconds"`
	CallsDay float64 `json:"calls_a_day"`

	cost           *listingCost
	discoveryCalls int // calls that find the regions of the account
}

// listingCost is the cost of listing in a region. It is the same for all regions of a run, except for global kinds.
type listingCost struct {
	kinds   int // without parents that are listed only for their ids
	byKind  map[string]int
	calls   int
	seconds float64
}

// planAccount is the runs of one schedule of an account. Regions that need an opt-in are counted separately.
type planAccount struct {
	Account  string  `json:"account"`
	Schedule string  `json:"schedule"`
	Regions  int     `json:"regions"`
	Calls    int     `json:"calls"`
	Seconds  float64 `json:"seconds"`
	RunsDay  float64 `json:"runs_a_day"`
	CallsDay float64 `json:"calls_a_day"`

	OptInRegions  int     `json:"opt_in_regions"`
	OptInCalls    int     `json:"opt_in_calls"`
	OptInCallsDay float64 `json:"opt_in_calls_a_day"`
}

// planCost is the cost of one kind in all accounts and regions, without regions that need an opt-in.
type planCost struct {
	Kind     string  `json:"kind"`
	Action   string  `json:"action"`
	Calls    int     `json:"calls"` // if each schedule runs once
	CallsDay float64 `json:"calls_a_day"`
}

type planTotal struct {
	Accounts      int     `json:"accounts"`
	Calls         int     `json:"calls"` // if each schedule runs once
	Seconds       float64 `json:"seconds"`
	CallsDay      float64 `json:"calls_a_day"`
	OptInCallsDay float64 `json:"opt_in_calls_a_day"`
}

// planner has what all accounts of a plan share.
type planner struct {
	program       *program
	callsInFlight int
	assume        map[string]int // assumed resources of a kind in each region
	now           time.Time
	rates         map[string]float64 // runs per day, by spec
	uncounted     map[string]bool    // kinds whose parent has no assumed resources
}

// plan prints an estimate of the calls that a configuration makes. It makes no AWS calls.
func (c *cli) plan(ctx context.Context, o runOptions, w io.Writer, format string) error {
	if format != "table" && format != "json" {
		return usageError(fmt.Errorf("-o %q is not table or json", format))
	}
	for kind, n := range o.assume {
		if _, ok := collectors.KindNamed(kind); !ok || n < 0 {
			return usageError(fmt.Errorf("--assume %s=%d: want a kind that %q lists, and a number of resources",
				kind, n, "collector kinds"))
		}
	}
	cfg, err := c.loadConfig(ctx)
	if err != nil {
		return err
	}
	members := accounts.NewDirectory(nil, accounts.MembersPath(cfg.file.DataDir), slog.New(slog.DiscardHandler))
	pl := planner{
		program: &program{cli: c, opt: o, members: members}, callsInFlight: cfg.file.Limits.CallsInFlight,
		assume: o.assume, now: time.Now(), rates: map[string]float64{}, uncounted: map[string]bool{},
	}
	out, err := pl.plan(cfg.file)
	if err != nil {
		return err
	}
	if format == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(out)
	}
	return out.print(w)
}

func (pl *planner) plan(f *config.File) (*plan, error) {
	blocks, err := pl.program.selectedBlocks(pl.program.resolveAccounts(f))
	if err != nil {
		return nil, err
	}
	out := &plan{Warnings: []string{}, Total: planTotal{Accounts: len(blocks)}}
	out.Warnings = append(out.Warnings, pl.program.members.EstimateNotes(pl.program.selectedOrganizations(f))...)
	costs := map[string]*planCost{}
	for i := range blocks {
		block := blocks[i]
		a, err := pl.program.runnerAccount(&blocks[i], specCache{})
		if err != nil {
			return nil, usageError(err)
		}
		ticks := a.Ticks
		if pl.program.opt.once {
			ticks = []runner.Tick{{Spec: "once"}}
		}
		for _, t := range ticks {
			rows, err := pl.runRegions(block, a, t)
			if err != nil {
				return nil, err
			}
			sum := pl.summarize(a, t, rows)
			out.Regions, out.Accounts = append(out.Regions, rows...), append(out.Accounts, sum)
			out.Warnings = append(out.Warnings, pl.warnings(a, sum)...)
			count := func(kind string, calls int) {
				c := costs[kind]
				if c == nil {
					c = &planCost{Kind: kind, Action: actionOf(kind)}
					costs[kind] = c
				}
				c.Calls += calls
				c.CallsDay += float64(calls) * pl.runsADay(t)
			}
			count(regionDiscovery, 1)
			regions := map[*listingCost]int{}
			for _, r := range rows {
				if !r.OptIn {
					regions[r.cost]++
				}
			}
			for cost, n := range regions {
				for kind, calls := range cost.byKind {
					count(kind, n*calls)
				}
			}
			out.Total.Calls += sum.Calls
			out.Total.CallsDay += sum.CallsDay
			out.Total.OptInCallsDay += sum.OptInCallsDay
			out.Total.Seconds = max(out.Total.Seconds, sum.Seconds)
		}
	}
	out.Total.Seconds = round(max(out.Total.Seconds, callSeconds(out.Total.Calls, pl.callsInFlight)))
	for _, c := range costs {
		out.Costs = append(out.Costs, *c)
	}
	sort.Slice(out.Costs, func(i, j int) bool {
		a, b := out.Costs[i], out.Costs[j]
		if a.CallsDay != b.CallsDay {
			return a.CallsDay > b.CallsDay
		}
		if a.Calls != b.Calls {
			return a.Calls > b.Calls
		}
		return a.Kind < b.Kind
	})
	out.Assumptions = pl.assumptions()
	return out, nil
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
		return nil, nil, "", usageError(fmt.Errorf("account %q: unknown partition %q", block.Name, auth.PartitionOf(block)))
	}
	var rs collectors.Regions
	for _, r := range part.Regions {
		if part.IsOptIn(r) && !slices.Contains(block.Collect.Regions, r) {
			rs.Disabled = append(rs.Disabled, r)
		} else {
			rs.Enabled = append(rs.Enabled, r)
		}
	}
	globs := pl.program.opt.regions
	certain = chooseRegions(block.Collect, globs, rs).Regions
	optIn = chooseRegions(block.Collect, globs, collectors.Regions{Enabled: rs.Disabled, Complete: true}).Regions
	if len(certain)+len(optIn) == 0 {
		return nil, nil, "", usageError(fmt.Errorf("account %q: no region of partition %s matches "+
			"collector_configs.regions and --region", block.Name, part.ID))
	}
	return certain, optIn, discoveryRegion(block.Collect, part), nil
}

// runRegions returns the regions of a run: what the runner's jobs will do.
func (pl *planner) runRegions(block config.Account, a *runner.Account, t runner.Tick) ([]planRegion, error) {
	certain, optIn, discovery, err := pl.plannedRegions(block)
	if err != nil {
		return nil, err
	}
	kinds := a.Kinds
	if len(t.Kinds) > 0 {
		notInTick := func(k runner.Kind) bool { return !slices.Contains(t.Kinds, k.Name) }
		kinds = slices.DeleteFunc(slices.Clone(kinds), notInTick)
	}
	first, others := pl.listingCost(a, kinds, true), pl.listingCost(a, kinds, false)
	var rows []planRegion
	for i, region := range slices.Concat(certain, optIn) {
		cost := others
		if i == 0 {
			cost = first
		}
		rows = append(rows, planRegion{
			Account: a.Name, Schedule: t.Spec, Region: region, OptIn: i >= len(certain), cost: cost,
		})
	}
	at := slices.IndexFunc(rows, func(r planRegion) bool { return r.Region == discovery })
	if at < 0 {
		rows = append(rows, planRegion{Account: a.Name, Schedule: t.Spec, Region: discovery, cost: new(listingCost)})
		at = len(rows) - 1
	}
	rows[at].discoveryCalls = 1
	for i := range rows {
		r := &rows[i]
		r.Kinds, r.Calls = r.cost.kinds, r.cost.calls+r.discoveryCalls
		r.Seconds = round(r.cost.seconds + callSeconds(r.discoveryCalls, 1))
		r.CallsDay = round(float64(r.Calls) * pl.runsADay(t))
	}
	return rows, nil
}

// listingCost returns the cost of listing kinds in a region, with global kinds if global is set.
func (pl *planner) listingCost(a *runner.Account, kinds []runner.Kind, global bool) *listingCost {
	cost := &listingCost{byKind: map[string]int{}}
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
			cost.seconds = max(cost.seconds, budgetWait(k, n))
		}
	}
	cost.seconds = max(cost.seconds, callSeconds(cost.calls, runner.RunConcurrency(pl.callsInFlight, 1)))
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

// calls is how often a kind's API is called in a region: once for each page, or once for each resource of the parent.
func (pl *planner) calls(name string) int {
	k, _ := collectors.KindNamed(name)
	pages := 1
	if k.Max > 0 {
		pages = max(1, (pl.assume[name]+k.Max-1)/k.Max)
	}
	if k.Parent == "" {
		return pages
	}
	parents := pl.assume[k.Parent]
	if parents == 0 {
		pl.uncounted[name] = true
		return 0
	}
	return max(parents, pages)
}

// budgetWait is how many seconds the calls of a kind wait for its API budget in a region.
func budgetWait(k runner.Kind, calls int) float64 {
	perSecond, atOnce := runner.BudgetOf(k.Refill, k.Burst)
	return float64(max(0, calls-atOnce)) / perSecond
}

// callSeconds is how long calls take with a number of them in flight.
func callSeconds(calls, concurrency int) float64 {
	return math.Ceil(float64(calls)/float64(concurrency)) * assumedCallDuration.Seconds()
}

func round(f float64) float64 { return math.Round(f*100) / 100 }

func (pl *planner) summarize(a *runner.Account, t runner.Tick, rows []planRegion) planAccount {
	sum := planAccount{Account: a.Name, Schedule: t.Spec, RunsDay: round(pl.runsADay(t))}
	for _, r := range rows {
		if r.OptIn {
			sum.OptInRegions++
			sum.OptInCalls += r.Calls
			continue
		}
		if r.Kinds > 0 {
			sum.Regions++
		}
		sum.Calls += r.Calls
		sum.Seconds = max(sum.Seconds, r.cost.seconds)
	}
	sum.Seconds = max(sum.Seconds, callSeconds(sum.Calls-1, runner.RunConcurrency(pl.callsInFlight, sum.Regions)))
	sum.Seconds = round(sum.Seconds + callSeconds(1, 1))
	sum.CallsDay = round(float64(sum.Calls) * pl.runsADay(t))
	sum.OptInCallsDay = round(float64(sum.OptInCalls) * pl.runsADay(t))
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
func (pl *planner) warnings(a *runner.Account, s planAccount) []string {
	var out []string
	if period := 24 * 3600 / s.RunsDay; s.RunsDay > 0 && s.Seconds > period {
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
	perRegion := runner.RunConcurrency(pl.callsInFlight, 1)
	perAccount := runner.RunConcurrency(pl.callsInFlight, pl.callsInFlight)
	out := []string{
		"All numbers are lower bounds: each listing has one page, AWS refuses and throttles nothing, " +
			"and no call is repeated.",
		fmt.Sprintf("A call takes %s. In each account and region, an API gets at most half of the refill and burst that EC2 "+
			"documents (see docs/kinds.md). At most %d calls are in flight for an account in a region, "+
			"%d for an account, and %d in total.",
			assumedCallDuration, perRegion, perAccount, pl.callsInFlight),
		"Globs match the regions that this version knows. Regions that need an opt-in are shown as opt-in, " +
			"and no sum includes them.",
		"Signing in also calls STS, but rarely: sessions are used until they expire.",
	}
	if !pl.program.opt.once {
		out = append(out, "A day is the average day of the coming year.")
	}
	for _, kind := range slices.Sorted(maps.Keys(pl.assume)) {
		out = append(out, fmt.Sprintf("Each region has %d resources of kind %s.", pl.assume[kind], kind))
	}
	if len(pl.uncounted) > 0 {
		out = append(out, "A kind with a parent needs a call for each resource of the parent. Their number is unknown, "+
			"so these kinds count as zero: "+strings.Join(slices.Sorted(maps.Keys(pl.uncounted)), ", ")+
			". To count them, use --assume PARENT=N.")
	}
	return out
}

// print prints the plan as tables. Adjacent regions with the same cost share a line.
func (p *plan) print(w io.Writer) error {
	regions := resultTable{columns: []string{
		"account", "schedule", "region", "kinds", "calls_a_run", "takes", "calls_a_day",
	}}
	for i := 0; i < len(p.Regions); {
		r, n := p.Regions[i], 1
		for i+n < len(p.Regions) && r.sameCost(p.Regions[i+n]) {
			n++
		}
		name := r.Region
		if n > 1 {
			name = fmt.Sprintf("%s … %s: %d, each", r.Region, p.Regions[i+n-1].Region, n)
		}
		if r.OptIn {
			name += " (opt-in)"
		}
		regions.rows = append(regions.rows, map[string]any{
			"account": r.Account, "schedule": r.Schedule, "region": name, "kinds": r.Kinds,
			"calls_a_run": atLeast(float64(r.Calls)), "takes": "≥ " + formatSeconds(r.Seconds),
			"calls_a_day": atLeast(r.CallsDay),
		})
		i += n
	}
	accounts := resultTable{columns: []string{
		"account", "schedule", "regions", "calls_a_run", "takes", "runs_a_day", "calls_a_day", "with_opt-in",
	}}
	for _, a := range p.Accounts {
		row := map[string]any{
			"account": a.Account, "schedule": a.Schedule, "regions": a.Regions,
			"calls_a_run": atLeast(float64(a.Calls)), "takes": "≥ " + formatSeconds(a.Seconds),
			"runs_a_day": formatNumber(a.RunsDay), "calls_a_day": atLeast(a.CallsDay), "with_opt-in": "",
		}
		if a.OptInRegions > 0 {
			row["with_opt-in"] = atLeast(a.CallsDay + a.OptInCallsDay)
		}
		accounts.rows = append(accounts.rows, row)
	}
	costs := resultTable{columns: []string{"highest_costs", "action", "calls_a_run", "calls_a_day"}}
	for _, c := range p.Costs[:min(shownCosts, len(p.Costs))] {
		costs.rows = append(costs.rows, map[string]any{
			"highest_costs": c.Kind, "action": c.Action,
			"calls_a_run": atLeast(float64(c.Calls)), "calls_a_day": atLeast(c.CallsDay),
		})
	}
	for _, l := range []resultTable{regions, accounts, costs} {
		if err := l.print(w, "table"); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	t := p.Total
	fmt.Fprintf(w, "Total: %s calls if every schedule runs once, which takes ≥ %s",
		atLeast(float64(t.Calls)), formatSeconds(t.Seconds))
	if t.CallsDay > 0 {
		fmt.Fprintf(w, "; %s calls per day", atLeast(t.CallsDay))
	}
	if t.OptInCallsDay > 0 {
		fmt.Fprintf(w, ", %s if every account has opted in to every region", atLeast(t.CallsDay+t.OptInCallsDay))
	}
	fmt.Fprint(w, ".\n")
	for _, s := range p.Warnings {
		_ = safeFprintf(w, "warning: %s\n", s)
	}
	for _, s := range p.Assumptions {
		_ = safeFprintf(w, "- %s\n", s)
	}
	return nil
}

// sameCost reports whether two regions of an account have the same cost.
func (r planRegion) sameCost(o planRegion) bool {
	return r.Account == o.Account && r.Schedule == o.Schedule && r.OptIn == o.OptIn &&
		r.cost == o.cost && r.discoveryCalls == o.discoveryCalls
}

func atLeast(f float64) string { return "≥ " + formatNumber(f) }

// formatNumber rounds numbers from 10 on.
func formatNumber(f float64) string {
	if f >= 10 {
		f = math.Round(f)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

func formatSeconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
