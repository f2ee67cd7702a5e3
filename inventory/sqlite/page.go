package sqlite

import (
	"context"
	"database/sql"
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
	scopes, err := s.scopes(ctx, q, hasLive)
	if err != nil {
		return err
	}
	defer scopes.close()
	for size := 1; q.Limit > 0; size = min(2*size, maxScopesPerStatement) {
		some, err := scopes.next(size)
		if len(some) == 0 || err != nil {
			return err
		}
		b := sqlquery.New(dialect)
		b.Add("v.valid_to IS NULL")
		b.Versions(q)
		b.After(q.After, "v")
		b.Add("v." + scopeIn(b, some))
		where, limit, order := b.Where(), b.Limit(q), sqlquery.KeyOrder("v")
		if len(some) == 1 {
			order = "v.id" // that of the index, so nothing is sorted
		}
		err = s.selectVersions(ctx, q, func(r *inventory.Resource) bool {
			if q.Limit--; !yield(r) {
				q.Limit = 0
			}
			return q.Limit > 0
		}, "SELECT "+versionColumns+fromVersion+where+" ORDER BY "+order+limit, b.Params()...)
		if err != nil {
			return err
		}
		q.After = nil
	}
	return nil
}

// hasLive adds that a scope has live resources. Most scopes of many accounts have none: each costs one look into the
// index.
func hasLive(b *sqlquery.Builder) {
	b.Add("EXISTS (SELECT 1 FROM version v WHERE v.scope = s.scope AND v.valid_to IS NULL)")
}

// A scopePlace is the part of a key that all resources of a scope share, in the order of keys.
type scopePlace struct{ kind, account, region string }

type placedScope struct {
	place     scopePlace
	accountID string
	id        int64
	whole     bool // all its resources are found
}

// scopeIn is the condition that a row is of one of some scopes.
func scopeIn(b *sqlquery.Builder, scopes []placedScope) string {
	params := make([]string, len(scopes))
	for i, scope := range scopes {
		params[i] = b.Param(scope.id)
	}
	return "scope IN (" + strings.Join(params, ", ") + ")"
}

// A scopeReader reads scopes in the order of keys, as they are needed: there may be tens of thousands.
type scopeReader struct {
	rows  *sql.Rows
	keep  func(*placedScope) (bool, error) // nil: all
	ahead []placedScope                    // what was read of the next group
}

// scopes reads the scopes that a query selects, without those before q.After. conditions adds others.
func (s *snapshot) scopes(
	ctx context.Context, q inventory.Query, conditions func(*sqlquery.Builder),
) (*scopeReader, error) {
	b := sqlquery.New(dialect)
	b.Scopes(q)
	conditions(b)
	if k := q.After; k != nil {
		b.Add("(s.kind, s.account, s.region) >= (" + b.Param(k.Kind) + ", " + b.Param(k.Account) + ", " +
			b.Param(k.Region) + ")")
	}
	rows, err := s.tx.QueryContext(ctx, "SELECT s.kind, s.account, s.region, s.account_id, s.scope FROM scope s"+
		b.Where()+" ORDER BY s.kind, s.account, s.region", b.Params()...)
	return &scopeReader{rows: rows}, err
}

func (r *scopeReader) close() { _ = r.rows.Close() }

// next returns the next n scopes and those with the same place as the last: their order is that of their resources.
func (r *scopeReader) next(n int) (scopes []placedScope, err error) {
	scopes, r.ahead = r.ahead, nil
	for r.rows.Next() {
		var p placedScope
		if err := r.rows.Scan(&p.place.kind, &p.place.account, &p.place.region, &p.accountID, &p.id); err != nil {
			return nil, err
		}
		if r.keep != nil {
			if keep, err := r.keep(&p); err != nil {
				return nil, err
			} else if !keep {
				continue
			}
		}
		if len(scopes) >= n && scopes[len(scopes)-1].place != p.place {
			r.ahead = []placedScope{p}
			return scopes, nil
		}
		scopes = append(scopes, p)
	}
	return scopes, r.rows.Err()
}
