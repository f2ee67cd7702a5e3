package sqlite

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/record"
)

// Pages over many targets, most without resources, show together what one query shows, with a condition and without.
func TestPagesOverManyTargets(t *testing.T) {
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "collector.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	inv := inventory.New(s, inventory.Options{})
	target, identity := inventorytest.Target()
	for n := range 60 {
		target.Region, target.Account = fmt.Sprintf("region-%02d", n*7%60), fmt.Sprint("account-", n%3)
		identity.AccountID = fmt.Sprintf("%012d", n%3+1)
		v, err := inv.Begin(t.Context(), target, identity, "one")
		if err != nil {
			t.Fatal(err)
		}
		var items []inventorytest.Item
		for i := range []int{0, 0, 0, 4, 1}[n%5] {
			items = append(items, inventorytest.Item{ID: fmt.Sprintf("i-%d-%d", n, i), State: []string{"on", "off"}[i%2]})
		}
		if err := v.Page(t.Context(), inventorytest.Page(target, identity, "one", items...)); err != nil {
			t.Fatal(err)
		}
		if err := v.End(
			t.Context(), record.Outcome{Target: target, Run: "one", State: record.OK, Started: time.Now()},
		); err != nil {
			t.Fatal(err)
		}
	}
	off, err := inventory.ParseWhere("state=off", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	find := func(q inventory.Query) (keys []inventory.Key) {
		for r, err := range s.Find(t.Context(), q) {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, inventory.KeyOf(r))
		}
		return keys
	}
	last := find(inventory.Query{})
	for after, want := range map[*inventory.Key]int{nil: 24, &last[len(last)-1]: 1} {
		for n, err := range inSnapshot(t.Context(), s.Reader, func(v *snapshot, yield func(int) bool) error {
			reader, err := v.scopes(t.Context(), inventory.Query{After: after}, hasLive)
			if err != nil {
				return err
			}
			defer reader.close()
			scopes, err := reader.next(1000)
			yield(len(scopes))
			return err
		}) {
			if err != nil || n != want {
				t.Errorf("after %v: reads %d targets, want %d: %v", after, n, want, err)
			}
		}
	}
	for _, q := range []inventory.Query{
		{}, {Where: off}, {Accounts: []string{"account-1"}}, {Search: "-1"}, {Search: "i-", Where: off},
	} {
		whole := find(q)
		if len(whole) < 20 {
			t.Fatalf("%d resources", len(whole))
		}
		for _, q.Limit = range []int{1, 3, 7, 50, 100} {
			var paged []inventory.Key
			for q.After = nil; ; q.After = &paged[len(paged)-1] {
				page := find(q)
				if paged = append(paged, page...); len(page) < q.Limit {
					break
				}
			}
			if !slices.Equal(paged, whole) {
				t.Errorf("%+v: %d in pages, %d at once", q, len(paged), len(whole))
			}
		}
	}
}
