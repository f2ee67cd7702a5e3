package inventorytest

import (
	"fmt"
	"strings"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// limit is the limit of these tests.
var limit = inventory.MaxGone{Percent: 50, AtLeast: 3}

// listWithin is a complete listing, with a limit on what may be gone, as the runner does it.
func (fx *fixture) listWithin(limit inventory.MaxGone, ids ...string) record.State {
	fx.Helper()
	v := fx.begin()
	fx.page(v, running(ids...)...)
	missing, expected, err := v.Missing(fx.Context())
	fx.must(err)
	tooMany := limit.Check(missing, expected)
	o := fx.outcome(record.StateOf(tooMany, len(ids)))
	if tooMany != nil {
		o.Reason, o.Error, o.Hint = record.ReasonOf(tooMany), tooMany.Error(), record.HintOf(tooMany)
	}
	fx.must(v.End(fx.Context(), o))
	return o.State
}

func running(ids ...string) []Item {
	var items []Item
	for _, id := range ids {
		items = append(items, Item{ID: id, State: "running"})
	}
	return items
}

// changesOf returns what happened to the suite's resources, in order.
func (fx *fixture) changesOf(q inventory.Query) string {
	fx.Helper()
	var out []string
	for _, c := range collect(fx.T, fx.driver.Changes(fx.Context(), q, fx.firstInstant())) {
		out = append(out, c.Op+" "+c.Resource().ID)
	}
	return strings.Join(out, ", ")
}

// tooManyGone: no resource is gone before a second complete listing does not have it either, also after a restart.
// Another kind of the account is not concerned, and a resource that comes back has not changed.
func (fx *fixture) tooManyGone() {
	fx.listWithin(limit, "i-1", "i-2", "i-3", "i-4", "i-5", "i-6")
	before := collect(fx.T, fx.driver.Targets(fx.Context()))[0]
	fx.wantText("state", string(fx.listWithin(limit, "i-1")), "unconfirmed")
	fx.wantText("live", fx.ids(inventory.Query{}), "i-1 i-2 i-3 i-4 i-5 i-6")
	fx.wantText("changes", fx.changesOf(inventory.Query{}), "")
	c := collect(fx.T, fx.driver.Targets(fx.Context()))[0]
	if c.State != record.Unconfirmed || c.Reason != record.MaxGone || !strings.HasPrefix(c.Error, "5 of 6 ") ||
		c.Resources != 6 || !c.LastSeen.Equal(before.LastSeen) {
		fx.Errorf("coverage: %+v", c)
	}

	fx.driver = fx.reopen()
	fx.inv = inventory.New(fx.driver, inventory.Options{})
	instances := fx.target
	fx.target.Kind = "ec2_volume"
	fx.listWithin(limit, "vol-1", "vol-2", "vol-3")
	fx.wantText("another kind", string(fx.listWithin(limit, "vol-1", "vol-2")), "ok")
	fx.target = instances
	fx.wantText("a volume", fx.versions("vol-3"), "running>absent")

	fx.list(record.Partial, running("i-1")...)
	fx.wantText("after a partial listing", fx.versions("i-6"), "running")
	fx.wantText("the next complete one", string(fx.listWithin(limit, "i-1", "i-2", "i-3")), "ok")
	fx.wantText("live", fx.ids(inventory.Query{Kinds: []string{"ec2_instance"}}), "i-1 i-2 i-3")
	fx.wantText("one that came back", fx.versions("i-2"), "running")
	fx.wantText("one that did not", fx.versions("i-4"), "running>absent")
	fx.wantText("changes", fx.changesOf(inventory.Query{Kinds: []string{"ec2_instance"}}), "gone i-4, gone i-5, gone i-6")
}

// othersGone: each listing is compared with what the one before found.
func (fx *fixture) othersGone() {
	const all = "i-1 i-2 i-3 i-4 i-5 i-6 i-7 i-8"
	fx.listWithin(limit, strings.Fields(all)...)
	fx.wantText("five are missing", string(fx.listWithin(limit, "i-1", "i-2", "i-3")), "unconfirmed")
	fx.wantText("five others", string(fx.listWithin(limit, "i-4", "i-5", "i-6", "i-7", "i-8")), "unconfirmed")
	fx.wantText("live", fx.ids(inventory.Query{}), all)

	// i-1, i-2 and i-3 are unconfirmed. A partial listing finds i-1, so the next one does not confirm its end.
	fx.list(record.Partial, Item{ID: "i-1", State: "running", Type: "t3.large"}, Item{ID: "i-2", State: "running"})
	fx.wantText("all but two", string(fx.listWithin(limit, "i-4", "i-5")), "unconfirmed")
	fx.wantText("live", fx.ids(inventory.Query{}), "i-1 i-2 i-4 i-5 i-6 i-7 i-8")
	fx.wantText("what the last two do not have", string(fx.listWithin(limit, "i-4", "i-5")), "ok")
	fx.wantText("live", fx.ids(inventory.Query{}), "i-4 i-5")

	fx.wantText("below the limit", string(fx.listWithin(limit)), "ok")
	fx.wantText("live", fx.ids(inventory.Query{}), "")
	if n := len(collect(fx.T, fx.driver.History(fx.Context(), inventory.Query{}))); n != 9 {
		fx.Errorf("%d versions, want one for each resource, and one more of i-1", n)
	}
}

// retiredUnconfirmed: a target that is retired ends its resources, and begins anew when it is collected again.
func (fx *fixture) retiredUnconfirmed() {
	ids := []string{"i-1", "i-2", "i-3", "i-4"}
	fx.listWithin(limit, ids...)
	fx.wantText("state", string(fx.listWithin(limit)), "unconfirmed")
	fx.must(fx.inv.Retire(fx.Context(), fx.identity, []record.Target{fx.target}, inventory.KindRemoved))
	fx.wantText("a resource", fx.versions("i-1"), "running>kind_removed")
	fx.listWithin(limit, ids...)
	fx.wantText("state", string(fx.listWithin(limit)), "unconfirmed")
	fx.wantText("live", fx.ids(inventory.Query{}), "i-1 i-2 i-3 i-4")
	fx.wantText("a resource", fx.versions("i-1"), "running>kind_removed running")
	fx.wantText("state", fmt.Sprint(fx.listWithin(limit)), "ok")
	fx.wantText("live", fx.ids(inventory.Query{}), "")
}
