package page

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
	"github.com/aws-collector/collector/web/act"
	"github.com/aws-collector/collector/web/api"
)

// A fixture is a status board with events, as a collector would have sent them.
type fixture struct {
	t     testing.TB
	board *board.Board
	kinds map[string][]string
	tags  map[string]map[string]string
	now   time.Time
}

func newFixture(t testing.TB) *fixture {
	return &fixture{t: t, board: board.New(), kinds: map[string][]string{}, tags: map[string]map[string]string{},
		now: time.Now()}
}

// account configures an account in some regions.
func (f *fixture) account(name, id string, regions ...string) {
	f.kinds[name] = []string{"ec2_instance", "ec2_volume"}
	f.board.Observe(runner.Configured{Kinds: f.kinds})
	f.board.Observe(runner.SignedIn{Account: name, Identity: record.Identity{AccountID: id, Partition: "aws"}})
	f.board.Observe(runner.RegionsPlanned{Account: name, Regions: regions})
}

// ended reports a listing, and before it a complete one an hour ago unless it was never complete.
func (f *fixture) ended(account, region, kind string, change func(*record.Outcome)) {
	o := record.Outcome{
		Target: record.Target{Account: account, Region: region, Kind: kind}, Run: "r", State: record.OK, Records: 7,
		Started: f.now.Add(-61 * time.Minute), Ended: f.now.Add(-time.Hour),
	}
	f.board.Observe(runner.TargetEnded{Outcome: o})
	if change != nil {
		o.Started, o.Ended, o.Records = f.now.Add(-2*time.Minute), f.now.Add(-time.Minute), 0
		change(&o)
		f.board.Observe(runner.TargetEnded{Outcome: o})
	}
}

func denied(o *record.Outcome) {
	o.State, o.Reason, o.Error = record.Denied, record.AccessDenied, "list: UnauthorizedOperation (request "+o.Region+")"
	o.Hint = "Allow `ec2:DescribeVolumes` to the role."
}

func throttled(o *record.Outcome) { o.State, o.Reason = record.Throttled, record.Throttling }

func signInFailed(o *record.Outcome) {
	o.State, o.Reason, o.Hint = record.AuthFailed, record.MFANeeded, "Run `collector login`."
}

func (f *fixture) page(change ...func(*Options)) *Page {
	f.t.Helper()
	o := Options{
		Board: f.board, Accounts: func() query.Accounts { return query.Accounts{Tags: f.tags} },
		Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&o)
	}
	p, err := New(o)
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

// coverage returns what a page knows of the accounts.
func (f *fixture) coverage(p *Page) *coverage {
	f.t.Helper()
	c, err := p.coverage(context.Background(), f.now)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// requireAll fails if the text lacks one of the words.
func requireAll(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("the page lacks %q:\n%.1500s", w, text)
		}
	}
}

// hostile is text that AWS, a configuration or a URL could send.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `</title><b>`,
	"\u202egnp.exe", "javascript:alert(1)", "../../x", "a b/c?d#e%2f", strings.Repeat("long ", 1000) + ".", "{{.}}", "-->",
	"\x00\x1b[2J",
}

// Text from outside stays text in every view, also in titles, labels, drawings and links.
func TestHostileText(t *testing.T) {
	for _, evil := range hostile {
		f := newFixture(t)
		f.account(evil, evil, "us-east-1", evil)
		f.tags[evil] = map[string]string{"team": evil}
		f.ended(evil, evil, "ec2_"+evil, func(o *record.Outcome) {
			denied(o)
			o.Error, o.Hint = evil, "Do `"+evil+"`."
		})
		f.board.Observe(runner.TargetStarted{Target: record.Target{Account: evil, Region: evil, Kind: evil}, Run: evil})
		run := runAt(f.now, time.Minute, evil, record.RunFailed)
		run.ID, run.Process = "run "+evil, inventory.Process{Replica: evil, Version: evil}
		run.Causes = []inventory.Cause{{State: record.State(evil), Reason: record.Reason(evil), Error: evil, Hint: evil,
			Region: evil, Kind: evil, Targets: 1}}
		missed := inventory.Run{ID: evil, Account: evil, Tick: f.now, Status: record.Status(evil), Missed: evil}
		s := &fakeStore{runs: []inventory.Run{run, missed}, signIns: []inventory.SignIn{
			{Account: evil, ARN: evil, Path: "ak " + evil + " → " + evil, Error: evil, Hint: evil, Checked: f.now},
		}}
		list := []any{evil, map[string]any{evil: 1}}
		data, err := json.Marshal(map[string]any{evil: evil, "PublicIp": evil, "list": list})
		if err != nil {
			t.Fatal(err)
		}
		thing := &inventory.Resource{Record: record.Record{Kind: evil, ID: evil, Name: evil, Account: evil, AccountID: evil,
			Region: evil, Tags: map[string]string{evil: evil}, Data: data}, State: evil, Type: evil, ValidFrom: f.now}
		former := *thing
		former.Data, former.ValidTo, former.Ended = json.RawMessage(`{"x":1}`), f.now, evil
		s.resources = []*inventory.Resource{&former, thing}
		s.changes = []inventory.Change{{Op: inventory.WasChanged, At: f.now, Before: &former, After: thing},
			{Op: inventory.WasGone, At: f.now, Before: &former}}
		p := f.page(stored(s), func(o *Options) {
			o.Version = evil
			o.Acts = act.New(act.Options{Board: f.board})
			o.Actor = func(*http.Request) (string, error) { return evil, nil }
			o.GroupBy = []string{"team"}
			o.Related = func(context.Context, *inventory.Resource, time.Time) ([]api.Related, error) {
				return []api.Related{{Direction: evil, Path: evil, Kind: evil, ID: evil, Name: evil, Found: true}}, nil
			}
			o.Problems = func() []Problem { return []Problem{{Title: evil, Text: evil, Hint: evil, Since: f.now}} }
		})
		q := url.QueryEscape(evil)
		for _, target := range []string{
			"/", "/?show=only&group=tag:team", "/?account=" + q, "/?" + q + "=" + q,
			accountURL(evil), accountURL(evil) + "?region=" + q, "/runs", "/runs?show=all", runURL(run.ID), runURL(evil),
			"/inventory", "/inventory?q=" + q, "/inventory?at=1d&account=" + q, resourceURL(thing, time.Time{}), "/changes",
			"/changes?what=" + q,
		} {
			w := get(t, p, target)
			if checkHTML(t, p, target, w.Body.String()); w.Code != http.StatusOK &&
				(w.Code != http.StatusBadRequest || query.IsText(evil)) {
				t.Errorf("%s answers %d", target, w.Code)
			}
		}
	}
}

// A problem is shown on every view while it lasts, with what to do.
func TestProblems(t *testing.T) {
	f := newFixture(t)
	p := f.page(func(o *Options) {
		o.Problems = func() []Problem {
			return []Problem{
				{Title: "Output s3 fails", Text: "no such bucket", Hint: "Create `b`.", Since: f.now, Retrying: true},
				{Title: "Store writes fail", Text: "no space left on device"},
			}
		}
	})
	requireAll(t, view(t, p, "/"), `class="notice wait"`, "Output s3 fails.", "no such bucket", "Create <code>b</code>.",
		`class="notice act"`, "no space left on device")
}

// What the URL asks for and no view understands is named, never ignored.
func TestUnknownParameters(t *testing.T) {
	f := newFixture(t)
	f.account("prod", "222222222222", "us-east-1")
	p := f.page()
	requireAll(t, view(t, p, "/?shw=only&show=nothing&account=prod"), "Not understood", "<code>show=nothing</code>",
		"<code>shw=only</code>")
	if text := view(t, p, "/?show=only&account=prod&group=none"); strings.Contains(text, "Not understood") {
		t.Error("a known parameter is not understood")
	}
	p = f.page(stored(&fakeStore{changes: []inventory.Change{
		{Op: inventory.WasAdded, At: f.now.Add(-time.Minute), After: instance(f.now, "i-1", "", "prod")},
	}}))
	requireAll(t, view(t, p, "/changes?what=aded"), "<code>what=aded</code>", "1 added")
	requireAll(t, view(t, p, "/inventory?where=tags.a=b;c"), "<code>where=tags.a=b;c</code>")
	requireAll(t, view(t, p, "/inventory?after=nonsense"), "<code>after=nonsense</code>")
	text := view(t, p, "/runs?to=yesterday")
	if requireAll(t, text, "<code>to=yesterday</code>"); strings.Contains(text, "data-frozen") {
		t.Error("a view of now is frozen")
	}
	requireAll(t, view(t, p, "/runs?to=1h"), "data-frozen")
}

// Each asset has its digest in its URL, is kept by browsers, and all scripts together are small.
func TestAssets(t *testing.T) {
	p := newFixture(t).page()
	text := view(t, p, "/")
	for name, address := range p.assets.urls {
		w := get(t, p, address)
		if w.Code != 200 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") ||
			strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") || !strings.Contains(address, ".") {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
	requireAll(t, text, p.assets.urls["style.css"], p.assets.urls["app.js"])
	if w := get(t, p, "/assets/style.css"); w.Code != http.StatusNotFound {
		t.Errorf("an asset without its digest: %d", w.Code)
	}
	if n := gzipped(t, p.assets, ".js"); n == 0 || n > 60<<10 {
		t.Errorf("%d bytes of script", n)
	}
}

// The theme that a reader chose comes with the page, so that nothing flashes. A cookie cannot say anything else.
func TestTheme(t *testing.T) {
	p := newFixture(t).page()
	for value, want := range map[string]bool{"dark": true, "light": true, "<b>": false} {
		cookie := func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "theme", Value: value}) }
		text := getWith(t, p, "/", cookie).Body.String()
		if strings.Contains(text, `data-theme="`+value+`"`) != want || strings.Contains(text, "<b>\"") {
			t.Errorf("theme %s:\n%.300s", value, text)
		}
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 ms", 1500 * time.Millisecond: "1 s", 61 * time.Second: "1 m 1 s", 90 * time.Minute: "1 h 30 m",
		50 * time.Hour: "2 d 2 h", 48 * time.Hour: "2 d",
	} {
		if got := span(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
	now := time.Date(2026, 11, 29, 22, 25, 0, 0, time.UTC)
	for at, want := range map[time.Time]string{
		now.Add(-time.Hour): "21:25", now.Add(-30 * time.Hour): "28 Nov 16:25", now.Add(3 * time.Hour): "01:25",
		now.Add(-365 * 24 * time.Hour): "29 Nov 2025 22:25",
	} {
		if got := clock(now, at); got != want {
			t.Errorf("%s is %q, want %q", at, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1200: "−1,200"} {
		if got := number(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

// A view that cannot be read is a page too, and says so.
func TestFailedView(t *testing.T) {
	p := newFixture(t).page()
	text, err := p.render(failed(errors.New("database <is> locked")), newRequest(requestTo("/"), time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	checkHTML(t, p, "failed", string(text))
	requireAll(t, string(text), "Reading the store failed", "database &lt;is&gt; locked")
}

// The script listens to the events of the API, and replaces blocks that the views have. A view of an earlier instant
// does not change.
func TestLive(t *testing.T) {
	script := string(scriptOf(t, "app.js"))
	if !strings.Contains(script, `EventSource("`+api.Prefix+`events")`) {
		t.Error("the script listens elsewhere")
	}
	f := newFixture(t)
	f.account("prod", "1", "us-east-1")
	p := f.page(stored(&fakeStore{}))
	requireAll(t, view(t, p, "/"), `data-live="head"`, `data-live="figures"`, `data-live="attention"`,
		`data-live="running"`, `data-live="matrix"`, `data-live="problems"`, `id="live" hidden`)
	for target, frozen := range map[string]bool{"/inventory": false, "/inventory?at=3d": true, "/runs?to=3d": true} {
		if strings.Contains(view(t, p, target), "data-frozen") != frozen {
			t.Errorf("%s: frozen is not %v", target, frozen)
		}
	}
}

func scriptOf(t *testing.T, name string) []byte {
	t.Helper()
	text, err := fs.ReadFile(assetFiles, "assets/"+name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
