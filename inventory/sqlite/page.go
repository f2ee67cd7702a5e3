package sqlite

import (
	"context"
	"strings"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/internal/sqlquery"
)

// maxScopesPerStatement limits the scopes that a statement of a page reads.
const maxScopesPerStatement = 256

// page finds at most q.Limit live resources. A statement over all scopes would read and sort every resource that
// matches, for each page; this reads some scopes after others, in order, until there are enough. The first are few,
// because most pages need no more; then twice as many each time, because a condition may match nothing.
func (s *snapshot) page(ctx context.Context, q inventory.Query, yield func(*inventory.Resource) bool) error {
	scopes, err := s.liveScopes(ctx, q)
	if err != nil {
		return err
	}
	for size := 1; len(scopes) > 0 && q.Limit > 0; size = min(2*size, maxScopesPerStatement) {
		n := min(size, len(scopes))
		for n < len(scopes) && scopes[n].place == scopes[n-1].place {
			n++ // the order of such scopes is that of their resources
		}
		b := sqlquery.New(dialect)
		b.Add("v.valid_to IS NULL")
		b.Versions(q)
		b.Search(q)
		b.After(q.After, "v")
		var params []string
		for _, scope := range scopes[:n] {
			params = append(params, b.Param(scope.id))
		}
		b.Add("v.scope IN (" + strings.Join(params, ", ") + ")")
		where, limit, order := b.Where(), b.Limit(q), sqlquery.KeyOrder("v")
		if n == 1 {
			order = "v.id" // that of the index, so nothing is sorted
		}
		err := s.selectVersions(ctx, q, func(r *inventory.Resource) bool {
			if q.Limit--; !yield(r) {
				q.Limit = 0
			}
			return q.Limit > 0
		}, "SELECT "+versionColumns+fromVersion+where+" ORDER BY "+order+limit, b.Params()...)
		if err != nil {
			return err
		}
		scopes, q.After = scopes[n:], nil
	}
	return nil
}

// A scopePlace is the part of a key that all resources of a scope share, in the order of keys.
type scopePlace struct{ kind, account, region string }

type placedScope struct {
	place scopePlace
	id    int64
}

// liveScopes returns the scopes that a query selects and that have live resources, in the order of keys, without those
// before q.After. Most scopes of many accounts have none: each costs one look into the index.
func (s *snapshot) liveScopes(ctx context.Context, q inventory.Query) (scopes []placedScope, err error) {
	b := sqlquery.New(dialect)
	b.Scopes(q)
	b.Add("EXISTS (SELECT 1 FROM version v WHERE v.scope = s.scope AND v.valid_to IS NULL)")
	if k := q.After; k != nil {
		b.Add("(s.kind, s.account, s.region) >= (" + b.Param(k.Kind) + ", " + b.Param(k.Account) + ", " +
			b.Param(k.Region) + ")")
	}
	rows, err := s.tx.QueryContext(ctx, "SELECT s.kind, s.account, s.region, s.scope FROM scope s"+b.Where()+
		" ORDER BY s.kind, s.account, s.region", b.Params()...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p placedScope
		if err := rows.Scan(&p.place.kind, &p.place.account, &p.place.region, &p.id); err != nil {
			return nil, err
		}
		scopes = append(scopes, p)
	}
	return scopes, rows.Err()
}
