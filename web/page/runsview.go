package page

import (
	"cmp"
	"context"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
)

// runsData is what the template of the runs shows.
type runsData struct {
	Summary  string
	Spans    []option
	Show     []option
	Account  string // the filter
	From, To time.Time
	Earlier  string // URLs
	Later    string // "" at the present
	Timeline template.HTML
	Named    int
	Statuses []statusCount
	Rows     []runView
	Count    string
	Next     string // the URL of the runs before these
	Same     sameQuestion
}

type statusCount struct {
	Status statusInfo
	N      int
	URL    string
	On     bool
}

// spans are how much time the time line shows.
var spans = [...]struct {
	name string
	time.Duration
}{{"6h", 6 * time.Hour}, {"1h", time.Hour}, {"24h", 24 * time.Hour}, {"7d", 7 * 24 * time.Hour}}

// shownRuns is how many runs the table shows.
const shownRuns = 100

func (p *Page) runsView(ctx context.Context, r *request) (content, error) {
	if p.o.Store == nil {
		return nothingStored("/runs"), nil
	}
	question, err := r.parse([]query.Parameter{query.Account, query.Status}, p.o.Kinds)
	if err != nil {
		return badQuestion(err, "/runs"), nil
	}
	name := r.oneOf("span", spans[0].name, spans[1].name, spans[2].name, spans[3].name)
	d := runsData{To: r.now, Account: strings.Join(question.Accounts, ", ")}
	if text := r.param("to"); text != "" {
		to, err := inventory.ParseTime(text, r.now)
		switch {
		case err != nil:
			delete(r.known, "to")
		case to.Before(r.now):
			d.To = to
		}
	}
	d.From = d.To.Add(-spanOf(name))
	question.Since, question.Limit = d.From, maxRunsRead
	q, err := question.Runs(ctx, p.o.Store)
	if err != nil {
		return content{}, fmt.Errorf("read sign-ins: %w", err)
	}
	q.Before = cmp.Or(r.param("before"), inventory.FirstRunID(d.To.Add(time.Millisecond)))
	var runs []inventory.Run
	for run, err := range p.o.Store.Runs(ctx, q) {
		if err != nil {
			return content{}, fmt.Errorf("read runs: %w", err)
		}
		runs = append(runs, run)
	}
	d.fill(runs, r, question.Statuses)
	since := name
	if d.To.Before(r.now) {
		since = fullTime(d.From)
	}
	d.Same = same("runs", "runs", []query.Parameter{query.Account, query.Status, query.RunsSince}, r, "since", since)
	return content{template: "runs.html", title: "Runs", tab: "/runs", data: d}, nil
}

func (d *runsData) fill(runs []inventory.Run, r *request, chosen []record.Status) {
	views := make([]runView, len(runs))
	counts := map[record.Status]int{}
	for i, run := range runs {
		views[i] = viewOfRun(run, r.now)
		counts[run.Status]++
	}
	for _, s := range statusTable {
		if n := counts[s.Status]; n > 0 {
			on := slices.Contains(chosen, s.Status)
			value := string(s.Status)
			if on {
				value = ""
			}
			d.Statuses = append(d.Statuses, statusCount{s, n, r.with("status", value, "before", ""), on})
		}
	}
	d.Rows, d.Count = views[:min(len(views), shownRuns)], count(len(views), "run")
	if len(views) == maxRunsRead {
		d.Count = "the last " + d.Count
	}
	if len(views) > shownRuns {
		d.Next = r.with("before", views[shownRuns-1].ID)
	}
	show := r.oneOf("show", "problems", "all")
	d.Show = []option{
		{"Only problems", "problems", r.with("show", ""), show == "problems"},
		{"All", "all", r.with("show", "all"), show == "all"},
	}
	for _, s := range spans {
		address := r.with("span", s.name, "before", "")
		unit := len(s.name) - 1
		words := s.name[:unit] + " " + s.name[unit:]
		d.Spans = append(d.Spans, option{words, s.name, address, d.To.Sub(d.From) == s.Duration})
	}
	slices.SortFunc(d.Spans, func(a, b option) int { return cmp.Compare(spanOf(a.Value), spanOf(b.Value)) })
	d.Earlier = r.with("to", fullTime(d.From), "before", "")
	if later := d.To.Add(d.To.Sub(d.From)); d.To.Before(r.now) {
		d.Later = r.with("to", fullTime(later), "before", "")
		if !later.Before(r.now) {
			d.Later = r.with("to", "", "before", "")
		}
	}
	d.drawTimeline(views, show == "all")
	bad := len(views) - counts[record.Success] - counts[record.RunRunning]
	d.Summary = fmt.Sprintf("%s, %s not a success, %d in progress.",
		count(len(views), "run"), number(bad), counts[record.RunRunning])
}

func spanOf(name string) time.Duration {
	for _, s := range spans {
		if s.name == name {
			return s.Duration
		}
	}
	return 0
}

// A timelineRow is the runs of an account, or of all accounts that are well.
type timelineRow struct {
	name, url string
	runs      []runView
	bad       int
}

const (
	maxTimelineRows = 40
	rowHeight       = 28
	rowTop          = 24
	rowLeft         = 150.0
	rowRight        = 1300.0
)

// drawTimeline draws the accounts that are not all well, the worst first, and the others as one.
func (d *runsData) drawTimeline(views []runView, all bool) {
	byName := map[string]*timelineRow{}
	var rows []*timelineRow
	for _, v := range views {
		l := byName[v.Account.Text]
		if l == nil {
			l = &timelineRow{name: v.Account.Text, url: v.Account.URL}
			byName[l.name] = l
			rows = append(rows, l)
		}
		l.runs = append(l.runs, v)
		if v.Status.Status != record.Success && v.Status.Status != record.RunRunning {
			l.bad++
		}
	}
	slices.SortFunc(rows, func(a, b *timelineRow) int {
		return cmp.Or(cmp.Compare(b.bad, a.bad), cmp.Compare(a.name, b.name))
	})
	named := slices.IndexFunc(rows, func(l *timelineRow) bool { return l.bad == 0 })
	if named < 0 || all || len(rows) <= 10 {
		named = len(rows)
	}
	named = min(named, maxTimelineRows)
	if rest := rows[named:]; len(rest) > 0 {
		folded := &timelineRow{name: "+ " + count(len(rest), "account")}
		for _, l := range rest {
			folded.runs = append(folded.runs, l.runs...)
		}
		rows = append(rows[:named:named], folded)
	}
	d.Named, d.Timeline = named, d.draw(rows)
}

func (d *runsData) x(t time.Time) float64 {
	part := float64(t.Sub(d.From)) / float64(d.To.Sub(d.From))
	return rowLeft + (rowRight-rowLeft)*min(max(part, 0), 1)
}

func (d *runsData) draw(rows []*timelineRow) template.HTML {
	height := rowTop + rowHeight*max(len(rows), 1) + 24
	bottom := height - 22
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="timeline" viewBox="0 0 1320 %d" role="group" aria-label="%s">`, height,
		escape(fmt.Sprintf("Runs from %s to %s", d.From.UTC().Format("2 Jan 15:04"), d.To.UTC().Format("2 Jan 15:04"))))
	step := d.To.Sub(d.From) / 6
	format := "15:04"
	if step >= 24*time.Hour {
		format = "2 Jan 15:04"
	}
	for i := range 7 {
		t := d.From.Add(step * time.Duration(i))
		fmt.Fprintf(&b, `<line class="rule" x1="%.1f" x2="%.1f" y1="20" y2="%d"/>`+
			`<text x="%.1f" y="%d" text-anchor="middle">%s</text>`,
			d.x(t), d.x(t), bottom, d.x(t), height-6, t.UTC().Format(format))
	}
	for i, l := range rows {
		d.drawRow(&b, l, rowTop+rowHeight*i)
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // escaped where it is text from outside
}

// drawRow draws a path for all runs of a status that are well, and a link for each that was not.
func (d *runsData) drawRow(b *strings.Builder, l *timelineRow, y int) {
	name := fmt.Sprintf(`<text class="name" x="8" y="%d">%s</text>`, y+15, escape(shorten(l.name, 20)))
	if l.url != "" {
		name = fmt.Sprintf(`<a href="%s">%s</a>`, escape(l.url), name)
	}
	fmt.Fprintf(b, `%s<line class="rule" x1="0" x2="1310" y1="%d" y2="%d"/>`, name, y+rowHeight-4, y+rowHeight-4)
	var calm, links strings.Builder
	for _, v := range l.runs {
		x := d.x(v.Began)
		width := max(d.x(v.Began.Add(v.Took))-x, 3)
		switch {
		case v.Missed != "":
			fmt.Fprintf(&links, `<rect class="r-missed" x="%.1f" y="%d" width="11" height="12"/>`+
				`<text class="missed-label" x="%.1f" y="%d">%s</text>`, x, y+4, x+5.5, y+13, v.letter)
		case v.Status.Status == record.Success:
			fmt.Fprintf(&calm, "M%.1f %dh%.1fv14h-%.1fz", x, y+3, width, width)
		default:
			label := escape(l.name + ": " + v.Status.Words + " at " + v.Began.UTC().Format("15:04") + ", " + span(v.Took) +
				". " + shorten(v.Why, 120))
			fmt.Fprintf(&links, `<a href="%s"><title>%s</title>`+
				`<rect class="%s" x="%.1f" y="%d" width="%.1f" height="14"/>`,
				escape(runURL(v.ID)), label, v.Status.Class, x, y+3, width)
			if v.Status.Tone == toneWait { // told apart by its shape, too
				fmt.Fprintf(&links, `<rect class="r-cut" x="%.1f" y="%d" width="%.1f" height="2"/>`, x, y+9, width)
			}
			if v.Status.Tone == toneAct {
				fmt.Fprintf(&links, `<rect class="r-cut" x="%.1f" y="%d" width="%.1f" height="6"/>`, x+1, y+7, max(width-2, 1))
			}
			links.WriteString("</a>")
		}
	}
	if calm.Len() > 0 {
		fmt.Fprintf(b, `<path class="r-success" d="%s"/>`, calm.String())
	}
	b.WriteString(links.String())
}

// runData is what the template of one run shows.
type runData struct {
	runView
	Tick, Started, Ended time.Time
	States               []stateNumber
	Causes               []causeView
	Replica, Version     string
	Same                 sameQuestion
}

type stateNumber struct {
	State stateInfo
	N     int
}

func (p *Page) runView(ctx context.Context, r *request) (content, error) {
	if p.o.Store == nil {
		return nothingStored("/runs"), nil
	}
	id := r.PathValue("run")
	for run, err := range p.o.Store.Runs(ctx, inventory.RunQuery{IDs: []string{id}, Limit: 1}) {
		if err != nil {
			return content{}, fmt.Errorf("read a run: %w", err)
		}
		return viewRun(run, r.now), nil
	}
	if p.o.Acts != nil {
		if waiting, ok := p.o.Acts.Waiting(id); ok {
			return viewRun(waiting, r.now), nil
		}
	}
	m := message{Heading: "No run has this id", Text: "Runs are kept for store.keep_runs.",
		Back: link{Text: "Runs", URL: "/runs"}}
	return content{template: "message.html", title: "No such run", tab: "/runs", status: http.StatusNotFound, data: m}, nil
}

func viewRun(run inventory.Run, now time.Time) content {
	d := runData{
		runView: viewOfRun(run, now), Tick: run.Tick, Started: run.Started, Ended: run.Ended,
		Replica: run.Process.Replica, Version: run.Process.Version,
		Same: sameQuestion{"collector runs " + quoted(run.ID), "/api/v1/runs/" + url.PathEscape(run.ID)},
	}
	for _, s := range stateTable {
		if n := run.Targets[s.state]; n > 0 {
			d.States = append(d.States, stateNumber{s, n})
		}
	}
	for _, c := range run.Causes {
		d.Causes = append(d.Causes, causeView{
			State: infoOf(c.State), Title: causeTitle(c.State, c.Reason), Hint: c.Hint, Error: c.Error,
			Tried: strings.TrimSpace(c.Region + " " + kindName(c.Kind)), Effect: count(c.Targets, "listing") + ".",
			OfRun: true,
		})
	}
	return content{template: "run.html", title: "Run of " + run.Account, tab: "/runs", data: d}
}
