package inventorytest

import (
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A fixture is the state of one test.
type fixture struct {
	*testing.T
	driver   inventory.Driver
	reopen   func() inventory.Driver
	shared   bool // see Subject
	inv      *inventory.Inventory
	target   record.Target
	identity record.Identity
	runs     int
}

// pingAndProbe: a working store answers while a writer is open, and nothing is written.
func (fx *fixture) pingAndProbe() {
	v, err := fx.inv.Begin(fx.Context(), fx.target, fx.identity, "one")
	fx.must(err)
	fx.must(v.Page(fx.Context(), Page(fx.target, fx.identity, "one", Item{ID: "i-1"})))
	fx.must(fx.driver.Ping(fx.Context()))
	fx.must(fx.driver.ProbeWrite(fx.Context()))
	fx.must(v.End(fx.Context(), record.Outcome{Target: fx.target, Run: "one", State: record.OK, Started: time.Now()}))
	if got := IDs(fx, fx.driver, inventory.Query{}); got != "i-1" || fx.inv.Err() != nil {
		fx.Errorf("there is %q; %v", got, fx.inv.Err())
	}
}

func (fx *fixture) must(err error) {
	fx.Helper()
	if err != nil {
		fx.Fatal(err)
	}
}

func (fx *fixture) begin() inventory.ScopeWriter {
	fx.Helper()
	fx.runs++
	v, err := fx.inv.Begin(fx.Context(), fx.target, fx.identity, fx.run())
	fx.must(err)
	return v
}

func (fx *fixture) run() string { return fmt.Sprintf("run-%d", fx.runs) }

// page writes items, and then overwrites the page, as its owner does.
func (fx *fixture) page(v inventory.ScopeWriter, items ...Item) {
	fx.Helper()
	p := Page(fx.target, fx.identity, fx.run(), items...)
	fx.must(v.Page(fx.Context(), p))
	p.Poison()
}

func (fx *fixture) end(v inventory.ScopeWriter, s record.State) {
	fx.Helper()
	fx.must(v.End(fx.Context(), fx.outcome(s)))
}

func (fx *fixture) outcome(s record.State) record.Outcome {
	return record.Outcome{Target: fx.target, Run: fx.run(), State: s, Started: time.Now(), Ended: time.Now()}
}

// list is one complete listing.
func (fx *fixture) list(s record.State, items ...Item) {
	fx.Helper()
	v := fx.begin()
	fx.page(v, items...)
	fx.end(v, s)
}

func collect[T any](t *testing.T, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var out []T
	for v, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

func (fx *fixture) findAll(q inventory.Query) []*inventory.Resource {
	fx.Helper()
	return collect(fx.T, fx.driver.Find(fx.Context(), q))
}

func (fx *fixture) ids(q inventory.Query) string {
	fx.Helper()
	var ids []string
	for _, r := range fx.findAll(q) {
		ids = append(ids, r.ID)
	}
	return strings.Join(ids, " ")
}

func (fx *fixture) wantText(what, got, wantText string) {
	fx.Helper()
	if got != wantText {
		fx.Errorf("%s: got %q, want %q", what, got, wantText)
	}
}

// versions returns a resource's history in short form: the state of each version, and why it ended.
func (fx *fixture) versions(id string) string {
	fx.Helper()
	var out []string
	for _, r := range collect(fx.T, fx.driver.History(fx.Context(), inventory.Query{ID: id})) {
		s := r.State
		if !r.Live() {
			s += ">" + r.Ended
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}
