package page

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
)

// A resourceTable is a table of resources: those of a question, or several with one id.
type resourceTable struct {
	Columns []column
	Rows    []resourceRow
}

// A column is a field of resources.
type column struct {
	query.Column
	Heading string
	Number  bool   // its values are on the right
	SortURL string // "": the table cannot be sorted by it
	Sorted  string // ascending, descending or ""
}

// A resourceRow is a resource in a table.
type resourceRow struct {
	*inventory.Resource
	URL         string
	AccountURL  string
	Unconfirmed bool // its listing fails: it is shown as last seen
	Cells       []cellView
}

// A cellView is a field of a resource: a text with what was searched for in its middle, or an age.
type cellView struct {
	Before, Found, After string
	URL                  string
	Mono, Number         bool
	Since                time.Time // of an age
	Unconfirmed          bool      // the age is of what is shown as last seen
}

// headings are those of the columns that are shown unless the question says which. Another column has its name.
var headings = map[string]string{
	"id": "Id", "name": "Name", "kind": "Kind", "state": "State", "type": "Type", "account": "Account",
	"region": "Region", "state_since": "In this state", "last_seen": "Confirmed",
}

// defaultColumns are shown unless the question says which.
var defaultColumns = [...]string{"id", "name", "kind", "state", "type", "account", "region", "state_since", "last_seen"}

// offeredColumns can be chosen by a click besides those.
var offeredColumns = [...]string{"account_id", "first_seen", "valid_from"}

// columnsOf returns the columns of a question. The first one links to the resource.
func columnsOf(fields []query.Column) []column {
	if len(fields) == 0 {
		fields, _ = query.ParseColumns(defaultColumns[:]) // a test parses them
	}
	columns := make([]column, len(fields))
	for i, f := range fields {
		columns[i] = column{Column: f, Heading: headings[f.Name], Number: f.Name == "state_since"}
		if columns[i].Heading == "" {
			columns[i].Heading = f.Name
		}
	}
	return columns
}

// newTable returns a table without rows, whose headings sort it.
func newTable(r *request, q *query.Question, counts *facetCounts) resourceTable {
	t := resourceTable{Columns: columnsOf(q.Fields)}
	sorted := ""
	if len(q.Sort) > 0 {
		sorted = r.params(query.Sort.Name)[0]
	}
	for i := range t.Columns {
		c := &t.Columns[i]
		if c.Field.NeedsData() || counts.n < 2 {
			continue
		}
		next := c.Name
		switch sorted {
		case c.Name:
			c.Sorted, next = "ascending", "-"+c.Name
		case "-" + c.Name:
			c.Sorted = "descending"
		}
		c.SortURL = r.with(query.Sort.Name, listValue(next), "after", "")
	}
	return t
}

// A columnChoice is a column that can be shown.
type columnChoice struct {
	Name, Heading string
	Shown         bool
}

const maxTagColumns = 6

// columnChoices returns the columns to choose from, and the others that are shown, as the URL has them.
func columnChoices(shown []column, counts *facetCounts) (choices []columnChoice, others string) {
	names := append(slices.Clone(defaultColumns[:]), offeredColumns[:]...)
	keys := slices.Sorted(maps.Keys(counts.tags))
	grouping := counts.tagKeys()
	keys = append(grouping, slices.DeleteFunc(keys, func(k string) bool { return slices.Contains(grouping, k) })...)
	for _, key := range keys[:min(len(keys), maxTagColumns)] {
		names = append(names, "tags."+key)
	}
	var rest []string
	for _, c := range shown {
		if !slices.Contains(names, c.Name) {
			rest = append(rest, listValue(c.Name))
		}
	}
	for _, name := range names {
		choice := columnChoice{Name: listValue(name), Heading: headings[name]}
		if choice.Heading == "" {
			choice.Heading = name
		}
		choice.Shown = slices.ContainsFunc(shown, func(c column) bool { return c.Name == name })
		choices = append(choices, choice)
	}
	return choices, strings.Join(rest, ",")
}

func (p *Page) row(res *inventory.Resource, at time.Time, failing map[record.Target]bool) resourceRow {
	return resourceRow{
		Resource: res, URL: resourceURL(res, at), AccountURL: accountURL(res.Account),
		Unconfirmed: at.IsZero() && failing[record.Target{Account: res.Account, Region: res.Region, Kind: res.Kind}],
	}
}

// cells returns a row with its cells.
func (p *Page) cells(
	ctx context.Context, res *inventory.Resource, q *query.Question, columns []column, failing map[record.Target]bool,
) (resourceRow, error) {
	row := p.row(res, q.At, failing)
	full := res
	if query.NeedData(q.Fields) {
		var err error
		if full, err = p.withData(ctx, res, q.At); err != nil {
			return row, err
		}
	}
	for i, c := range columns {
		v, err := c.Field.Value(full)
		if err != nil {
			return row, fmt.Errorf("read %s: %w", c.Name, err)
		}
		cell := cellView{Number: c.Number}
		text := query.CellText(v)
		switch since, isTime := v.(time.Time); {
		case i == 0:
			cell.URL, cell.Mono = row.URL, c.Name == "id"
			if text == "" {
				text = res.ID
			}
		case c.Name == "kind":
			text, cell.Mono = kindName(text), true
		case c.Name == "account":
			cell.URL = row.AccountURL
		case isTime && (c.Name == "state_since" || c.Name == "last_seen"):
			cell.Since, cell.Unconfirmed = since, c.Name == "last_seen" && row.Unconfirmed
		}
		cell.Before, cell.Found, cell.After = cutFound(shorten(text, 60), q.Search)
		row.Cells = append(row.Cells, cell)
	}
	return row, nil
}

// withData returns a resource with its data, as it was at an instant.
func (p *Page) withData(ctx context.Context, res *inventory.Resource, at time.Time) (*inventory.Resource, error) {
	q := inventory.Query{Kinds: []string{res.Kind}, ID: res.ID, At: at, Data: true}
	for full, err := range p.o.Store.Find(ctx, q) {
		if err != nil {
			return nil, fmt.Errorf("read the data of %s: %w", res.ID, err)
		}
		if inventory.KeyOf(full) == inventory.KeyOf(res) {
			return full, nil
		}
	}
	return res, nil // it is gone since
}

// cutFound cuts a text around what was searched for.
func cutFound(text, search string) (before, found, after string) {
	lower, search := strings.ToLower(text), strings.ToLower(search)
	i := strings.Index(lower, search)
	if search == "" || i < 0 || len(lower) != len(text) {
		return text, "", ""
	}
	return text[:i], text[i : i+len(search)], text[i+len(search):]
}

// A tableFrame is a table for its template, which needs the time, too.
type tableFrame struct {
	moment
	resourceTable
}

// Table returns what the template of a table of resources takes.
func (f frame) Table(t resourceTable) tableFrame { return tableFrame{f.moment, t} }
