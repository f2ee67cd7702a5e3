package page

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
)

// The scale of the matrix: up to maxNamed accounts all have a row of their own; above, a group names its accounts with
// problems and folds the rest into one line. A page of all accounts has maxRows of them. Where more than maxLinks cells
// are problems, they are no longer links of their own: the row's link remains.
const (
	maxNamed = 40
	maxRows  = 200
	maxLinks = 2000
)

// A matrix is the table of accounts and regions.
type matrix struct {
	Head   template.HTML // the names of the regions, as a drawing
	Groups []matrixGroup
	Named  int
	Folded int
	Next   string // the URL of the next accounts; "" if these are all
}

type matrixGroup struct {
	Name  string // "" if there are no groups
	Count string
	Rows  []matrixRow
}

type matrixRow struct {
	Name, Title, URL string
	Rest             bool // it stands for several accounts
	Cells            template.HTML
	Oldest           time.Time
	Never            bool
	Resources        int
	Next             time.Time
	Paused           bool
	Why              string
	State            stateInfo // its worst, if it is not well
	Listed           bool      // a listing has ended
}

// A matrixFilter is what the URL asks for.
type matrixFilter struct {
	show  string // problems, only, all, or a health
	group string // tag:KEY, partition, none
	after string // the last account of the page before
}

func (c *coverage) matrix(accounts []*account, f matrixFilter, link func(matrixFilter) string) matrix {
	accounts = slices.DeleteFunc(slices.Clone(accounts), func(a *account) bool { return !f.shows(a) })
	folds := f.show == "problems" && len(accounts) > maxNamed
	var m matrix
	if !folds {
		start, _ := slices.BinarySearchFunc(accounts, f.after, func(a *account, after string) int {
			return cmp.Or(cmp.Compare(a.Name, after), -1)
		})
		if f.after != "" {
			accounts = accounts[start:]
		}
		if len(accounts) > maxRows {
			next := f
			next.after = accounts[maxRows-1].Name
			accounts, m.Next = accounts[:maxRows], link(next)
		}
	}
	d := drawing{regions: columns(accounts), links: countProblems(accounts) <= maxLinks, now: c.now}
	m.Head = d.head()
	for _, g := range groupAccounts(accounts, f.group) {
		m.add(g, d, folds, link)
	}
	return m
}

func (f matrixFilter) shows(a *account) bool {
	switch f.show {
	case "problems", "all":
		return true
	case "only":
		return a.isProblem()
	}
	return a.health == health(f.show)
}

func countProblems(accounts []*account) (n int) {
	for _, a := range accounts {
		for _, c := range a.cells {
			if c.isProblem() {
				n++
			}
		}
	}
	return n
}

func (c *cell) isProblem() bool {
	tone := infoOf(c.state).tone
	return tone == toneAct || tone == toneWait
}

// An accountGroup is the accounts with one value of the tag that the matrix is grouped by.
type accountGroup struct {
	name     string
	accounts []*account // those with problems first
	problems int
}

// groupAccounts groups accounts: the group with the worst account first.
func groupAccounts(accounts []*account, by string) []accountGroup {
	groups := map[string]*accountGroup{}
	for _, a := range accounts {
		name := groupName(a, by)
		if groups[name] == nil {
			groups[name] = &accountGroup{name: name}
		}
		g := groups[name]
		g.accounts = append(g.accounts, a)
		if a.isProblem() {
			g.problems++
		}
	}
	for _, g := range groups {
		slices.SortStableFunc(g.accounts, func(a, b *account) int { return cmp.Compare(a.order(), b.order()) })
	}
	return slices.SortedFunc(maps.Values(groupValues(groups)), func(a, b accountGroup) int {
		return cmp.Or(cmp.Compare(a.accounts[0].order(), b.accounts[0].order()), cmp.Compare(a.name, b.name))
	})
}

func groupValues(groups map[string]*accountGroup) map[string]accountGroup {
	values := make(map[string]accountGroup, len(groups))
	for name, g := range groups {
		values[name] = *g
	}
	return values
}

// order sorts accounts by who must act first.
func (a *account) order() int {
	return slices.Index([]health{needsYou, retrying, neverListed, acknowledged, overdue, healthy}, a.health)
}

func groupName(a *account, by string) string {
	key, isTag := strings.CutPrefix(by, "tag:")
	switch {
	case isTag:
		if value, ok := a.tags[key]; ok {
			return key + "=" + value
		}
		return "no tag " + key
	case by == "partition":
		return cmp.Or(a.Identity.Partition, "partition not known yet")
	}
	return ""
}

func (m *matrix) add(g accountGroup, d drawing, folds bool, link func(matrixFilter) string) {
	group := matrixGroup{Name: g.name, Count: count(len(g.accounts), "account")}
	if g.problems > 0 {
		group.Count += fmt.Sprintf(", %d not complete", g.problems)
	}
	named := g.accounts
	if folds { // those with problems come first
		named = g.accounts[:min(g.problems, maxRows-m.Named)]
	}
	for _, a := range named {
		group.Rows = append(group.Rows, d.row(a))
	}
	m.Named += len(named)
	if rest := g.accounts[len(named):]; len(rest) > 0 {
		row := d.rest(rest)
		switch more := g.problems - len(named); {
		case more > 0:
			row.Name, row.Why = "+ "+count(len(rest), "account"), fmt.Sprintf("%d of them not complete", more)
			row.URL = link(matrixFilter{show: "only", group: "none"})
		case len(named) == 0 && g.name != "":
			row.Name, row.Why, group.Name = g.name, group.Count+", all complete", ""
			row.URL = link(matrixFilter{show: string(healthy), group: "none"})
		default:
			row.Name = "+ " + count(len(rest), "complete account")
			row.URL = link(matrixFilter{show: string(healthy), group: "none"})
		}
		group.Rows = append(group.Rows, row)
		m.Folded += len(rest)
	}
	m.Groups = append(m.Groups, group)
}

// A drawing draws rows of cells for these columns. A row is one drawing: a path for all cells of a calm state, and a
// link only for each cell that needs attention. So 1,000 accounts in 30 regions are some ten thousand elements.
type drawing struct {
	regions []string
	links   bool
	now     time.Time
}

const pitch = 20 // from a cell to the next; a cell is 12 wide

func (d drawing) head() template.HTML {
	var b strings.Builder
	width := len(d.regions)*pitch + 36
	fmt.Fprintf(&b, `<svg width="%d" height="78" viewBox="0 0 %d 78" role="img" overflow="visible" aria-label="%s">`,
		width, width, escape("Regions: "+strings.Join(d.regions, ", ")))
	for i, region := range d.regions {
		fmt.Fprintf(&b, `<text transform="translate(%d,75) rotate(-52)">%s</text>`, i*pitch+12, escape(shorten(region, 16)))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // escaped above
}

func (d drawing) row(a *account) matrixRow {
	row := matrixRow{
		Name: a.Name, Title: strings.TrimSpace(a.Name + " " + a.Identity.AccountID), URL: accountURL(a.Name),
		Oldest: a.oldest, Never: a.never > 0 && a.oldest.IsZero() || a.listings == 0, Resources: a.resources, Next: a.Next,
		Paused: a.Paused != nil,
		Listed: a.listings > 0,
	}
	switch {
	case a.health == neverListed:
		row.State = infoOf(query.NeverListed)
	case a.worst != nil && a.failed > 0:
		row.State, row.Why = infoOf(a.worst.state), d.why(a)
	case a.health == overdue:
		row.Why = "overdue by " + span(a.late.Truncate(time.Minute))
	}
	row.Cells = d.cells(a.Name, func(region string) *cell { return a.cells[region] })
	return row
}

// why says where the worst state is, and gives the error of one target.
func (d drawing) why(a *account) string {
	var regions []string
	for _, c := range a.cells {
		if c.state == a.worst.state && c.region != "" {
			regions = append(regions, c.region)
		}
	}
	slices.Sort(regions)
	text := list(regions, 1, "region")
	if a.worst.kinds == 1 {
		text += ": " + kindName(a.worst.kind)
	}
	return strings.TrimPrefix(text+": "+shorten(a.worst.error, 160), ": ")
}

// rest draws several accounts as one row: a cell is the worst of theirs.
func (d drawing) rest(accounts []*account) matrixRow {
	row := matrixRow{Rest: true, Listed: true}
	cells := map[string]*cell{}
	for _, a := range accounts {
		row.Resources += a.resources
		if row.Oldest.IsZero() || !a.oldest.IsZero() && a.oldest.Before(row.Oldest) {
			row.Oldest = a.oldest
		}
		if row.Next.IsZero() || !a.Next.IsZero() && a.Next.Before(row.Next) {
			row.Next = a.Next
		}
		for region, c := range a.cells {
			if best := cells[region]; best == nil || rank(c.state) < rank(best.state) {
				cells[region] = c
			}
		}
	}
	row.Cells = d.cells(count(len(accounts), "account"), func(region string) *cell { return cells[region] })
	return row
}

func (d drawing) cells(name string, cellOf func(region string) *cell) template.HTML {
	paths := map[record.State]*strings.Builder{}
	counts := map[record.State]int{}
	var bars, links, outlines strings.Builder
	for i, region := range d.regions {
		c := cellOf(region)
		if c == nil {
			continue
		}
		counts[c.state]++
		x := i*pitch + 4
		if bar, ok := c.bar(d.now); ok {
			fmt.Fprintf(&bars, "M%d 2%s", x, bar.shape)
		}
		if c.listing {
			fmt.Fprintf(&outlines, `<rect class="now" x="%d" y="0" width="16" height="16" rx="4"/>`, x-2)
		}
		if c.isProblem() && d.links {
			d.link(&links, name, c, x)
			continue
		}
		if paths[c.state] == nil {
			paths[c.state] = new(strings.Builder)
		}
		paths[c.state].WriteString("M" + strconv.Itoa(x) + " 2" + infoOf(c.state).shape)
	}
	var b strings.Builder
	width := len(d.regions)*pitch + 4
	fmt.Fprintf(&b, `<svg width="%d" height="20" viewBox="0 0 %d 20" role="group" aria-label="%s">`,
		width, width, escape(name+": "+countWords(counts)))
	for _, s := range stateTable {
		if p := paths[s.state]; p != nil {
			fmt.Fprintf(&b, `<path class="s-%s" fill-rule="evenodd" d="%s"/>`, s.Code(), p)
		}
	}
	if bars.Len() > 0 {
		fmt.Fprintf(&b, `<path class="age" d="%s"/>`, bars.String())
	}
	b.WriteString(links.String() + outlines.String() + "</svg>")
	return template.HTML(b.String()) //nolint:gosec // escaped above
}

func (d drawing) link(b *strings.Builder, name string, c *cell, x int) {
	info := infoOf(c.state)
	why := shorten(c.error, 200)
	fmt.Fprintf(b, `<a href="%s"><title>%s</title>`+
		`<rect class="hit" x="%d" y="0" width="20" height="20" rx="3"/>`+
		`<use href="#g-%s" class="s-%s" x="%d" y="2" width="12" height="12"/></a>`,
		escape(accountURL(name)+"?region="+escapeValue(c.region)+"#failures"),
		escape(name+", "+c.region+": "+info.words+", "+count(c.kinds, "kind")+"\n"+why), x-4, info.Code(), info.Code(), x)
}

// bar returns the bar of a cell that is late.
func (c *cell) bar(now time.Time) (ageBar, bool) {
	if c.never > 0 && c.oldest.IsZero() {
		return neverComplete, true
	}
	if c.late == 0 {
		return ageBar{}, false
	}
	switch old := now.Sub(c.oldest); {
	case old > 24*time.Hour:
		return ageBars[2], true
	case old > 6*time.Hour:
		return ageBars[1], true
	case old > time.Hour:
		return ageBars[0], true
	}
	return ageBar{}, false
}

// countWords says how many cells are in each state, the worst first.
func countWords(counts map[record.State]int) string {
	var parts []string
	for _, s := range stateTable {
		if n := counts[s.state]; n > 0 {
			parts = append(parts, number(n)+" "+strings.ToLower(s.words))
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "nothing is collected")
}

func escape(s string) string { return template.HTMLEscapeString(s) }
