package page

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
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
	region  string
	state   record.State
	example record.Outcome // of a kind in that state
	kinds   int            // in that state
	oldest  time.Time      // complete listing; zero: none
	never   int
	late    time.Duration
	listing bool // in progress
}

// A coverageReader folds the status board. Everything it needs is in memory.
type coverageReader struct {
	board    *board.Board
	accounts query.Accounts
	now      time.Time
}

func (r coverageReader) read() *coverage {
	c := &coverage{now: r.now, listings: r.board.Listings(), failing: map[record.Target]bool{}}
	byName := map[string]*account{}
	for info := range r.board.Accounts() {
		if info.Task {
			c.organizations = append(c.organizations, info)
			continue
		}
		a := &account{AccountInfo: info, cells: map[string]*cell{}, tags: r.accounts.Tags[info.Name]}
		byName[info.Name] = a
		c.accounts = append(c.accounts, a)
	}
	calendar := runner.NewCalendar(r.accounts.Configuration)
	causes := newCauses()
	kinds := map[string]bool{}
	for t := range r.board.Targets() {
		if a := byName[t.Account]; a != nil {
			kinds[t.Kind] = true
			late := time.Duration(0)
			if t.CanComplete() {
				late = calendar.Overdue(t.Target, t.LastSuccess, r.now, len(a.Running) > 0)
			}
			a.add(t, late)
			if t.Failed() {
				causes.add(t)
				c.failing[t.Target] = true
			}
		}
	}
	for _, l := range c.listings {
		if a := byName[l.Account]; a != nil {
			a.cell(l.Region).listing = true
		}
	}
	for _, a := range c.accounts {
		for _, k := range a.Kinds {
			kinds[k] = true
		}
		r.addUnknown(a)
		a.sum()
	}
	c.kinds, c.causes, c.regions = len(kinds), causes.sorted(), columns(c.accounts)
	return c
}

// addUnknown adds the regions of which no listing has ended.
func (r coverageReader) addUnknown(a *account) {
	regions := a.Regions
	if r.accounts.Configuration != nil && len(regions) == 0 && len(a.cells) == 0 {
		if conf := r.accounts.Configuration.Account(a.Name); conf != nil {
			regions = conf.Regions
		}
	}
	for _, region := range regions {
		a.cell(region)
	}
}

func (a *account) cell(region string) *cell {
	if a.cells[region] == nil {
		a.cells[region] = &cell{region: region, state: query.NeverListed}
	}
	return a.cells[region]
}

func (a *account) add(t board.TargetInfo, late time.Duration) {
	c, state := a.cell(t.Region), shownState(&t.Outcome)
	switch a, b := rank(state), rank(c.state); {
	case c.kinds == 0, a < b:
		c.state, c.kinds, c.example = state, 1, t.Outcome
	case a == b:
		c.kinds++
	}
	a.listings++
	a.resources += t.Resources
	if t.Failed() {
		a.failed++
		a.unconfirmed += t.Resources
		switch {
		case t.Acknowledged != nil:
			a.known++
		case infoOf(state).tone == toneAct:
			a.needy++
		}
	}
	switch {
	case !t.CanComplete():
	case t.LastSuccess.IsZero():
		c.never++
	case c.oldest.IsZero() || t.LastSuccess.Before(c.oldest):
		c.oldest = t.LastSuccess
	}
	c.late = max(c.late, late)
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
