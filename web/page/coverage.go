package page

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner/board"
)

// A health is how an account is counted: once, as the first of these that is true.
type health string

const (
	needsYou     health = "needs_you"               // a listing fails until a person acts
	retrying     health = "retrying"                // a listing fails, and the next run tries again
	neverListed  health = health(query.NeverListed) // no listing has ended
	acknowledged health = "acknowledged"            // every failure is acknowledged
	overdue      health = "overdue"                 // nothing fails, but something is overdue by its own schedule
	healthy      health = "healthy"
)

// A coverage is the state of everything that is configured, at one moment. It is shared by requests: read only.
type coverage struct {
	now      time.Time
	accounts []*account // by name
	regions  []string   // that an account collects, in the order of columns
	causes   []*cause   // the worst first
	kinds    int        // different kinds
	listings []board.Listing

	failing       map[record.Target]bool // what is shown as last seen
	organizations []board.AccountInfo    // whose runs list members, and no resources
}

// An account is an account with all its regions.
type account struct {
	board.AccountInfo
	tags        map[string]string
	cells       map[string]*cell // by region
	health      health
	worst       *cell
	resources   int
	unconfirmed int // of the resources: their listing fails
	listings    int // targets
	failed      int // of the listings
	known       int // of the failed: somebody acknowledged it
	needy       int // of the failed: a person must act, and nobody acknowledged it
	oldest      time.Time
	never       int // listings that can be complete and never were
	late        time.Duration
}

// A cell is an account and region: the worst state of its kinds, and how old the oldest of them is.
type cell struct {
	region      string
	state       record.State
	kind, error string // of a kind in that state
	kinds       int    // that fail in that state
	oldest      time.Time
	never       int
	late        time.Duration
	listing     bool // in progress
}

// readCoverage adds up what package query computes of the status board. Everything it needs is in memory.
func (p *Page) readCoverage(ctx context.Context, now time.Time) (*coverage, error) {
	accounts := p.o.Accounts()
	source, err := query.NewCoverage(ctx, query.BoardSource{Board: p.o.Board}, now, p.o.Kinds)
	if err != nil {
		return nil, fmt.Errorf("read the status board: %w", err)
	}
	lines, err := source.Lines(ctx, accounts)
	if err != nil {
		return nil, fmt.Errorf("read the status board: %w", err)
	}
	c := &coverage{now: now, listings: p.o.Board.Listings(), failing: map[record.Target]bool{}}
	byName := map[string]*account{}
	kinds := map[string]bool{}
	for info := range p.o.Board.Accounts() {
		if info.Task {
			c.organizations = append(c.organizations, info)
			continue
		}
		a := &account{AccountInfo: info, cells: map[string]*cell{}, tags: accounts.Tags[info.Name]}
		byName[info.Name] = a
		c.accounts = append(c.accounts, a)
		for _, k := range info.Kinds {
			kinds[k] = true
		}
	}
	causes := newCauses()
	for i := range lines {
		a := byName[lines[i].Account]
		if a == nil {
			continue // an organization, or it was removed just now
		}
		a.add(&lines[i])
		for _, f := range lines[i].Failed {
			c.failing[f.Outcome.Target] = true
			causes.add(board.TargetInfo{
				Outcome: f.Outcome, LastSuccess: f.LastComplete, Resources: f.Resources, Acknowledged: f.Acknowledged,
			})
		}
	}
	for _, a := range c.accounts {
		for _, region := range a.Regions { // of which no listing has ended
			a.cell(region)
		}
	}
	for _, l := range c.listings {
		if a := byName[l.Account]; a != nil {
			a.cell(l.Region).listing = true
		}
	}
	for _, a := range c.accounts {
		a.sum()
	}
	c.kinds, c.causes, c.regions = len(kinds), causes.sorted(), columns(c.accounts)
	return c, nil
}

func (a *account) cell(region string) *cell {
	if a.cells[region] == nil {
		a.cells[region] = &cell{region: region, state: query.NeverListed}
	}
	return a.cells[region]
}

// add adds a region. A block that moved to another AWS account has some regions twice for a while.
func (a *account) add(l *query.CoverageLine) {
	c, state := a.cell(l.Region), shownState(l)
	if rank(state) < rank(c.state) || c.state == query.NeverListed {
		c.state, c.kind, c.error, c.kinds = state, l.Kind, l.Error, 0
	}
	for i := range l.Failed {
		f := &l.Failed[i]
		if f.State == l.State {
			c.kinds++
		}
		a.unconfirmed += f.Resources
		if f.Acknowledged == nil && infoOf(shownOutcome(&f.Outcome)).tone == toneAct {
			a.needy++
		}
	}
	a.listings += l.Targets.OK + l.Targets.Failed + l.Targets.Other
	a.failed += l.Targets.Failed
	a.known += l.Targets.Acknowledged
	a.resources += l.Resources
	c.never += l.NeverComplete
	if l.LastComplete != nil && (c.oldest.IsZero() || l.LastComplete.Before(c.oldest)) {
		c.oldest = *l.LastComplete
	}
	c.late = max(c.late, time.Duration(l.Overdue)*time.Second)
}

// sum counts the account once: as what needs a person, else as what comes next in the order of healths.
func (a *account) sum() {
	for _, c := range a.cells {
		if a.worst == nil || rank(c.state) < rank(a.worst.state) ||
			rank(c.state) == rank(a.worst.state) && c.region < a.worst.region {
			a.worst = c
		}
		if a.oldest.IsZero() || !c.oldest.IsZero() && c.oldest.Before(a.oldest) {
			a.oldest = c.oldest
		}
		a.never += c.never
		a.late = max(a.late, c.late)
	}
	switch {
	case a.needy > 0:
		a.health = needsYou
	case a.failed > a.known:
		a.health = retrying
	case a.listings == 0:
		a.health = neverListed
	case a.failed > 0:
		a.health = acknowledged
	case a.late > 0:
		a.health = overdue
	default:
		a.health = healthy
	}
}

// isProblem reports whether the account is named also where others are folded into one line.
func (a *account) isProblem() bool { return a.health != healthy }

// columns are the regions of these accounts, ordered by where they are.
func columns(accounts []*account) []string {
	seen := map[string]bool{}
	var all []string
	for _, a := range accounts {
		for region := range a.cells {
			if region != "" && !seen[region] {
				seen[region] = true
				all = append(all, region)
			}
		}
	}
	slices.SortFunc(all, func(x, y string) int {
		return cmp.Or(cmp.Compare(areaRank(x), areaRank(y)), cmp.Compare(x, y))
	})
	return all
}

// areas are the beginnings of region names, in the order of columns. Those of other partitions come last.
var areas = [...]string{"us-", "ca-", "mx-", "sa-", "eu-", "il-", "me-", "af-", "ap-", "us-gov-", "cn-"}

func areaRank(region string) int {
	best := len(areas)
	for i, prefix := range areas {
		if strings.HasPrefix(region, prefix) && (best == len(areas) || len(prefix) > len(areas[best])) {
			best = i
		}
	}
	return best
}

// counts returns how many accounts have each health.
func (c *coverage) counts() map[health]int {
	counts := map[health]int{}
	for _, a := range c.accounts {
		counts[a.health]++
	}
	return counts
}

// account finds an account by its name, or returns nil.
func (c *coverage) account(name string) *account {
	i, ok := slices.BinarySearchFunc(c.accounts, name, func(a *account, n string) int { return cmp.Compare(a.Name, n) })
	if !ok {
		return nil
	}
	return c.accounts[i]
}
