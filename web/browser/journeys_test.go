package browser

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

const (
	width, height           = 1360, 900
	phoneWidth, phoneHeight = 390, 844
)

// Why is this account red? The first page names the cause and the remedy; a click shows all of it.
func TestWhyIsAnAccountRed(t *testing.T) {
	b := newTab(t, width, height)
	b.open("/")
	b.screenshot("coverage")
	b.wants("h1", "need you")
	b.wants("#attention", "legacy")
	b.follow(`#matrix a[href^="/accounts/legacy"]`)
	b.screenshot("account")
	b.wants("h1", "legacy")
	b.wants("#failures", "AWS does not know the access key")
	b.wants("#failures", "Check ak AKIA…MPLE")
}

// Who had this address last month? A search as of then finds it, and its history says what became of it.
func TestWhoHadThisAddress(t *testing.T) {
	x := changeOf(t, "gone", "since=13d&kind=network_interface")
	var history struct {
		Items []struct {
			Record struct {
				Data struct{ PrivateIpAddress string } `json:"data"`
			} `json:"record"`
		} `json:"items"`
	}
	if err := getJSON("/api/v1/resources/ec2_network_interface/"+x.ID+"/history", &history); err != nil {
		t.Fatal(err)
	}
	if len(history.Items) == 0 || history.Items[0].Record.Data.PrivateIpAddress == "" {
		t.Fatalf("%s had no address", x.ID)
	}
	b := newTab(t, width, height)
	b.open("/inventory?at=" + url.QueryEscape(x.At.Add(-time.Minute).Format(time.RFC3339)))
	b.submit("#q-large", history.Items[0].Record.Data.PrivateIpAddress)
	b.wants("#main", "As of ")
	b.screenshot("inventory-as-of")
	b.follow(chromedp.CSS(fmt.Sprintf(`a[href*="/resources/ec2_network_interface/%s"]`, x.ID)))
	b.wants("h1", x.ID)
	b.wants(".history", "gone")
	b.screenshot("resource-gone")
}

// A resource as it was before a change, and what belongs to it.
func TestAsOfAndRelations(t *testing.T) {
	x := changeOf(t, "changed", "since=3d&kind=instance")
	b := newTab(t, width, height)
	b.open("/resources/ec2_instance/" + x.ID)
	b.screenshot("resource")
	b.follow(".history li a")
	b.wants("#main", "As of ")
	b.follow(".notice a.button") // back to now
	instance := get(b, chromedp.Text(chromedp.CSS("h1")))
	b.follow(`section[aria-labelledby="h-related"] a[href*="/resources/ec2_subnet/"]`)
	b.wants(".crumbs", "subnet")
	if get(b, chromedp.Text(chromedp.CSS("h1"))) == instance {
		t.Error("the relation leads to the same page")
	}
	b.wants(`section[aria-labelledby="h-related"]`, x.ID)
}

// What changed in the last hour, and in the fortnight before.
func TestChanges(t *testing.T) {
	b := newTab(t, width, height)
	b.open("/changes")
	b.follow(`nav[aria-label="How much time"] a`)
	if location := get(b, chromedp.Evaluate[string]("location.search")); !strings.Contains(location, "since=1h") {
		t.Errorf("the shortest time is %s", location)
	}
	b.wants("#h-feed", "What changed")
	b.screenshot("changes-hour")
	b.open("/changes?since=14d")
	bars := get(b, chromedp.Evaluate[int](`document.querySelectorAll("details tbody tr").length`))
	if bars < 10 {
		t.Errorf("%d bars in a fortnight", bars)
	}
	b.screenshot("changes")
}

// The time line of the runs has those before the start, too.
func TestRuns(t *testing.T) {
	b := newTab(t, width, height)
	b.open("/runs?span=24h")
	b.wants("h1", "Runs")
	b.screenshot("runs")
}

// The theme changes with a click, and stays for the next page.
func TestDark(t *testing.T) {
	b := newTab(t, width, height)
	b.open("/")
	background := func() string {
		return get(b, chromedp.Evaluate[string]("getComputedStyle(document.body).backgroundColor"))
	}
	light := background()
	b.do(chromedp.Click(chromedp.CSS("[data-theme-toggle]")))
	dark := background()
	b.open("/runs")
	if next := background(); light == dark || next != dark {
		t.Errorf("light %s, dark %s, the next page %s", light, dark, next)
	}
	for name, path := range views(t) {
		b.open(path)
		b.screenshot("dark-" + name)
	}
}

// On a phone no view is wider than the screen.
func TestPhone(t *testing.T) {
	b := newTab(t, phoneWidth, phoneHeight)
	for name, path := range views(t) {
		b.open(path)
		if wide := get(b, chromedp.Evaluate[int]("document.documentElement.scrollWidth")); wide > phoneWidth {
			t.Errorf("%s is %d wide", path, wide)
		}
		b.screenshot("phone-" + name)
	}
}

// Without script, links and forms work.
func TestWithoutScript(t *testing.T) {
	b := newTab(t, width, height)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.open("/")
	b.submit("#q-top", "web-1")
	b.wants("h1", "Inventory")
	b.wants("#h-found", "resources")
	b.follow(`section[aria-labelledby="h-found"] a[href^="/resources/"]`)
	b.wants(".history", "first seen")
	b.follow(`.tabs a[href="/runs"]`)
	b.wants("h1", "Runs")
}

// A change is one of the simulated past.
type change struct {
	What string    `json:"what"`
	ID   string    `json:"id"`
	At   time.Time `json:"at"`
}

// changeOf finds the first change of a sort whose resource still exists, unless it is the end of one.
func changeOf(t *testing.T, what, question string) change {
	t.Helper()
	var all struct {
		Items []change `json:"items"`
	}
	if err := getJSON("/api/v1/changes?limit=1000&"+question, &all); err != nil {
		t.Fatal(err)
	}
	gone := map[string]bool{}
	for _, c := range all.Items {
		gone[c.ID] = gone[c.ID] || c.What == "gone"
	}
	for _, c := range all.Items {
		if c.What == what && (what == "gone" || !gone[c.ID]) {
			return c
		}
	}
	t.Fatalf("no change of %s is %q", question, what)
	return change{}
}

// views are the views of the page, with an account and a resource that have something to show.
func views(t *testing.T) map[string]string {
	t.Helper()
	var found struct {
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
	}
	if err := getJSON("/api/v1/resources?kind=instance&account=prod&limit=1", &found); err != nil {
		t.Fatal(err)
	}
	var runs struct {
		Items []struct {
			Run string `json:"run"`
		} `json:"items"`
	}
	if err := getJSON("/api/v1/runs?account=sandbox&status=partial&limit=1", &runs); err != nil {
		t.Fatal(err)
	}
	if len(found.Items) == 0 || len(runs.Items) == 0 {
		t.Fatalf("%d instances, %d runs", len(found.Items), len(runs.Items))
	}
	return map[string]string{
		"coverage": "/", "account": "/accounts/sandbox", "runs": "/runs", "run": "/runs/" + runs.Items[0].Run,
		"inventory": "/inventory?kind=instance", "resource": "/resources/ec2_instance/" + found.Items[0].ID,
		"changes": "/changes?since=14d", "nothing": "/inventory?q=nothing-is-called-like-this",
	}
}
