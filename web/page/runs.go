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
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
)

// A statusInfo is how the page shows the status of a run.
type statusInfo struct {
	Status record.Status
	Words  string
	Tone   tone
	Glyph  record.State
	Class  string // of its bar
}

// Code returns the state whose shape the status has.
func (s statusInfo) Code() string { return string(s.Glyph) }

var statusTable = []statusInfo{
	{record.Success, "Success", toneOK, record.OK, "r-success"},
	{record.RunPartial, "Partial", toneWait, record.Partial, "r-partial"},
	{record.RunFailed, "Failed", toneAct, record.AuthFailed, "r-failed"},
	{record.RunTimeout, "Timed out", toneAct, record.Timeout, "r-timeout"},
	{record.RunSkipped, "Missed", toneIdle, record.Skipped, "r-missed"},
	{record.RunExpired, "Expired", toneIdle, record.Skipped, "r-missed"},
	{record.RunRunning, "In progress", toneIdle, query.NeverListed, "r-running"},
	{record.RunInterrupted, "Interrupted", toneWait, record.Error, "r-partial"},
}

func statusOf(s record.Status) statusInfo {
	for _, info := range statusTable {
		if info.Status == s {
			return info
		}
	}
	return statusInfo{s, string(s), toneIdle, query.NeverListed, "r-missed"}
}

// missedWords say why a run did not begin; the letter is its sign in a time line.
var missedWords = map[string]struct{ letter, words string }{
	runner.MissedOverlap:   {"o", "an earlier run was still in progress"},
	runner.MissedDowntime:  {"d", "the collector was not running"},
	runner.MissedSuspended: {"s", "the machine slept"},
	runner.MissedDrain:     {"r", "the collector was stopping"},
	runner.MissedPaused:    {"p", "the account was paused"},
	runner.MissedCancelled: {"c", "a person cancelled it"},
}

// missedLegend explains the letters of a time line.
func missedLegend() (legend []pair) {
	for _, m := range missedWords {
		legend = append(legend, pair{m.letter, m.words})
	}
	slices.SortFunc(legend, func(a, b pair) int { return cmp.Compare(a.Name, b.Name) })
	for i := range legend[:len(legend)-1] {
		legend[i].Value += ","
	}
	return legend
}

// A runView is a run as the templates show it.
type runView struct {
	ID               string
	Account          link
	Began            time.Time // its tick, if it did not begin
	Took             time.Duration
	Status           statusInfo
	Listings, Failed int
	Records, Calls   int
	Throttles        int
	Missed           string // why it did not begin
	letter           string
	Ticks            int
	Why              string
}

// URL is the page of the run.
func (v runView) URL() string { return runURL(v.ID) }

func viewOfInfo(i board.RunInfo) runView {
	return runView{
		ID: i.Run, Began: i.Started, Took: i.Took, Status: statusOf(cmp.Or(i.Status, record.RunRunning)),
		Listings: i.Targets, Failed: i.Failed, Records: i.Records, Calls: i.Calls, Throttles: i.Throttles,
	}
}

func viewOfRun(r inventory.Run, now time.Time) runView {
	v := runView{
		ID: r.ID, Account: link{Text: r.Account, URL: accountURL(r.Account)}, Began: r.Started, Took: r.Took(),
		Status: statusOf(r.Status), Failed: r.Failed, Records: r.Records, Calls: r.Calls, Throttles: r.Throttles,
		Ticks: r.Ticks,
	}
	for _, n := range r.Targets {
		v.Listings += n
	}
	if v.Began.IsZero() {
		v.Began = r.Tick
	}
	if r.Status == record.RunRunning && !r.Started.IsZero() {
		v.Took = now.Sub(r.Started)
	}
	if r.Missed != "" {
		words := missedWords[r.Missed]
		v.letter, v.Missed, v.Why = cmp.Or(words.letter, "?"), r.Missed, cmp.Or(words.words, r.Missed)
		v.Status.Words = "Missed"
		if r.Ticks > 1 {
			v.Why = number(r.Ticks) + " ticks: " + v.Why
		}
	} else if len(r.Causes) > 0 {
		c := r.Causes[0]
		v.Why = causeTitle(c.State, c.Reason)
		if where := strings.TrimSpace(c.Region + " " + kindName(c.Kind)); where != "" {
			v.Why += ", " + where
		}
		if len(r.Causes) > 1 {
			v.Why += ", and " + count(len(r.Causes)-1, "other cause")
		}
	}
	return v
}

// maxRunsRead bounds what a view reads of the store.
const maxRunsRead = 5000

// runsSince reads runs, the latest first: of one account, if it is not "".
func (p *Page) runsSince(ctx context.Context, since time.Time, account string) ([]inventory.Run, error) {
	q := inventory.RunQuery{Since: since, Limit: maxRunsRead}
	if account != "" {
		q.Accounts = []string{account}
	}
	var runs []inventory.Run
	for r, err := range p.o.Store.Runs(ctx, q) {
		if err != nil {
			return nil, fmt.Errorf("read runs: %w", err)
		}
		if account == "" || r.Account == account { // a name may be a glob of others
			runs = append(runs, r)
		}
	}
	return runs, nil
}

// A runHistory is the runs of an account in a day.
type runHistory struct {
	Chart  template.HTML
	Latest []runView
	Count  string
}

const (
	latestRuns  = 12
	chartLeft   = 44.0
	chartRight  = 980.0
	chartTop    = 16.0
	chartBottom = 112.0
)

func newRunHistory(runs []inventory.Run, now time.Time) *runHistory {
	h := &runHistory{}
	views := make([]runView, 0, len(runs))
	missed := 0
	for _, r := range runs {
		v := viewOfRun(r, now)
		if views = append(views, v); v.Missed != "" {
			missed += max(v.Ticks, 1)
		}
	}
	h.Latest = views[:min(len(views), latestRuns)]
	h.Count = count(len(runs)-missedRows(views), "run")
	if missed > 0 {
		h.Count += ", " + number(missed) + " missed"
	}
	h.Chart = durationChart(views, now)
	return h
}

func missedRows(views []runView) (n int) {
	for _, v := range views {
		if v.Missed != "" {
			n++
		}
	}
	return n
}

// durationChart draws a bar for each run of a day: its height is how long it took, its colour how it ended.
func durationChart(views []runView, now time.Time) template.HTML {
	longest := time.Second
	for _, v := range views {
		longest = max(longest, v.Took)
	}
	top := roundUp(longest)
	x := func(t time.Time) float64 {
		return chartRight - (chartRight-chartLeft)*float64(now.Sub(t))/float64(24*time.Hour)
	}
	var b strings.Builder
	counts := map[string]int{}
	for i := range 3 {
		y := chartBottom - (chartBottom-chartTop)*float64(i)/2
		fmt.Fprintf(&b, `<line class="rule" x1="%.0f" x2="%.0f" y1="%.1f" y2="%.1f"/>`, chartLeft, chartRight, y, y)
		if i > 0 {
			fmt.Fprintf(&b, `<text x="%.0f" y="%.1f" text-anchor="end">%s</text>`,
				chartLeft-5, y+4, span(top*time.Duration(i)/2))
		}
	}
	for i := range 9 {
		t := now.Add(-time.Duration(24-3*i) * time.Hour)
		fmt.Fprintf(&b, `<text x="%.1f" y="130" text-anchor="middle">%s</text>`, x(t), t.UTC().Format("15:04"))
	}
	width := min(max((chartRight-chartLeft)/float64(max(len(views), 1))-2, 1), 7)
	for _, v := range views {
		counts[strings.ToLower(v.Status.Words)]++
		at := x(v.Began)
		if v.Missed != "" {
			fmt.Fprintf(&b, `<rect class="r-missed" x="%.1f" y="98" width="8" height="14"/><text class="missed-label" x="%.1f" `+
				`y="108">%s</text>`, at, at+4, v.letter)
			continue
		}
		height := max((chartBottom-chartTop)*float64(v.Took)/float64(top), 2)
		fmt.Fprintf(&b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`,
			v.Status.Class, at, chartBottom-height, width, height)
	}
	var words []string
	for _, s := range statusTable {
		if n := counts[strings.ToLower(s.Words)]; n > 0 {
			words = append(words, number(n)+" "+strings.ToLower(s.Words))
			delete(counts, strings.ToLower(s.Words))
		}
	}
	label := "Runs of the last 24 hours: " + cmp.Or(strings.Join(words, ", "), "none")
	return template.HTML(`<svg class="timeline" viewBox="0 0 1000 136" role="img" aria-label="` + escape(label) + `">` +
		b.String() + "</svg>") //nolint:gosec // numbers, words of this file, and a label that is escaped
}

// roundUp returns a round duration that is at least d, for the top of an axis.
func roundUp(d time.Duration) time.Duration {
	for _, step := range []time.Duration{
		2 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
		10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour,
	} {
		if d <= step {
			return step
		}
	}
	return d
}
