package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A Relation is a member of a kind's data that holds ids of another kind.
type Relation struct {
	Kind, Path, To string
	Named          bool // the ids are names, which are unique in an account and region only
}

// A Related is a resource that another one points at, or that points at it.
type Related struct {
	Direction string `json:"direction"` // to: the resource of the path points at it; from: it points at that
	Path      string `json:"path"`      // the member that holds the id
	Kind      string `json:"kind"`
	ID        string `json:"id"`
	Name      string `json:"name"`
	State     string `json:"state"`
	Account   string `json:"account"`
	AccountID string `json:"account_id"`
	Region    string `json:"region"`
	Found     bool   `json:"found"` // false: the store has no such resource, which may be of another account
}

func (r Related) key() []string {
	return []string{r.Direction, r.Kind, r.Account, r.Region, r.ID, r.AccountID, r.Path}
}

// maxPointers limits the ids that one resource points at, and maxRelated the resources that are read for one answer.
const (
	maxPointers = 1000
	maxRelated  = 10_000
)

// related serves what a resource points at and, in its account, what points at it.
func (a *API) related(w http.ResponseWriter, r *request) error {
	if err := a.one(r); err != nil {
		return err
	}
	res, err := a.findOne(r)
	if err != nil {
		return err
	}
	all, err := a.Related(r.Context(), res, r.question.At)
	if err != nil {
		return err
	}
	out := pageOf(r, all, Related.key)
	r.question.Kinds, r.question.Accounts, r.question.Regions = nil, []string{res.AccountID}, near(res)
	if out.Unknown, err = a.unknown(r.Context(), &r.question); err != nil {
		return err
	}
	return writeJSON(w, out)
}

// near returns the regions of what may point at a resource: its own and, in every region, global services. nil: all.
func near(res *inventory.Resource) []string {
	if res.Region == record.GlobalRegion {
		return nil
	}
	return []string{res.Region, record.GlobalRegion}
}

// Related returns what a resource, with its data, points at and, in its account, what points at it: now, or at an
// instant.
func (a *API) Related(ctx context.Context, res *inventory.Resource, at time.Time) ([]Related, error) {
	all, err := a.pointedAt(ctx, res, at)
	if err != nil {
		return nil, err
	}
	from, err := a.pointing(ctx, res, at)
	if err != nil {
		return nil, err
	}
	all = append(all, from...)
	slices.SortFunc(all, func(x, y Related) int { return slices.Compare(x.key(), y.key()) })
	return slices.CompactFunc(all, func(x, y Related) bool { return slices.Equal(x.key(), y.key()) }), nil
}

// pointedAt finds the resources whose ids are in the data of one.
func (a *API) pointedAt(ctx context.Context, res *inventory.Resource, at time.Time) (all []Related, err error) {
	for _, relation := range a.o.Relations() {
		if relation.Kind != res.Kind {
			continue
		}
		ids, err := idsAt(res, relation.Path)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if id == res.ID && relation.To == res.Kind || len(all) == maxPointers {
				continue
			}
			to := Related{Direction: "to", Path: relation.Path, Kind: relation.To, ID: id}
			q := inventory.Query{Kinds: []string{relation.To}, ID: id, At: at, Limit: 1}
			if relation.Named {
				q.Accounts, q.Regions = []string{res.AccountID}, []string{res.Region, record.GlobalRegion}
			}
			for found, err := range a.o.Store.Find(ctx, q) {
				if err != nil {
					return nil, err
				}
				to.describe(found)
			}
			all = append(all, to)
		}
	}
	return all, nil
}

func (r *Related) describe(res *inventory.Resource) {
	r.Found, r.Name, r.State = true, res.Name, res.State
	r.Account, r.AccountID, r.Region = res.Account, res.AccountID, res.Region
}

// pointing finds the resources of the same account whose data has the id of one.
func (a *API) pointing(ctx context.Context, res *inventory.Resource, at time.Time) (all []Related, err error) {
	paths := map[string][]string{} // by kind
	q := inventory.Query{
		Accounts: []string{res.AccountID}, Regions: near(res), At: at, Limit: maxRelated,
	}
	var terms []string
	for _, relation := range a.o.Relations() {
		if relation.To != res.Kind {
			continue
		}
		if paths[relation.Kind] == nil {
			q.Kinds = append(q.Kinds, relation.Kind)
		}
		paths[relation.Kind] = append(paths[relation.Kind], relation.Path)
		if term := "data." + relation.Path + "=" + inventory.QuoteWord(res.ID); !slices.Contains(terms, term) {
			terms = append(terms, term)
		}
	}
	if len(terms) == 0 {
		return nil, nil
	}
	if q.Where, err = inventory.ParseWhere(strings.Join(terms, " or "), time.Time{}); err != nil {
		return nil, err
	}
	q.Data = true
	for found, err := range a.o.Store.Find(ctx, q) {
		if err != nil {
			return nil, err
		}
		if inventory.KeyOf(found) == inventory.KeyOf(res) {
			continue
		}
		for _, path := range paths[found.Kind] {
			ids, err := idsAt(found, path)
			if err != nil {
				return nil, err
			}
			if slices.Contains(ids, res.ID) {
				from := Related{Direction: "from", Path: path, Kind: found.Kind, ID: found.ID}
				from.describe(found)
				all = append(all, from)
			}
		}
	}
	return all, nil
}

// idsAt returns the texts at a path of a resource's data, each once.
func idsAt(res *inventory.Resource, path string) (ids []string, err error) {
	f, err := inventory.ParseField("data." + path)
	if err != nil {
		return nil, err
	}
	v, err := f.Value(res)
	if err != nil {
		return nil, err
	}
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	for _, v := range list {
		if id, ok := v.(string); ok && id != "" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}
