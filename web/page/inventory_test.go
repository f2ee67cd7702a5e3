package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/web/api"
)

// instance is a version of an instance that was seen a minute ago.
func instance(now time.Time, id, name, account string) *inventory.Resource {
	return &inventory.Resource{
		Record: record.Record{
			Kind: "ec2_instance", ID: id, Name: name, Account: account, AccountID: "222222222222", Partition: "aws",
			Region: "us-east-1", Tags: map[string]string{"Name": name, "team": "web"}, Run: "r1",
			Data: json.RawMessage(`{"InstanceId":"` + id + `","PrivateIpAddress":"10.24.3.17","State":{"Name":"running"},` +
				`"SecurityGroups":[{"GroupId":"sg-1"}]}`),
		},
		State: "running", Type: "t3.large", FirstSeen: now.Add(-72 * time.Hour), StateSince: now.Add(-time.Hour),
		ValidFrom: now.Add(-72 * time.Hour), LastSeen: now.Add(-time.Minute),
	}
}

func TestInventory(t *testing.T) {
	f := newFixture(t)
	f.account("prod", "222222222222", "us-east-1")
	f.account("web", "333333333333", "us-east-1")
	f.ended("prod", "us-east-1", "ec2_instance", nil)
	f.ended("web", "us-east-1", "ec2_instance", throttled)
	s := &fakeStore{resources: []*inventory.Resource{
		instance(f.now, "i-1", "checkout-1", "prod"), instance(f.now, "i-2", "other", "prod"),
		instance(f.now, "i-3", "checkout-2", "web"),
	}}
	p := f.page(stored(s))
	requireAll(t, view(t, p, "/inventory"), "3 resources", "checkout-1", "other",
		"/resources/ec2_instance/i-1?account=222222222222",
		"1 of these are shown as last seen", "not since", "<h2>region</h2>", "collector list")
	text := view(t, p, "/inventory?q=checkout&account=prod")
	requireAll(t, text, "1 resource", "i-1", "account: prod",
		"collector list --account prod --search checkout")
	if strings.Contains(text, "i-2") || strings.Contains(text, "i-3") {
		t.Error("a resource that does not fit is shown")
	}
	requireAll(t, view(t, p, "/inventory?q=10.24.3.17"), "3 resources")
	requireAll(t, view(t, p, "/inventory?q=10.24.3.17&where="+url.QueryEscape("name=other")), "1 resource", "i-2")
	requireAll(t, view(t, p, "/inventory?q=nothing"), "No resource matches", "Not all was seen", accountURL("web"))
	requireAll(t, view(t, p, "/inventory?account=333333333333&q=nothing"), "Not all was seen", accountURL("web"))
	f.account("new", "", "us-east-1")
	requireAll(t, view(t, f.page(stored(s)), "/inventory?account=new"), "Not all was seen", accountURL("new"))
	if text = view(t, p, "/inventory?account=prod&q=nothing"); strings.Contains(text, "Not all was seen") {
		t.Error("what another account could not list concerns this one")
	}
	s.notIndexed = 7
	requireAll(t, view(t, p, "/inventory?q=checkout"), "The search is not complete", "7 versions")
	if strings.Contains(view(t, p, "/inventory"), "not complete") {
		t.Error("an answer without a search speaks of the search")
	}
	requireAll(t, view(t, p, "/inventory?at=3h"), "As of", "Back to now")
	for _, q := range []string{"it's", `a"b`, "a\nb", "*", "(", strings.Repeat("x", 5000)} {
		view(t, p, "/inventory?q="+url.QueryEscape(q))
	}
	if w := get(t, p, "/inventory?where="+url.QueryEscape("state=<<")); w.Code != http.StatusBadRequest {
		t.Errorf("a condition that is none: %d", w.Code)
	}
}

// columnOf returns the texts of a column of a table.
func columnOf(t *testing.T, text string, n int) (cells []string) {
	t.Helper()
	_, body, _ := strings.Cut(text, "<tbody>")
	for row := range strings.SplitSeq(body, "<tr>") {
		if parts := strings.Split(row, "<t"); len(parts) > n+1 {
			_, cell, _ := strings.Cut(parts[n+1], ">")
			cells = append(cells, strings.TrimSpace(stripTags(cell)))
		}
	}
	return cells
}

var tagPattern = regexp.MustCompile(`<[^>]*>`)

func stripTags(s string) string { return tagPattern.ReplaceAllString(s, "") }

// A heading sorts by its column, a second click the other way; the pages of a sorted answer follow each other. An order
// by data is not understood: ten thousand bodies would be read.
func TestInventorySorts(t *testing.T) {
	f := newFixture(t)
	s := &fakeStore{}
	for i := range 250 {
		s.resources = append(s.resources, instance(f.now, fmt.Sprintf("i-%03d", i), fmt.Sprintf("n-%03d", 7*i%250), "prod"))
	}
	p := f.page(stored(s))
	text := view(t, p, "/inventory?sort=-name")
	requireAll(t, text, `aria-sort="descending"><a class="plain" href="/inventory?sort=name"`, "--sort &#39;-name&#39;")
	if names := columnOf(t, text, 1); len(names) != 100 || names[0] != "n-249" || names[99] != "n-150" {
		t.Errorf("%d names: %v", len(names), names)
	}
	requireAll(t, text, `href="/inventory?after=100&amp;sort=-name"`)
	if names := columnOf(t, view(t, p, "/inventory?after=200&sort=-name"), 1); len(names) != 50 || names[0] != "n-049" {
		t.Errorf("the last page: %v", names)
	}
	requireAll(t, view(t, p, "/inventory?sort=name"),
		`aria-sort="ascending"><a class="plain" href="/inventory?sort=-name"`)
	requireAll(t, view(t, p, "/inventory?sort=data.PrivateIpAddress"), "<code>sort=data.PrivateIpAddress</code>")
	requireAll(t, view(t, p, "/inventory?sort=name&after=251"), "<code>after=251</code>")
	if strings.Contains(view(t, p, "/inventory?sort=name"), "/api/v1/resources?sort") {
		t.Error("the API cannot sort")
	}
	for i := range maxSorted {
		s.resources = append(s.resources, instance(f.now, fmt.Sprintf("i-%05d", i), "x", "prod"))
	}
	requireAll(t, view(t, p, "/inventory?sort=name"), "Only the first 10,000 are sorted", "10,000&#43; resources")
	requireAll(t, view(t, p, "/inventory"), "2,000&#43; resources") // facets count fewer
}

// The question says which columns are shown, also members of the data; the first one links to the resource.
func TestInventoryColumns(t *testing.T) {
	f := newFixture(t)
	s := &fakeStore{resources: []*inventory.Resource{
		instance(f.now, "i-1", "", "prod"), instance(f.now, "i-2", "b", "prod"),
	}}
	p := f.page(stored(s))
	text := view(t, p, "/inventory?fields=name,tags.team&fields=data.PrivateIpAddress&q=24.3&where=state%3Drunning")
	if names := columnOf(t, text, 0); !slices.Equal(names, []string{"i-1", "b"}) { // one has no name
		t.Errorf("links: %v", names)
	}
	if teams := columnOf(t, text, 1); !slices.Equal(teams, []string{"web", "web"}) {
		t.Errorf("teams: %v", teams)
	}
	requireAll(t, text, `10.<mark>24.3</mark>.17`, `value="name" checked`, `value="kind">`, `value="tags.team" checked`,
		`name="fields" value="data.PrivateIpAddress"`, `<input type="hidden" name="where" value="state=running">`,
		"--columns name,tags.team --columns data.PrivateIpAddress",
		`/api/v1/resources?fields=name%2Ctags.team&amp;fields=data.PrivateIpAddress`)
	if w := get(t, p, "/inventory?fields=nme"); w.Code != http.StatusBadRequest {
		t.Errorf("a field that does not exist: %d", w.Code)
	}
}

// A click on a state or a tag makes it a part of the condition, a second one removes it. The condition finds what the
// facet counted, whatever the tags are.
func TestInventoryFacets(t *testing.T) {
	f := newFixture(t)
	s := &fakeStore{}
	teams := []string{"web", "a b", "it's", `x" or id="i-1`, "ä"}
	for i := range 40 {
		res := instance(f.now, fmt.Sprintf("i-%d", i), fmt.Sprint("name-", i), "prod")
		res.Tags = map[string]string{"Name": res.Name, "cost center": teams[i%len(teams)], "unique": res.ID, "keep": ""}
		s.resources = append(s.resources, res)
	}
	p := f.page(stored(s))
	text := view(t, p, "/inventory?where=state%3Drunning")
	requireAll(t, text, "<h2>state</h2>", `<h2>tag cost center</h2>`, `<a class="chip on" href="/inventory">state=running`)
	for _, not := range []string{"<h2>tag Name", "<h2>tag unique", "<h2>tag keep"} {
		if strings.Contains(text, not) {
			t.Errorf("a facet that groups nothing: %s", not)
		}
	}
	for _, team := range teams {
		condition := "state=running and " + inventory.QuoteWord("tags.cost center") + "=" + inventory.QuoteWord(team)
		target := "/inventory?where=" + url.QueryEscape(condition)
		requireAll(t, html.UnescapeString(text), target)
		chosen := view(t, p, target)
		requireAll(t, chosen, "8 resources", `href="/inventory?where=state%3Drunning" aria-current="true"`)
	}
	alternative := view(t, p, "/inventory?where="+url.QueryEscape("id=i-1 or id=i-6"))
	requireAll(t, html.UnescapeString(alternative), "2 resources", url.QueryEscape("(id=i-1 or id=i-6) and state=running"))
}

// What the facets of many resources hold is bounded.
func TestFacetCountsAreBounded(t *testing.T) {
	c := newFacetCounts(maxFaceted)
	for i := range maxFaceted + 5 {
		res := &inventory.Resource{Record: record.Record{Kind: "k", Tags: map[string]string{
			fmt.Sprint("key-", i): "v", "id": fmt.Sprint(i),
		}}}
		if c.add(res) != (i < maxFaceted) {
			t.Fatalf("resource %d", i)
		}
	}
	if len(c.tags) > maxTagKeys || len(c.tags["id"]) > maxTagValues || !c.more || c.fields["kind"]["k"] != maxFaceted {
		t.Errorf("%d keys, %d values, %v", len(c.tags), len(c.tags["id"]), c.more)
	}
}

// The rows of a long answer are a page each, and every one is shown once.
func TestInventoryPages(t *testing.T) {
	f := newFixture(t)
	s := &fakeStore{}
	for i := range 250 {
		s.resources = append(s.resources, instance(f.now, fmt.Sprintf("i-%03d/x", i), "a,b", "prod"))
	}
	p := f.page(stored(s))
	target, seen := "/inventory?account=prod", 0
	for range 3 {
		text := view(t, p, target)
		seen += strings.Count(text, `<a class="mono"`)
		_, rest, found := strings.Cut(text, `<a href="/inventory?account=prod&amp;after=`)
		if !found {
			break
		}
		after, _, _ := strings.Cut(rest, `"`)
		target = "/inventory?account=prod&after=" + strings.ReplaceAll(after, "&amp;", "&")
	}
	if seen != 250 {
		t.Errorf("%d rows on three pages", seen)
	}
	view(t, p, "/inventory?after=nonsense")
}

// A key survives its way through a URL.
func TestKeyOf(t *testing.T) {
	want := inventory.Key{Kind: "k/%", Account: "a b", Region: "r", ID: "i?&#", AccountID: "1", Partition: "aws"}
	if got := keyOf(cursorOf(want)); got == nil || *got != want {
		t.Errorf("%v", got)
	}
	for _, bad := range []string{"", "a/b", "a/b/c/d/e/%zz"} {
		if keyOf(bad) != nil {
			t.Errorf("%q is a key", bad)
		}
	}
}

func TestResource(t *testing.T) {
	f := newFixture(t)
	f.account("prod", "222222222222", "us-east-1")
	old, now := instance(f.now, "i-1", "checkout", "prod"), instance(f.now, "i-1", "checkout", "prod")
	old.ValidTo, now.ValidFrom = f.now.Add(-time.Hour), f.now.Add(-time.Hour)
	now.Data = json.RawMessage(strings.ReplaceAll(string(now.Data), "10.24.3.17", "10.24.3.18"))
	gone := instance(f.now, "i-2", "", "prod")
	gone.ValidTo, gone.Ended = f.now.Add(-30*time.Minute), inventory.Terminated
	other := instance(f.now, "i-3", "b", "dev")
	other.AccountID = "333333333333"
	s := &fakeStore{resources: []*inventory.Resource{old, now, gone, instance(f.now, "i-3", "a", "prod"), other}}
	p := f.page(stored(s))
	text := view(t, p, "/resources/ec2_instance/i-1?account=prod&region=us-east-1")
	requireAll(t, text, "<h1>checkout</h1>", "1 member changed", "<del>10.24.3.17</del>", "<ins>10.24.3.18</ins>",
		"first seen, running", "PrivateIpAddress", "sg-1", "team", "as it was before",
		"collector history i-1 --account prod --region us-east-1")
	if at := view(t, p, "/resources/ec2_instance/i-1?at=2h"); !strings.Contains(at, "<td>10.24.3.17</td>") ||
		!strings.Contains(text, "<td>10.24.3.18</td>") {
		t.Error("the members are not those of the instant")
	}
	now.Data = json.RawMessage(`{"Description":"","VpcId":"vpc-1"}`)
	if text := view(t, p, "/resources/ec2_instance/i-1"); !strings.Contains(text, "<dt>VPC</dt>") ||
		strings.Contains(text, "<dt>Description</dt><dd></dd>") {
		t.Error("an empty member is a fact")
	}
	requireAll(t, view(t, p, "/resources/ec2_instance/i-2"), "<h1>i-2</h1>", "Gone since", "gone: terminated or deleted")
	now.ExtraTags = map[string]string{"cost center": "7 8"}
	where := "/inventory?where=" + url.QueryEscape("'extra_tags.cost center'='7 8'")
	requireAll(t, html.UnescapeString(view(t, p, "/resources/ec2_instance/i-1")), where,
		"/inventory?where=tags.team%3Dweb", "extra_tags, from the configuration")
	requireAll(t, view(t, p, where), "1 resource")
	requireAll(t, view(t, p, "/resources/ec2_instance/i-3"), "2 resources have the id i-3", "account=333333333333")
	for _, target := range []string{"/resources/ec2_instance/none", "/resources/ec2_instance/i-1?at=365d"} {
		if w := get(t, p, target); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	f.ended("prod", "us-east-1", "ec2_instance", denied)
	requireAll(t, view(t, f.page(stored(s)), "/resources/ec2_instance/i-1"), "Shown as it was", "it may have changed")
}

// What a resource points at and what points at it are links, at the same instant; what the store does not have is none.
func TestRelations(t *testing.T) {
	f := newFixture(t)
	s := &fakeStore{resources: []*inventory.Resource{instance(f.now, "i-1", "web", "prod")}}
	questions := api.New(api.Options{Store: s, Board: f.board, Relations: func() []api.Relation {
		return []api.Relation{{Kind: "ec2_instance", Path: "SecurityGroups.GroupId", To: "ec2_security_group"}}
	}})
	group := instance(f.now, "sg-1", "baseline", "prod")
	group.Kind = "ec2_security_group"
	related := func(o *Options) { o.Related = questions.Related }
	requireAll(t, view(t, f.page(stored(s), related), "/resources/ec2_instance/i-1"), "not in the store", "sg-1")
	s.resources = append(s.resources, group)
	requireAll(t, view(t, f.page(stored(s), related), "/resources/ec2_instance/i-1?at=1h"),
		`href="/resources/ec2_security_group/sg-1?account=222222222222&amp;at=`, "baseline", "SecurityGroups.GroupId")
	requireAll(t, view(t, f.page(stored(s), related), "/resources/ec2_security_group/sg-1"),
		`href="/resources/ec2_instance/i-1?account=222222222222`, "its SecurityGroups.GroupId")
}

// The graph has a box for each resource, and one for each kind where there are many; its size is bounded.
func TestRelationGraph(t *testing.T) {
	f := newFixture(t)
	self := instance(f.now, "vpc-1", "", "prod")
	var related []relatedView
	add := func(direction, kind, id string) {
		related = append(related, relatedView{
			Related: api.Related{Kind: kind, ID: id, Found: id != "ami-1"}, From: direction == "from", To: direction == "to",
			URL: "/resources/" + kind + "/" + id,
		})
	}
	add("to", "ec2_image", "ami-1")
	for i := range 4 {
		add("from", "ec2_subnet", fmt.Sprint("subnet-0123456789abcde", i))
	}
	boxes := func() int { return strings.Count(string(relationGraph(self, related)), "<rect") }
	text := string(relationGraph(self, related))
	requireAll(t, text, "it points at", "point at it", `class="missing"><rect`, "subnet-01…bcde3", ">ami-1<")
	if n := boxes(); n != 6 {
		t.Errorf("%d boxes", n)
	}
	for i := range 5 {
		add("from", "ec2_instance", fmt.Sprint("i-", i))
	}
	requireAll(t, string(relationGraph(self, related)), "4 resources", "5 resources", `href="#h-related"`)
	if n := boxes(); n != 4 {
		t.Errorf("%d boxes of kinds", n)
	}
	for i := range 20 {
		add("from", fmt.Sprint("ec2_kind", i), "id")
	}
	requireAll(t, string(relationGraph(self, related)), "and others", "17 kinds")
	if n := boxes(); n != maxBoxes+2 {
		t.Errorf("%d boxes of many kinds", n)
	}
	if relationGraph(self, nil) != "" {
		t.Error("a graph of nothing")
	}
}

// A resource that several members hold is one row with all of them.
func TestRelationsOfSeveralMembers(t *testing.T) {
	f := newFixture(t)
	s := &fakeStore{resources: []*inventory.Resource{instance(f.now, "i-1", "web", "prod")}}
	p := f.page(stored(s), func(o *Options) {
		o.Related = func(context.Context, *inventory.Resource, time.Time) ([]api.Related, error) {
			return []api.Related{
				{Direction: "to", Path: "SubnetId", Kind: "ec2_subnet", ID: "subnet-1"},
				{Direction: "to", Path: "VpcId", Kind: "ec2_vpc", ID: "vpc-1"},
				{Direction: "from", Path: "Attachments.InstanceId", Kind: "ec2_subnet", ID: "subnet-1"},
			}, nil
		}
	})
	text := view(t, p, "/resources/ec2_instance/i-1")
	if heads := strings.Count(text, `class="head" d=`); heads != 3 { // both ways with the subnet
		t.Errorf("%d heads of arrows", heads)
	}
	requireAll(t, text, "SubnetId, its Attachments.InstanceId", `<span class="count">2</span>`)
	if n := strings.Count(text, "<code>subnet-1</code>"); n != 1 {
		t.Errorf("the subnet has %d rows", n)
	}
}

func TestChanges(t *testing.T) {
	f := newFixture(t)
	before, after := instance(f.now, "i-1", "api", "prod"), instance(f.now, "i-1", "api", "prod")
	after.Data = json.RawMessage(strings.ReplaceAll(string(after.Data), "running", "stopped"))
	gone := instance(f.now, "i-9", "old", "dev")
	gone.Ended = inventory.Absent
	s := &fakeStore{changes: []inventory.Change{
		{Op: inventory.WasGone, At: f.now.Add(-50 * time.Hour), Before: gone},
		{Op: inventory.WasGone, At: f.now.Add(-2 * time.Hour), Before: gone},
		{Op: inventory.WasChanged, At: f.now.Add(-time.Hour), Before: before, After: after},
	}}
	for i := range 30 {
		s.changes = append(s.changes, inventory.Change{Op: inventory.WasAdded, At: f.now.Add(-time.Minute),
			After: instance(f.now, fmt.Sprint("i-new-", i), "", "prod")})
	}
	p := f.page(stored(s))
	text := view(t, p, "/changes")
	requireAll(t, text, "30 added, 1 changed, 1 gone since", "<del>running</del>", "<ins>stopped</ins>", "State.Name",
		"gone: a complete listing did not contain it", "and 20 more", "collector changes --since 1d", "As a table",
		`aria-label="Changes from`)
	requireAll(t, view(t, p, "/changes?since=7d"), "2 gone since", "collector changes --since 7d")
	requireAll(t, view(t, p, "/changes?since=1h"), `aria-current="true">1 h</a>`, "30 added", "changes --since 1h")
	text = view(t, p, "/changes?what=gone&account=dev")
	requireAll(t, text, "0 added, 0 changed, 1 gone", "account: dev")
	requireAll(t, view(t, p, "/changes?account=nobody"), "Nothing changed")
	requireAll(t, view(t, p, "/"), "+30", "~1", "−1", "What changed in 24 h")
	requireAll(t, view(t, f.page(stored(&fakeStore{})), "/changes"), "Nothing changed")
	broken := f.page(stored(&fakeStore{err: errors.New("disk I/O error")}))
	if w := get(t, broken, "/changes"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a store that fails: %d", w.Code)
	}
	requireAll(t, view(t, broken, "/"), "not known: disk I/O error")
}

// The view says when there are more changes than it counts.
func TestManyChanges(t *testing.T) {
	f := newFixture(t)
	s := &fakeStore{}
	for range maxCounted + 5 {
		s.changes = append(s.changes, inventory.Change{Op: inventory.WasAdded, At: f.now.Add(-time.Minute),
			After: instance(f.now, "i-1", "", "prod")})
	}
	p := f.page(stored(s))
	requireAll(t, view(t, p, "/changes"), "The first 20,000 changes", "the last 100 of the first 20,000")
	requireAll(t, view(t, p, "/"), "over <span class=\"nowrap\">+20,000")
}
