package inventorytest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// killedItems is the number of resources of a target in every second round of ListUntilKilled; the other rounds have
// half of them.
const killedItems = 400

// ListUntilKilled lists three targets again and again, each round in another state, and prints the round after each
// end, until the process is killed or the store fails.
func ListUntilKilled(ctx context.Context, inv *inventory.Inventory) error {
	_, identity := Target()
	for round := int(time.Now().UnixMilli() % 1e9); ; round++ {
		for n := range 3 {
			target := record.Target{Account: "prod", Region: fmt.Sprintf("us-east-%d", n), Kind: "ec2_instance"}
			v, err := inv.Begin(ctx, target, identity, "run")
			if err != nil {
				return err
			}
			var items []Item
			for i := range killedItems {
				if round%2 == 0 || i%2 == 0 {
					items = append(items, Item{ID: fmt.Sprintf("i-%d", i), State: fmt.Sprint(round), Pad: strings.Repeat("x", 1500)})
				}
			}
			for len(items) > 0 {
				n := min(100, len(items))
				if err := v.Page(ctx, Page(target, identity, "run", items[:n]...)); err != nil {
					return err
				}
				items = items[n:]
			}
			if err := v.End(ctx, record.Outcome{Target: target, Run: "run", State: record.OK, Started: time.Now()}); err != nil {
				return err
			}
			fmt.Println(round)
		}
	}
}

// RequireWholeTargets fails the test unless each target of ListUntilKilled shows exactly one round, completely.
func RequireWholeTargets(t *testing.T, r inventory.Reader, kill int) {
	t.Helper()
	states := map[string]map[string]int{}
	for res, err := range r.Find(t.Context(), inventory.Query{Data: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if states[res.Region] == nil {
			states[res.Region] = map[string]int{}
		}
		states[res.Region][res.State]++
	}
	if len(states) == 0 {
		t.Errorf("kill %d: nothing is there", kill)
	}
	for region, s := range states {
		for state, n := range s {
			if len(s) != 1 || n != killedItems && n != killedItems/2 {
				t.Errorf("kill %d: %s: %d resources of round %s, %v", kill, region, n, state, s)
			}
		}
	}
}
