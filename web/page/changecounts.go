package page

import (
	"cmp"
	"context"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/inventory"
)

// changeCounts are the numbers of changes of some time, by kind, account and part of that time.
type changeCounts struct {
	opCounts
	Kinds    []namedCounts // most changes first
	Accounts []namedCounts
	Bars     []opCounts // by part of the time, oldest first
	More     bool       // there are more changes than were counted
	Failed   string     // why there are no numbers
}

type opCounts struct{ Added, Changed, Gone int }

type namedCounts struct {
	Name string
	opCounts
}

// Total is the number of changes.
func (c opCounts) Total() int { return c.Added + c.Changed + c.Gone }

func (c *opCounts) add(op string) {
	switch op {
	case inventory.WasAdded:
		c.Added++
	case inventory.WasChanged:
		c.Changed++
	case inventory.WasGone:
		c.Gone++
	}
}

// maxCounted bounds what one view reads; countTimeout bounds the wait for it.
const (
	maxCounted   = 20_000
	countTimeout = 3 * time.Second
)

// A changeCounter counts changes as they are read, oldest first.
type changeCounter struct {
	counts          changeCounts
	kinds, accounts map[string]*opCounts
	from            time.Time
	part            time.Duration
}

func newChangeCounter(from time.Time, part time.Duration, parts int) *changeCounter {
	return &changeCounter{
		counts: changeCounts{Bars: make([]opCounts, parts)}, kinds: map[string]*opCounts{}, accounts: map[string]*opCounts{},
		from: from, part: part,
	}
}

func (n *changeCounter) add(c inventory.Change) {
	r := c.Resource()
	n.counts.add(c.Op)
	countIn(n.kinds, r.Kind, c.Op)
	countIn(n.accounts, r.Account, c.Op)
	i := int(c.At.Sub(n.from) / n.part)
	n.counts.Bars[min(max(i, 0), len(n.counts.Bars)-1)].add(c.Op)
}

func countIn(m map[string]*opCounts, name, op string) {
	if m[name] == nil {
		m[name] = new(opCounts)
	}
	m[name].add(op)
}

func (n *changeCounter) done() *changeCounts {
	n.counts.Kinds, n.counts.Accounts = byTotal(n.kinds), byTotal(n.accounts)
	return &n.counts
}

func byTotal(m map[string]*opCounts) []namedCounts {
	var all []namedCounts
	for name, c := range m {
		all = append(all, namedCounts{name, *c})
	}
	slices.SortFunc(all, func(a, b namedCounts) int {
		return cmp.Or(cmp.Compare(b.Total(), a.Total()), cmp.Compare(a.Name, b.Name))
	})
	return slices.Clip(all)
}

// changesIn24h counts the changes of the last day, for the figures of the coverage page.
func (p *Page) changesIn24h(ctx context.Context, now time.Time) *changeCounts {
	counts, _ := p.changes24.get(now, changesTTL, func() (*changeCounts, error) { // an error is counted, too
		// Others wait for the same numbers, so the end of this request does not stop the count.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), countTimeout)
		defer cancel()
		n := newChangeCounter(now.Add(-24*time.Hour), time.Hour, 24)
		for c, err := range p.o.Store.Changes(ctx, inventory.Query{}, n.from) {
			if err != nil {
				return &changeCounts{Failed: err.Error()}, nil
			}
			if n.counts.Total() == maxCounted {
				n.counts.More = true
				break
			}
			n.add(c)
		}
		return n.done(), nil
	})
	return counts
}

// Top returns the kinds with most changes, and the rest as one.
func (c *changeCounts) Top(most int) []namedCounts {
	if len(c.Kinds) <= most {
		return c.Kinds
	}
	rest := namedCounts{Name: count(len(c.Kinds)-most+1, "more kind")}
	for _, k := range c.Kinds[most-1:] {
		rest.Added, rest.Changed, rest.Gone = rest.Added+k.Added, rest.Changed+k.Changed, rest.Gone+k.Gone
	}
	return append(slices.Clone(c.Kinds[:most-1]), rest)
}

// Spark draws the bars as a line of small columns.
func (c *changeCounts) Spark() template.HTML {
	most := 1
	for _, bar := range c.Bars {
		most = max(most, bar.Total())
	}
	var b strings.Builder
	width := 100 / float64(max(len(c.Bars), 1))
	for i, bar := range c.Bars {
		if n := bar.Total(); n > 0 {
			height := max(22*float64(n)/float64(most), 1)
			fmt.Fprintf(&b, "M%.1f 24v-%.1fh%.1fV24z", float64(i)*width, height, 0.72*width)
		}
	}
	//nolint:gosec // numbers only
	return template.HTML(`<svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">` +
		`<path d="` + b.String() + `"/></svg>`)
}

// TopAccounts returns the accounts with most changes.
func (c *changeCounts) TopAccounts(most int) []namedCounts {
	return c.Accounts[:min(len(c.Accounts), most)]
}
