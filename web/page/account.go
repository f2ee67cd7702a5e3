package page

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
)

// accountData is what the template of an account shows.
type accountData struct {
	Name, ID, Partition string
	Tags                []string
	Health              stateInfo
	Notice              string // what fails, in one sentence; "" if nothing does
	Expires             time.Time
	Warning             string
	Steps               []signInStep
	SignIn              *inventory.SignIn // nil: not known
	Causes              []causeView
	Region              string // the filter of the causes
	AllCauses           string // the URL without the filter
	Schedules           []scheduleView
	Next                time.Time
	Overlap             string
	Running             []runView
	Last                *runView
	Missed              []missedCount
	Undelivered         []missedCount
	Runs                *runHistory // nil: no store
	Kinds               kindTable
	Paused              *runner.Directive
	Acts                *actsData // nil: this client may not act
	Said                string    // what was just done
}

// A signInStep is one step of the path to the account's credentials.
type signInStep struct{ Name, Value string }

type scheduleView struct{ Spec, Kinds string }

type missedCount struct {
	Name string
	N    int
}

func (p *Page) accountView(ctx context.Context, r *request) (content, error) {
	name := r.PathValue("name")
	all, err := p.coverage(ctx, r.now)
	if err != nil {
		return content{}, err
	}
	a := all.account(name)
	if a == nil {
		return content{template: "message.html", title: "No such account", status: http.StatusNotFound, data: message{
			Heading: "No account has the name " + shorten(name, 80),
			Text:    "The configuration does not name it, or named it otherwise before.", Back: link{Text: "Coverage", URL: "/"},
		}}, nil
	}
	d := accountData{
		Name: name, ID: a.Identity.AccountID, Partition: a.Identity.Partition, Expires: a.Expires, Next: a.Next,
		Region: r.param("region"),
	}
	d.Paused, d.Said = a.Paused, r.said()
	if d.Paused != nil && r.values.Get("done") == "pause" {
		d.Said = "" // the notice of the pause says it, and who
	}
	d.AllCauses = r.with("region", "", "done", "")
	for _, key := range slices.Sorted(maps.Keys(a.tags)) {
		d.Tags = append(d.Tags, key+"="+a.tags[key])
	}
	if a.Warning != nil {
		d.Warning = a.Warning.Error()
	}
	d.Notice, d.Health = a.notice(), infoOf(record.OK)
	if a.worst != nil && a.failed > 0 || a.health == neverListed {
		d.Health = infoOf(query.NeverListed)
		if a.worst != nil {
			d.Health = infoOf(a.worst.state)
		}
	}
	d.addSchedule(p.o.Accounts().Configuration, name)
	targets := slices.Collect(p.o.Board.TargetsOf(name))
	d.Acts = p.acts(r, a, targets)
	d.addTargets(targets, a, all.now)
	d.Missed, d.Undelivered = sortedCounts(a.Missed), sortedCounts(a.Undelivered)
	for _, run := range a.AccountInfo.Running {
		d.Running = append(d.Running, viewOfInfo(run))
	}
	if a.Last.Run != "" {
		last := viewOfInfo(a.Last)
		d.Last = &last
	}
	if err := p.addStored(ctx, &d, r.now); err != nil {
		return content{}, err
	}
	return content{template: "account.html", title: shorten(name, 80), tab: "/", data: d}, nil
}

// notice says how many listings fail.
func (a *account) notice() string {
	if a.failed == 0 {
		return ""
	}
	text := fmt.Sprintf("%s of %s fail.", number(a.failed), count(a.listings, "listing"))
	if a.unconfirmed > 0 {
		text += fmt.Sprintf(" %s of %s are not confirmed: they are shown as last seen.",
			number(a.unconfirmed), count(a.resources, "resource"))
	}
	return text
}

func (d *accountData) addSchedule(conf *runner.Configuration, name string) {
	if conf == nil {
		return
	}
	a := conf.Account(name)
	if a == nil {
		return
	}
	for _, t := range a.Ticks {
		var kinds []string
		for _, k := range t.Kinds {
			kinds = append(kinds, kindName(k))
		}
		s := scheduleView{t.Spec, list(kinds, 3, "kind")}
		d.Schedules = append(d.Schedules, s)
	}
	d.Overlap = map[runner.Overlap]string{
		runner.Skip: "the later one is skipped", runner.Queue: "the later one waits",
		runner.Cancel: "the earlier one is cancelled",
	}[cmp.Or(a.Overlap, runner.Skip)]
}

func (d *accountData) addTargets(targets []board.TargetInfo, a *account, now time.Time) {
	causes := newCauses()
	d.Kinds = newKindTable(a)
	for _, t := range targets {
		d.Kinds.add(t)
		if t.Failed() && (d.Region == "" || d.Region == t.Region) {
			causes.add(t)
		}
	}
	d.Kinds.done(a, now)
	for _, c := range causes.sorted() {
		v := c.view(now)
		v.Accounts = nil // it is this one
		if d.Acts != nil && v.Known == nil && c.Reason != "" {
			v.Acknowledge = &acknowledgeForm{URL: d.Acts.URL + "/acknowledge", ID: len(d.Causes), Reason: c.Reason}
			if len(c.kinds) == 1 {
				v.Acknowledge.Kind = c.Kind
			}
			if len(c.regions) == 1 {
				v.Acknowledge.Region = c.Region
			}
		}
		d.Causes = append(d.Causes, v)
	}
}

func sortedCounts(m map[string]int) []missedCount {
	var all []missedCount
	for _, name := range slices.Sorted(maps.Keys(m)) {
		all = append(all, missedCount{name, m[name]})
	}
	return all
}

// addStored adds the sign-in and the runs.
func (p *Page) addStored(ctx context.Context, d *accountData, now time.Time) error {
	if p.o.Store == nil {
		return nil
	}
	for s, err := range p.o.Store.SignIns(ctx) {
		if err != nil {
			return fmt.Errorf("read the sign-in of the account: %w", err)
		}
		if s.Account == d.Name {
			d.SignIn, d.Steps = &s, signInSteps(s)
		}
	}
	runs, err := p.runsSince(ctx, now.Add(-24*time.Hour), d.Name)
	if err != nil {
		return err
	}
	d.Runs = newRunHistory(runs, now)
	return nil
}

// signInSteps splits the path as the log has it: steps with an arrow between them.
func signInSteps(s inventory.SignIn) []signInStep {
	var steps []signInStep
	for part := range strings.SplitSeq(s.Path, " → ") {
		switch word, value, _ := strings.Cut(part, " "); {
		case part == "":
		case word == "ak":
			steps = append(steps, signInStep{"Key", value})
		case word == "mfa":
			steps = append(steps, signInStep{"MFA session", value})
		case word == "role":
			steps = append(steps, signInStep{"Role", value})
		default:
			steps = append(steps, signInStep{"Source", part})
		}
	}
	if s.ARN != "" {
		steps = append(steps, signInStep{"Identity", s.ARN})
	}
	return steps
}

// A kindTable has the resources of each kind and region of an account.
type kindTable struct {
	Regions []regionHead
	Rows    []kindRow
	rows    map[string]map[string]board.TargetInfo // by kind and region
}

type regionHead struct{ Name, Area, Rest string }

// compass shortens the part of a region's name after its area: northeast-1 is ne1.
var compass = strings.NewReplacer("north", "n", "south", "s", "east", "e", "west", "w", "central", "c", "-", "")

type kindRow struct {
	Kind      string
	Resources int
	Cells     []kindCell
	Oldest    time.Time // complete listing
	Failing   bool
}

type kindCell struct {
	Known     bool // a listing has ended
	Resources int
	State     stateInfo
	Title     string
	Shown     bool // the state: it is not complete
}

func newKindTable(a *account) kindTable {
	t := kindTable{rows: map[string]map[string]board.TargetInfo{}}
	for _, k := range a.AccountInfo.Kinds {
		t.rows[k] = map[string]board.TargetInfo{}
	}
	return t
}

func (t *kindTable) add(target board.TargetInfo) {
	if t.rows[target.Kind] == nil {
		t.rows[target.Kind] = map[string]board.TargetInfo{}
	}
	t.rows[target.Kind][target.Region] = target
}

// done makes the rows: kinds that fail first, then those with most resources.
func (t *kindTable) done(a *account, now time.Time) {
	regions := columns([]*account{a})
	for _, r := range regions {
		area, rest, _ := strings.Cut(r, "-")
		t.Regions = append(t.Regions, regionHead{r, area + "-", compass.Replace(rest)})
	}
	for kind, targets := range t.rows {
		row := kindRow{Kind: kind}
		for _, region := range regions {
			target, ok := targets[region]
			cell := kindCell{Known: ok}
			if ok {
				cell.State, cell.Resources = infoOf(shownOutcome(&target.Outcome)), target.Resources
				cell.Shown = cell.State.state != record.OK
				cell.Title = region + ": " + cell.State.words
				row.Resources += target.Resources
				row.Failing = row.Failing || target.Failed()
				if at := target.LastSuccess; !at.IsZero() && (row.Oldest.IsZero() || at.Before(row.Oldest)) {
					row.Oldest = at
				}
			}
			row.Cells = append(row.Cells, cell)
		}
		t.Rows = append(t.Rows, row)
	}
	order := map[bool]int{true: 0, false: 1}
	slices.SortFunc(t.Rows, func(x, y kindRow) int {
		return cmp.Or(cmp.Compare(order[x.Failing], order[y.Failing]), cmp.Compare(y.Resources, x.Resources),
			cmp.Compare(x.Kind, y.Kind))
	})
}
