package page

import (
	"context"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
)

// changesData is what the template of the changes shows.
type changesData struct {
	Summary string
	Spans   []option
	What    []whatOption
	Chips   []link
	Counts  *changeCounts
	Chart   template.HTML
	Bars    []barRow
	Groups  []changeGroup
	Count   string
	Same    sameQuestion
}

type whatOption struct {
	What, URL string
	On        bool
}

// A barRow is a bar of the chart in words, for the table below it.
type barRow struct {
	From time.Time
	opCounts
}

// A changeGroup is the changes of one account that became known at the same time.
type changeGroup struct {
	Account link
	At      time.Time
	Items   []changeView
	More    int
}

type changeView struct {
	What     string
	Kind, ID string
	Name     string
	Region   string
	URL      string
	Deltas   []deltaView
	More     int
	Ended    string
	key      inventory.Key
	at       time.Time
	account  string
}

// changeSpans are how far back the view looks, and how its chart divides that.
var changeSpans = [...]struct {
	name, words string
	length      time.Duration
	parts       int
}{
	{"1h", "1 h", time.Hour, 12}, {"1d", "24 h", 24 * time.Hour, 24}, {"7d", "7 d", 7 * 24 * time.Hour, 28},
	{"30d", "30 d", 30 * 24 * time.Hour, 30},
}

const (
	shownChanges  = 100
	shownPerGroup = 10
)

func (p *Page) changesView(ctx context.Context, r *request) (content, error) {
	if p.o.Store == nil {
		return nothingStored("/changes"), nil
	}
	parameters := []query.Parameter{query.Kind, query.Account, query.Region, query.Where, query.ChangesSince}
	q, err := r.parse(parameters, p.o.Kinds)
	if err != nil {
		return badQuestion(err, "/changes"), nil
	}
	if q.Since.IsZero() {
		q.Since = r.now.Add(-24 * time.Hour)
	}
	what := r.someOf("what", inventory.WasAdded, inventory.WasChanged, inventory.WasGone)
	parts := 24
	var d changesData
	for _, s := range changeSpans {
		current := r.now.Sub(q.Since).Round(time.Minute) == s.length
		if current {
			parts = s.parts
		}
		d.Spans = append(d.Spans, option{s.words, s.name, r.with("since", s.name), current})
	}
	part := max(r.now.Sub(q.Since)/time.Duration(parts), time.Second)
	n := newChangeCounter(q.Since, part, parts)
	last, err := p.lastChanges(ctx, q, what, n)
	if err != nil {
		return content{}, err
	}
	if err := p.addDeltas(ctx, q, last); err != nil {
		return content{}, err
	}
	d.Counts = n.done()
	d.addFilters(r, what)
	d.addGroups(last)
	d.Summary = fmt.Sprintf(
		"%s added, %s changed, %s gone since %s. A resource whose listing fails is never counted as gone.",
		number(d.Counts.Added), number(d.Counts.Changed), number(d.Counts.Gone), clock(r.now, q.Since))
	if d.Counts.More {
		d.Summary = "The first " + number(maxCounted) + " changes: " + d.Summary
		d.Count += " of the first " + number(maxCounted)
	}
	d.Chart = barChart(d.Counts.Bars, q.Since, part, r.now)
	for i, bar := range d.Counts.Bars {
		if bar.Total() > 0 {
			d.Bars = append(d.Bars, barRow{q.Since.Add(part * time.Duration(i)), bar})
		}
	}
	since := r.values.Get("since")
	if since == "" {
		since = "1d"
	}
	d.Same = same("changes", "changes", parameters, r, "since", since)
	return content{template: "changes.html", title: "Changes", tab: "/changes", data: d}, nil
}

// lastChanges counts the changes and returns the last of them, the latest first.
func (p *Page) lastChanges(
	ctx context.Context, q query.Question, what []string, n *changeCounter,
) ([]*changeView, error) {
	var last []*changeView // a ring
	read := 0
	for c, err := range p.o.Store.Changes(ctx, q.Query, q.Since) {
		if err != nil {
			return nil, fmt.Errorf("read changes: %w", err)
		}
		if read++; read > maxCounted {
			n.counts.More = true
			break
		}
		if len(what) > 0 && !slices.Contains(what, c.Op) {
			continue
		}
		n.add(c)
		res := c.Resource()
		view := &changeView{
			What: c.Op, Kind: kindName(res.Kind), ID: res.ID, Name: res.Name, Region: res.Region,
			URL: resourceURL(res, time.Time{}), key: inventory.KeyOf(res), at: c.At, account: res.Account,
		}
		if c.Op == inventory.WasGone {
			view.Ended = endedWords(res.Ended)
		}
		if last = append(last, view); len(last) > 2*shownChanges {
			last = last[shownChanges:]
		}
	}
	slices.Reverse(last)
	return last[:min(len(last), shownChanges)], nil
}

// addDeltas reads the data of the changed resources that are shown, and compares it.
func (p *Page) addDeltas(ctx context.Context, q query.Question, last []*changeView) error {
	type change struct {
		key inventory.Key
		at  time.Time
	}
	wanted := map[change]*changeView{}
	var first time.Time
	for _, v := range last {
		if v.What == inventory.WasChanged {
			wanted[change{v.key, v.at}], first = v, v.at
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	q.Data = true
	read := 0
	for c, err := range p.o.Store.Changes(ctx, q.Query, first.Add(-time.Microsecond)) { // of the store's precision
		if err != nil {
			return fmt.Errorf("read changes: %w", err)
		}
		if v := wanted[change{inventory.KeyOf(c.Resource()), c.At}]; v != nil && c.Op == inventory.WasChanged {
			deltas, err := inventory.Deltas(c.Before.Data, c.After.Data)
			if err != nil {
				return fmt.Errorf("compare versions of %s: %w", v.ID, err)
			}
			v.Deltas, v.More = deltaViews(deltas, 4, 100)
			delete(wanted, change{v.key, v.at})
		}
		if read++; len(wanted) == 0 || read > maxCounted {
			break
		}
	}
	return nil
}

func (d *changesData) addFilters(r *request, what []string) {
	for _, w := range []string{inventory.WasAdded, inventory.WasChanged, inventory.WasGone} {
		on := len(what) == 0 || slices.Contains(what, w)
		var others []string
		for _, o := range []string{inventory.WasAdded, inventory.WasChanged, inventory.WasGone} {
			if isOn := len(what) == 0 || slices.Contains(what, o); isOn != (o == w) {
				others = append(others, o)
			}
		}
		if len(others) == 3 {
			others = nil
		}
		d.What = append(d.What, whatOption{w, r.with("what", strings.Join(others, ",")), on})
	}
	for _, name := range []string{"kind", "account", "region", "where"} {
		if v := strings.Join(r.values[name], ", "); v != "" {
			d.Chips = append(d.Chips, link{Text: name + ": " + v, URL: r.with(name, "")})
		}
	}
}

// addGroups groups changes that are next to each other: of one account, from one listing.
func (d *changesData) addGroups(last []*changeView) {
	for _, v := range last {
		i := len(d.Groups) - 1
		if i < 0 || d.Groups[i].Account.Text != v.account || d.Groups[i].At.Sub(v.at) > time.Minute {
			d.Groups = append(d.Groups, changeGroup{Account: link{Text: v.account, URL: accountURL(v.account)}, At: v.at})
			i++
		}
		if g := &d.Groups[i]; len(g.Items) < shownPerGroup {
			g.Items = append(g.Items, *v)
		} else {
			g.More++
		}
	}
	d.Count = "newest first"
	if len(last) == shownChanges {
		d.Count = "the last " + number(shownChanges)
	}
}

// barChart draws a bar for each part of the time: added on top of changed, gone below the line, so that the three are
// told apart by place, not by colour alone.
func barChart(bars []opCounts, from time.Time, part time.Duration, now time.Time) template.HTML {
	const left, right, width, height, middle = 60.0, 1290.0, 1300, 230, 150.0
	up, down := 1, 1
	for _, b := range bars {
		up, down = max(up, b.Added+b.Changed), max(down, b.Gone)
	}
	scale := min(130/float64(up), 60/float64(down)) // one scale above and below
	var b strings.Builder
	total := opCounts{}
	step := (right - left) / float64(max(len(bars), 1))
	for i, bar := range bars {
		total.Added, total.Changed, total.Gone = total.Added+bar.Added, total.Changed+bar.Changed, total.Gone+bar.Gone
		x, y := left+step*float64(i)+2, middle
		for _, piece := range []struct {
			class string
			n     int
		}{{"c-changed", bar.Changed}, {"c-added", bar.Added}} {
			if piece.n > 0 {
				h := max(float64(piece.n)*scale, 1)
				y -= h
				fmt.Fprintf(&b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, piece.class, x, y, step-4, h)
			}
		}
		if bar.Gone > 0 {
			fmt.Fprintf(&b, `<rect class="c-gone" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`,
				x, middle+1, step-4, max(float64(bar.Gone)*scale, 1))
		}
		if i%max(len(bars)/7, 1) == 0 {
			format := "15:04"
			if part*time.Duration(len(bars)) > 48*time.Hour {
				format = "2 Jan"
			}
			fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`,
				x+step/2, height-6, from.Add(part*time.Duration(i)).UTC().Format(format))
		}
	}
	for _, line := range []struct {
		y float64
		n int
	}{{middle - float64(up)*scale, up}, {middle, 0}, {middle + float64(down)*scale, down}} {
		if line.n > 0 && math.Abs(line.y-middle) < 12 {
			continue // its number would cover the 0
		}
		fmt.Fprintf(&b, `<line class="rule" x1="%.0f" x2="%.0f" y1="%.1f" y2="%.1f"/>`+
			`<text x="%.0f" y="%.1f" text-anchor="end">%s</text>`,
			left, right, line.y, line.y, left-6, line.y+4, number(line.n))
	}
	label := fmt.Sprintf("Changes from %s to %s: %d added, %d changed, %d gone", clock(now, from), clock(now, now),
		total.Added, total.Changed, total.Gone)
	return template.HTML(fmt.Sprintf(`<svg class="chart" viewBox="0 0 %d %d" role="img" aria-label="%s">%s</svg>`,
		width, height, escape(label), b.String())) //nolint:gosec // numbers, and a label that is escaped
}
