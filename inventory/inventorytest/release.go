package inventorytest

import (
	"errors"
	"fmt"
	"io"
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
	fx.waitIndexed()
	fx.wantText("searched", fx.ids(inventory.Query{Search: "i-1"}), "i-1")
	fx.wantText("searched, then", fx.ids(inventory.Query{Search: "I-2", At: fx.firstInstant()}), "i-2")
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

// firstInstant is when the first version began.
func (fx *fixture) firstInstant() (at time.Time) {
	for _, r := range collect(fx.T, fx.driver.History(fx.Context(), inventory.Query{})) {
		if at.IsZero() || r.ValidFrom.Before(at) {
			at = r.ValidFrom
		}
	}
	return at
}

// A NewerRelease opens a database that a newer program has changed.
type NewerRelease struct {
	Change     func() // adds a column to the table of runs, and sets the schema's version to NewerVersion
	Open       func() inventory.Driver
	OpenReader func() (io.Closer, error)
	Version    func() int // of the schema
}

// NewerVersion is the version of a newer schema.
const NewerVersion = 99

// CheckNewerRelease checks that a database is used which a newer program has changed, if that program says that this
// one may write beside it.
func CheckNewerRelease(t *testing.T, n NewerRelease) {
	t.Helper()
	if err := n.Open().Close(); err != nil {
		t.Fatal(err)
	}
	n.Change()
	d := n.Open()
	if err := d.StartRun(t.Context(), inventory.Run{ID: "one", Status: record.RunRunning}); err != nil {
		t.Error(err)
	}
	r, err := n.OpenReader()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Close(), d.Close()); err != nil {
		t.Error(err)
	}
	if v := n.Version(); v != NewerVersion {
		t.Errorf("the version is %d", v)
	}
}

// CheckOldRuns checks that the end of a run deletes what is too old, with the causes that no run names any more, and no
// others. d keeps runs for 30 days; count counts the rows of a table.
func CheckOldRuns(t *testing.T, d inventory.Driver, count func(table string) int) {
	t.Helper()
	for i, days := range []int{60, 33, 29, 0} {
		at := time.Now().AddDate(0, 0, -days)
		r := inventory.Run{
			ID: inventory.FirstRunID(at), Account: "a", Tick: at, Started: at, Ended: at, Status: record.RunFailed,
			Causes: []inventory.Cause{{State: record.Error, Error: fmt.Sprint("cause ", i), Targets: 1}},
		}
		if err := d.EndRun(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for _, table := range []string{"run", "cause"} {
		if n := count(table); n != 2 {
			t.Errorf("%d rows in %s, want 2", n, table)
		}
	}
}
