// Package inventorytest is the one conformance suite that every driver of the inventory passes. Begin at [Run].
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

// A Subject makes the driver under test.
type Subject struct {
	// Open opens an empty store. Reopen closes it and opens it again, as a restart does.
	Open func(t *testing.T) (d inventory.Driver, reopen func() inventory.Driver)
}

// Run runs the suite.
func Run(t *testing.T, s Subject) {
	for _, test := range []struct {
		name string
		run  func(*bed)
	}{
		{"remembers at the end of the target", (*bed).remembers},
		{"unchanged makes no version", (*bed).unchanged},
		{"a change makes a version", (*bed).changes},
		{"gone only after an ok listing", (*bed).gone},
		{"what failed keeps what it saw", (*bed).partial},
		{"terminated", (*bed).terminated},
		{"back again", (*bed).back},
		{"fenced", (*bed).fenced},
		{"a renamed block changes no history", (*bed).renamed},
		{"retired", (*bed).retired},
		{"an account that is not entered", (*bed).notEntered},
		{"a large target", (*bed).large},
		{"a large target, in one transaction", func(b *bed) {
			b.inv = inventory.New(b.d, inventory.Options{})
			b.large()
		}},
		{"shown twice", (*bed).twice},
		{"ids of any kind", (*bed).odd},
		{"narrowed", (*bed).narrowed},
		{"concurrent", (*bed).concurrent},
		{"a pulse and a probe", (*bed).alive},
		{"any history", (*bed).model},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, reopen := s.Open(t)
			b := &bed{T: t, d: d, reopen: reopen}
			b.inv = inventory.New(d, inventory.Options{Hold: 16 << 10}) // so that some visits are staged
			b.target, b.who = Target()
			test.run(b)
		})
	}
}

// A bed is what one test stands on.
type bed struct {
	*testing.T
	d      inventory.Driver
	reopen func() inventory.Driver
	inv    *inventory.Inventory
	target record.Target
	who    record.Identity
	runs   int
}

// alive: a store that works says so, in the midst of a visit and beside it, and nothing comes of being asked.
func (b *bed) alive() {
	v, err := b.inv.Begin(b.Context(), b.target, b.who, "one")
	b.must(err)
	b.must(v.Page(b.Context(), Page(b.target, b.who, "one", Item{ID: "i-1"})))
	b.must(b.d.Pulse(b.Context()))
	b.must(b.d.Probe(b.Context()))
	b.must(v.End(b.Context(), record.Outcome{Target: b.target, Run: "one", State: record.OK, Started: time.Now()}))
	if got := IDs(b, b.d, inventory.Query{}); got != "i-1" || b.inv.Err() != nil {
		b.Errorf("there is %q; %v", got, b.inv.Err())
	}
}

func (b *bed) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bed) begin() *inventory.Visit {
	b.Helper()
	b.runs++
	v, err := b.inv.Begin(b.Context(), b.target, b.who, b.run())
	b.must(err)
	return v
}

func (b *bed) run() string { return fmt.Sprintf("run-%d", b.runs) }

// page lends items, and overwrites the page, as its owner does when it is back.
func (b *bed) page(v *inventory.Visit, items ...Item) {
	b.Helper()
	p := Page(b.target, b.who, b.run(), items...)
	b.must(v.Page(b.Context(), p))
	p.Poison()
}

func (b *bed) end(v *inventory.Visit, s record.State) {
	b.Helper()
	b.must(v.End(b.Context(), b.outcome(s)))
}

func (b *bed) outcome(s record.State) record.Outcome {
	return record.Outcome{Target: b.target, Run: b.run(), State: s, Started: time.Now(), Ended: time.Now()}
}

// list is a whole listing.
func (b *bed) list(s record.State, items ...Item) {
	b.Helper()
	v := b.begin()
	b.page(v, items...)
	b.end(v, s)
}

func all[T any](t *testing.T, seq iter.Seq2[T, error]) []T {
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

func (b *bed) find(q inventory.Query) []*inventory.Resource {
	b.Helper()
	return all(b.T, b.d.Find(b.Context(), q))
}

func (b *bed) ids(q inventory.Query) string {
	b.Helper()
	var ids []string
	for _, r := range b.find(q) {
		ids = append(ids, r.ID)
	}
	return strings.Join(ids, " ")
}

func (b *bed) want(what, got, want string) {
	b.Helper()
	if got != want {
		b.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// versions is a resource's history in short: its state in each version, and why it ended.
func (b *bed) versions(id string) string {
	b.Helper()
	var out []string
	for _, r := range all(b.T, b.d.History(b.Context(), inventory.Query{ID: id})) {
		s := r.State
		if !r.Live() {
			s += ">" + r.Ended
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func (b *bed) remembers() {
	v := b.begin()
	b.page(v, Item{ID: "i-1", State: "running", Type: "t3.micro", Tags: map[string]string{"Name": "web", "team": `a "b"`}})
	b.page(v, Item{ID: "i-2", State: "stopped"})
	b.want("before the end", b.ids(inventory.Query{}), "")
	before := time.Now().Add(-time.Second)
	b.end(v, record.OK)
	got := b.find(inventory.Query{Data: true})
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
		b.want(what, pair[0], pair[1])
	}
	for what, at := range map[string]time.Time{"valid from": r.ValidFrom, "first seen": r.FirstSeen, "state since": r.StateSince, "last seen": r.LastSeen} {
		if at.Before(before) || at.After(time.Now().Add(time.Second)) {
			b.Errorf("%s is %s", what, at)
		}
	}
	if !r.Live() {
		b.Error("it is not live")
	}
	if plain := b.find(inventory.Query{}); plain[0].Data != nil {
		b.Error("data came unasked")
	}
	b.d = b.reopen()
	b.want("after a restart", b.ids(inventory.Query{}), "i-1 i-2")
	ts, err := b.d.Known(b.Context(), "prod")
	b.must(err)
	if len(ts) != 1 || ts[0] != b.target {
		b.Errorf("known after a restart: %v", ts)
	}
}

// sorted is JSON with its members in one order: a database may keep another than the page had.
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

func (b *bed) unchanged() {
	b.list(record.OK, Item{ID: "i-1", State: "running", Volatile: "one"})
	was := b.find(inventory.Query{})[0]
	b.list(record.OK, Item{ID: "i-1", State: "running", Volatile: "two"})
	b.want("versions", b.versions("i-1"), "running")
	is := b.find(inventory.Query{})[0]
	if !is.LastSeen.After(was.LastSeen) || !is.ValidFrom.Equal(was.ValidFrom) || is.Run != "run-1" {
		b.Errorf("seen %s, then %s; valid from %s, then %s; run %s", was.LastSeen, is.LastSeen, was.ValidFrom, is.ValidFrom, is.Run)
	}
	if n := len(all(b.T, b.d.Changes(b.Context(), inventory.Query{}, was.ValidFrom))); n > 0 {
		b.Errorf("%d changes", n)
	}
}

func (b *bed) changes() {
	b.list(record.OK, Item{ID: "i-1", State: "running"}, Item{ID: "i-2", State: "running"})
	first := b.find(inventory.Query{})[0]
	b.list(record.OK, Item{ID: "i-1", State: "running", Type: "t3.large"}, Item{ID: "i-2", State: "running"})
	b.list(record.OK, Item{ID: "i-1", State: "stopped", Type: "t3.large"}, Item{ID: "i-2", State: "running"}, Item{ID: "i-3", State: "pending"})
	b.want("i-1", b.versions("i-1"), "running> running> stopped")
	b.want("i-2", b.versions("i-2"), "running")
	h := all(b.T, b.d.History(b.Context(), inventory.Query{ID: "i-1", Data: true}))
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
	b.want("deltas", fmt.Sprintf("%s", deltas), `[{State.Name "running" "stopped"}]`)
	b.want("then", b.ids(inventory.Query{At: first.ValidFrom}), "i-1 i-2")
	b.want("before", b.ids(inventory.Query{At: first.ValidFrom.Add(-time.Microsecond)}), "")

	told := func(cs []inventory.Change) string {
		var out []string
		for _, c := range cs {
			out = append(out, c.What+" "+c.Resource().ID)
		}
		return strings.Join(out, ", ")
	}
	b.want("diff", told(all(b.T, b.d.Diff(b.Context(), inventory.Query{}, first.ValidFrom, time.Now().Add(time.Hour)))), "changed i-1, added i-3")
	b.want("diff from the beginning", told(all(b.T, b.d.Diff(b.Context(), inventory.Query{}, first.ValidFrom.Add(-time.Hour), first.ValidFrom))), "added i-1, added i-2")
	changes := all(b.T, b.d.Changes(b.Context(), inventory.Query{}, first.ValidFrom))
	b.want("changes", told(changes), "changed i-1, changed i-1, added i-3")
	for n := 1; n < len(changes); n++ {
		if changes[n].At.Before(changes[n-1].At) {
			b.Error("changes are out of order")
		}
	}
	b.want("changes after the second", told(all(b.T, b.d.Changes(b.Context(), inventory.Query{}, changes[0].At))), "changed i-1, added i-3")

	b.list(record.OK, Item{ID: "i-1", State: "running"}, Item{ID: "i-2", State: "running"}) // as at first
	b.want("diff of what came back", told(all(b.T, b.d.Diff(b.Context(), inventory.Query{}, first.ValidFrom, time.Now().Add(time.Hour)))), "")
	b.want("changes", told(all(b.T, b.d.Changes(b.Context(), inventory.Query{}, changes[2].At))), "changed i-1, gone i-3")
}

func (b *bed) gone() {
	for _, s := range record.States {
		b.list(record.OK, Item{ID: "i-1", State: "running"}, Item{ID: "i-2", State: "running"})
		b.list(s, Item{ID: "i-1", State: "running"})
		want := "i-1 i-2"
		if s == record.OK {
			want = "i-1"
		}
		b.want(string(s), b.ids(inventory.Query{}), want)
	}
	b.want("why", b.versions("i-2"), "running>absent running")
	b.runs++
	v := b.begin() // without a page: an empty region
	b.end(v, record.OK)
	b.want("after an empty listing", b.ids(inventory.Query{}), "")
}

func (b *bed) partial() {
	b.list(record.OK, Item{ID: "i-1", State: "running"}, Item{ID: "i-2", State: "running"})
	seen := b.find(inventory.Query{})[0].LastSeen
	b.list(record.Partial, Item{ID: "i-1", State: "stopped"}, Item{ID: "i-3", State: "running"})
	b.want("after it", b.ids(inventory.Query{}), "i-1 i-2 i-3")
	b.want("i-1", b.versions("i-1"), "running> stopped")
	if now := b.find(inventory.Query{})[0].LastSeen; !now.Equal(seen) {
		b.Error("a listing that broke off counts as having seen everything")
	}
	cover := all(b.T, b.d.Targets(b.Context()))
	if len(cover) != 1 || cover[0].State != record.Partial || cover[0].Resources != 3 || cover[0].Run != "run-2" || !cover[0].LastSeen.Equal(seen) {
		b.Errorf("coverage: %+v", cover)
	}
}

func (b *bed) terminated() {
	b.list(record.OK, Item{ID: "i-1", State: "running"}, Item{ID: "i-2", State: "running"})
	b.list(record.OK, Item{ID: "i-1", State: "terminated"})
	b.want("while it is shown", b.ids(inventory.Query{}), "i-1")
	b.list(record.OK)
	b.want("i-1", b.versions("i-1"), "running> terminated>terminated")
	b.want("i-2", b.versions("i-2"), "running>absent")
}

func (b *bed) back() {
	b.list(record.OK, Item{ID: "i-1", State: "running"})
	b.list(record.OK)
	b.list(record.OK, Item{ID: "i-1", State: "running"})
	b.want("versions", b.versions("i-1"), "running>absent running")
	h := all(b.T, b.d.History(b.Context(), inventory.Query{ID: "i-1"}))
	if !h[1].FirstSeen.Equal(h[1].ValidFrom) {
		b.Error("a second life goes on from the first")
	}
}

func (b *bed) fenced() {
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
	b.want("after both", b.ids(inventory.Query{}), "i-new")

	late = b.begin()
	b.page(late)
	b.must(b.inv.Retire(b.Context(), record.Identity{}, []record.Target{b.target}, inventory.RegionRemoved))
	if err := late.End(b.Context(), b.outcome(record.OK)); !errors.Is(err, inventory.ErrFenced) {
		b.Errorf("the end of a retired one: %v", err)
	}
	if b.inv.Err() != nil {
		b.Errorf("a fence is the store's trouble: %v", b.inv.Err())
	}
	b.want("after it", b.versions("i-new"), "running>region_removed")
}

func (b *bed) renamed() {
	instances := b.target
	b.target.Kind = "ec2_volume" // which is not listed again under the new name
	b.list(record.OK, Item{ID: "vol-1"})
	b.target = instances
	b.list(record.OK, Item{ID: "i-1", State: "running"})
	was := b.find(inventory.Query{})[0]
	b.target.Account = "production"
	b.list(record.OK, Item{ID: "i-1", State: "running"})
	b.want("versions", b.versions("i-1"), "running")
	is := b.find(inventory.Query{})[0]
	b.want("account", is.Account, "production")
	if n := len(b.find(inventory.Query{Accounts: []string{"production"}, ID: "vol-1"})); n != 1 {
		b.Errorf("%d resources of another kind under the new name, want 1", n)
	}
	if !is.ValidFrom.Equal(was.ValidFrom) {
		b.Error("it begins anew")
	}
	ts, err := b.d.Known(b.Context(), "prod")
	b.must(err)
	if len(ts) > 0 {
		b.Errorf("known under the old name: %v", ts)
	}
	as, err := b.d.Accounts(b.Context())
	b.must(err)
	b.want("accounts", fmt.Sprint(as), "[{production aws 222222222222}]")
}

func (b *bed) retired() {
	b.list(record.OK, Item{ID: "i-1", State: "running"})
	other := b.target
	b.target.Region = "eu-west-1"
	b.list(record.OK, Item{ID: "i-2", State: "running"})
	another := record.Identity{AccountID: "999999999999", Partition: "aws"} // the block is that by now, and the name still this one's
	b.must(b.inv.Retire(b.Context(), another, []record.Target{other}, inventory.RegionRemoved))
	b.want("i-1", b.versions("i-1"), "running")
	b.must(b.inv.Retire(b.Context(), b.who, []record.Target{other}, inventory.RegionRemoved))
	b.want("i-1", b.versions("i-1"), "running>region_removed")
	b.want("i-2", b.versions("i-2"), "running")
	ts, err := b.d.Known(b.Context(), "prod")
	b.must(err)
	if len(ts) != 1 || ts[0] != b.target {
		b.Errorf("known: %v", ts)
	}
	b.must(b.inv.Retire(b.Context(), record.Identity{}, []record.Target{other}, inventory.RegionRemoved)) // safe twice
	b.must(b.d.RetireAccount(b.Context(), inventory.Account{Name: "prod", Partition: "aws", AccountID: "222222222222"}, inventory.AccountRemoved))
	b.want("i-2", b.versions("i-2"), "running>account_removed")
	as, err := b.d.Accounts(b.Context())
	b.must(err)
	if len(as) > 0 {
		b.Errorf("accounts: %v", as)
	}
	b.list(record.OK, Item{ID: "i-2", State: "running"})
	b.want("when it is collected again", b.versions("i-2"), "running>account_removed running")
}

func (b *bed) notEntered() {
	who := b.who
	b.who = record.Identity{}
	v := b.begin() // nothing is known of it: nothing can be noted, and that is no error
	b.end(v, record.AuthFailed)
	b.who = who
	b.list(record.OK, Item{ID: "i-1", State: "running"})
	b.who = record.Identity{}
	v = b.begin()
	b.end(v, record.AuthFailed)
	b.want("resources", b.ids(inventory.Query{}), "i-1")
	cover := all(b.T, b.d.Targets(b.Context()))
	if len(cover) != 1 || cover[0].State != record.AuthFailed || cover[0].AccountID != who.AccountID {
		b.Errorf("coverage: %+v", cover)
	}
}

func (b *bed) large() {
	const n = 3000
	items := make([]Item, n)
	for i := range items {
		items[i] = Item{ID: fmt.Sprintf("i-%05d", i), State: "running", Pad: strings.Repeat("x", 1000)}
	}
	v := b.begin()
	for page := range slices.Chunk(items, 500) {
		b.page(v, page...)
		b.want("before the end", b.ids(inventory.Query{}), "")
	}
	b.end(v, record.OK)
	if got := len(b.find(inventory.Query{})); got != n {
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
	for _, r := range b.find(inventory.Query{Data: true}) {
		states[r.State]++
		if !bytes.Contains(r.Data, []byte(`"InstanceId":"`+r.ID+`"`)) || !bytes.Contains(r.Data, []byte(`"Name":"`+r.State+`"`)) {
			b.Fatalf("%s in state %s has the body %.200s", r.ID, r.State, r.Data)
		}
	}
	if states["stopped"] != n/2 || states["running"] != n/2-1 {
		b.Errorf("states: %v", states)
	}
	if h := len(all(b.T, b.d.History(b.Context(), inventory.Query{}))); h != n+n/2 {
		b.Errorf("%d versions, want %d", h, n+n/2)
	}
}

func (b *bed) twice() {
	v := b.begin()
	b.page(v, Item{ID: "i-1", State: "running"}, Item{ID: "i-1", State: "running"})
	b.page(v, Item{ID: "i-1", State: "stopped"})
	b.end(v, record.OK)
	b.want("versions", b.versions("i-1"), "running")
}

func (b *bed) odd() {
	ids := []string{"vpc-1/key=a b", `quo"te`, "line\nfeed", "ünï", "%_*?'", strings.Repeat("long", 300)}
	items := make([]Item, len(ids))
	for i, id := range ids {
		items[i] = Item{ID: id, State: "running", Tags: map[string]string{"a.b": id, `"`: id}}
	}
	b.list(record.OK, items...)
	b.list(record.OK, items...)
	for _, id := range ids {
		b.want(id, b.versions(id), "running")
		if r := b.find(inventory.Query{ID: id}); len(r) != 1 || r[0].Tags["a.b"] != id || r[0].Tags[`"`] != id {
			b.Errorf("%q: %v", id, r)
		}
	}
}

func (b *bed) narrowed() {
	b.list(record.OK, Item{ID: "i-1", State: "running", Type: "t3.micro", Tags: map[string]string{"team": "a"}}, Item{ID: "i-2", State: "stopped"})
	b.target = record.Target{Account: "dev", Region: "eu-west-1", Kind: "ec2_instance"}
	b.who.AccountID = "111111111111"
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
		b.want(fmt.Sprintf("%+v %s", c.q, c.text), b.ids(q), c.want)
		at := q
		at.At = time.Now().Add(time.Hour)
		b.want("the same at an instant: "+c.text, b.ids(at), c.want)
	}
	for range b.d.Find(b.Context(), inventory.Query{}) {
		break // who has seen enough stops, and nothing leaks
	}
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	for _, err := range b.d.Find(ctx, inventory.Query{}) {
		if !errors.Is(err, context.Canceled) {
			b.Errorf("cancelled: %v", err)
		}
	}
}

func (b *bed) concurrent() {
	var wg sync.WaitGroup
	ctx := b.Context()
	for n := range 8 {
		wg.Go(func() {
			target := record.Target{Account: "prod", Region: fmt.Sprintf("us-east-%d", n), Kind: "ec2_instance"}
			for round := range 5 {
				run := fmt.Sprintf("run-%d", round)
				v, err := b.inv.Begin(ctx, target, b.who, run)
				if err != nil {
					b.Error(err)
					return
				}
				for page := range 3 {
					id := fmt.Sprintf("i-%d-%d", n, page)
					if err := v.Page(ctx, Page(target, b.who, run, Item{ID: id, State: fmt.Sprint(round), Pad: strings.Repeat("x", 100_000)})); err != nil {
						b.Error(err)
						return
					}
				}
				o := record.Outcome{Target: target, Run: run, State: record.OK, Started: time.Now()}
				if err := v.End(ctx, o); err != nil {
					b.Error(err)
					return
				}
				for _, err := range b.d.Find(ctx, inventory.Query{}) {
					if err != nil {
						b.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if got := b.find(inventory.Query{}); len(got) != 24 || slices.ContainsFunc(got, func(r *inventory.Resource) bool { return r.State != "4" }) {
		b.Errorf("%d resources", len(got))
	}
	if h := len(all(b.T, b.d.History(ctx, inventory.Query{}))); h != 8*3*5 {
		b.Errorf("%d versions", h)
	}
}

// model compares any history with what a list in memory says, at every instant.
func (b *bed) model() {
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
		for _, r := range b.find(q) {
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
			v := b.begin() // it never ends
			b.page(v, items...)
			continue
		default:
			b.list(how, items...)
		}
		now = next
		b.want("now", got(inventory.Query{}), show(now))
		if rs := b.find(inventory.Query{}); len(rs) > 0 {
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
	b.d = b.reopen()
	for _, m := range past {
		b.want("at "+m.at.Format(time.RFC3339Nano), got(inventory.Query{At: m.at}), m.then)
	}
}
