package page

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
)

// Each account is counted once, as what needs a person first, and the title is the answer.
func TestHeadline(t *testing.T) {
	f := newFixture(t)
	requireAll(t, view(t, f.page(), "/"), "<h1>No account is configured</h1>")
	f.account("new", "", "us-east-1")
	requireAll(t, view(t, f.page(), "/"), "<h1>Nothing has been collected yet</h1>", "No listing has ended yet")
	f.account("prod", "222222222222", "us-east-1", "eu-west-1")
	f.ended("prod", "us-east-1", "ec2_instance", nil)
	f.ended("new", "us-east-1", "ec2_instance", nil)
	requireAll(t, view(t, f.page(), "/"), "<h1>Every account is collected in full</h1>", "All 2 accounts",
		"Every account was listed completely.", "<b>2</b> healthy")
	some := newFixture(t)
	some.account("prod", "222222222222", "us-east-1")
	some.account("new", "", "us-east-1")
	some.ended("prod", "us-east-1", "ec2_instance", nil)
	requireAll(t, view(t, some.page(), "/"), "No listing fails. Not listed yet: 1 account.")
	f.ended("prod", "eu-west-1", "ec2_instance", throttled)
	requireAll(t, view(t, f.page(), "/"), "Nothing needs you; 1 account will be tried again", "<b>1</b> retrying")
	f.ended("prod", "us-east-1", "ec2_volume", denied)
	f.account("later", "")
	requireAll(t, view(t, f.page(), "/"), "1 of 3 accounts is not collected in full and needs you", "1 is not listed yet",
		"<title>(1) Coverage", "14 not confirmed", "show=needs_you", "show=never_listed")
}

func disabledHere(o *record.Outcome) { o.State = record.RegionDisabled }

func unusable(o *record.Outcome) { o.State, o.AccountUnusable = record.RegionDisabled, true }

// A denial that expect_denied names and a region that is not enabled are no failures. An account that can list no
// region is one, whatever the states of its targets.
func TestStates(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*record.Outcome)
		want   health
		state  record.State
	}{
		"complete":         {nil, healthy, record.OK},
		"expected denial":  {func(o *record.Outcome) { denied(o); o.Expected = true }, healthy, record.Skipped},
		"disabled":         {disabledHere, healthy, record.RegionDisabled},
		"unusable account": {unusable, needsYou, record.Error},
		"partial":          {func(o *record.Outcome) { o.State = record.Partial }, retrying, record.Partial},
		"denied":           {denied, needsYou, record.Denied},
		"a state of later": {func(o *record.Outcome) { o.State = "novel" }, needsYou, record.Error},
	} {
		f := newFixture(t)
		f.account("prod", "222222222222", "us-east-1")
		if name == "disabled" { // else the account can list no region
			f.ended("prod", "eu-west-1", "ec2_instance", nil)
		}
		f.ended("prod", "us-east-1", "ec2_instance", c.change)
		a := f.coverage(f.page()).account("prod")
		if a.health != c.want || a.cells["us-east-1"].state != c.state {
			t.Errorf("%s: %s, %s", name, a.health, a.cells["us-east-1"].state)
		}
		if c.want != healthy && a.unconfirmed != 7 {
			t.Errorf("%s: %d resources are not confirmed", name, a.unconfirmed)
		}
	}
}

// A cell is the worst of its kinds, by who must act first.
func TestWorstState(t *testing.T) {
	f := newFixture(t)
	f.account("prod", "222222222222", "us-east-1")
	f.ended("prod", "us-east-1", "ec2_instance", func(o *record.Outcome) { o.State = record.Partial })
	f.ended("prod", "us-east-1", "ec2_volume", denied)
	f.ended("prod", "us-east-1", "ec2_vpc", throttled)
	if c := f.coverage(f.page()).account("prod").cells["us-east-1"]; c.state != record.Denied || c.kinds != 1 {
		t.Errorf("%s of %d kinds", c.state, c.kinds)
	}
	seen := map[string]bool{}
	for _, s := range stateTable {
		if seen[s.shape] || s.words == "" {
			t.Errorf("%s has no shape or words of its own", s.state)
		}
		seen[s.shape] = true
	}
	for _, s := range record.States {
		if infoOf(s).state != s {
			t.Errorf("stateTable has no %s", s)
		}
	}
	for _, s := range record.Statuses {
		if statusOf(s).Words == string(s) {
			t.Errorf("statusTable has no %s", s)
		}
	}
}

// Three hundred accounts behind one broken key are one cause. What needs a person comes first, then what hides most.
func TestCauses(t *testing.T) {
	f := newFixture(t)
	for i := range 300 {
		name := fmt.Sprintf("member-%03d", i)
		f.account(name, fmt.Sprint(100000000000+i), "us-east-1")
		f.ended(name, "us-east-1", "ec2_instance", signInFailed)
	}
	f.account("small", "222222222222", "eu-west-1")
	f.ended("small", "eu-west-1", "ec2_volume", denied)
	f.ended("small", "eu-west-1", "ec2_instance", throttled)
	causes := f.coverage(f.page()).causes
	if len(causes) != 3 {
		t.Fatalf("%d causes", len(causes))
	}
	for i, want := range []record.State{record.AuthFailed, record.Denied, record.Throttled} {
		if causes[i].State != want {
			t.Errorf("cause %d is %s, want %s", i, causes[i].State, want)
		}
	}
	v := causes[0].view(f.now)
	if v.More != 300-maxNamedAccounts || causes[0].Targets != 300 || causes[0].resources != 2100 {
		t.Errorf("%+v", v)
	}
	requireAll(t, view(t, f.page(), "/"), "no MFA code is available", "294 more", "Run <code>collector login</code>.",
		"2,100 resources shown as of the last complete listing", "None is counted as gone",
		"Access denied: <code>ec2:DescribeVolumes</code>")
}

// The hints of kinds that are denied alike differ in the action only: they are one cause.
func TestCausesOfSeveralKinds(t *testing.T) {
	f := newFixture(t)
	f.account("prod", "222222222222", "us-east-1")
	for _, kind := range []string{"Instances", "Volumes", "Vpcs"} {
		f.ended("prod", "us-east-1", "ec2_"+kind, func(o *record.Outcome) {
			denied(o)
			o.Hint = "Allow ec2:Describe" + kind + " to the role."
		})
	}
	causes := f.coverage(f.page()).causes
	if len(causes) != 1 || causes[0].Targets != 3 {
		t.Fatalf("%d causes", len(causes))
	}
	v := causes[0].view(f.now)
	if strings.Contains(v.Hint, "DescribeVpcs") ||
		!strings.HasPrefix(v.Effect, "Instances, Volumes and Vpcs in us-east-1") {
		t.Errorf("%q, %q", v.Hint, v.Effect)
	}
}

// What is late by its own schedule has a bar, by its age; what is not late has none, however old.
func TestLate(t *testing.T) {
	f := newFixture(t)
	f.account("prod", "222222222222", "us-east-1")
	f.ended("prod", "us-east-1", "ec2_instance", func(o *record.Outcome) { o.Ended = f.now.Add(-7 * time.Hour) })
	for spec, want := range map[string]health{"@hourly": overdue, "@daily": healthy} {
		conf := schedule(t, "prod", spec)
		p := f.page(func(o *Options) { o.Accounts = func() query.Accounts { return query.Accounts{Configuration: conf} } })
		a := f.coverage(p).account("prod")
		bar, drawn := a.cells["us-east-1"].bar(f.now)
		if a.health != want || drawn != (want == overdue) || drawn && bar.words != "over 6 h" {
			t.Errorf("%s: %s, bar %v %+v", spec, a.health, drawn, bar)
		}
	}
}

// schedule is a configuration with one account.
func schedule(t *testing.T, account, spec string) *runner.Configuration {
	t.Helper()
	parsed := every(24 * time.Hour)
	if spec == "@hourly" {
		parsed = every(time.Hour)
	}
	c, err := runner.NewConfiguration(runner.Configuration{Accounts: []*runner.Account{{
		Name: account, AccountSpec: &runner.AccountSpec{
			Kinds: []runner.Kind{{Name: "ec2_instance"}, {Name: "ec2_volume"}},
			Ticks: []runner.Tick{{Spec: spec, Schedule: parsed}},
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type every time.Duration

func (e every) Next(t time.Time) time.Time { return t.Add(time.Duration(e)) }

// Above forty accounts, a group names those with problems and sums up the rest; all are a click away, page by page.
func TestFolding(t *testing.T) {
	f := newFixture(t)
	for i := range 250 {
		name := fmt.Sprintf("a-%03d", i)
		f.account(name, fmt.Sprint(i), "us-east-1")
		f.tags[name] = map[string]string{"team": fmt.Sprint("t", i%5)}
		f.ended(name, "us-east-1", "ec2_instance", map[bool]func(*record.Outcome){true: denied}[i == 7])
	}
	p := f.page(func(o *Options) { o.GroupBy = []string{"team"} })
	text := view(t, p, "/")
	requireAll(t, text, "&#43; 49 complete accounts", "50 accounts, all complete", "team=t2 ", ">a-007</a>")
	if strings.Contains(text, ">a-008</a>") {
		t.Error("a complete account is named")
	}
	text = view(t, p, "/?show=all&group=none")
	requireAll(t, text, ">a-199</a>", "after=a-199")
	if strings.Contains(text, ">a-200</a>") {
		t.Error("too many rows")
	}
	requireAll(t, view(t, p, "/?show=all&group=none&after=a-199"), ">a-200</a>", ">a-249</a>")
	text = view(t, p, "/?account=a-00*&show=only")
	requireAll(t, text, ">a-007</a>", "10 accounts")
	if strings.Contains(text, ">a-008</a>") {
		t.Error("show=only shows a complete account")
	}
	requireAll(t, view(t, p, "/?account=nobody"), "No account matches")
	requireAll(t, view(t, p, "/?account=249"), ">a-249</a>") // by its id
}

// A folded line has the earliest instants of its accounts, whatever their order; one without an instant has none.
func TestFoldedInstants(t *testing.T) {
	at := func(hour int) time.Time { return time.Date(2026, 11, 1, hour, 0, 0, 0, time.UTC) }
	with := func(oldest, next time.Time) *account {
		return &account{AccountInfo: board.AccountInfo{Next: next}, oldest: oldest}
	}
	row := drawing{}.rest([]*account{with(at(1), at(5)), with(time.Time{}, time.Time{}), with(at(3), at(7))})
	if !row.Oldest.Equal(at(1)) || !row.Next.Equal(at(5)) {
		t.Errorf("oldest %s, next %s", row.Oldest, row.Next)
	}
}

// An organization lists members and no resources: it is no row, and its failure is shown.
func TestOrganizations(t *testing.T) {
	f := newFixture(t)
	name := "organization:key"
	conf, err := runner.NewConfiguration(runner.Configuration{Tasks: []*runner.Task{{Name: name}}})
	if err != nil {
		t.Fatal(err)
	}
	f.board.Observe(runner.Configured{Kinds: map[string][]string{name: nil}, Configuration: conf})
	f.board.Observe(runner.RunStarted{Account: name, Run: "1"})
	f.board.Observe(runner.RunEnded{Account: name, Run: "1", Status: record.RunFailed})
	text := view(t, f.page(), "/")
	requireAll(t, text, name, "its members could not be listed")
	if strings.Contains(text, accountURL(name)) {
		t.Error("an organization has a row")
	}
}

func TestColumns(t *testing.T) {
	f := newFixture(t)
	f.account("a", "1", "eu-west-1", "us-west-2", "cn-north-1", "us-east-1", "us-gov-west-1", "ap-south-1", "xx-new-1")
	want := []string{"us-east-1", "us-west-2", "eu-west-1", "ap-south-1", "us-gov-west-1", "cn-north-1", "xx-new-1"}
	if got := columns(f.coverage(f.page()).accounts); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// A thousand accounts in thirty regions fit in three megabytes, and a region that is down everywhere in less.
func TestScale(t *testing.T) {
	for name, change := range map[string]func(i, j int) func(*record.Outcome){
		"few fail": func(i, j int) func(*record.Outcome) {
			if i%20 == 0 && j < 2 {
				return denied
			}
			return nil
		},
		"three regions are down": func(_, j int) func(*record.Outcome) {
			if j < 3 {
				return throttled
			}
			return nil
		},
	} {
		f := newFixture(t)
		for i := range 1000 {
			account := fmt.Sprintf("account-%04d", i)
			f.kinds[account] = []string{"ec2_instance"}
			for j := range 30 {
				f.ended(account, fmt.Sprintf("eu-region-%02d", j), "ec2_instance", change(i, j))
			}
		}
		f.board.Observe(runner.Configured{Kinds: f.kinds})
		p := f.page()
		for _, target := range []string{"/", "/?show=only"} {
			began := time.Now()
			w := get(t, p, target)
			if w.Code != http.StatusOK || w.Body.Len() > 3<<20 || strings.Count(w.Body.String(), "<path") < 20 {
				t.Errorf("%s, %s: %d, %d bytes", name, target, w.Code, w.Body.Len())
			}
			t.Logf("%s, %s: %d bytes after %s", name, target, w.Body.Len(), time.Since(began))
		}
	}
}

// BenchmarkCoverage makes the first page of 1,000 accounts in 30 regions, each time from the status board.
func BenchmarkCoverage(b *testing.B) {
	f := newFixture(b)
	for i := range 1000 {
		account := fmt.Sprintf("account-%04d", i)
		f.kinds[account] = []string{"ec2_instance", "ec2_volume"}
		for j := range 30 {
			for _, kind := range f.kinds[account] {
				f.ended(account, fmt.Sprintf("eu-region-%02d", j), kind, map[bool]func(*record.Outcome){true: denied}[i%20+j == 0])
			}
		}
	}
	f.board.Observe(runner.Configured{Kinds: f.kinds})
	for _, target := range []string{"/", "/?show=all"} {
		b.Run(target, func(b *testing.B) {
			size, p := 0, f.page()
			for b.Loop() {
				p.coverages.forget() // it would serve others for a while
				w := httptest.NewRecorder()
				muxOf(p).ServeHTTP(w, requestTo(target))
				size = w.Body.Len()
			}
			b.ReportMetric(float64(size)/1e6, "MB")
		})
	}
}
