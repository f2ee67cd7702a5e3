package postgres

import (
	"testing"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
)

// However a text is searched, it finds the same.
func TestWaysToSearch(t *testing.T) {
	o := newSchema(t)
	s := openStore(t, o)
	readers := map[string]inventory.Reader{}
	for name, few := range map[string]int{"as a list": 1 << 20, "in the order of keys": -1} {
		r, err := OpenReader(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		r.fewVersions = few
		readers[name] = r
	}
	inventorytest.CompareSearches(t, s, readers)
}
