package inventorytest

import (
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// List is one complete listing of the suite's target.
func List(t testing.TB, inv *inventory.Inventory, run string, items ...Item) error {
	t.Helper()
	target, identity := Target()
	v, err := inv.Begin(t.Context(), target, identity, run)
	if err != nil {
		return err
	}
	if err := v.Page(t.Context(), Page(target, identity, run, items...)); err != nil {
		return err
	}
	return v.End(t.Context(), record.Outcome{Target: target, Run: run, State: record.OK, Started: time.Now()})
}

// IDs returns the ids that a query finds.
func IDs(t testing.TB, r inventory.Reader, q inventory.Query) string {
	t.Helper()
	var out []string
	for r, err := range r.Find(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r.ID)
	}
	return strings.Join(out, " ")
}
