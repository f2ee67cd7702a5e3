package query

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// maxGaps bounds the accounts and regions that notes name.
const maxGaps = 10

// A gap is an account and region of which a question does not know everything.
type gap struct {
	account, region string
	kinds           []string
	example         inventory.Coverage
}

// stored is what the store knows about the targets of a question.
type stored struct {
	names    map[string]bool // of accounts, with their ids
	regions  map[string]bool
	kinds    map[string]bool
	selected int       // targets of the question
	first    time.Time // when a target was first listed completely
	gaps     map[[2]string]*gap
	signIns  []inventory.SignIn // that failed, of accounts without any target
}

// Notes says, a sentence each, why the answer to a question may lack resources and, if it is empty, why it is.
func (q *Question) Notes(ctx context.Context, source Source, isEmpty bool) ([]string, error) {
	s, err := q.readStored(ctx, source)
	if err != nil {
		return nil, err
	}
	var notes []string
	if isEmpty {
		notes = q.emptyNotes(s)
	}
	for _, in := range s.signIns {
		notes = append(notes, fmt.Sprintf("account %s was never listed: its sign-in fails: %s", in.Account, in.Error))
	}
	return append(notes, gapNotes(s.gaps)...), nil
}

// readStored reads the states of the targets.
func (q *Question) readStored(ctx context.Context, source Source) (*stored, error) {
	s := &stored{
		names: map[string]bool{}, regions: map[string]bool{}, kinds: map[string]bool{}, gaps: map[[2]string]*gap{},
	}
	for t, err := range source.Targets(ctx) {
		if err != nil {
			return nil, err
		}
		if t.State == "" { // its first listing has not ended
			continue
		}
		s.names[t.Account], s.names[t.AccountID], s.regions[t.Region] = true, true, true
		if f := t.FirstComplete; !f.IsZero() && (s.first.IsZero() || f.Before(s.first)) {
			s.first = f
		}
		if !q.Selects(t.Account, t.AccountID, t.Region, t.Kind) {
			continue
		}
		s.selected++
		s.kinds[t.Kind] = true
		if q.isGap(&t) {
			key := [2]string{t.Account, t.Region}
			if s.gaps[key] == nil {
				s.gaps[key] = &gap{account: t.Account, region: t.Region, example: t}
			}
			s.gaps[key].kinds = append(s.gaps[key].kinds, t.Kind)
		}
	}
	for in, err := range source.SignIns(ctx) {
		if err != nil {
			return nil, err
		}
		if !s.names[in.Account] && in.Error != "" && q.Selects(in.Account, in.AccountID, "", "") {
			s.signIns = append(s.signIns, in)
		}
		s.names[in.Account] = true
	}
	return s, nil
}

// isGap reports whether resources of a target may be missing. The store keeps no history of listings: of an earlier
// instant it knows only which targets had not been listed completely by then.
func (q *Question) isGap(t *inventory.Coverage) bool {
	switch {
	case !t.Retired.IsZero() || t.State.Absent() || t.Expected:
		return false
	case !q.instant().IsZero():
		return t.FirstComplete.IsZero() || t.FirstComplete.After(q.instant())
	}
	return !t.State.Complete()
}

// instant is the earliest instant that the question is about, or zero for now.
func (q *Question) instant() time.Time {
	if q.At.IsZero() {
		return q.From
	}
	return q.At
}

// emptyNotes says why there is no resource.
func (q *Question) emptyNotes(s *stored) (notes []string) {
	if len(s.regions) == 0 {
		return []string{"nothing was listed yet"}
	}
	notes = append(unknownNames("account", q.Accounts, s.names), unknownNames("region", q.Regions, s.regions)...)
	switch at := q.instant(); {
	case len(notes) > 0:
	case s.selected == 0 && len(s.signIns) == 0:
		notes = append(notes, "nothing was listed yet of these kinds, accounts and regions")
	case !at.IsZero() && (s.first.IsZero() || at.Before(s.first)):
		note := fmt.Sprintf("%s is before the first complete listing", at.Format(time.RFC3339))
		if !s.first.IsZero() {
			note += ", which ended at " + s.first.UTC().Format(time.RFC3339)
		}
		s.gaps = nil // all of them are for this reason
		return append(notes, note)
	default:
		for _, kind := range q.Kinds {
			if !strings.HasPrefix(kind, "!") && !matchesOne(kind, s.kinds) {
				notes = append(notes, fmt.Sprintf("kind %s was not listed yet in these accounts and regions", kind))
			}
		}
	}
	return notes
}

// unknownNames names the globs that match nothing, with the nearest name.
func unknownNames(what string, globs []string, names map[string]bool) (notes []string) {
	for _, g := range globs {
		if strings.HasPrefix(g, "!") || matchesOne(g, names) {
			continue
		}
		note := fmt.Sprintf("no %s that was listed matches %q", what, g)
		if near := Nearest(g, slices.Sorted(maps.Keys(names))); near != "" {
			note += fmt.Sprintf("; did you mean %s?", near)
		}
		notes = append(notes, note)
	}
	return notes
}

func matchesOne(glob string, names map[string]bool) bool {
	for name := range names {
		if MatchesAccount([]string{glob}, name, name) {
			return true
		}
	}
	return false
}

// gapNotes names the accounts and regions that are not known completely.
func gapNotes(gaps map[[2]string]*gap) (notes []string) {
	sorted := slices.SortedFunc(maps.Values(gaps), func(a, b *gap) int {
		return cmp.Or(cmp.Compare(a.account, b.account), cmp.Compare(a.region, b.region))
	})
	for i, g := range sorted {
		if i == maxGaps {
			return append(notes, fmt.Sprintf("%d more accounts and regions are not known completely", len(sorted)-i))
		}
		what := g.kinds[0]
		if n := len(g.kinds); n > 1 {
			what = fmt.Sprintf("%d kinds", n)
		}
		note := fmt.Sprintf("account %s, region %s: the last listing of %s is not complete", g.account, g.region, what)
		if t := g.example; t.State.Complete() {
			note = fmt.Sprintf("account %s, region %s: %s had not been listed completely", g.account, g.region, what)
		} else if t.State == record.Unconfirmed {
			note = fmt.Sprintf("account %s, region %s: the last listing of %s is unconfirmed: some of its resources may be gone",
				g.account, g.region, what)
		} else if cause := cmp.Or(string(t.Reason), string(t.State)); cause != "" {
			note += ": " + cause
		}
		notes = append(notes, note)
	}
	return notes
}
