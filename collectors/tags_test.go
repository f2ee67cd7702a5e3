package collectors

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/record"
)

// fakeELB serves load balancers of the first version of the API, and their tags.
type fakeELB struct {
	names    []string
	tags     map[string]string // XML of a load balancer's tags
	gone     []string          // vanish after they were listed
	unnamed  []string          // the response with tags lacks them
	refuse   response          // of DescribeTags
	refusals int               // so often; -1: always
}

func (e *fakeELB) serve(w http.ResponseWriter, f url.Values) {
	var b strings.Builder
	action := f.Get("Action")
	switch {
	case action == "DescribeLoadBalancers":
		size, _ := strconv.Atoi(f.Get("PageSize"))
		from, _ := strconv.Atoi(f.Get("Marker"))
		to := min(from+size, len(e.names))
		b.WriteString("<LoadBalancerDescriptions>")
		for _, name := range e.names[from:to] {
			fmt.Fprintf(&b, "<member><LoadBalancerName>%s</LoadBalancerName><Scheme>internal</Scheme></member>", name)
		}
		b.WriteString("</LoadBalancerDescriptions>")
		if to < len(e.names) {
			fmt.Fprintf(&b, "<NextMarker>%d</NextMarker>", to)
		}
	case e.refusals != 0:
		e.refusals--
		e.refuse(w, f)
		return
	default:
		b.WriteString("<TagDescriptions>")
		for _, name := range namesOf(f) {
			if slices.Contains(e.gone, name) {
				refuseELB("LoadBalancerNotFound", "There is no ACTIVE Load Balancer named '"+name+"'")(w, f)
				return
			}
			if !slices.Contains(e.unnamed, name) {
				fmt.Fprintf(&b, "<member><LoadBalancerName>%s</LoadBalancerName><Tags>%s</Tags></member>", name, e.tags[name])
			}
		}
		b.WriteString("</TagDescriptions>")
	}
	fmt.Fprintf(w, "<%sResponse><%[1]sResult>%s</%[1]sResult></%[1]sResponse>", action, b.String())
}

func refuseELB(code, message string) response {
	return func(w http.ResponseWriter, _ url.Values) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error>"+
			"</ErrorResponse>", code, message)
	}
}

// namesOf are the names of a request for tags.
func namesOf(f url.Values) (names []string) {
	for n := 1; f.Has("LoadBalancerNames.member." + strconv.Itoa(n)); n++ {
		names = append(names, f.Get("LoadBalancerNames.member."+strconv.Itoa(n)))
	}
	return names
}

func xmlTag(key, value string) string {
	return "<member><Key>" + key + "</Key><Value>" + value + "</Value></member>"
}

// listTagged lists the load balancers of e, and returns the tags of each record and its data.
func listTagged(
	t *testing.T, e *fakeELB,
) (h *testLister, tags, data map[string]string, st record.ListStats, err error) {
	t.Helper()
	h = newTestLister(t, Options{Attempts: 3}, e.serve)
	k := kind(t, "elb_load_balancer")
	tags, data = map[string]string{}, map[string]string{}
	st, err = h.l.each(context.Background(), h.callOptions(k, "eu-west-1"), k, "", func(p *record.Page) error {
		for v := range p.Views() {
			id, err := record.Unquote(v.ID())
			if err != nil {
				return err
			}
			tags[id], data[id] = string(v.Tags()), string(v.Data())
		}
		return nil
	})
	return h, tags, data, st, err
}

// opsOf are the operations that were called, with the number of names.
func opsOf(h *testLister) (ops []string) {
	for _, f := range h.forms {
		op := strings.TrimPrefix(f.Get("Action"), "Describe")
		if n := len(namesOf(f)); n > 0 {
			op += " " + strconv.Itoa(n)
		}
		ops = append(ops, op)
	}
	return ops
}

// The tags of a page are fetched before the page comes: in the record, in its data and so in its digest.
func TestTagsOfTheirOwnCall(t *testing.T) {
	e := &fakeELB{tags: map[string]string{
		"b03": xmlTag("team", "a &amp; b") + xmlTag("env", "prod") + xmlTag("empty", ""),
	}}
	for n := range 45 {
		e.names = append(e.names, fmt.Sprintf("b%02d", n))
	}
	h, tags, data, st, err := listTagged(t, e)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "calls", opsOf(h),
		[]string{"LoadBalancers", "Tags 20", "LoadBalancers", "Tags 20", "LoadBalancers", "Tags 5"})
	wantEqual(t, "stats", st, record.ListStats{Pages: 3, Records: 45})
	for id, want := range map[string][2]string{
		"b03": {`{"empty":"","env":"prod","team":"a & b"}`, `{"LoadBalancerName":"b03","Scheme":"internal","Tags":[` +
			`{"Key":"empty","Value":""},{"Key":"env","Value":"prod"},{"Key":"team","Value":"a & b"}]}`},
		"b44": {`{}`, `{"LoadBalancerName":"b44","Scheme":"internal","Tags":[]}`},
	} {
		if tags[id] != want[0] || data[id] != want[1] {
			t.Errorf("%s: %s\n%s", id, tags[id], data[id])
		}
	}
}

// A change of a tag changes the digest of the record; the order of the tags does not.
func TestTagsAreInTheDigest(t *testing.T) {
	digest := func(tags string) (d record.Digest) {
		h := newTestLister(t, Options{}, (&fakeELB{names: []string{"web"}, tags: map[string]string{"web": tags}}).serve)
		k := kind(t, "elb_load_balancer")
		if _, err := h.l.each(t.Context(), h.callOptions(k, "eu-west-1"), k, "", func(p *record.Page) error {
			for v := range p.Views() {
				d = v.Digest()
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return d
	}
	a, b := xmlTag("a", "1"), xmlTag("b", "2")
	if d := digest(a + b); d != digest(b+a) || d == digest(a) || d == digest(a+xmlTag("b", "3")) {
		t.Errorf("%x", d)
	}
}

// AWS refuses all names if one of them has vanished: the others keep their tags, and the one has no record.
func TestVanishedNames(t *testing.T) {
	e := &fakeELB{gone: []string{"b05"}, tags: map[string]string{"b04": xmlTag("env", "prod")}}
	for n := range 8 {
		e.names = append(e.names, fmt.Sprintf("b%02d", n))
	}
	h, tags, _, st, err := listTagged(t, e)
	if err != nil || len(tags) != 7 || tags["b05"] != "" || tags["b04"] != `{"env":"prod"}` || st.Records != 7 {
		t.Errorf("%v, %+v, %v", tags, st, err)
	}
	wantEqual(t, "calls", opsOf(h),
		[]string{"LoadBalancers", "Tags 8", "Tags 4", "Tags 4", "Tags 2", "Tags 1", "Tags 1", "Tags 2"})

	e.gone = e.names // all of them: there is no page
	if _, tags, _, st, err := listTagged(t, e); err != nil || len(tags) > 0 || st.Records != 0 {
		t.Errorf("%v, %+v, %v", tags, st, err)
	}
}

// Without its tags no page comes: a record without tags would be a change that did not happen.
func TestTagsFail(t *testing.T) {
	for name, c := range map[string]struct {
		refuse   response
		refusals int
		reason   record.Reason // "" if the listing is complete after all
		hint     string
	}{
		"denied": {refuseELB("AccessDenied", "not authorized to perform: elasticloadbalancing:DescribeTags"), -1,
			record.AccessDenied, `"Action": "elasticloadbalancing:DescribeTags"`},
		"throttled":          {refuseELB("Throttling", "Rate exceeded"), -1, record.Throttling, "DescribeTags"},
		"throttled once":     {refuseELB("Throttling", "Rate exceeded"), 1, "", ""},
		"expired once":       {refuseELB("ExpiredToken", "The security token has expired"), 1, "", ""},
		"cut once":           {truncated("<DescribeTagsResponse><DescribeTagsResult></DescribeTagsResult>"), 1, "", ""},
		"another response":   {text("<DescribeVolumesResponse/>"), -1, record.BadAnswer, "Check that the endpoint"},
		"an invalid request": {refuseELB("ValidationError", "what?"), -1, record.BadRequest, "refuses the parameters"},
	} {
		t.Run(name, func(t *testing.T) {
			e := &fakeELB{names: []string{"web"}, tags: map[string]string{"web": xmlTag("env", "prod")},
				refuse: c.refuse, refusals: c.refusals}
			_, tags, _, _, err := listTagged(t, e)
			if c.reason == "" {
				if err != nil || tags["web"] != `{"env":"prod"}` {
					t.Errorf("%v, %v", tags, err)
				}
				return
			}
			if len(tags) > 0 || record.ReasonOf(err) != c.reason || !strings.Contains(record.HintOf(err), c.hint) ||
				!strings.Contains(err.Error(), "DescribeTags") {
				t.Errorf("%v, %s: %v\nhint: %s", tags, record.ReasonOf(err), err, record.HintOf(err))
			}
		})
	}
}

// A resource whose tags cannot be read, or are missing in the response, is set aside: it counts as seen.
func TestTagsThatCannotBeRead(t *testing.T) {
	e := &fakeELB{names: []string{"a", "b", "c"}, unnamed: []string{"c"},
		tags: map[string]string{"a": xmlTag("env", "prod"), "b": xmlTag("env", "&#1;")}}
	h := newTestLister(t, Options{}, e.serve)
	k := kind(t, "elb_load_balancer")
	var aside record.SetAside
	st, err := h.l.each(t.Context(), h.callOptions(k, "eu-west-1"), k, "", func(p *record.Page) error {
		aside.Add(p.SetAside())
		return nil
	})
	causes := strings.Join(aside.Causes, "\n")
	if err != nil || st.Records != 1 || !slices.Equal(aside.IDs, []string{"b", "c"}) ||
		!strings.Contains(causes, "b: its tags") || !strings.Contains(causes, "DescribeTags returned no tags of c") {
		t.Errorf("%+v, %+v, %v", st, aside, err)
	}
}

// Members that the tables do not have are counted also in the response with the tags.
func TestUnknownMembersOfTags(t *testing.T) {
	const withNew = "<member><Key>a</Key><Value>1</Value><New>x</New></member>"
	e := &fakeELB{names: []string{"web"}, tags: map[string]string{"web": withNew}}
	_, tags, _, st, err := listTagged(t, e)
	if err != nil || tags["web"] != `{"a":"1"}` || st.Unknown != 1 {
		t.Errorf("%v, %+v, %v", tags, st, err)
	}
}

// While tags wait for the budget, the listing holds no page of the pool.
func TestTagsWaitWithoutAPage(t *testing.T) {
	e := &fakeELB{names: []string{"web"}}
	free := -1
	h := newTestLister(t, Options{}, nil)
	h.responses[0] = func(w http.ResponseWriter, f url.Values) {
		if f.Get("Action") == "DescribeTags" {
			a, b := h.pages.Take(ended()), h.pages.Take(ended())
			for free = 0; free < 2 && []*record.Page{a, b}[free] != nil; free++ {
				h.pages.Return([]*record.Page{a, b}[free])
			}
		}
		e.serve(w, f)
	}
	if _, st, err := h.list(kind(t, "elb_load_balancer"), ""); err != nil || st.Records != 1 || free != 2 {
		t.Errorf("%d pages were free: %+v, %v", free, st, err)
	}
}

// Check also finds out whether the tags may be listed, by a name that does not exist.
func TestCheckOfTags(t *testing.T) {
	k := kind(t, "elb_load_balancer")
	e := &fakeELB{gone: []string{sampleID(k.Name, CallOptions{})}}
	h := newTestLister(t, Options{}, e.serve)
	if r := h.l.Check(t.Context(), h.callOptions(k, "eu-west-1"), k); r.Err != nil || r.MissingAction != "" {
		t.Errorf("%+v", r)
	}
	wantEqual(t, "calls", opsOf(h), []string{"LoadBalancers", "Tags 1"})
	e.refuse, e.refusals = refuseELB("AccessDenied", "no"), -1
	r := h.l.Check(t.Context(), h.callOptions(k, "eu-west-1"), k)
	if record.StateOf(r.Err, 0) != record.Denied || r.MissingAction != "elasticloadbalancing:DescribeTags" {
		t.Errorf("%+v", r)
	}
}

// An API with one name a call, whose response has nothing but the tags, is a row as well.
func TestTagsOfOneName(t *testing.T) {
	k := *kind(t, "autoscaling_group")
	k.TagsBy = &TagsBy{Op: "DescribeTags", Param: "ResourceName", Max: 1, Name: "AutoScalingGroupName"}
	h := newTestLister(t, Options{}, text("<DescribeTagsResponse><DescribeTagsResult><Tags>"+xmlTag("b", "2")+
		xmlTag("a", "1")+"</Tags></DescribeTagsResult></DescribeTagsResponse>"), refuseELB("GroupNotFound", "no"))
	g, err := h.l.newListing(h.callOptions(&k, "eu-west-1"), &k, "", new(record.ListStats))
	if err != nil {
		t.Fatal(err)
	}
	if g.tagsProgram, err = k.compileTags(); err != nil {
		t.Fatal(err)
	}
	tags := tagsOf{}
	for _, name := range []string{"web", "old"} {
		if err := g.fetchTags(t.Context(), []string{name}, tags); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := g.lookUp(tags)("web"); err != nil ||
		!slices.Equal(got, []awsxml.Tag{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := g.lookUp(tags)("old"); err != awsxml.ErrVanished {
		t.Errorf("%v", err)
	}
	for i, want := range []string{"web", "old"} {
		if f := h.forms[i]; f.Get("ResourceName") != want || f.Has("MaxRecords") {
			t.Errorf("sent %v", f)
		}
	}
}
