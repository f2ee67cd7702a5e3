package page

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
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
	Count      string
	Next       string
	Stale      int // of the rows: not confirmed
	Unseen     []link
	MoreUnseen int
	NotIndexed int // versions that the search does not find yet
	Same       sameQuestion
	Columns    []columnChoice
	Fields     string // other columns, as the URL has them
	NotSorted  bool   // only the first rows are sorted: there are too many

	// The other parameters, for each form.
	WithAt, WithSearch, WithColumns []hiddenField

	table resourceTable
}

// Table returns what the template of a table of resources takes.
func (d inventoryData) Table() resourceTable { return d.table }

type hiddenField struct{ Name, Value string }

// hidden returns the parameters of the URL but these, for a form that changes these.
func (r *request) hidden(but ...string) (fields []hiddenField) {
	for _, name := range slices.Sorted(maps.Keys(r.values)) {
		if r.known[name] && name != "after" && !slices.Contains(but, name) {
			for _, v := range r.values[name] {
				fields = append(fields, hiddenField{name, v})
			}
		}
	}
	return fields
}

const (
	shownResources = 100
	maxFaceted     = 2_000 // to read ten thousand takes longer than people wait for each view
	maxSorted      = 10_000
)

// questionParameters are those of a question about resources of the API and the command line; the page and the command
// line sort, too.
func questionParameters() []query.Parameter {
	return []query.Parameter{
		query.Kind, query.Account, query.Region, query.Search, query.Where, query.At, query.Fields,
	}
}

func (p *Page) inventoryView(ctx context.Context, r *request) (content, error) {
	if p.o.Store == nil {
		return nothingStored("/inventory"), nil
	}
	q, err := r.parse(append(questionParameters(), query.Sort), p.o.Kinds)
	if err != nil {
		return badQuestion(err, "/inventory"), nil
	}
	if q.SortNeedsData() { // of ten thousand rows
		delete(r.known, query.Sort.Name)
		q.Sort = nil
	}
	d := inventoryData{
		Search: q.Search, Where: r.Request.URL.Query().Get("where"), At: q.At, AtText: r.values.Get("at"),
		Same: same("list", "resources", questionParameters(), r),
	}
	if q.Search != "" {
		if d.NotIndexed, err = p.o.Store.NotIndexed(ctx); err != nil {
			return content{}, fmt.Errorf("count what is not indexed: %w", err)
		}
	}
	all, err := p.coverage(ctx, r.now)
	if err != nil {
		return content{}, err
	}
	if err := p.addRows(ctx, &d, r, &q, all.failing); err != nil {
		return content{}, err
	}
	d.Same.Command += sortFlag(r)
	d.addFilters(r)
	d.WithAt, d.WithSearch = r.hidden("at"), r.hidden("q", "where")
	d.WithColumns = r.hidden(query.Fields.Name)
	d.addUnseen(&q, all)
	return content{template: "inventory.html", title: "Inventory", tab: "/inventory", data: d}, nil
}

// sortFlag is the order of the rows for the command line. The API has the order of the store only.
func sortFlag(r *request) string {
	if !r.understood(query.Sort.Name) {
		return ""
	}
	return " --" + query.Sort.FlagName() + " " + quoted(r.values.Get(query.Sort.Name))
}

// addRows reads the rows of this page, and counts the first maxFaceted for the facets. Sorted rows are those of the
// first maxSorted.
func (p *Page) addRows(
	ctx context.Context, d *inventoryData, r *request, q *query.Question, failing map[record.Target]bool,
) error {
	most, keep := maxFaceted, shownResources+1
	if len(q.Sort) > 0 {
		most, keep = maxSorted, maxSorted
	}
	counts := newFacetCounts(most)
	q.Query.Limit = most + 1
	var rows []*inventory.Resource
	for res, err := range p.o.Store.Find(ctx, q.Query) {
		if err != nil {
			return fmt.Errorf("find resources: %w", err)
		}
		if counts.add(res) && len(rows) < keep {
			rows = append(rows, res)
		}
	}
	var err error
	if len(q.Sort) > 0 {
		d.NotSorted = counts.more
		rows, err = d.sorted(rows, r, q)
	} else {
		rows, err = p.rowsAfter(ctx, d, r, q, rows)
	}
	if err != nil {
		return err
	}
	d.table = newTable(r, q, counts)
	for _, res := range rows {
		row, err := p.cells(ctx, res, q, d.table.Columns, failing)
		if err != nil {
			return err
		}
		if d.table.Rows = append(d.table.Rows, row); row.Unconfirmed {
			d.Stale++
		}
	}
	d.Count, d.Heading = count(len(rows), "row")+" shown", count(counts.n, "resource")
	if counts.more {
		d.Heading = number(most) + "+ resources"
	}
	d.Facets = counts.facets(r)
	d.Columns, d.Fields = columnChoices(d.table.Columns, counts)
	return nil
}

// rowsAfter returns the rows of this page in the order of the store. first are those of the first page, and the next.
func (p *Page) rowsAfter(
	ctx context.Context, d *inventoryData, r *request, q *query.Question, first []*inventory.Resource,
) ([]*inventory.Resource, error) {
	rows := first
	if after := r.param("after"); after != "" {
		page := q.Query
		page.After, page.Limit = keyOf(after), shownResources+1
		if page.After == nil {
			delete(r.known, "after")
		}
		rows = nil
		for res, err := range p.o.Store.Find(ctx, page) {
			if err != nil {
				return nil, fmt.Errorf("find resources: %w", err)
			}
			rows = append(rows, res)
		}
	}
	if len(rows) > shownResources {
		rows = rows[:shownResources]
		d.Next = r.with("after", cursorOf(inventory.KeyOf(rows[shownResources-1])))
	}
	return rows, nil
}

// sorted returns the rows of this page of all rows, in the order of the question. Such a page begins after a number of
// rows.
func (d *inventoryData) sorted(
	sorted []*inventory.Resource, r *request, q *query.Question,
) ([]*inventory.Resource, error) {
	if err := q.SortResources(sorted); err != nil {
		return nil, fmt.Errorf("sort resources: %w", err)
	}
	begin, err := strconv.Atoi(cmp.Or(r.param("after"), "0"))
	if err != nil || begin < 0 || begin > len(sorted) {
		delete(r.known, "after")
		begin = 0
	}
	sorted = sorted[begin:]
	if len(sorted) > shownResources {
		sorted = sorted[:shownResources]
		d.Next = r.with("after", strconv.Itoa(begin+shownResources))
	}
	return sorted, nil
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

// listValue writes a value for a parameter that takes several, separated by commas.
func listValue(v string) string {
	if strings.ContainsAny(v, ",\"") {
		return `"` + strings.ReplaceAll(v, `"`, `""`) + `"`
	}
	return v
}

// addFilters adds the parameters, and each part of the condition, with the URL without it.
func (d *inventoryData) addFilters(r *request) {
	for _, name := range []string{"kind", "account", "region"} {
		if v := strings.Join(r.values[name], ", "); v != "" {
			d.Chips = append(d.Chips, link{Text: name + ": " + v, URL: r.with(name, "", "after", "")})
		}
	}
	terms := inventory.WhereTerms(d.Where)
	for i, term := range terms {
		rest := strings.Join(slices.Delete(slices.Clone(terms), i, i+1), " and ")
		d.Chips = append(d.Chips, link{Text: term, URL: r.with("where", rest, "after", "")})
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
