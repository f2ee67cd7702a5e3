package inventorytest

import (
	"fmt"
	"strings"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// pages: what follows the last key of each page is, together, what one query finds, also in a comparison.
func (fx *fixture) pages() {
	begin := time.Now().Add(-time.Hour)
	for id, name := range map[string]string{"111111111111": "a", "222222222222": "a", "333333333333": "b"} {
		fx.target.Account, fx.identity.AccountID = name, id
		fx.list(record.OK, Item{ID: "i-2"}, Item{ID: "i-1", State: "running"}, Item{ID: "i-10", State: "running"})
	}
	running, err := inventory.ParseWhere("state=running", time.Now())
	fx.must(err)
	for _, q := range []inventory.Query{{}, {Where: running}, {At: time.Now().Add(time.Hour)}} {
		var whole, paged []string
		for _, r := range fx.findAll(q) {
			whole = append(whole, fmt.Sprint(inventory.KeyOf(r)))
		}
		for q.Limit = 2; ; {
			page := fx.findAll(q)
			for _, r := range page {
				key := inventory.KeyOf(r)
				paged, q.After = append(paged, fmt.Sprint(key)), &key
			}
			if len(page) > q.Limit {
				fx.Errorf("a page of %d", len(page))
			}
			if len(page) < q.Limit {
				break
			}
		}
		if len(whole) < 6 {
			fx.Errorf("%d resources", len(whole))
		}
		fx.wantText("in pages", strings.Join(paged, "\n"), strings.Join(whole, "\n"))
	}
	var q inventory.Query
	var keys []string
	for _, c := range collect(fx.T, fx.driver.Diff(fx.Context(), q, begin, time.Now().Add(time.Hour))) {
		keys = append(keys, fmt.Sprint(inventory.KeyOf(c.Resource())))
		if len(keys) == 5 {
			key := inventory.KeyOf(c.Resource())
			q.After = &key
		}
	}
	var rest []string
	for _, c := range collect(fx.T, fx.driver.Diff(fx.Context(), q, begin, time.Now().Add(time.Hour))) {
		rest = append(rest, fmt.Sprint(inventory.KeyOf(c.Resource())))
	}
	fx.wantText("the rest of a comparison", strings.Join(rest, "\n"), strings.Join(keys[5:], "\n"))
}
