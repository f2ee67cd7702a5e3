package api

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner/board"
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
	var source query.Source = boardSource{a.o.Board}
	if !q.At.IsZero() {
		source = a.source
	}
	for t, err := range source.Targets(ctx) {
		if err != nil {
			return nil, err
		}
		listed[t.Account] = true
		isKnown := t.State.Complete() || t.State == record.RegionDisabled
		if !q.At.IsZero() {
			isKnown = !t.FirstComplete.IsZero() && !t.FirstComplete.After(q.At) || t.State == record.RegionDisabled
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

// A boardSource answers from the status board what the store would. It knows only the last run of each account.
type boardSource struct{ board *board.Board }

// Targets implements query.Source.
func (s boardSource) Targets(context.Context) iter.Seq2[inventory.Coverage, error] {
	return func(yield func(inventory.Coverage, error) bool) {
		var info board.AccountInfo
		for t := range s.board.Targets() {
			if t.Account != info.Name {
				info, _ = s.board.Account(t.Account)
				info.Name = t.Account
			}
			c := inventory.Coverage{
				Outcome: t.Outcome, LastSeen: t.LastSuccess, Resources: t.Resources,
				AccountID: info.Identity.AccountID, Partition: info.Identity.Partition,
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// Runs implements query.Source.
func (s boardSource) Runs(_ context.Context, q inventory.RunQuery) iter.Seq2[inventory.Run, error] {
	return func(yield func(inventory.Run, error) bool) {
		var runs []inventory.Run
		for info := range s.board.Accounts() {
			for _, r := range append(slices.Clone(info.Running), info.Last) {
				run := runOf(info.Name, r)
				switch {
				case r.Run == "", len(q.Statuses) > 0 && !slices.Contains(q.Statuses, run.Status),
					len(q.IDs) > 0 && !slices.Contains(q.IDs, run.ID), run.Started.Before(q.Since),
					q.Before != "" && run.ID >= q.Before,
					!query.MatchesAccount(q.Accounts, info.Name, info.Identity.AccountID):
				default:
					runs = append(runs, run)
				}
			}
		}
		slices.SortFunc(runs, func(a, b inventory.Run) int { return strings.Compare(b.ID, a.ID) })
		for i, run := range runs {
			if q.Limit > 0 && i == q.Limit || !yield(run, nil) {
				return
			}
		}
	}
}

// LastRuns implements query.Source. The board does not keep the causes of a run.
func (boardSource) LastRuns(context.Context, []string) iter.Seq2[inventory.Run, error] {
	return func(func(inventory.Run, error) bool) {}
}

// SignIns implements query.Source.
func (s boardSource) SignIns(context.Context) iter.Seq2[inventory.SignIn, error] {
	return func(yield func(inventory.SignIn, error) bool) {
		for info := range s.board.Accounts() {
			in := inventory.SignIn{
				Account: info.Name, AccountID: info.Identity.AccountID, Partition: info.Identity.Partition,
				ARN: info.Identity.ARN, Expires: info.Expires,
			}
			if in.AccountID != "" && !yield(in, nil) {
				return
			}
		}
	}
}

func runOf(account string, r board.RunInfo) inventory.Run {
	run := inventory.Run{
		ID: r.Run, Account: account, Tick: r.Tick, Started: r.Started, Status: r.Status, Ticks: 1,
		Targets: map[record.State]int{}, Failed: r.Failed, Records: r.Records, Calls: r.Calls, Throttles: r.Throttles,
	}
	if r.Status == "" {
		run.Status = record.RunRunning
	} else {
		run.Ended = r.Started.Add(r.Took)
	}
	return run
}
