package page

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner/board"
)

// coverageData is what the template of the coverage page shows.
type coverageData struct {
	Heading, Summary string
	Configured       int
	Healths          []healthCount
	Resources        int
	Unconfirmed      int
	Changes          *changeCounts // nil: no store
	Calls, Throttles int
	Next             time.Time
	Causes           []causeView
	MoreCauses       string // the URL of the whole list; "" if all are shown
	NoCauses         string // what to say if there is no cause
	Running          []listingView
	MoreRunning      int
	Ending           []endingView
	Organizations    []string // whose members could not be listed
	Matrix           matrix
	Show             []option
	Groups           []option
	Account          string // the filter
	Shown            string // "19 accounts, 19 regions, 12 kinds"
}

type healthCount struct {
	Name, Words string
	N           int
	State       stateInfo
	URL         string
	X, Width    float64 // in the bar, of 100
	Tone        tone
}

type option struct {
	Words, Value, URL string
	Current           bool
}

type listingView struct {
	Account link
	What    string
	Took    time.Duration
}

// An endingView is an MFA session that nothing renews.
type endingView struct {
	Account link
	Ends    time.Time
}

const (
	maxCauses  = 6
	maxRunning = 6
	endsWithin = 12 * time.Hour
)

func (p *Page) coverageView(ctx context.Context, r *request) (content, error) {
	all, err := p.coverage(ctx, r.now)
	if err != nil {
		return content{}, err
	}
	globs := r.params("account")
	accounts := all.accounts
	if len(globs) > 0 {
		accounts = slices.DeleteFunc(slices.Clone(accounts), func(a *account) bool { return !a.matches(globs) })
	}
	f := matrixFilter{
		show: r.oneOf("show", "problems", "only", "all", string(needsYou), string(retrying), string(acknowledged),
			string(overdue), string(neverListed), string(healthy), "causes"),
		after: r.param("after"),
	}
	f.group = p.grouping(r, accounts)
	d := coverageData{
		Configured: len(all.accounts), Account: strings.Join(globs, ", "), Healths: healthCounts(all, r),
		Running: runningNow(all.listings), MoreRunning: max(len(all.listings)-maxRunning, 0),
		Ending: ending(all), Organizations: notListed(all.organizations),
		Shown: count(len(accounts), "account") + ", " + count(len(columns(accounts)), "region") + ", " +
			count(all.kinds, "kind"),
	}
	d.addFigures(all)
	d.addCauses(all, f.show == "causes", p.mayAct(r), r)
	d.Heading, d.Summary = headline(all)
	if p.o.Store != nil {
		d.Changes = p.changesIn24h(ctx, r.now)
	}
	if f.show == "causes" {
		f.show = "problems"
	}
	d.Matrix = all.matrix(accounts, f, func(f matrixFilter) string {
		return r.with("show", f.show, "group", f.group, "after", f.after)
	})
	for _, s := range []option{{"Problems first", "problems", "", false}, {"Only problems", "only", "", false},
		{"All", "all", "", false}} {
		s.URL, s.Current = r.with("show", s.Value, "after", ""), s.Value == f.show
		d.Show = append(d.Show, s)
	}
	d.Groups = p.groupOptions(f.group)
	return content{template: "coverage.html", title: windowTitle(all), tab: "/", data: d}, nil
}

// grouping is how the matrix is grouped: as the URL says, else by the first tag of web.label_tags that makes fewer
// groups than accounts, else by partition if there are several.
func (p *Page) grouping(r *request, accounts []*account) string {
	var values []string
	for _, tag := range p.o.GroupBy {
		values = append(values, "tag:"+tag)
	}
	values = append(values, "partition", "none")
	if slices.Contains(values, r.param("group")) {
		return r.param("group")
	}
	if r.param("group") != "" {
		delete(r.known, "group")
	}
	for _, v := range values {
		groups := map[string]bool{}
		for _, a := range accounts {
			groups[groupName(a, v)] = true
		}
		if len(groups) > 1 && len(groups) <= len(accounts)/2 {
			return v
		}
	}
	return "none"
}

func (p *Page) groupOptions(current string) []option {
	var all []option
	for _, tag := range p.o.GroupBy {
		all = append(all, option{Words: "tag: " + tag, Value: "tag:" + tag})
	}
	all = append(all, option{Words: "partition", Value: "partition"}, option{Words: "none", Value: "none"})
	for i := range all {
		all[i].Current = all[i].Value == current
	}
	return all
}

// headline is the answer: is every account collected?
func headline(c *coverage) (heading, summary string) {
	n, all := c.counts(), len(c.accounts)
	var rest []string
	add := func(h health, one, many string) {
		switch {
		case n[h] == 1:
			rest = append(rest, "1 "+one)
		case n[h] > 1:
			rest = append(rest, number(n[h])+" "+many)
		}
	}
	add(retrying, "tries again by itself", "try again by themselves")
	add(acknowledged, "has only failures that are acknowledged", "have only failures that are acknowledged")
	add(overdue, "is overdue by its own schedule", "are overdue by their own schedules")
	add(neverListed, "is not listed yet", "are not listed yet")
	switch {
	case all == 0:
		return "No account is configured", "Add one to the configuration file: accounts: [{name: here}]."
	case n[needsYou] == 1:
		heading = "1 of " + count(all, "account") + " is not collected in full and needs you"
	case n[needsYou] > 1:
		heading = number(n[needsYou]) + " of " + count(all, "account") + " are not collected in full and need you"
	case n[neverListed] == all:
		return "Nothing has been collected yet", count(all, "account") + " configured."
	case n[retrying] > 0:
		heading = "Nothing needs you; " + count(n[retrying], "account") + " will be tried again"
	case n[acknowledged] > 0:
		heading = "Nothing needs you; what fails is acknowledged"
	case len(rest) > 0:
		heading = "No listing fails"
	default:
		return "Every account is collected in full", "All " + count(all, "account") + " were listed completely in time."
	}
	if len(rest) > 0 {
		summary = "Also: " + strings.Join(rest, ", ") + ". "
	}
	switch n[healthy] {
	case 0:
	case 1:
		summary += "The other one was listed completely in time."
	default:
		summary += "The other " + number(n[healthy]) + " were listed completely in time."
	}
	return heading, summary
}

func windowTitle(c *coverage) string {
	if n := c.counts()[needsYou]; n > 0 {
		return "(" + number(n) + ") Coverage"
	}
	return "Coverage"
}

func healthCounts(c *coverage, r *request) []healthCount {
	counts := c.counts()
	all := []healthCount{
		{Name: string(healthy), Words: "healthy", State: infoOf(record.OK), Tone: toneOK},
		{Name: string(needsYou), Words: "need you", State: infoOf(record.AuthFailed), Tone: toneAct},
		{Name: string(retrying), Words: "retrying", State: infoOf(record.Throttled), Tone: toneWait},
		{Name: string(acknowledged), Words: "acknowledged", State: infoOf(record.Skipped), Tone: toneIdle},
		{Name: string(overdue), Words: "overdue", State: infoOf(record.Skipped), Tone: toneIdle},
		{Name: string(neverListed), Words: "not listed yet", State: infoOf(query.NeverListed), Tone: toneIdle},
	}
	x := 0.0
	for i := range all {
		h := &all[i]
		h.N = counts[health(h.Name)]
		h.URL = r.with("show", h.Name, "after", "")
		h.X, h.Width = x, 100*float64(h.N)/float64(max(len(c.accounts), 1))
		x += h.Width
	}
	return slices.DeleteFunc(all, func(h healthCount) bool { return h.N == 0 })
}

func (d *coverageData) addFigures(c *coverage) {
	for _, a := range c.accounts {
		d.Resources += a.resources
		d.Unconfirmed += a.unconfirmed
		d.Calls += a.Last.Calls
		d.Throttles += a.Last.Throttles
		if d.Next.IsZero() || !a.Next.IsZero() && a.Next.Before(d.Next) {
			d.Next = a.Next
		}
	}
}

func (d *coverageData) addCauses(c *coverage, all, acts bool, r *request) {
	shown := c.causes
	if !all && len(shown) > maxCauses {
		shown, d.MoreCauses = shown[:maxCauses], r.with("show", "causes", "after", "")
	}
	for _, cause := range shown {
		v := cause.view(c.now)
		if acts && cause.Reason == record.MFANeeded && len(v.Accounts) > 0 {
			v.EnterCode = v.Accounts[0].URL + "#code"
		}
		d.Causes = append(d.Causes, v)
	}
	n := c.counts()
	switch {
	case len(c.accounts) == 0:
		d.NoCauses = "No account is configured."
	case n[neverListed] == len(c.accounts):
		d.NoCauses = "No listing has ended yet."
	case n[overdue] > 0:
		d.NoCauses = "No listing fails. Overdue by their own schedules: " + count(n[overdue], "account") + "."
	case n[neverListed] > 0:
		d.NoCauses = "No listing fails. Not listed yet: " + count(n[neverListed], "account") + "."
	default:
		d.NoCauses = "Every account was listed completely."
	}
}

// CauseCount says how many causes there are, and in how many accounts.
func (d coverageData) CauseCount() string {
	if d.MoreCauses != "" {
		return "the first " + count(len(d.Causes), "cause")
	}
	return count(len(d.Causes), "cause")
}

func runningNow(listings []board.Listing) []listingView {
	var views []listingView
	for _, l := range listings[:min(len(listings), maxRunning)] {
		views = append(views, listingView{
			Account: link{Text: l.Account, URL: accountURL(l.Account)},
			What:    l.Region + " " + kindName(l.Kind) + ", " + number(l.Records) + " so far",
			Took:    time.Since(l.Started),
		})
	}
	return views
}

// ending returns the sessions that end within hours and that nothing renews: they will need a person.
func ending(c *coverage) []endingView {
	var views []endingView
	for _, a := range c.accounts {
		if !a.Expires.IsZero() && a.Expires.Before(c.now.Add(endsWithin)) {
			views = append(views, endingView{link{Text: a.Name, URL: accountURL(a.Name)}, a.Expires})
		}
	}
	slices.SortFunc(views, func(x, y endingView) int {
		return cmp.Or(x.Ends.Compare(y.Ends), cmp.Compare(x.Account.Text, y.Account.Text))
	})
	return views
}

// notListed returns the organizations whose last run failed. They have no row in the matrix.
func notListed(organizations []board.AccountInfo) []string {
	var names []string
	for _, o := range organizations {
		if o.Last.Run != "" && o.Last.Status != record.Success {
			names = append(names, o.Name)
		}
	}
	return names
}
