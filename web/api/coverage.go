package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
)

// maxUnknown limits the targets of an answer that are named as unknown.
const maxUnknown = 100

// An unknown is the targets within a question whose last listing is not complete. So an empty answer never says that
// there is nothing where nobody looked.
type unknown struct {
	Count int             `json:"count"`
	Items []unknownTarget `json:"items"`
	More  string          `json:"more,omitempty"` // where to see all of them
	// NotIndexed is the number of versions that a search does not find yet.
	NotIndexed int `json:"not_indexed,omitempty"`
}

type unknownTarget struct {
	Account      string       `json:"account"`
	Region       string       `json:"region"` // "": no region was listed yet
	Kind         string       `json:"kind"`   // "": all kinds
	State        record.State `json:"state"`
	LastComplete *time.Time   `json:"last_complete"`
}

func (u *unknown) add(t unknownTarget) {
	if u.Count++; len(u.Items) < maxUnknown {
		u.Items = append(u.Items, t)
	}
}

// unknown returns what a question about resources cannot know. The store keeps no history of listings: of an earlier
// instant it knows only which targets had not been listed completely by then.
func (a *API) unknown(ctx context.Context, q *query.Question) (*unknown, error) {
	u := &unknown{Items: []unknownTarget{}}
	if q.Search != "" {
		var err error
		if u.NotIndexed, err = a.o.Store.NotIndexed(ctx); err != nil {
			return nil, err
		}
	}
	listed := map[string]bool{}
	var source query.Source = query.BoardSource{Board: a.o.Board}
	if !q.At.IsZero() {
		source = a.source
	}
	for t, err := range source.Targets(ctx) {
		if err != nil {
			return nil, err
		}
		listed[t.Account] = true
		isKnown := t.State.Complete() || t.State.Absent()
		if !q.At.IsZero() {
			isKnown = !t.FirstComplete.IsZero() && !t.FirstComplete.After(q.At) || t.State.Absent()
		}
		if !isKnown && t.Retired.IsZero() && t.State != "" && q.Selects(t.Account, t.AccountID, t.Region, t.Kind) {
			u.add(unknownTarget{t.Account, t.Region, t.Kind, t.State, query.NullIfZero(t.LastSeen)})
		}
	}
	for info := range a.o.Board.Accounts() {
		if !listed[info.Name] && !info.Task && q.Selects(info.Name, info.Identity.AccountID, "", "") {
			u.add(unknownTarget{Account: info.Name, State: query.NeverListed})
		}
	}
	if u.Count > len(u.Items) {
		more := url.Values{query.Problems.Name: {"true"}}
		if len(q.Accounts) > 0 {
			more[query.Account.Name] = q.Accounts
		}
		if len(q.Regions) > 0 {
			more[query.Region.Name] = q.Regions
		}
		u.More = Prefix + "coverage?" + more.Encode()
	}
	return u, nil
}

// minCoverageAge is how long the coverage of one moment is good for, at least. Many clients may ask each second, and
// that of a thousand accounts takes longer than that: it is computed for at most a tenth of the time.
const minCoverageAge = time.Second

// A coverageCache has the last coverage.
type coverageCache struct {
	mu    sync.Mutex
	lines []query.CoverageLine
	at    time.Time
	until time.Time
}

// coverageLines returns the coverage and its instant. The lines are shared: read only.
func (a *API) coverageLines(ctx context.Context) ([]query.CoverageLine, time.Time, error) {
	c := &a.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	at := time.Now()
	if at.Before(c.until) {
		return c.lines, c.at, nil
	}
	coverage, err := query.NewCoverage(ctx, a.source, at, a.o.Kinds)
	if err != nil {
		return nil, at, err
	}
	lines, err := coverage.Lines(ctx, a.o.Accounts())
	if err != nil {
		return nil, at, err
	}
	c.lines, c.at, c.until = lines, at.UTC(), time.Now().Add(max(minCoverageAge, 9*time.Since(at)))
	return c.lines, c.at, nil
}

// coverage serves the accounts and regions, or groups of them.
func (a *API) coverage(w http.ResponseWriter, r *request) error {
	lines, at, err := a.coverageLines(r.Context())
	if err != nil {
		return err
	}
	r.question.Now = at
	lines, _ = r.question.Select(lines)
	if r.question.GroupBy != "" {
		groups := query.Group(lines, r.question.GroupBy, a.o.Accounts().Tags)
		key := func(g query.GroupLine) []string { return []string{g.Group} }
		return writeJSON(w, pageOf(r, groups, key))
	}
	key := func(l query.CoverageLine) []string { return []string{l.Account, l.AccountID, l.Region} }
	return writeJSON(w, pageOf(r, lines, key))
}

// pageOf returns the page of sorted items that the cursor begins.
func pageOf[T any](r *request, items []T, key func(T) []string) set[T] {
	if after := r.cursor.Key; after != nil {
		begin, _ := slices.BinarySearchFunc(items, after, func(item T, after []string) int {
			if slices.Compare(key(item), after) <= 0 {
				return -1
			}
			return 1
		})
		items = items[begin:]
	}
	items = items[:min(len(items), r.question.Limit+1)]
	return newSet(r, items, func(item T) cursor { return cursor{Key: key(item)} })
}
