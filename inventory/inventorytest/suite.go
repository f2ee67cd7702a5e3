// Package inventorytest is the conformance test suite for all drivers of the inventory. Begin at [Run].
package inventorytest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A Subject is the driver under test.
type Subject struct {
	// Open opens an empty store. reopen closes it and opens it again, as a restart does.
	Open func(t *testing.T) (d inventory.Driver, reopen func() inventory.Driver)
}

// Run runs the suite.
func Run(t *testing.T, s Subject) {
	for _, test := range []struct {
		name string
		run  func(*fixture)
	}{
		{"remembers at the end of the target", (*fixture).storedAtEnd},
		{"unchanged makes no version", (*fixture).unchanged},
		{"a change makes a version", (*fixture).changes},
		{"gone only after an ok listing", (*fixture).gone},
		{"what failed keeps what it saw", (*fixture).partial},
		{"terminated", (*fixture).terminated},
		{"back again", (*fixture).reappears},
		{"fenced", (*fixture).fenced},
		{"a renamed block changes no history", (*fixture).renamed},
		{"retired", (*fixture).retired},
		{"an account that is not entered", (*fixture).notOpened},
		{"a large target", (*fixture).large},
		{"a large target, in one transaction", func(b *fixture) {
			b.inv = inventory.New(b.driver, inventory.Options{})
			b.large()
		}},
		{"shown twice", (*fixture).listedTwice},
		{"ids of any kind", (*fixture).unusualIDs},
		{"narrowed", (*fixture).filtered},
		{"concurrent", (*fixture).concurrent},
		{"a pulse and a probe", (*fixture).pingAndProbe},
		{"any history", (*fixture).anyHistory},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, reopen := s.Open(t)
			b := &fixture{T: t, driver: d, reopen: reopen}
			b.inv = inventory.New(d, inventory.Options{MaxBuffered: 16 << 10}) // so that some writers stage
			b.target, b.identity = Target()
			test.run(b)
		})
	}
}

// A fixture is the state of one test.
type fixture struct {
	*testing.T
	driver   inventory.Driver
	reopen   func() inventory.Driver
	inv      *inventory.Inventory
	target   record.Target
	identity record.Identity
	runs     int
}

// pingAndProbe: a working store answers while a writer is open, and nothing is written.
func (b *fixture) pingAndProbe() {
	v, err := b.inv.Begin(b.Context(), b.target, b.identity, "one")
	b.must(err)
	b.must(v.Page(b.Context(), Page(b.target, b.identity, "one", Item{ID: "i-1"})))
	b.must(b.driver.Ping(b.Context()))
	b.must(b.driver.ProbeWrite(b.Context()))
	b.must(v.End(b.Context(), record.Outcome{Target: b.target, Run: "one", State: record.OK, Started: time.Now()}))
	if got := IDs(b, b.driver, inventory.Query{}); got != "i-1" || b.inv.Err() != nil {
		b.Errorf("there is %q; %v", got, b.inv.Err())
	}
}

func (b *fixture) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *fixture) begin() *inventory.ScopeWriter {
	b.Helper()
	b.runs++
	v, err := b.inv.Begin(b.Context(), b.target, b.identity, b.run())
	b.must(err)
	return v
}

func (b *fixture) run() string { return fmt.Sprintf("run-%d", b.runs) }

// page writes items, and then overwrites the page, as its owner does.
func (b *fixture) page(v *inventory.ScopeWriter, items ...Item) {
	b.Helper()
	p := Page(b.target, b.identity, b.run(), items...)
	b.must(v.Page(b.Context(), p))
	p.Poison()
}

func (b *fixture) end(v *inventory.ScopeWriter, s record.State) {
	b.Helper()
	b.must(v.End(b.Context(), b.outcome(s)))
}

func (b *fixture) outcome(s record.State) record.Outcome {
	return record.Outcome{Target: b.target, Run: b.run(), State: s, Started: time.Now(), Ended: time.Now()}
}

// list is one complete listing.
func (b *fixture) list(s record.State, items ...Item) {
	b.Helper()
	v := b.begin()
	b.page(v, items...)
	b.end(v, s)
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

func (b *fixture) findAll(q inventory.Query) []*inventory.Resource {
	b.Helper()
	return collect(b.T, b.driver.Find(b.Context(), q))
}

func (b *fixture) ids(q inventory.Query) string {
	b.Helper()
	var ids []string
	for _, r := range b.findAll(q) {
		ids = append(ids, r.ID)
	}
	return strings.Join(ids, " ")
}

func (b *fixture) wantText(what, got, wantText string) {
	b.Helper()
	if got != wantText {
		b.Errorf("%s: got %q, want %q", what, got, wantText)
	}
}

// versions returns a resource's history in short form: the state of each version, and why it ended.
func (b *fixture) versions(id string) string {
	b.Helper()
	var out []string
	for _, r := range collect(b.T, b.driver.History(b.Context(), inventory.Query{ID: id})) {
		s := r.State
		if !r.Live() {
			s += ">" + r.Ended
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func (b *fixture) storedAtEnd() {
	v := b.begin()
	b.page(v, Item{ID: "i-1", State: "running", Type: "t3.micro", Tags: map[string]string{"Name": "web", "team": `a "b"`}})
	b.page(v, Item{ID: "i-2", State: "stopped"})
	b.wantText("before the end", b.ids(inventory.Query{}), "")
	before := time.Now().Add(-time.Second)
	b.end(v, record.OK)
	got := b.findAll(inventory.Query{Data: true})
	if len(got) != 2 {
		b.Fatalf("%d resources", len(got))
	}
	r := got[0]
	for what, pair := range map[string][2]string{
		"id": {r.ID, "i-1"}, "kind": {r.Kind, "ec2_instance"}, "name": {r.Name, "web"}, "state": {r.State, "running"}, "type": {r.Type, "t3.micro"},
		"account": {r.Account, "prod"}, "account id": {r.AccountID, "222222222222"}, "partition": {r.Partition, "aws"}, "region": {r.Region, "us-east-1"},
		"tag": {r.Tags["team"], `a "b"`}, "extra tag": {r.ExtraTags["team"], "platform"}, "run": {r.Run, "run-1"},
		"data": {sorted(b.T, r.Data), sorted(b.T, []byte(`{"InstanceId":"i-1","State":{"Code":16,"Name":"running"},"InstanceType":"t3.micro","Pad":"","Checked":"","Tags":[{"Key":"Name","Value":"web"},{"Key":"team","Value":"a \"b\""}]}`))},
	} {
		b.wantText(what, pair[0], pair[1])
	}
	for what, at := range map[string]time.Time{"valid from": r.ValidFrom, "first seen": r.FirstSeen, "state since": r.StateSince, "last seen": r.LastSeen} {
		if at.Before(before) || at.After(time.Now().Add(time.Second)) {
			b.Errorf("%s is %s", what, at)
		}
	}
	if !r.Live() {
		b.Error("it is not live")
	}
	if plain := b.findAll(inventory.Query{}); plain[0].Data != nil {
		b.Error("data came unasked")
	}
	b.driver = b.reopen()
	b.wantText("after a restart", b.ids(inventory.Query{}), "i-1 i-2")
	ts, err := b.driver.ActiveTargets(b.Context(), "prod")
	b.must(err)
	if len(ts) != 1 || ts[0] != b.target {
		b.Errorf("known after a restart: %v", ts)
	}
}

// sorted returns JSON with sorted members: a database may change their order.
func sorted(t *testing.T, text []byte) string {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func (b *fixture) unchanged() {
	b.list(record.OK, Item{ID: "i-1", State: "running", Volatile: "one"})
	was := b.findAll(inventory.Query{})[0]
	b.list(record.OK, Item{ID: "i-1", State: "running", Volatile: "two"})
	b.wantText("versions", b.versions("i-1"), "running")
	is := b.findAll(inventory.Query{})[0]
	if !is.LastSeen.After(was.LastSeen) || !is.ValidFrom.Equal(was.ValidFrom) || is.Run != "run-1" {
		b.Errorf("seen %s, then %s; valid from %s, then %s; run %s", was.LastSeen, is.LastSeen, was.ValidFrom, is.ValidFrom, is.Run)
	}
	if n := len(collect(b.T, b.driver.Changes(b.Context(), inventory.Query{}, was.ValidFrom))); n > 0 {
		b.Errorf("%d changes", n)
	}
}

func (b *fixture) changes() {
	b.list(record.OK, Item{ID: "i-1", State: "running"}, Item{ID: "i-2", State: "running"})
	first := b.findAll(inventory.Query{})[0]
	b.list(record.OK, Item{ID: "i-1", State: "running", Type: "t3.large"}, Item{ID: "i-2", State: "running"})
	b.list(record.OK, Item{ID: "i-1", State: "stopped", Type: "t3.large"}, Item{ID: "i-2", State: "running"}, Item{ID: "i-3", State: "pending"})
	b.wantText("i-1", b.versions("i-1"), "running> running> stopped")
	b.wantText("i-2", b.versions("i-2"), "running")
	h := collect(b.T, b.driver.History(b.Context(), inventory.Query{ID: "i-1", Data: true}))
	if len(h) != 3 {
		b.Fatal("not three versions")
	}
	if !h[1].FirstSeen.Equal(first.FirstSeen) || !h[1].StateSince.Equal(first.StateSince) || !h[2].FirstSeen.Equal(first.FirstSeen) || !h[2].StateSince.Equal(h[2].ValidFrom) {
		b.Errorf("first seen %s %s %s, state since %s %s %s", h[0].FirstSeen, h[1].FirstSeen, h[2].FirstSeen, h[0].StateSince, h[1].StateSince, h[2].StateSince)
	}
	if !h[0].ValidTo.Equal(h[1].ValidFrom) || !h[1].ValidTo.Equal(h[2].ValidFrom) {
		b.Error("versions leave gaps")
	}
	deltas, err := inventory.Deltas(h[1].Data, h[2].Data)
	b.must(err)
	b.wantText("deltas", fmt.Sprintf("%s", deltas), `[{State.Name "running" "stopped"}]`)
	b.wantText("then", b.ids(inventory.Query{At: first.ValidFrom}), "i-1 i-2")
	b.wantText("before", b.ids(inventory.Query{At: first.ValidFrom.Add(-time.Microsecond)}), "")

	told := func(cs []inventory.Change) string {
		var out []string
		for _, c := range cs {
			out = append(out, c.Op+" "+c.Resource().ID)
		}
		return strings.Join(out, ", ")
	}
	b.wantText("diff", told(collect(b.T, b.driver.Diff(b.Context(), inventory.Query{}, first.ValidFrom, time.Now().Add(time.Hour)))), "changed i-1, added i-3")
	b.wantText("diff from the beginning", told(collect(b.T, b.driver.Diff(b.Context(), inventory.Query{}, first.ValidFrom.Add(-time.Hour), first.ValidFrom))), "added i-1, added i-2")
	changes := collect(b.T, b.driver.Changes(b.Context(), inventory.Query{}, first.ValidFrom))
	b.wantText("changes", told(changes), "changed i-1, changed i-1, added i-3")
	for n := 1; n < len(changes); n++ {
		if changes[n].At.Before(changes[n-1].At) {
			b.Error("changes are out of order")
		}
	}
	b.wantText("changes after the second", told(collect(b.T, b.driver.Changes(b.Context(), inventory.Query{}, changes[0].At))), "changed i-1, added i-3")

	b.list(record.OK, Item{ID: "i-1", State: "running"}, Item{ID: "i-2", State: "running"}) // as at first
	b.wantText("diff of what came back", told(collect(b.T, b.driver.Diff(b.Context(), inventory.Query{}, first.ValidFrom, time.Now().Add(time.Hour)))), "")
	b.wantText("changes", told(collect(b.T, b.driver.Changes(b.Context(), inventory.Query{}, changes[2].At))), "changed i-1, gone i-3")
}

func (b *fixture) gone() {
	for _, s := range record.States {
		b.list(record.OK, Item{ID: "i-1", State: "running"}, Item{ID: "i-2", State: "running"})
		b.list(s, Item{ID: "i-1", State: "running"})
		want := "i-1 i-2"
		if s == record.OK {
			want = "i-1"
		}
		b.wantText(string(s), b.ids(inventory.Query{}), want)
	}
	b.wantText("why", b.versions("i-2"), "running>absent running")
	b.runs++
	v := b.begin() // without a page: an empty region
	b.end(v, record.OK)
	b.wantText("after an empty listing", b.ids(inventory.Query{}), "")
}

func (b *fixture) partial() {
	b.list(record.OK, Item{ID: "i-1", State: "running"}, Item{ID: "i-2", State: "running"})
	seen := b.findAll(inventory.Query{})[0].LastSeen
	b.list(record.Partial, Item{ID: "i-1", State: "stopped"}, Item{ID: "i-3", State: "running"})
	b.wantText("after it", b.ids(inventory.Query{}), "i-1 i-2 i-3")
	b.wantText("i-1", b.versions("i-1"), "running> stopped")
	if now := b.findAll(inventory.Query{})[0].LastSeen; !now.Equal(seen) {
		b.Error("a listing that broke off counts as having seen everything")
	}
	cover := collect(b.T, b.driver.Targets(b.Context()))
	if len(cover) != 1 || cover[0].State != record.Partial || cover[0].Resources != 3 || cover[0].Run != "run-2" || !cover[0].LastSeen.Equal(seen) {
		b.Errorf("coverage: %+v", cover)
	}
}

func (b *fixture) terminated() {
	b.list(record.OK, Item{ID: "i-1", State: "running"}, Item{ID: "i-2", State: "running"})
	b.list(record.OK, Item{ID: "i-1", State: "terminated"})
	b.wantText("while it is shown", b.ids(inventory.Query{}), "i-1")
	b.list(record.OK)
	b.wantText("i-1", b.versions("i-1"), "running> terminated>terminated")
	b.wantText("i-2", b.versions("i-2"), "running>absent")
}

func (b *fixture) reappears() {
	b.list(record.OK, Item{ID: "i-1", State: "running"})
	b.list(record.OK)
	b.list(record.OK, Item{ID: "i-1", State: "running"})
	b.wantText("versions", b.versions("i-1"), "running>absent running")
	h := collect(b.T, b.driver.History(b.Context(), inventory.Query{ID: "i-1"}))
	if !h[1].FirstSeen.Equal(h[1].ValidFrom) {
		b.Error("a second life goes on from the first")
	}
}

func (b *fixture) fenced() {
	big := make([]Item, 300)
	for i := range big {
		big[i] = Item{ID: fmt.Sprintf("i-old-%d", i), State: "running", Pad: strings.Repeat("x", 2000)}
	}
	late := b.begin()
	b.page(late, big...)
	v := b.begin()
	b.page(v, Item{ID: "i-new", State: "running"})
	if err := late.End(b.Context(), b.outcome(record.OK)); !errors.Is(err, inventory.ErrFenced) {
		b.Errorf("the late one's end: %v", err)
	}
	b.end(v, record.OK)
	b.wantText("after both", b.ids(inventory.Query{}), "i-new")

	late = b.begin()
	b.page(late)
	b.must(b.inv.Retire(b.Context(), record.Identity{}, []record.Target{b.target}, inventory.RegionRemoved))
	if err := late.End(b.Context(), b.outcome(record.OK)); !errors.Is(err, inventory.ErrFenced) {
		b.Errorf("the end of a retired one: %v", err)
	}
	if b.inv.Err() != nil {
		b.Errorf("a fence is the store's trouble: %v", b.inv.Err())
	}
	b.wantText("after it", b.versions("i-new"), "running>region_removed")
}

func (b *fixture) renamed() {
	instances := b.target
	b.target.Kind = "ec2_volume" // not listed again under the new name
	b.list(record.OK, Item{ID: "vol-1"})
	b.target = instances
	b.list(record.OK, Item{ID: "i-1", State: "running"})
	was := b.findAll(inventory.Query{})[0]
	b.target.Account = "production"
	b.list(record.OK, Item{ID: "i-1", State: "running"})
	b.wantText("versions", b.versions("i-1"), "running")
	is := b.findAll(inventory.Query{})[0]
	b.wantText("account", is.Account, "production")
	if n := len(b.findAll(inventory.Query{Accounts: []string{"production"}, ID: "vol-1"})); n != 1 {
		b.Errorf("%d resources of another kind under the new name, want 1", n)
	}
	if !is.ValidFrom.Equal(was.ValidFrom) {
		b.Error("it begins anew")
	}
	ts, err := b.driver.ActiveTargets(b.Context(), "prod")
	b.must(err)
	if len(ts) > 0 {
		b.Errorf("known under the old name: %v", ts)
	}
	as, err := b.driver.Accounts(b.Context())
	b.must(err)
	b.wantText("accounts", fmt.Sprint(as), "[{production aws 222222222222}]")
}

func (b *fixture) retired() {
	b.list(record.OK, Item{ID: "i-1", State: "running"})
	other := b.target
	b.target.Region = "eu-west-1"
	b.list(record.OK, Item{ID: "i-2", State: "running"})
	another := record.Identity{AccountID: "999999999999", Partition: "aws"} // the block is another account now, under the same name
	b.must(b.inv.Retire(b.Context(), another, []record.Target{other}, inventory.RegionRemoved))
	b.wantText("i-1", b.versions("i-1"), "running")
	b.must(b.inv.Retire(b.Context(), b.identity, []record.Target{other}, inventory.RegionRemoved))
	b.wantText("i-1", b.versions("i-1"), "running>region_removed")
	b.wantText("i-2", b.versions("i-2"), "running")
	ts, err := b.driver.ActiveTargets(b.Context(), "prod")
	b.must(err)
	if len(ts) != 1 || ts[0] != b.target {
		b.Errorf("known: %v", ts)
	}
	b.must(b.inv.Retire(b.Context(), record.Identity{}, []record.Target{other}, inventory.RegionRemoved)) // repeating it is harmless
	b.must(b.driver.RetireAccount(b.Context(), inventory.Account{Name: "prod", Partition: "aws", AccountID: "222222222222"}, inventory.AccountRemoved))
	b.wantText("i-2", b.versions("i-2"), "running>account_removed")
	as, err := b.driver.Accounts(b.Context())
	b.must(err)
	if len(as) > 0 {
		b.Errorf("accounts: %v", as)
	}
	b.list(record.OK, Item{ID: "i-2", State: "running"})
	b.wantText("when it is collected again", b.versions("i-2"), "running>account_removed running")
}

func (b *fixture) notOpened() {
	identity := b.identity
	b.identity = record.Identity{}
	v := b.begin() // no scope is known: nothing can be stored, without an error
	b.end(v, record.AuthFailed)
	b.identity = identity
	b.list(record.OK, Item{ID: "i-1", State: "running"})
	b.identity = record.Identity{}
	v = b.begin()
	b.end(v, record.AuthFailed)
	b.wantText("resources", b.ids(inventory.Query{}), "i-1")
	cover := collect(b.T, b.driver.Targets(b.Context()))
	if len(cover) != 1 || cover[0].State != record.AuthFailed || cover[0].AccountID != identity.AccountID {
		b.Errorf("coverage: %+v", cover)
	}
}

func (b *fixture) large() {
	const n = 3000
	items := make([]Item, n)
	for i := range items {
		items[i] = Item{ID: fmt.Sprintf("i-%05d", i), State: "running", Pad: strings.Repeat("x", 1000)}
	}
	v := b.begin()
	for page := range slices.Chunk(items, 500) {
		b.page(v, page...)
		b.wantText("before the end", b.ids(inventory.Query{}), "")
	}
	b.end(v, record.OK)
	if got := len(b.findAll(inventory.Query{})); got != n {
		b.Errorf("%d resources, want %d", got, n)
	}
	for i := 0; i < n; i += 2 {
		items[i].State = "stopped"
	}
	v = b.begin()
	for page := range slices.Chunk(items[:n-1], 500) {
		b.page(v, page...)
	}
	b.end(v, record.OK)
	states := map[string]int{}
	for _, r := range b.findAll(inventory.Query{Data: true}) {
		states[r.State]++
		if !bytes.Contains(r.Data, []byte(`"InstanceId":"`+r.ID+`"`)) || !bytes.Contains(r.Data, []byte(`"Name":"`+r.State+`"`)) {
			b.Fatalf("%s in state %s has the body %.200s", r.ID, r.State, r.Data)
		}
	}
	if states["stopped"] != n/2 || states["running"] != n/2-1 {
		b.Errorf("states: %v", states)
	}
	if h := len(collect(b.T, b.driver.History(b.Context(), inventory.Query{}))); h != n+n/2 {
		b.Errorf("%d versions, want %d", h, n+n/2)
	}
}

func (b *fixture) listedTwice() {
	v := b.begin()
	b.page(v, Item{ID: "i-1", State: "running"}, Item{ID: "i-1", State: "running"})
	b.page(v, Item{ID: "i-1", State: "stopped"})
	b.end(v, record.OK)
	b.wantText("versions", b.versions("i-1"), "running")
}

func (b *fixture) unusualIDs() {
	ids := []string{"vpc-1/key=a b", `quo"te`, "line\nfeed", "ünï", "%_*?'", strings.Repeat("long", 300)}
	items := make([]Item, len(ids))
	for i, id := range ids {
		items[i] = Item{ID: id, State: "running", Tags: map[string]string{"a.b": id, `"`: id}}
	}
	b.list(record.OK, items...)
	b.list(record.OK, items...)
	for _, id := range ids {
		b.wantText(id, b.versions(id), "running")
		if r := b.findAll(inventory.Query{ID: id}); len(r) != 1 || r[0].Tags["a.b"] != id || r[0].Tags[`"`] != id {
			b.Errorf("%q: %v", id, r)
		}
	}
}

func (b *fixture) filtered() {
	b.list(record.OK, Item{ID: "i-1", State: "running", Type: "t3.micro", Tags: map[string]string{"team": "a"}}, Item{ID: "i-2", State: "stopped"})
	b.target = record.Target{Account: "dev", Region: "eu-west-1", Kind: "ec2_instance"}
	b.identity.AccountID = "111111111111"
	b.list(record.OK, Item{ID: "i-3", State: "running", Pad: "here"})
	for _, c := range []struct {
		q    inventory.Query
		text string
		want string
	}{
		{q: inventory.Query{Kinds: []string{"ec2_*"}}, want: "i-3 i-1 i-2"},
		{q: inventory.Query{Kinds: []string{"ec2_volume"}}, want: ""},
		{q: inventory.Query{Accounts: []string{"prod"}}, want: "i-1 i-2"},
		{q: inventory.Query{Accounts: []string{"111111111111"}}, want: "i-3"},
		{q: inventory.Query{Accounts: []string{"!prod"}}, want: "i-3"},
		{q: inventory.Query{Regions: []string{"us-*", "eu-*", "!eu-west-1"}}, want: "i-1 i-2"},
		{q: inventory.Query{ID: "i-2"}, want: "i-2"},
		{text: "state=running", want: "i-3 i-1"},
		{text: "state=running and tags.team=a", want: "i-1"},
		{text: "extra_tags.team=platform and not tags.team", want: "i-3 i-2"},
		{text: "data.Pad=here", want: "i-3"},
		{text: "type~'t3.*' or id=i-2", want: "i-1 i-2"},
		{text: "region in (eu-west-1, eu-west-2)", want: "i-3"},
		{text: "state=\"' OR 1=1 --\"", want: ""},
		{text: "state_since > 1h and valid_from > 2001-01-01", want: "i-3 i-1 i-2"},
	} {
		q := c.q
		if c.text != "" {
			w, err := inventory.ParseWhere(c.text, time.Now())
			b.must(err)
			q.Where = w
		}
		b.wantText(fmt.Sprintf("%+v %s", c.q, c.text), b.ids(q), c.want)
		at := q
		at.At = time.Now().Add(time.Hour)
		b.wantText("the same at an instant: "+c.text, b.ids(at), c.want)
	}
	for range b.driver.Find(b.Context(), inventory.Query{}) {
		break // stopping early leaks nothing
	}
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	for _, err := range b.driver.Find(ctx, inventory.Query{}) {
		if !errors.Is(err, context.Canceled) {
			b.Errorf("cancelled: %v", err)
		}
	}
}

func (b *fixture) concurrent() {
	var wg sync.WaitGroup
	ctx := b.Context()
	for n := range 8 {
		wg.Go(func() {
			target := record.Target{Account: "prod", Region: fmt.Sprintf("us-east-%d", n), Kind: "ec2_instance"}
			for round := range 5 {
				run := fmt.Sprintf("run-%d", round)
				v, err := b.inv.Begin(ctx, target, b.identity, run)
				if err != nil {
					b.Error(err)
					return
				}
				for page := range 3 {
					id := fmt.Sprintf("i-%d-%d", n, page)
					if err := v.Page(ctx, Page(target, b.identity, run, Item{ID: id, State: fmt.Sprint(round), Pad: strings.Repeat("x", 100_000)})); err != nil {
						b.Error(err)
						return
					}
				}
				o := record.Outcome{Target: target, Run: run, State: record.OK, Started: time.Now()}
				if err := v.End(ctx, o); err != nil {
					b.Error(err)
					return
				}
				for _, err := range b.driver.Find(ctx, inventory.Query{}) {
					if err != nil {
						b.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if got := b.findAll(inventory.Query{}); len(got) != 24 || slices.ContainsFunc(got, func(r *inventory.Resource) bool { return r.State != "4" }) {
		b.Errorf("%d resources", len(got))
	}
	if h := len(collect(b.T, b.driver.History(ctx, inventory.Query{}))); h != 8*3*5 {
		b.Errorf("%d versions", h)
	}
}

// anyHistory compares a random history with a model in memory, at every instant.
func (b *fixture) anyHistory() {
	const seed = 11
	rnd := rand.New(rand.NewPCG(seed, seed))
	type state map[string]string
	now := state{}
	type moment struct {
		at   time.Time
		then string
	}
	var past []moment
	show := func(s state) string {
		var out []string
		for id, v := range s {
			out = append(out, id+"="+v)
		}
		slices.SortFunc(out, cmp.Compare)
		return strings.Join(out, " ")
	}
	got := func(q inventory.Query) string {
		s := state{}
		for _, r := range b.findAll(q) {
			s[r.ID] = r.State
		}
		return show(s)
	}
	for range 60 {
		how := record.States[rnd.IntN(len(record.States))]
		if rnd.IntN(2) == 0 {
			how = record.OK
		}
		var items []Item
		next := state{}
		if how != record.OK {
			for k, v := range now {
				next[k] = v
			}
		}
		for i := range 12 {
			if rnd.IntN(3) == 0 {
				continue
			}
			it := Item{ID: fmt.Sprintf("i-%d", i), State: fmt.Sprint("s", rnd.IntN(3)), Volatile: fmt.Sprint(rnd.Int())}
			items = append(items, it)
			next[it.ID] = it.State
		}
		switch rnd.IntN(12) {
		case 0:
			b.must(b.inv.Retire(b.Context(), record.Identity{}, []record.Target{b.target}, inventory.AccountRemoved))
			next = state{}
		case 1:
			v := b.begin() // never ended
			b.page(v, items...)
			continue
		default:
			b.list(how, items...)
		}
		now = next
		b.wantText("now", got(inventory.Query{}), show(now))
		if rs := b.findAll(inventory.Query{}); len(rs) > 0 {
			at := slices.MaxFunc(rs, func(x, y *inventory.Resource) int { return x.ValidFrom.Compare(y.ValidFrom) }).LastSeen
			for _, r := range rs {
				if r.ValidFrom.After(at) {
					at = r.ValidFrom
				}
			}
			if how == record.OK {
				past = append(past, moment{at, show(now)})
			}
		}
	}
	if len(past) < 10 {
		b.Fatalf("only %d moments", len(past))
	}
	b.driver = b.reopen()
	for _, m := range past {
		b.wantText("at "+m.at.Format(time.RFC3339Nano), got(inventory.Query{At: m.at}), m.then)
	}
}
