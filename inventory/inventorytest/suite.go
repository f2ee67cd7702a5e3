// Package inventorytest is the conformance test suite for all drivers of the inventory. Begin at [Run].
package inventorytest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	// Shared says that other processes may write the store, too: a run that is not this process's may be another's.
	Shared bool
}

// Run runs the suite.
func Run(t *testing.T, s Subject) {
	for _, test := range []struct {
		name string
		run  func(*fixture)
	}{
		{"stored at the end of the target", (*fixture).storedAtEnd},
		{"no version without a change", (*fixture).unchanged},
		{"a change makes a version", (*fixture).changes},
		{"gone only after an ok listing", (*fixture).gone},
		{"a partial listing keeps what it found", (*fixture).partial},
		{"too many gone", (*fixture).tooManyGone},
		{"too many gone, then others", (*fixture).othersGone},
		{"retired while unconfirmed", (*fixture).retiredUnconfirmed},
		{"terminated", (*fixture).terminated},
		{"a resource that comes back", (*fixture).reappears},
		{"fenced", (*fixture).fenced},
		{"a renamed block changes no history", (*fixture).renamed},
		{"retired", (*fixture).retired},
		{"an account that cannot be opened", (*fixture).notOpened},
		{"a large target", (*fixture).large},
		{"a large target, in one transaction", func(fx *fixture) {
			fx.inv = inventory.New(fx.driver, inventory.Options{})
			fx.large()
		}},
		{"listed twice", (*fixture).listedTwice},
		{"unusual ids", (*fixture).unusualIDs},
		{"filtered", (*fixture).filtered},
		{"searched", (*fixture).searched},
		{"in pages", (*fixture).pages},
		{"concurrent", (*fixture).concurrent},
		{"ping and probe", (*fixture).pingAndProbe},
		{"any history", (*fixture).anyHistory},
		{"runs", (*fixture).runsStored},
		{"interrupted runs", (*fixture).runsInterrupted},
		{"old runs", (*fixture).runsExpire},
		{"sign-ins", (*fixture).signIns},
		{"the last runs", (*fixture).lastRuns},
		{"many causes", (*fixture).manyCauses},
		{"a run that comes again", (*fixture).committed},
		{"since when", (*fixture).stateSince},
		{"many failures", (*fixture).manyFailures},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, reopen := s.Open(t)
			fx := &fixture{T: t, driver: d, reopen: reopen, shared: s.Shared}
			fx.inv = inventory.New(d, inventory.Options{MaxBuffered: 16 << 10}) // so that some writers stage
			fx.target, fx.identity = Target()
			test.run(fx)
		})
	}
}

func (fx *fixture) storedAtEnd() {
	v := fx.begin()
	fx.page(
		v, Item{ID: "i-1", State: "running", Type: "t3.micro", Tags: map[string]string{"Name": "web", "team": `a "b"`}},
	)
	fx.page(v, Item{ID: "i-2", State: "stopped"})
	fx.wantText("before the end", fx.ids(inventory.Query{}), "")
	before := time.Now().Add(-time.Second)
	fx.end(v, record.OK)
	got := fx.findAll(inventory.Query{Data: true})
	if len(got) != 2 {
		fx.Fatalf("%d resources", len(got))
	}
	r := got[0]
	const data = `{"InstanceId":"i-1","State":{"Code":16,"Name":"running"},"InstanceType":"t3.micro","Pad":"",
		"Checked":"","Tags":[{"Key":"Name","Value":"web"},{"Key":"team","Value":"a \"b\""}]}`
	for what, pair := range map[string][2]string{
		"id": {r.ID, "i-1"}, "kind": {r.Kind, "ec2_instance"}, "name": {r.Name, "web"}, "state": {r.State, "running"},
		"type":    {r.Type, "t3.micro"},
		"account": {r.Account, "prod"}, "account id": {r.AccountID, "222222222222"}, "partition": {r.Partition, "aws"},
		"region": {r.Region, "us-east-1"},
		"tag":    {r.Tags["team"], `a "b"`}, "extra tag": {r.ExtraTags["team"], "platform"}, "run": {r.Run, "run-1"},
		"data": {sorted(fx.T, r.Data), sorted(fx.T, []byte(data))},
	} {
		fx.wantText(what, pair[0], pair[1])
	}
	for what, at := range map[string]time.Time{
		"valid from": r.ValidFrom, "first seen": r.FirstSeen, "state since": r.StateSince, "last seen": r.LastSeen,
	} {
		if at.Before(before) || at.After(time.Now().Add(time.Second)) {
			fx.Errorf("%s is %s", what, at)
		}
	}
	if !r.Live() {
		fx.Error("it is not live")
	}
	if plain := fx.findAll(inventory.Query{}); plain[0].Data != nil {
		fx.Error("data although it was not asked for")
	}
	fx.driver = fx.reopen()
	fx.wantText("after a restart", fx.ids(inventory.Query{}), "i-1 i-2")
	ts, err := fx.driver.ActiveTargets(fx.Context(), "prod")
	fx.must(err)
	if len(ts) != 1 || ts[0] != fx.target {
		fx.Errorf("known after a restart: %v", ts)
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

func (fx *fixture) unchanged() {
	fx.list(record.OK, Item{ID: "i-1", State: "running", Volatile: "one"})
	before := fx.findAll(inventory.Query{})[0]
	fx.list(record.OK, Item{ID: "i-1", State: "running", Volatile: "two"})
	fx.wantText("versions", fx.versions("i-1"), "running")
	after := fx.findAll(inventory.Query{})[0]
	if !after.LastSeen.After(before.LastSeen) || !after.ValidFrom.Equal(before.ValidFrom) || after.Run != "run-1" {
		fx.Errorf(
			"seen %s, then %s; valid from %s, then %s; run %s", before.LastSeen, after.LastSeen, before.ValidFrom,
			after.ValidFrom, after.Run,
		)
	}
	if n := len(collect(fx.T, fx.driver.Changes(fx.Context(), inventory.Query{}, before.ValidFrom))); n > 0 {
		fx.Errorf("%d changes", n)
	}
}

func (fx *fixture) changes() {
	fx.list(record.OK, Item{ID: "i-1", State: "running"}, Item{ID: "i-2", State: "running"})
	first := fx.findAll(inventory.Query{})[0]
	fx.list(record.OK, Item{ID: "i-1", State: "running", Type: "t3.large"}, Item{ID: "i-2", State: "running"})
	fx.list(
		record.OK, Item{ID: "i-1", State: "stopped", Type: "t3.large"}, Item{ID: "i-2", State: "running"},
		Item{ID: "i-3", State: "pending"},
	)
	fx.wantText("i-1", fx.versions("i-1"), "running> running> stopped")
	fx.wantText("i-2", fx.versions("i-2"), "running")
	versions := collect(fx.T, fx.driver.History(fx.Context(), inventory.Query{ID: "i-1", Data: true}))
	if len(versions) != 3 {
		fx.Fatal("not three versions")
	}
	if !versions[1].FirstSeen.Equal(first.FirstSeen) || !versions[1].StateSince.Equal(first.StateSince) ||
		!versions[2].FirstSeen.Equal(first.FirstSeen) || !versions[2].StateSince.Equal(versions[2].ValidFrom) {
		fx.Errorf(
			"first seen %s %s %s, state since %s %s %s", versions[0].FirstSeen, versions[1].FirstSeen, versions[2].FirstSeen,
			versions[0].StateSince, versions[1].StateSince, versions[2].StateSince,
		)
	}
	if !versions[0].ValidTo.Equal(versions[1].ValidFrom) || !versions[1].ValidTo.Equal(versions[2].ValidFrom) {
		fx.Error("versions leave gaps")
	}
	deltas, err := inventory.Deltas(versions[1].Data, versions[2].Data)
	fx.must(err)
	fx.wantText("deltas", fmt.Sprintf("%s", deltas), `[{State.Name "running" "stopped"}]`)
	fx.wantText("then", fx.ids(inventory.Query{At: first.ValidFrom}), "i-1 i-2")
	fx.wantText("before", fx.ids(inventory.Query{At: first.ValidFrom.Add(-time.Microsecond)}), "")

	describe := func(cs []inventory.Change) string {
		var out []string
		for _, c := range cs {
			out = append(out, c.Op+" "+c.Resource().ID)
		}
		return strings.Join(out, ", ")
	}
	fx.wantText(
		"diff",
		describe(collect(fx.T, fx.driver.Diff(fx.Context(), inventory.Query{}, first.ValidFrom, time.Now().Add(time.Hour)))),
		"changed i-1, added i-3",
	)
	fx.wantText(
		"diff from the beginning",
		describe(
			collect(fx.T, fx.driver.Diff(fx.Context(), inventory.Query{}, first.ValidFrom.Add(-time.Hour), first.ValidFrom)),
		),
		"added i-1, added i-2",
	)
	changes := collect(fx.T, fx.driver.Changes(fx.Context(), inventory.Query{}, first.ValidFrom))
	fx.wantText("changes", describe(changes), "changed i-1, changed i-1, added i-3")
	for n := 1; n < len(changes); n++ {
		if changes[n].At.Before(changes[n-1].At) {
			fx.Error("changes are out of order")
		}
	}
	fx.wantText(
		"changes after the second",
		describe(collect(fx.T, fx.driver.Changes(fx.Context(), inventory.Query{}, changes[0].At))), "changed i-1, added i-3",
	)

	fx.list(record.OK, Item{ID: "i-1", State: "running"}, Item{ID: "i-2", State: "running"}) // as at first
	fx.wantText(
		"diff of what came back",
		describe(collect(fx.T, fx.driver.Diff(fx.Context(), inventory.Query{}, first.ValidFrom, time.Now().Add(time.Hour)))),
		"",
	)
	fx.wantText(
		"changes", describe(collect(fx.T, fx.driver.Changes(fx.Context(), inventory.Query{}, changes[2].At))),
		"changed i-1, gone i-3",
	)
}

func (fx *fixture) gone() {
	for _, s := range record.States {
		fx.list(record.OK, Item{ID: "i-1", State: "running"}, Item{ID: "i-2", State: "running"})
		fx.list(s, Item{ID: "i-1", State: "running"})
		want := "i-1 i-2"
		if s == record.OK {
			want = "i-1"
		}
		fx.wantText(string(s), fx.ids(inventory.Query{}), want)
	}
	fx.wantText("why", fx.versions("i-2"), "running>absent running")
	v := fx.begin()
	p := Page(fx.target, fx.identity, fx.run())
	p.BeginItem(1)
	p.Items.Buf = append(p.Items.Buf, `"i-1"`...)
	p.SetID(0, record.SpanOf(0, len(p.Items.Buf)))
	p.SetItemAside(true, "a control character")
	fx.must(v.Page(fx.Context(), p))
	fx.end(v, record.OK)
	fx.wantText("after a listing that could not read it", fx.ids(inventory.Query{}), "i-1")
	fx.wantText("its versions", fx.versions("i-1"), "running")
	fx.runs++
	v = fx.begin() // without a page: an empty region
	fx.end(v, record.OK)
	fx.wantText("after an empty listing", fx.ids(inventory.Query{}), "")
}

func (fx *fixture) partial() {
	fx.list(record.OK, Item{ID: "i-1", State: "running"}, Item{ID: "i-2", State: "running"})
	seen := fx.findAll(inventory.Query{})[0].LastSeen
	fx.list(record.Partial, Item{ID: "i-1", State: "stopped"}, Item{ID: "i-3", State: "running"})
	fx.wantText("after it", fx.ids(inventory.Query{}), "i-1 i-2 i-3")
	fx.wantText("i-1", fx.versions("i-1"), "running> stopped")
	if now := fx.findAll(inventory.Query{})[0].LastSeen; !now.Equal(seen) {
		fx.Error("a partial listing counts as complete")
	}
	coverage := collect(fx.T, fx.driver.Targets(fx.Context()))
	if len(coverage) != 1 || coverage[0].State != record.Partial || coverage[0].Resources != 3 ||
		coverage[0].Run != "run-2" || !coverage[0].LastSeen.Equal(seen) {
		fx.Errorf("coverage: %+v", coverage)
	}
}

func (fx *fixture) terminated() {
	fx.list(record.OK, Item{ID: "i-1", State: "running"}, Item{ID: "i-2", State: "running"})
	fx.list(record.OK, Item{ID: "i-1", State: "terminated"})
	fx.wantText("while it is shown", fx.ids(inventory.Query{}), "i-1")
	fx.list(record.OK)
	fx.wantText("i-1", fx.versions("i-1"), "running> terminated>terminated")
	fx.wantText("i-2", fx.versions("i-2"), "running>absent")
}

func (fx *fixture) reappears() {
	fx.list(record.OK, Item{ID: "i-1", State: "running"})
	fx.list(record.OK)
	fx.list(record.OK, Item{ID: "i-1", State: "running"})
	fx.wantText("versions", fx.versions("i-1"), "running>absent running")
	versions := collect(fx.T, fx.driver.History(fx.Context(), inventory.Query{ID: "i-1"}))
	if !versions[1].FirstSeen.Equal(versions[1].ValidFrom) {
		fx.Error("a resource that came back continues the old versions")
	}
}

func (fx *fixture) fenced() {
	big := make([]Item, 300)
	for i := range big {
		big[i] = Item{ID: fmt.Sprintf("i-old-%d", i), State: "running", Pad: strings.Repeat("x", 2000)}
	}
	late := fx.begin()
	fx.page(late, big...)
	v := fx.begin()
	fx.page(v, Item{ID: "i-new", State: "running"})
	if err := late.End(fx.Context(), fx.outcome(record.OK)); !errors.Is(err, inventory.ErrFenced) {
		fx.Errorf("the late one's end: %v", err)
	}
	fx.end(v, record.OK)
	fx.wantText("after both", fx.ids(inventory.Query{}), "i-new")

	late = fx.begin()
	fx.page(late)
	fx.must(fx.inv.Retire(fx.Context(), record.Identity{}, []record.Target{fx.target}, inventory.RegionRemoved))
	if err := late.End(fx.Context(), fx.outcome(record.OK)); !errors.Is(err, inventory.ErrFenced) {
		fx.Errorf("the end of a retired one: %v", err)
	}
	if fx.inv.Err() != nil {
		fx.Errorf("a fenced end counts as an error of the store: %v", fx.inv.Err())
	}
	fx.wantText("after it", fx.versions("i-new"), "running>region_removed")
}

func (fx *fixture) renamed() {
	instances := fx.target
	fx.target.Kind = "ec2_volume" // not listed again under the new name
	fx.list(record.OK, Item{ID: "vol-1"})
	fx.target = instances
	fx.list(record.OK, Item{ID: "i-1", State: "running"})
	before := fx.findAll(inventory.Query{})[0]
	fx.target.Account = "production"
	fx.list(record.OK, Item{ID: "i-1", State: "running"})
	fx.wantText("versions", fx.versions("i-1"), "running")
	after := fx.findAll(inventory.Query{})[0]
	fx.wantText("account", after.Account, "production")
	if n := len(fx.findAll(inventory.Query{Accounts: []string{"production"}, ID: "vol-1"})); n != 1 {
		fx.Errorf("%d resources of another kind under the new name, want 1", n)
	}
	if !after.ValidFrom.Equal(before.ValidFrom) {
		fx.Error("the rename began a new version")
	}
	ts, err := fx.driver.ActiveTargets(fx.Context(), "prod")
	fx.must(err)
	if len(ts) > 0 {
		fx.Errorf("known under the old name: %v", ts)
	}
	as, err := fx.driver.Accounts(fx.Context())
	fx.must(err)
	fx.wantText("accounts", fmt.Sprint(as), "[{production aws 222222222222}]")
}

func (fx *fixture) retired() {
	fx.list(record.OK, Item{ID: "i-1", State: "running"})
	other := fx.target
	fx.target.Region = "eu-west-1"
	fx.list(record.OK, Item{ID: "i-2", State: "running"})
	// the block is another account now, under the same name
	another := record.Identity{AccountID: "999999999999", Partition: "aws"}
	fx.must(fx.inv.Retire(fx.Context(), another, []record.Target{other}, inventory.RegionRemoved))
	fx.wantText("i-1", fx.versions("i-1"), "running")
	fx.must(fx.inv.Retire(fx.Context(), fx.identity, []record.Target{other}, inventory.RegionRemoved))
	fx.wantText("i-1", fx.versions("i-1"), "running>region_removed")
	fx.wantText("i-2", fx.versions("i-2"), "running")
	ts, err := fx.driver.ActiveTargets(fx.Context(), "prod")
	fx.must(err)
	if len(ts) != 1 || ts[0] != fx.target {
		fx.Errorf("known: %v", ts)
	}
	// repeating it is harmless
	fx.must(fx.inv.Retire(fx.Context(), record.Identity{}, []record.Target{other}, inventory.RegionRemoved))
	account := inventory.Account{Name: "prod", Partition: "aws", AccountID: "222222222222"}
	fx.must(fx.driver.RetireAccount(fx.Context(), account, inventory.AccountRemoved))
	fx.wantText("i-2", fx.versions("i-2"), "running>account_removed")
	as, err := fx.driver.Accounts(fx.Context())
	fx.must(err)
	if len(as) > 0 {
		fx.Errorf("accounts: %v", as)
	}
	fx.list(record.OK, Item{ID: "i-2", State: "running"})
	fx.wantText("when it is collected again", fx.versions("i-2"), "running>account_removed running")
}

func (fx *fixture) notOpened() {
	identity := fx.identity
	fx.identity = record.Identity{}
	v := fx.begin() // no scope is known: nothing can be stored, without an error
	fx.end(v, record.AuthFailed)
	fx.identity = identity
	fx.list(record.OK, Item{ID: "i-1", State: "running"})
	fx.identity = record.Identity{}
	v = fx.begin()
	fx.end(v, record.AuthFailed)
	fx.wantText("resources", fx.ids(inventory.Query{}), "i-1")
	coverage := collect(fx.T, fx.driver.Targets(fx.Context()))
	if len(coverage) != 1 || coverage[0].State != record.AuthFailed || coverage[0].AccountID != identity.AccountID {
		fx.Errorf("coverage: %+v", coverage)
	}
}

func (fx *fixture) large() {
	const n = 3000
	items := make([]Item, n)
	for i := range items {
		items[i] = Item{ID: fmt.Sprintf("i-%05d", i), State: "running", Pad: strings.Repeat("x", 1000)}
	}
	v := fx.begin()
	for page := range slices.Chunk(items, 500) {
		fx.page(v, page...)
		fx.wantText("before the end", fx.ids(inventory.Query{}), "")
	}
	fx.end(v, record.OK)
	if got := len(fx.findAll(inventory.Query{})); got != n {
		fx.Errorf("%d resources, want %d", got, n)
	}
	for i := 0; i < n; i += 2 {
		items[i].State = "stopped"
	}
	v = fx.begin()
	for page := range slices.Chunk(items[:n-1], 500) {
		fx.page(v, page...)
	}
	fx.end(v, record.OK)
	states := map[string]int{}
	for _, r := range fx.findAll(inventory.Query{Data: true}) {
		states[r.State]++
		if !bytes.Contains(r.Data, []byte(`"InstanceId":"`+r.ID+`"`)) ||
			!bytes.Contains(r.Data, []byte(`"Name":"`+r.State+`"`)) {
			fx.Fatalf("%s in state %s has the body %.200s", r.ID, r.State, r.Data)
		}
	}
	if states["stopped"] != n/2 || states["running"] != n/2-1 {
		fx.Errorf("states: %v", states)
	}
	if h := len(collect(fx.T, fx.driver.History(fx.Context(), inventory.Query{}))); h != n+n/2 {
		fx.Errorf("%d versions, want %d", h, n+n/2)
	}
}

func (fx *fixture) listedTwice() {
	v := fx.begin()
	fx.page(v, Item{ID: "i-1", State: "running"}, Item{ID: "i-1", State: "running"})
	fx.page(v, Item{ID: "i-1", State: "stopped"})
	fx.end(v, record.OK)
	fx.wantText("versions", fx.versions("i-1"), "running")
}

func (fx *fixture) unusualIDs() {
	ids := []string{"vpc-1/key=a b", `quo"te`, "line\nfeed", "ünï", "%_*?'", strings.Repeat("long", 300)}
	items := make([]Item, len(ids))
	for i, id := range ids {
		items[i] = Item{ID: id, State: "running", Tags: map[string]string{"a.b": id, `"`: id}}
	}
	fx.list(record.OK, items...)
	fx.list(record.OK, items...)
	for _, id := range ids {
		fx.wantText(id, fx.versions(id), "running")
		if r := fx.findAll(inventory.Query{ID: id}); len(r) != 1 || r[0].Tags["a.b"] != id || r[0].Tags[`"`] != id {
			fx.Errorf("%q: %v", id, r)
		}
	}
}

func (fx *fixture) filtered() {
	fx.list(
		record.OK, Item{ID: "i-1", State: "running", Type: "t3.micro", Tags: map[string]string{"team": "a"}},
		Item{ID: "i-2", State: "stopped"},
	)
	fx.target = record.Target{Account: "dev", Region: "eu-west-1", Kind: "ec2_instance"}
	fx.identity.AccountID = "111111111111"
	fx.list(record.OK, Item{ID: "i-3", State: "running", Pad: "here"})
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
			fx.must(err)
			q.Where = w
		}
		fx.wantText(fmt.Sprintf("%+v %s", c.q, c.text), fx.ids(q), c.want)
		at := q
		at.At = time.Now().Add(time.Hour)
		fx.wantText("the same at an instant: "+c.text, fx.ids(at), c.want)
	}
	for range fx.driver.Find(fx.Context(), inventory.Query{}) {
		break // stopping early leaks nothing
	}
	ctx, cancel := context.WithCancel(fx.Context())
	cancel()
	for _, err := range fx.driver.Find(ctx, inventory.Query{}) {
		if !errors.Is(err, context.Canceled) {
			fx.Errorf("cancelled: %v", err)
		}
	}
}

func (fx *fixture) concurrent() {
	var wg sync.WaitGroup
	ctx := fx.Context()
	for n := range 8 {
		wg.Go(func() {
			target := record.Target{Account: "prod", Region: fmt.Sprintf("us-east-%d", n), Kind: "ec2_instance"}
			for round := range 5 {
				run := fmt.Sprintf("run-%d", round)
				v, err := fx.inv.Begin(ctx, target, fx.identity, run)
				if err != nil {
					fx.Error(err)
					return
				}
				for page := range 3 {
					id := fmt.Sprintf("i-%d-%d", n, page)
					item := Item{ID: id, State: fmt.Sprint(round), Pad: strings.Repeat("x", 100_000)}
					if err := v.Page(ctx, Page(target, fx.identity, run, item)); err != nil {
						fx.Error(err)
						return
					}
				}
				o := record.Outcome{Target: target, Run: run, State: record.OK, Started: time.Now()}
				if err := v.End(ctx, o); err != nil {
					fx.Error(err)
					return
				}
				for _, err := range fx.driver.Find(ctx, inventory.Query{}) {
					if err != nil {
						fx.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	outdated := func(r *inventory.Resource) bool { return r.State != "4" }
	if got := fx.findAll(inventory.Query{}); len(got) != 24 || slices.ContainsFunc(got, outdated) {
		fx.Errorf("%d resources", len(got))
	}
	if h := len(collect(fx.T, fx.driver.History(ctx, inventory.Query{}))); h != 8*3*5 {
		fx.Errorf("%d versions", h)
	}
}
