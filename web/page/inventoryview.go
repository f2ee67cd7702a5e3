package page

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
)

// inventoryData is what the template of the inventory shows.
type inventoryData struct {
	Heading    string
	Search     string
	Where      string
	At         time.Time // zero: now
	AtText     string
	Instants   []option
	Chips      []link // the filters, each with the URL without it
	Clear      string
	Facets     []facet
	Rows       []resourceRow
	Count      string
	Next       string
	Stale      int // of the rows: not confirmed
	Unseen     []link
	MoreUnseen int
	NotIndexed int // versions that the search does not find yet
	Same       sameQuestion
	Hidden     []hiddenField
}

type hiddenField struct{ Name, Value string }

type facet struct {
	Name   string
	Values []facetValue
}

type facetValue struct {
	Text, URL string
	N         int
	Width     float64 // of 100
	Current   bool
}

// A resourceRow is a resource in a table.
type resourceRow struct {
	*inventory.Resource
	URL         string
	AccountURL  string
	Unconfirmed bool // its listing fails: it is shown as last seen
}

const (
	shownResources = 100
	maxFaceted     = 10_000
	maxFacetValues = 12
)

// resourceParameters are those of a question about resources: of the API, the command line and the page.
func resourceParameters() []query.Parameter {
	return []query.Parameter{query.Kind, query.Account, query.Region, query.Search, query.Where, query.At}
}

func (p *Page) inventoryView(ctx context.Context, r *request) (content, error) {
	if p.o.Store == nil {
		return nothingStored("/inventory"), nil
	}
	q, err := r.parse(resourceParameters(), p.o.Kinds)
	if err != nil {
		return badQuestion(err, "/inventory"), nil
	}
	d := inventoryData{
		Search: q.Search, Where: r.Request.URL.Query().Get("where"), At: q.At, AtText: r.values.Get("at"),
		Same: same("list", "resources", resourceParameters(), r),
	}
	if q.Search != "" {
		if d.NotIndexed, err = p.o.Store.NotIndexed(ctx); err != nil {
			return content{}, fmt.Errorf("count what is not indexed: %w", err)
		}
	}
	all := p.coverage(r.now)
	if err := p.addRows(ctx, &d, r, &q, all.failing); err != nil {
		return content{}, err
	}
	d.addFilters(r)
	d.addUnseen(&q, all)
	return content{template: "inventory.html", title: "Inventory", tab: "/inventory", data: d}, nil
}

// addRows reads the rows of this page, and counts the first ten thousand for the facets.
func (p *Page) addRows(
	ctx context.Context, d *inventoryData, r *request, q *query.Question, failing map[record.Target]bool,
) error {
	counted := q.Query
	counted.Limit = maxFaceted + 1
	counts := map[string]map[string]int{"kind": {}, "account": {}, "region": {}}
	n := 0
	var rows []*inventory.Resource
	for res, err := range p.o.Store.Find(ctx, counted) {
		if err != nil {
			return fmt.Errorf("find resources: %w", err)
		}
		if n++; n > maxFaceted {
			break
		}
		counts["kind"][res.Kind]++
		counts["account"][res.Account]++
		counts["region"][res.Region]++
		if len(rows) <= shownResources {
			rows = append(rows, res)
		}
	}
	if after := r.param("after"); after != "" {
		page := q.Query
		page.After, page.Limit = keyOf(after), shownResources+1
		if page.After == nil {
			delete(r.known, "after")
		}
		rows = nil
		for res, err := range p.o.Store.Find(ctx, page) {
			if err != nil {
				return fmt.Errorf("find resources: %w", err)
			}
			rows = append(rows, res)
		}
	}
	if len(rows) > shownResources {
		rows = rows[:shownResources]
		d.Next = r.with("after", cursorOf(inventory.KeyOf(rows[shownResources-1])))
	}
	for _, res := range rows {
		row := p.row(res, q.At, failing)
		if d.Rows = append(d.Rows, row); row.Unconfirmed {
			d.Stale++
		}
	}
	d.Count, d.Heading = count(len(rows), "row")+" shown", count(n, "resource")
	if n > maxFaceted {
		d.Heading = number(maxFaceted) + "+ resources"
	}
	for _, name := range []string{"kind", "account", "region"} {
		d.Facets = append(d.Facets, newFacet(name, counts[name], r))
	}
	return nil
}

func (p *Page) row(res *inventory.Resource, at time.Time, failing map[record.Target]bool) resourceRow {
	return resourceRow{
		Resource: res, URL: resourceURL(res, at), AccountURL: accountURL(res.Account),
		Unconfirmed: at.IsZero() && failing[record.Target{Account: res.Account, Region: res.Region, Kind: res.Kind}],
	}
}

// A key in a URL is its parts, each escaped, with slashes between them.
func cursorOf(k inventory.Key) string {
	parts := []string{k.Kind, k.Account, k.Region, k.ID, k.AccountID, k.Partition}
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

func keyOf(text string) *inventory.Key {
	parts := strings.Split(text, "/")
	for i := range parts {
		part, err := url.PathUnescape(parts[i])
		if err != nil {
			return nil
		}
		parts[i] = part
	}
	if len(parts) != 6 {
		return nil
	}
	return &inventory.Key{Kind: parts[0], Account: parts[1], Region: parts[2], ID: parts[3], AccountID: parts[4],
		Partition: parts[5]}
}

func newFacet(name string, counts map[string]int, r *request) facet {
	f := facet{Name: name}
	values := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	chosen := r.params(name)
	for _, v := range values[:min(len(values), maxFacetValues)] {
		value := facetValue{Text: v, N: counts[v], Current: len(chosen) == 1 && len(values) == 1}
		if name == "kind" {
			value.Text = kindName(v)
		}
		value.Width = 100 * float64(counts[v]) / float64(counts[values[0]])
		value.URL = r.with(name, listValue(v), "after", "")
		f.Values = append(f.Values, value)
	}
	return f
}

// listValue writes a value for a parameter that takes several, separated by commas.
func listValue(v string) string {
	if strings.ContainsAny(v, ",\"") {
		return `"` + strings.ReplaceAll(v, `"`, `""`) + `"`
	}
	return v
}

func (d *inventoryData) addFilters(r *request) {
	for _, name := range []string{"kind", "account", "region", "where"} {
		if v := strings.Join(r.values[name], ", "); v != "" {
			d.Chips = append(d.Chips, link{Text: name + ": " + v, URL: r.with(name, "", "after", "")})
		}
		for _, v := range r.values[name] {
			if name != "where" {
				d.Hidden = append(d.Hidden, hiddenField{name, v})
			}
		}
	}
	d.Clear = r.with("kind", "", "account", "", "region", "", "where", "", "after", "")
	for _, i := range []option{{"Now", "", "", false}, {"1 d ago", "1d", "", false}, {"7 d", "7d", "", false},
		{"30 d", "30d", "", false}} {
		i.URL, i.Current = r.with("at", i.Value, "after", ""), i.Value == d.AtText
		d.Instants = append(d.Instants, i)
	}
}

// addUnseen names the accounts in which a listing within the question fails, or none has ended yet, so that "none" is
// never said of what was not looked at.
func (d *inventoryData) addUnseen(q *query.Question, c *coverage) {
	names := map[string]bool{}
	for t := range c.failing {
		if a := c.account(t.Account); a != nil && q.Selects(t.Account, a.Identity.AccountID, t.Region, t.Kind) {
			names[t.Account] = true
		}
	}
	for _, a := range c.accounts {
		if a.listings == 0 && q.Selects(a.Name, a.Identity.AccountID, "", "") {
			names[a.Name] = true
		}
	}
	unseen := slices.Sorted(maps.Keys(names))
	d.MoreUnseen = max(len(unseen)-maxNamedAccounts, 0)
	for _, name := range unseen[:len(unseen)-d.MoreUnseen] {
		d.Unseen = append(d.Unseen, link{Text: name, URL: accountURL(name)})
	}
}

// resourceURL is the page of a resource: of this account and region, because several may have the same id.
func resourceURL(r *inventory.Resource, at time.Time) string {
	q := url.Values{"account": {listValue(cmp.Or(r.AccountID, r.Account))}, "region": {listValue(r.Region)}}
	if !at.IsZero() {
		q.Set("at", fullTime(at))
	}
	return withQuery("/resources/"+url.PathEscape(r.Kind)+"/"+url.PathEscape(r.ID), q)
}

// A rowsFrame is rows for their template, which needs the time, too.
type rowsFrame struct {
	moment
	Rows []resourceRow
}

// Rows returns what the template of a table of resources takes.
func (f frame) Rows(rows []resourceRow) rowsFrame { return rowsFrame{f.moment, rows} }
