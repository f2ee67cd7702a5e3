package page

import (
	"context"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/inventory"
)

// A fakeStore answers from slices, so that a test can store any text.
type fakeStore struct {
	resources []*inventory.Resource // the versions of a resource, oldest first
	changes   []inventory.Change
	runs      []inventory.Run // the latest first
	signIns   []inventory.SignIn
	err       error // of everything

	notIndexed int
}

func rowsOf[T any](rows []T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

func selects(q inventory.Query, r *inventory.Resource) bool {
	match := func(globs []string, names ...string) bool {
		return len(globs) == 0 || slices.ContainsFunc(globs, func(g string) bool {
			return slices.ContainsFunc(names, func(n string) bool { ok, _ := path.Match(g, n); return ok || g == n })
		})
	}
	ok, err := q.Where.Match(r)
	text := inventory.SearchText(r.ID, r.Name, nil, r.Data)
	return err == nil && ok && strings.Contains(text, q.Search) && (q.ID == "" || q.ID == r.ID) &&
		match(q.Kinds, r.Kind) && match(q.Accounts, r.Account, r.AccountID) && match(q.Regions, r.Region)
}

func (s *fakeStore) Find(_ context.Context, q inventory.Query) iter.Seq2[*inventory.Resource, error] {
	var found []*inventory.Resource
	passed := q.After == nil
	for _, r := range s.resources {
		alive := q.At.IsZero() && r.Live() ||
			!q.At.IsZero() && !r.ValidFrom.After(q.At) && (r.Live() || r.ValidTo.After(q.At))
		if passed && alive && selects(q, r) {
			found = append(found, r)
		}
		passed = passed || *q.After == inventory.KeyOf(r)
	}
	return inventory.First(q.Limit, rowsOf(found, s.err))
}

func (s *fakeStore) History(_ context.Context, q inventory.Query) iter.Seq2[*inventory.Resource, error] {
	other := func(r *inventory.Resource) bool { return !selects(q, r) }
	return rowsOf(slices.DeleteFunc(slices.Clone(s.resources), other), s.err)
}

func (s *fakeStore) Diff(
	context.Context, inventory.Query, time.Time, time.Time,
) iter.Seq2[inventory.Change, error] {
	return rowsOf(s.changes, s.err)
}

func (s *fakeStore) Changes(
	_ context.Context, q inventory.Query, after time.Time,
) iter.Seq2[inventory.Change, error] {
	return rowsOf(slices.DeleteFunc(slices.Clone(s.changes), func(c inventory.Change) bool {
		return !c.At.After(after) || !selects(q, c.Resource())
	}), s.err)
}

func (s *fakeStore) NotIndexed(context.Context) (int, error) { return s.notIndexed, s.err }

func (s *fakeStore) Targets(context.Context) iter.Seq2[inventory.Coverage, error] {
	return rowsOf[inventory.Coverage](nil, s.err)
}

func (s *fakeStore) Runs(_ context.Context, q inventory.RunQuery) iter.Seq2[inventory.Run, error] {
	var found []inventory.Run
	for _, r := range s.runs {
		if (len(q.IDs) == 0 || slices.Contains(q.IDs, r.ID)) && (q.Before == "" || r.ID < q.Before) &&
			(len(q.Statuses) == 0 || slices.Contains(q.Statuses, r.Status)) &&
			(len(q.Accounts) == 0 || slices.Contains(q.Accounts, r.Account)) {
			found = append(found, r)
		}
	}
	return inventory.First(q.Limit, rowsOf(found, s.err))
}

func (s *fakeStore) LastRuns(context.Context, []string) iter.Seq2[inventory.Run, error] {
	return rowsOf[inventory.Run](nil, s.err)
}

func (s *fakeStore) SignIns(context.Context) iter.Seq2[inventory.SignIn, error] {
	return rowsOf(s.signIns, s.err)
}

func stored(s *fakeStore) func(*Options) { return func(o *Options) { o.Store = s } }
