package inventorytest

import (
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// CheckRelease checks a database that the last release made of two listings of the suite's target: i-1 (running, then
// stopped) and i-2 (running, then gone).
func CheckRelease(t *testing.T, d inventory.Driver) {
	t.Helper()
	fx := &fixture{T: t, driver: d, inv: inventory.New(d, inventory.Options{}), runs: 2}
	fx.target, fx.identity = Target()
	fx.wantText("live", fx.ids(inventory.Query{}), "i-1")
	fx.wantText("i-1", fx.versions("i-1"), "running> stopped")
	fx.wantText("i-2", fx.versions("i-2"), "running>"+inventory.Absent)
	before := collect(t, d.Targets(t.Context()))
	if len(before) != 1 || before[0].Run != "run-2" || before[0].State != record.OK || before[0].LastSeen.IsZero() {
		t.Fatalf("targets: %+v", before)
	}
	if n := len(collect(t, d.Runs(t.Context(), inventory.RunQuery{}))); n != 0 {
		t.Errorf("%d runs", n)
	}

	fx.list(record.OK, Item{ID: "i-1", State: "stopped", Type: "t3.micro", Tags: map[string]string{"Name": "web"}},
		Item{ID: "i-3", State: "running"})
	fx.wantText("then live", fx.ids(inventory.Query{}), "i-1 i-3")
	fx.wantText("i-1, unchanged", fx.versions("i-1"), "running> stopped")
	after := collect(t, d.Targets(t.Context()))
	if len(after) != 1 || !after[0].StateSince.IsZero() || after[0].History != before[0].History {
		t.Errorf("targets: before %+v\nafter %+v", before, after)
	}
	r := runAt("prod", time.Now())
	r.Ended, r.Status = time.Now(), record.Success
	fx.must(d.StartRun(t.Context(), r))
	fx.must(d.EndRun(t.Context(), r))
	fx.wantText("runs", fx.runsOf(inventory.RunQuery{}), "prod success")
}
