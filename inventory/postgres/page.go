package postgres

import (
	"context"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/internal/sqlquery"
)

const (
	// maxScopesPerStatement limits the scopes that a statement of a page reads.
	maxScopesPerStatement = 256
	// scopesPerList is the number of scopes that are listed at once.
	scopesPerList = 4096
	// defaultFewVersions is how many versions with a text are listed and sorted. A text that more have is searched in the
	// order of keys, until there are enough resources. What is found does not depend on it.
	defaultFewVersions = 2000
)

// A pager finds a page of live resources in a transaction. A statement over all scopes would read and sort every
// resource that matches, for each page; this reads some scopes after others, in order, until there are enough. The
// first are few, because most pages need no more; then twice as many each time, because a condition may match nothing.
type pager struct {
	r    *Reader
	tx   pgx.Tx
	q    inventory.Query
	like string // the pattern of the text that is searched
	left int    // resources to find

	scopes []placedScope // that were listed and not read
	last   *placedScope  // of all that were listed
}

// A placedScope is a scope with the part of a key that its resources share.
type placedScope struct {
	kind, account, region string
	scope                 int64
}

func (s placedScope) samePlace(t placedScope) bool {
	return s.kind == t.kind && s.account == t.account && s.region == t.region
}

// page finds at most q.Limit live resources.
func (r *Reader) page(ctx context.Context, q inventory.Query) iter.Seq2[*inventory.Resource, error] {
	return func(yield func(*inventory.Resource, error) bool) {
		stopped := false
		tx, err := r.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
		if err == nil {
			defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing was written
			p := &pager{r: r, tx: tx, q: q, left: q.Limit}
			err = p.find(ctx, func(res *inventory.Resource) bool {
				stopped = !yield(res, nil)
				return !stopped
			})
		}
		if err != nil && !stopped {
			yield(nil, r.c.explain(ctx, err))
		}
	}
}

func (p *pager) find(ctx context.Context, yield func(*inventory.Resource) bool) error {
	if p.q.Search != "" {
		p.like = sqlquery.Containing(sqlquery.SearchedText(p.q))
		versions, few, err := p.listVersions(ctx)
		if err != nil {
			return err
		}
		if few {
			return p.read(ctx, func(b *sqlquery.Builder) { b.Add("v.version = ANY(" + b.Param(versions) + ")") }, yield)
		}
	}
	for size := 1; p.left > 0; size = min(2*size, maxScopesPerStatement) {
		scopes, err := p.nextScopes(ctx, size)
		if len(scopes) == 0 || err != nil {
			return err
		}
		if err := p.read(ctx, func(b *sqlquery.Builder) {
			b.Add("v.scope = ANY(" + b.Param(scopes) + ")")
			if p.like != "" { // a scalar subquery, so that no plan finds all versions with the text
				like := " ILIKE " + b.Param(p.like)
				b.Add("(s.account" + like + " OR s.account_id" + like +
					" OR (SELECT t.text" + like + " FROM search t WHERE t.version = v.version))")
			}
		}, yield); err != nil {
			return err
		}
		p.q.After = nil
	}
	return nil
}

// listVersions returns the versions with the text, and whether they are few and all that has it: no account has.
func (p *pager) listVersions(ctx context.Context) (versions []int64, few bool, err error) {
	var inAccount bool
	if err := p.tx.QueryRow(
		ctx, "SELECT EXISTS (SELECT FROM scope WHERE account ILIKE $1 OR account_id ILIKE $1)", p.like,
	).Scan(&inAccount); inAccount || err != nil {
		return nil, false, err
	}
	rows, err := p.tx.Query(ctx, "SELECT version FROM search WHERE text ILIKE $1 LIMIT $2", p.like, p.r.fewVersions+1)
	if err != nil {
		return nil, false, err
	}
	versions, err = pgx.CollectRows(rows, pgx.RowTo[int64])
	return versions, len(versions) <= p.r.fewVersions, err
}

// nextScopes returns the next n scopes and those with the same place as the last: their order is that of their
// resources.
func (p *pager) nextScopes(ctx context.Context, n int) (scopes []int64, err error) {
	for i := 0; ; i++ {
		if len(p.scopes) == 0 {
			if err := p.listScopes(ctx); len(p.scopes) == 0 || err != nil {
				return scopes, err
			}
		}
		next := p.scopes[0]
		if i >= n && !next.samePlace(*p.last) {
			return scopes, nil
		}
		scopes = append(scopes, next.scope)
		p.scopes, p.last = p.scopes[1:], &next
	}
}

// listScopes lists scopes with live resources after the last one, in the order of keys.
func (p *pager) listScopes(ctx context.Context) error {
	b := sqlquery.New(dialect)
	b.Scopes(p.q)
	b.Add("EXISTS (SELECT FROM version v WHERE v.scope = s.scope AND v.valid_to IS NULL)")
	if k := p.q.After; k != nil {
		b.Add("(s.kind, s.account, s.region) >= (" + b.Param(k.Kind) + ", " + b.Param(k.Account) + ", " +
			b.Param(k.Region) + ")")
	}
	if l := p.last; l != nil {
		b.Add("(s.kind, s.account, s.region, s.scope) > (" + b.Param(l.kind) + ", " + b.Param(l.account) + ", " +
			b.Param(l.region) + ", " + b.Param(l.scope) + ")")
	}
	rows, err := p.tx.Query(ctx, "SELECT s.kind, s.account, s.region, s.scope FROM scope s"+b.Where()+
		" ORDER BY s.kind, s.account, s.region, s.scope LIMIT "+b.Param(scopesPerList), b.Params()...)
	if err != nil {
		return err
	}
	p.scopes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (s placedScope, err error) {
		err = row.Scan(&s.kind, &s.account, &s.region, &s.scope)
		return s, err
	})
	return err
}

// read yields live resources that satisfy the query and further conditions, in the order of keys.
func (p *pager) read(
	ctx context.Context, conditions func(*sqlquery.Builder), yield func(*inventory.Resource) bool,
) error {
	b := sqlquery.New(dialect)
	b.Versions(p.q)
	b.Add("v.valid_to IS NULL")
	conditions(b)
	b.After(p.q.After, "v")
	p.q.Limit = p.left
	where, limit := b.Where(), b.Limit(p.q)
	columns := versionColumns("v", p.q.Data || p.q.Where.NeedsData())
	for res, err := range p.r.queryResources(ctx, p.tx, p.q, "SELECT "+columns+
		" FROM version v JOIN scope s ON s.scope = v.scope"+where+" ORDER BY "+sqlquery.KeyOrder("v")+limit, b.Params()) {
		if err != nil {
			return err
		}
		if p.left--; !yield(res) {
			p.left = 0
			return nil
		}
		if p.left == 0 && limit == "" { // else the statement ends by itself
			return nil
		}
	}
	return nil
}
