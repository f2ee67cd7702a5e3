package sqlite

import (
	"context"
	"slices"
	"strings"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/internal/sqlquery"
)

// scopePlace is the part of a key that all resources of a scope share, in the order of keys.
type scopePlace struct{ kind, account, region string }

func (p scopePlace) compare(o scopePlace) int {
	return slices.Compare([]string{p.kind, p.account, p.region}, []string{o.kind, o.account, o.region})
}

// page finds at most q.Limit live resources. A statement over all scopes would read and sort every resource that
// matches, for each page; this one reads scope after scope, in order, until there are enough.
func (s *snapshot) page(ctx context.Context, q inventory.Query, yield func(*inventory.Resource) bool) error {
	places, scopes, err := s.places(ctx, q)
	if err != nil {
		return err
	}
	left := q.Limit
	for i, place := range places {
		if q.After != nil {
			switch (scopePlace{q.After.Kind, q.After.Account, q.After.Region}).compare(place) {
			case 1:
				continue // before the page
			case -1:
				q.After = nil // the page goes on in later scopes
			}
		}
		b := sqlquery.New(dialect)
		b.Add("v.valid_to IS NULL")
		b.Versions(q)
		b.After(q.After, "v")
		var params []string
		for _, scope := range scopes[i] {
			params = append(params, b.Param(scope))
		}
		b.Add("v.scope IN (" + strings.Join(params, ", ") + ")")
		order := "v.id"
		if len(params) > 1 {
			order = sqlquery.KeyOrder("v")
		}
		err := s.selectVersions(ctx, q, func(r *inventory.Resource) bool {
			if left--; !yield(r) {
				left = 0
			}
			return left > 0
		}, "SELECT "+versionColumns+fromVersion+b.Where()+" ORDER BY "+order, b.Params()...)
		if err != nil || left == 0 {
			return err
		}
	}
	return nil
}

// places returns the places of the scopes that a query selects, in order, and the scopes at each.
func (s *snapshot) places(ctx context.Context, q inventory.Query) (places []scopePlace, scopes [][]int64, err error) {
	b := sqlquery.New(dialect)
	b.Scopes(q)
	rows, err := s.tx.QueryContext(ctx, "SELECT s.kind, s.account, s.region, s.scope FROM scope s"+b.Where()+
		" ORDER BY s.kind, s.account, s.region", b.Params()...)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p scopePlace
		var scope int64
		if err := rows.Scan(&p.kind, &p.account, &p.region, &scope); err != nil {
			return nil, nil, err
		}
		if n := len(places); n == 0 || places[n-1] != p {
			places, scopes = append(places, p), append(scopes, nil)
		}
		scopes[len(scopes)-1] = append(scopes[len(scopes)-1], scope)
	}
	return places, scopes, rows.Err()
}
