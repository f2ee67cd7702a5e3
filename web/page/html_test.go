package page

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/aws-collector/collector/web/api"
)

func muxOf(p *Page) *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, h := range p.Routes() {
		mux.Handle(pattern, h)
	}
	return mux
}

// view returns a page that must be well formed.
func view(t *testing.T, p *Page, target string) string {
	t.Helper()
	w := get(t, p, target)
	if w.Code != http.StatusOK {
		t.Fatalf("%s answers %d:\n%s", target, w.Code, w.Body)
	}
	checkHTML(t, p, target, w.Body.String())
	return w.Body.String()
}

// elements are those that templates write. Text from outside that became markup would most likely add another one, or
// one of these with an attribute that no template writes.
var elements = strings.Fields(`html head meta title link script body svg defs symbol path use rect circle line g text a
	header nav span button main div b code footer h1 h2 h3 p dl dt dd section table thead tbody tr th td ol ul li details
	summary form input label select option time br kbd pre mark del ins`)

var attributes = strings.Fields(`lang charset name content rel href type src defer width height class aria-hidden id
	viewbox fill-rule d aria-label aria-current data-theme-toggle data-theme hidden title fill datetime data-age
	preserveaspectratio x y rx role overflow transform tabindex scope colspan for placeholder value selected action
	aria-labelledby autocomplete stroke-width cx cy r x1 x2 y1 y2 text-anchor data-end
	data-live data-frozen data-copy aria-sort checked method maxlength pattern inputmode required`)

// checkHTML checks what every view must keep: nothing inline, no other host, every link and every form has a route,
// every field a label, every reference a target, one h1 and one main.
func checkHTML(t *testing.T, p *Page, target, text string) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	ids, refs, labels, fields := map[string]bool{}, map[string]bool{}, map[string]bool{}, []string{}
	count := map[string]int{}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		count[n.Data]++
		if !slices.Contains(elements, n.Data) {
			t.Errorf("%s: element <%s>", target, n.Data)
		}
		a := attributesOf(t, target, n)
		if id := a["id"]; id != "" {
			if ids[id] {
				t.Errorf("%s: id %q twice", target, id)
			}
			ids[id] = true
		}
		switch {
		case n.Data == "script" && (a["src"] == "" || n.FirstChild != nil):
			t.Errorf("%s: an inline script", target)
		case n.Data == "label" && a["for"] != "":
			labels[a["for"]] = true
		case (n.Data == "input" || n.Data == "select") && a["type"] != "hidden" &&
			!slices.ContainsFunc(ancestors(n), isLabel):
			fields = append(fields, a["id"])
		case n.Data == "th" && a["scope"] == "":
			t.Errorf("%s: a table header without a scope", target)
		case n.Data == "svg" && a["aria-hidden"] == "" && (a["role"] == "" || a["aria-label"] == ""):
			t.Errorf("%s: a drawing without a name: %v", target, n.Attr)
		case n.Data == "a" && strings.TrimSpace(textOf(n)) == "" && a["aria-label"] == "":
			t.Errorf("%s: a link without a name: %v", target, n.Attr)
		}
		for _, name := range []string{"href", "src", "action"} {
			if link, ok := a[name]; ok {
				method := http.MethodGet
				if name == "action" && a["method"] != "" {
					method = http.MethodPost
				}
				checkLink(t, p, target, method+" "+link, refs)
			}
		}
		if name := a["data-live"]; name != "" {
			if ids["live "+name] {
				t.Errorf("%s: two blocks %q", target, name)
			}
			ids["live "+name] = true
		}
		if a["aria-labelledby"] != "" {
			refs[a["aria-labelledby"]] = true
		}
	}
	for ref := range refs {
		if !ids[ref] {
			t.Errorf("%s: nothing has the id %q", target, ref)
		}
	}
	for _, id := range fields {
		if !labels[id] {
			t.Errorf("%s: field %q has no label", target, id)
		}
	}
	if count["h1"] != 1 || count["main"] != 1 || !strings.Contains(text, `href="#main"`) {
		t.Errorf("%s: %d h1, %d main", target, count["h1"], count["main"])
	}
	if strings.ContainsAny(text, directionMarks) {
		t.Errorf("%s: a mark changes the direction of the text", target)
	}
}

func attributesOf(t *testing.T, target string, n *html.Node) map[string]string {
	t.Helper()
	a := map[string]string{}
	for _, attr := range n.Attr {
		name := strings.ToLower(attr.Key)
		a[name] = attr.Val
		if !slices.Contains(attributes, name) {
			t.Errorf("%s: attribute %s of <%s>", target, name, n.Data)
		}
	}
	return a
}

// checkLink requires a route of the page or of the server, for a method and a link; a link within the view is checked
// later.
func checkLink(t *testing.T, p *Page, target, request string, refs map[string]bool) {
	t.Helper()
	method, link, _ := strings.Cut(request, " ")
	u, err := url.Parse(link)
	switch {
	case err != nil, u.Host != "", u.Scheme != "":
		t.Errorf("%s: link to %q", target, link)
		return
	case u.Path == "" && u.RawQuery == "" && u.Fragment != "":
		refs[u.Fragment] = true
		return
	case slices.Contains([]string{"/metrics", "/-/ready"}, u.Path), strings.HasPrefix(u.Path, api.Prefix):
		return // of package web
	}
	u.Fragment = "" // a browser does not send it
	link = u.String()
	if _, pattern := muxOf(p).Handler(httptest.NewRequest(method, link, nil)); pattern == "" {
		t.Errorf("%s: %q has no route", target, link)
	}
}

func isLabel(n *html.Node) bool { return n.Type == html.ElementNode && n.Data == "label" }

func ancestors(n *html.Node) []*html.Node { return slices.Collect(n.Ancestors()) }

func textOf(n *html.Node) string {
	var b bytes.Buffer
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return b.String()
}
