package query

import (
	"cmp"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/aws-collector/collector/inventory"
)

// A SortKey is a field that answers are sorted by.
type SortKey struct {
	field      inventory.Field
	descending bool
}

// Sort sorts the answer in place of the store's order.
var Sort = Parameter{
	Name: "sort", Value: "FIELD,…", List: true, Usage: "sort by these fields, as `FIELD,…`; -FIELD: the largest first",
	set: func(q *Question, values []string, _ Options) error {
		var errs []error
		for _, v := range values {
			name, descending := strings.CutPrefix(v, "-")
			f, err := inventory.ParseField(name)
			errs = append(errs, err)
			q.Sort = append(q.Sort, SortKey{f, descending})
		}
		return errors.Join(errs...)
	},
}

// FindSorted finds the resources of the question in its order, at most its limit.
func (q *Question) FindSorted(find func(inventory.Query) iter.Seq2[*inventory.Resource, error]) iter.Seq2[
	*inventory.Resource, error] {
	query := q.Query
	if len(q.Sort) == 0 {
		query.Limit = q.Limit
		return find(query)
	}
	query.Data = query.Data || q.SortNeedsData()
	return func(yield func(*inventory.Resource, error) bool) {
		var rows []*inventory.Resource
		for r, err := range find(query) {
			if err != nil {
				yield(nil, err)
				return
			}
			rows = append(rows, r)
		}
		if err := q.SortResources(rows); err != nil {
			yield(nil, err)
			return
		}
		for i, r := range rows {
			if q.Limit > 0 && i == q.Limit || !yield(r, nil) {
				return
			}
		}
	}
}

// SortNeedsData reports whether the order depends on the data of resources.
func (q *Question) SortNeedsData() bool {
	return slices.ContainsFunc(q.Sort, func(k SortKey) bool { return k.field.NeedsData() })
}

// SortResources sorts resources in the order of the question.
func (q *Question) SortResources(resources []*inventory.Resource) error {
	type row struct {
		resource *inventory.Resource
		values   []any
	}
	rows := make([]row, len(resources))
	for i, r := range resources {
		rows[i].resource = r
		for _, k := range q.Sort {
			v, err := k.field.Value(r)
			if err != nil {
				return err
			}
			rows[i].values = append(rows[i].values, v)
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int { return q.compare(a.values, b.values) })
	for i := range rows {
		resources[i] = rows[i].resource
	}
	return nil
}

// compare orders numbers as numbers, and everything else as it is shown. A resource without the field comes last.
func (q *Question) compare(a, b []any) int {
	for i, k := range q.Sort {
		x, y := CellText(a[i]), CellText(b[i])
		n := 0
		switch {
		case x == y:
			continue
		case x == "":
			return 1
		case y == "":
			return -1
		default:
			n = compareTexts(x, y)
		}
		if k.descending {
			n = -n
		}
		if n != 0 {
			return n
		}
	}
	return 0
}

func compareTexts(x, y string) int {
	m, errX := strconv.ParseFloat(x, 64)
	n, errY := strconv.ParseFloat(y, 64)
	if errX == nil && errY == nil {
		return cmp.Compare(m, n)
	}
	return strings.Compare(x, y)
}
