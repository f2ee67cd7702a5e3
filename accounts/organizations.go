package accounts

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/runner"
)

// membersKind is what the task of an organization does.
const membersKind = "organization_members"

// Task returns the task that lists an organization's members, shortly before each run of the members, which collect
// these kinds. listed is called after each list, and makes the runner use the new members.
func (d *Directory) Task(
	o config.Organization, kinds []string, jitter time.Duration, listed func(context.Context) error,
) (*runner.Task, error) {
	ticks, err := listingTicks(o, kinds, jitter)
	if err != nil {
		return nil, err
	}
	return &runner.Task{
		Name: o.Label, Kind: membersKind, Ticks: ticks, Timeout: min(time.Duration(o.Timeout), 2*listingTimeout),
		Run: func(ctx context.Context) (warning, err error) {
			err = d.Refresh(ctx, o, maxListAge(o))
			if unusable := listed(ctx); err == nil { // after a failure, too: another caller may have listed them meanwhile
				err = unusable
			}
			if err != nil {
				return nil, err
			}
			return d.Last(o).Warning(), nil
		},
	}, nil
}

// RefreshAll lists the members of all these organizations, and returns when that is done or ctx ends. The tasks of the
// organizations report the errors.
func (d *Directory) RefreshAll(ctx context.Context, organizations []config.Organization) {
	var wg sync.WaitGroup
	for _, o := range organizations {
		wg.Go(func() { _ = d.Refresh(ctx, o, maxListAge(o)) })
	}
	wg.Wait()
}

// EstimateNotes says what an estimate of calls cannot know about organizations.
func (d *Directory) EstimateNotes(organizations []config.Organization) (notes []string) {
	for _, o := range organizations {
		text := o.Label + `: its members are not counted; they are known after the first "run" or "run --once"`
		if l := d.Last(o); l != nil {
			calls := 1 + (len(l.Members)+len(l.Inactive)-1)/20
			text = fmt.Sprintf("%s: %d members, as of %s; each list of members takes %d more calls to AWS Organizations, "+
				"and more for units and tags", o.Label, len(l.Members), l.At.Format(time.RFC3339), calls)
		}
		notes = append(notes, text)
	}
	return notes
}

// MarkNewMembers marks the members that last does not have, and reports whether the two sets differ. With atOnce, a
// member of an organization that had no list runs at once.
func (s *Set) MarkNewMembers(last *Set, atOnce bool) bool {
	if reflect.DeepEqual(s.Accounts, last.Accounts) && reflect.DeepEqual(s.Inactive, last.Inactive) &&
		slices.Equal(s.Unlisted, last.Unlisted) {
		return false
	}
	s.NewMembers = map[string]bool{}
	for name, label := range s.Members {
		if _, known := last.Members[name]; !known {
			s.NewMembers[name] = atOnce && slices.Contains(last.Unlisted, label)
		}
	}
	return true
}
