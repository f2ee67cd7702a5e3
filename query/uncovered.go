package query

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// Uncovered is targets of an account that are not listed, for one reason.
type Uncovered struct {
	State       record.State
	Reason      record.Reason
	Expected    bool      // expect_denied names them
	Error, Hint string    // of one of them
	Since       time.Time // when the first of them entered the state; zero: not known
	Regions     []string  // sorted
	Kinds       []string  // sorted
	Targets     int
}

// UncoveredTargets returns the targets of an account whose last listing is not complete, those with the most targets
// first.
func UncoveredTargets(ctx context.Context, source Source, account string) ([]Uncovered, error) {
	type cause struct {
		state    record.State
		reason   record.Reason
		expected bool
		hint     string
	}
	groups := map[cause]*Uncovered{}
	for t, err := range source.Targets(ctx) {
		if err != nil {
			return nil, err
		}
		if t.Account != account || !t.Retired.IsZero() || t.State == "" || t.State == record.OK {
			continue
		}
		general := inventory.CauseOf(t.Outcome) // without what differs each time
		key := cause{t.State, t.Reason, t.Expected, general.Hint}
		g := groups[key]
		if g == nil {
			g = &Uncovered{
				State: t.State, Reason: t.Reason, Expected: t.Expected, Error: t.Error, Hint: t.Hint, Since: t.StateSince,
			}
			groups[key] = g
		}
		g.Targets++
		if t.StateSince.Before(g.Since) {
			g.Since = t.StateSince
		}
		g.Regions, g.Kinds = insert(g.Regions, t.Region), insert(g.Kinds, t.Kind)
	}
	var all []Uncovered
	for _, g := range groups {
		all = append(all, *g)
	}
	slices.SortFunc(all, func(a, b Uncovered) int {
		return cmp.Or(cmp.Compare(b.Targets, a.Targets), cmp.Compare(a.State, b.State), cmp.Compare(a.Reason, b.Reason),
			cmp.Compare(a.Hint, b.Hint))
	})
	return all, nil
}

// insert adds a text to a sorted list that does not have it.
func insert(sorted []string, s string) []string {
	i, found := slices.BinarySearch(sorted, s)
	if found {
		return sorted
	}
	return slices.Insert(sorted, i, s)
}
