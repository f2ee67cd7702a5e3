package page

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
)

// runAt is a run that began some time ago.
func runAt(now time.Time, ago time.Duration, account string, status record.Status) inventory.Run {
	begun := now.Add(-ago)
	r := inventory.Run{
		ID: inventory.FirstRunID(begun), Account: account, Tick: begun, Started: begun, Ended: begun.Add(2 * time.Minute),
		Status: status, Ticks: 1, Targets: map[record.State]int{record.OK: 3}, Records: 40, Calls: 12,
	}
	if status == record.RunRunning {
		r.Ended = time.Time{}
	}
	return r
}

func TestRuns(t *testing.T) {
	f := newFixture(t)
	s := &fakeStore{}
	for i := range 12 {
		ago := time.Duration(i+1) * 10 * time.Minute
		s.runs = append(s.runs, runAt(f.now, ago, fmt.Sprintf("well-%02d", i), record.Success))
	}
	failed := runAt(f.now, 5*time.Minute, "prod", record.RunPartial)
	failed.Causes = []inventory.Cause{{State: record.Denied, Reason: record.AccessDenied, Region: "us-east-1",
		Kind: "ec2_volume", Hint: "Allow `ec2:DescribeVolumes`.", Error: "UnauthorizedOperation", Targets: 4}}
	missed := inventory.Run{ID: inventory.FirstRunID(f.now.Add(-61 * time.Minute)), Account: "prod", Tick: f.now,
		Status: record.RunSkipped, Missed: "overlap", Ticks: 2}
	running := runAt(f.now, time.Minute, "dev", record.RunRunning)
	s.runs = slices.Concat([]inventory.Run{failed, running}, s.runs, []inventory.Run{missed})
	p := f.page(stored(s))
	text := view(t, p, "/runs")
	requireAll(t, text, "15 runs, 2 not a success, 1 in progress", "+ 13 accounts", runURL(failed.ID),
		"Access denied, us-east-1 volume", "2 ticks: an earlier run was still in progress", "Partial 1",
		"collector runs --since 6h")
	requireAll(t, view(t, p, "/runs?show=all"), ">well-03<")
	requireAll(t, view(t, p, "/runs?status=partial&account=prod&span=24h"), "1 run,",
		"collector runs --account prod --status partial --since 24h", "Partial 1 <span class=\"x\"")
	requireAll(t, view(t, p, "/runs?account=nobody"), "No run in this time")
	requireAll(t, view(t, p, runURL(failed.ID)), "Run of prod", "Allow <code>ec2:DescribeVolumes</code>", "4 listings.",
		"UnauthorizedOperation", "collector runs "+failed.ID)
	requireAll(t, view(t, p, runURL(missed.ID)), "never: 2 ticks: an earlier run")
	for target, want := range map[string]int{"/runs/none": 404, "/runs?status=novel": 400} {
		if w := get(t, p, target); w.Code != want {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
}

// Without a store the page says what to do. It says that a store fails, too, and the page of
// what is in memory still works.
func TestNoStore(t *testing.T) {
	f := newFixture(t)
	f.account("prod", "1", "us-east-1")
	for _, target := range []string{"/runs", "/runs/x"} {
		w := get(t, f.page(), target)
		checkHTML(t, f.page(), target, w.Body.String())
		if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "store: none") {
			t.Errorf("%s: %d", target, w.Code)
		}
		p := f.page(stored(&fakeStore{err: errors.New("database is locked")}))
		if w = get(t, p, target); w.Code != http.StatusServiceUnavailable ||
			!strings.Contains(w.Body.String(), "database is locked") {
			t.Errorf("%s with a store that fails: %d", target, w.Code)
		}
		view(t, p, "/")
	}
}

// More runs than a table shows are a click away.
func TestEarlierRuns(t *testing.T) {
	f := newFixture(t)
	s := &fakeStore{}
	for i := range shownRuns + 20 {
		s.runs = append(s.runs, runAt(f.now, time.Duration(i+1)*time.Minute, "prod", record.Success))
	}
	p := f.page(stored(s))
	next := "before=" + s.runs[shownRuns-1].ID
	requireAll(t, view(t, p, "/runs"), next, "120 runs")
	if text := view(t, p, "/runs?"+next); !strings.Contains(text, s.runs[shownRuns].ID) ||
		strings.Contains(text, runURL(s.runs[0].ID)) {
		t.Error("the next page does not continue")
	}
}

// The command below a view asks the same question: its flags, read back, are the parameters of the URL.
func TestCommand(t *testing.T) {
	parameters := []query.Parameter{query.Kind, query.Account, query.Region, query.Where, query.At}
	for _, raw := range []string{
		"account=prod", "account=a&account=b*", "where=name~'*it''s*' and state=running&at=3d", "region=eu-*&kind=ec2_vpc",
		"where=" + url.QueryEscape(`tags.x="a b" or not tags.'y z'`), "",
	} {
		values, err := url.ParseQuery(strings.ReplaceAll(raw, " ", "%20"))
		if err != nil {
			t.Fatal(err)
		}
		r := newRequest(requestTo("/?"+values.Encode()), time.Now())
		words := shellWords(t, same("list", "resources", parameters, r).Command)
		if len(words) < 2 || words[0] != "collector" || words[1] != "list" {
			t.Fatalf("%v", words)
		}
		got := url.Values{}
		for i := 2; i+1 < len(words); i += 2 {
			j := slices.IndexFunc(parameters, func(p query.Parameter) bool { return "--"+p.FlagName() == words[i] })
			if j < 0 {
				t.Fatalf("no flag %s", words[i])
			}
			got.Add(parameters[j].Name, words[i+1])
		}
		if got.Encode() != values.Encode() {
			t.Errorf("%v is not %v", got, values)
		}
	}
}

// shellWords splits a command as a shell does, as far as quoted quotes.
func shellWords(t *testing.T, command string) (words []string) {
	t.Helper()
	word, quoted, begun := "", false, false
	for i := 0; i < len(command); i++ {
		switch c := command[i]; {
		case c == '\'':
			quoted, begun = !quoted, true
		case c == '\\' && !quoted:
			i++
			word += string(command[i])
		case c == ' ' && !quoted:
			words, word, begun = append(words, word), "", false
		default:
			word, begun = word+string(c), true
		}
	}
	if quoted {
		t.Fatalf("a quote is open in %s", command)
	}
	if begun {
		words = append(words, word)
	}
	return words
}
