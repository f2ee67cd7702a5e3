package collectors

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.uber.org/goleak"

	"github.com/aws-collector/collector/record"
)

var update = flag.Bool("update", false, "rewrite the golden records")

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

func TestPaging(t *testing.T) {
	h := newTestLister(
		t,
		Options{},
		text(volumes("t1", "vol-1", "vol-2")),
		truncated(volumes("t2", "vol-3", "vol-2")),
		text(volumes("t2", "vol-3", "vol-2")),
		text(volumes("t3")),
		refuse(503, "RequestLimitExceeded", "slow"),
		text(volumes("", "vol-4")),
	)
	pages, st, err := h.list(kind(t, "ec2_volume"), "")
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "ids", pages, [][]string{{"vol-1", "vol-2"}, {"vol-3"}, {"vol-4"}})
	wantEqual(t, "tokens", h.tokens(), []string{"", "t1", "t1", "t2", "t3", "t3"})
	wantEqual(t, "codes", h.g.codes, []string{"", "network", "", "", "RequestLimitExceeded", ""})
	wantEqual(t, "stats", st, record.ListStats{Pages: 4, Records: 4, Duplicates: 1})
	for _, f := range h.forms {
		if f.Get("MaxResults") != "500" {
			t.Errorf("MaxResults %q was sent", f.Get("MaxResults"))
		}
	}
}

func TestEveryKindSendsItsRow(t *testing.T) {
	h := newTestLister(t, Options{}, func(w http.ResponseWriter, f url.Values) {
		if f.Get("Version") == "2016-11-15" { // EC2's
			fmt.Fprintf(w, "<%sResponse><requestId>r</requestId></%[1]sResponse>", f.Get("Action"))
			return
		}
		fmt.Fprintf(w, "<%sResponse><%[1]sResult/></%[1]sResponse>", f.Get("Action"))
	})
	for i := range Kinds {
		k := &Kinds[i]
		parent := ""
		if k.Parent != "" {
			parent = "parent-1"
		}
		h.forms = h.forms[:0]
		if pages, _, err := h.list(k, parent); err != nil || len(pages) > 0 && k.Items != "" {
			t.Errorf("%s: %v, %v", k.Name, pages, err)
			continue
		}
		f := h.forms[0]
		size := k.Service().api.PageSize
		if max := f.Get(size); (k.Max > 0) != (max != "") || max != "" && max != strconv.Itoa(k.Max) {
			t.Errorf("%s: %s %q", k.Name, size, max)
		}
		if k.Parent != "" && f.Get(k.ParentParam) != "parent-1" {
			t.Errorf("%s: parent was not sent: %v", k.Name, f)
		}
		for p, v := range k.Params {
			if f.Get(p) != v {
				t.Errorf("%s: %s=%q was sent", k.Name, p, f.Get(p))
			}
		}
	}
}

// The lister also asks for resources that AWS services manage, where the API has a parameter for them and the partition
// accepts it.
func TestManagedResources(t *testing.T) {
	for _, c := range []struct {
		kind, region, want string
	}{
		{"ec2_instance", "eu-west-1", "true"}, {"ec2_launch_template_version", "us-east-1", "true"},
		{"ec2_vpc", "eu-west-1", ""},
		{"ec2_instance", "cn-north-1", ""}, {"ec2_instance", "us-gov-west-1", ""}, {"ec2_instance", "mars-north-1", ""},
	} {
		k := kind(t, c.kind)
		parent := ""
		if k.Parent != "" {
			parent = "lt-1"
		}
		p := k.params(c.region, parent)
		if p["IncludeManagedResources"] != c.want || p["LaunchTemplateId"] != parent {
			t.Errorf("%s in %s: %v", c.kind, c.region, p)
		}
		if k.Params["IncludeManagedResources"] != "" {
			t.Fatal("the row of the catalogue was modified")
		}
	}
	h := newTestLister(t, Options{}, text(volumes("")))
	if _, _, err := h.list(kind(t, "ec2_volume"), ""); err != nil || h.forms[0].Get("IncludeManagedResources") != "true" {
		t.Errorf("%v: %v was sent", err, h.forms)
	}
}

func TestCircle(t *testing.T) {
	for name, responses := range map[string][]response{
		"the same":  {text(volumes("a", "vol-1")), text(volumes("a", "vol-2"))},
		"in a ring": {text(volumes("a", "vol-1")), text(volumes("b", "vol-2")), text(volumes("a", "vol-3"))},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTestLister(t, Options{}, responses...)
			pages, _, err := h.list(kind(t, "ec2_volume"), "")
			if !errors.Is(err, ErrRepeatedToken) || record.ReasonOf(err) != record.BadAnswer || record.HintOf(err) == "" {
				t.Errorf("%v", err)
			}
			if len(pages) != len(responses) { // the earlier pages stay valid
				t.Errorf("%v", pages)
			}
		})
	}
}

func TestExpiredInMidListing(t *testing.T) {
	for _, code := range []string{"RequestExpired", "ExpiredToken"} {
		h := newTestLister(
			t, Options{}, text(volumes("a", "vol-1")), refuse(400, code, "old"), text(volumes("b", "vol-2")),
			refuse(400, code, "old"), text(volumes("", "vol-3")),
		)
		pages, _, err := h.list(kind(t, "ec2_volume"), "")
		if err != nil {
			t.Fatal(err)
		}
		wantEqual(t, "ids", pages, [][]string{{"vol-1"}, {"vol-2"}, {"vol-3"}})
		wantEqual(t, "tokens", h.tokens(), []string{"", "a", "a", "b", "b"})
		if h.s.n != 2 || h.keys[1] == h.keys[2] {
			t.Errorf("invalidated %d times, keys %v", h.s.n, h.keys)
		}
	}
}

func TestExpiredForEver(t *testing.T) {
	off := func(by time.Duration) response {
		return func(w http.ResponseWriter, f url.Values) {
			w.Header().Set("Date", time.Now().Add(by).UTC().Format(http.TimeFormat))
			refuse(400, "RequestExpired", "old")(w, f)
		}
	}
	for by, want := range map[time.Duration]record.Reason{0: record.Expired, time.Hour: record.ClockSkew} {
		h := newTestLister(t, Options{}, off(by))
		_, _, err := h.list(kind(t, "ec2_volume"), "")
		if record.ReasonOf(err) != want || len(h.forms) != 2 || h.s.n != 1 {
			t.Errorf("%v off: %s after %d calls: %v", by, record.ReasonOf(err), len(h.forms), err)
		}
		if want == record.ClockSkew && !strings.Contains(record.HintOf(err), "behind") {
			t.Errorf("hint %q", record.HintOf(err))
		}
	}
}

// A listing does not renew a session that another listing has just renewed.
func TestExpiredTogether(t *testing.T) {
	h := newTestLister(t, Options{}, nil, text(volumes("", "vol-1")))
	h.responses[0] = func(w http.ResponseWriter, f url.Values) {
		h.s.RejectCurrent() // as another listing does
		refuse(400, "RequestExpired", "old")(w, f)
	}
	if _, _, err := h.list(kind(t, "ec2_volume"), ""); err != nil || h.s.n != 1 {
		t.Errorf("invalidated %d times, %v", h.s.n, err)
	}
}

// renewer is a session that can be renewed after a denial, as often as allowed.
type renewer struct {
	session
	log []string
	may int
}

func (r *renewer) Allowed(action string) { r.log = append(r.log, "+"+action) }

func (r *renewer) Denied(_ context.Context, c aws.Credentials, action string) bool {
	r.log = append(r.log, "-"+action+" "+c.AccessKeyID)
	if r.may--; r.may < 0 {
		return false
	}
	r.RejectCurrent()
	return true
}

// The lister reports a denial to the session. If the session has other credentials then, it repeats the call, but only
// once.
func TestRevokedSession(t *testing.T) {
	no := refuse(403, "UnauthorizedOperation", "with an explicit deny in an identity-based policy")
	scp := refuse(403, "UnauthorizedOperation", "with an explicit deny in a service control policy")
	const first, second = "-ec2:DescribeVolumes ASIAIOSFODNN0EXAMPLE", "-ec2:DescribeVolumes ASIAIOSFODNN1EXAMPLE"
	for name, c := range map[string]struct {
		responses []response
		may       int
		heard     string
		want      record.Reason
	}{
		"in mid-listing": {
			[]response{text(volumes("t", "vol-1")), no, text(volumes("", "vol-2"))}, 1,
			"+ec2:DescribeVolumes " + first + " +ec2:DescribeVolumes", "",
		},
		"still denied":        {[]response{no}, 9, first + " " + second, record.AccessDenied},
		"there are no others": {[]response{no}, 0, first, record.AccessDenied},
		"by the organization": {[]response{scp}, 9, "", record.AccessDenied},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTestLister(t, Options{}, c.responses...)
			r := &renewer{may: c.may}
			h.g = new(gate)
			var ids []string
			k := kind(t, "ec2_volume")
			stamp := record.NewEnvelope(
				record.Target{Region: "eu-west-1", Kind: k.Name}, record.Identity{}, []byte("{}"), "", "",
			)
			_, err := h.l.each(
				t.Context(),
				CallOptions{Session: r, Region: "eu-west-1", Gate: h.g, Envelope: stamp},
				k,
				"",
				func(p *record.Page) error {
					for v := range p.Views() {
						ids = append(ids, strings.Trim(string(v.ID()), `"`))
					}
					return nil
				},
			)
			if got := strings.Join(r.log, " "); got != c.heard || record.ReasonOf(err) != c.want {
				t.Errorf("reported %q, want %q; %v", got, c.heard, err)
			}
			if c.want == "" && !slices.Equal(ids, []string{"vol-1", "vol-2"}) {
				t.Errorf("listed %v", ids)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	html := func(w http.ResponseWriter, _ url.Values) { w.WriteHeader(502); io.WriteString(w, "<html>no") }
	for _, c := range []struct {
		name   string
		a      response
		region string
		known  bool
		reason record.Reason
		hint   string
	}{
		{
			"denied", refuse(403, "UnauthorizedOperation", "You are not authorized"), "eu-west-1", true, record.AccessDenied,
			`"Action": "ec2:DescribeVolumes"`,
		},
		{
			"denied by the organization",
			refuse(403, "UnauthorizedOperation", "with an explicit deny in a service control policy"), "eu-west-1", true,
			record.AccessDenied, "expect_denied",
		},
		{
			"denied explicitly", refuse(403, "UnauthorizedOperation", "with an explicit deny in an identity-based policy"),
			"eu-west-1", true, record.AccessDenied, "adding an Allow will not help",
		},
		{
			"not opted in", refuse(401, "AuthFailure", "not able to validate"), "me-south-1", false, record.DisabledRegion,
			"Enable me-south-1",
		},
		{
			"key gone", refuse(401, "AuthFailure", "not able to validate"), "me-south-1", true, record.BadKey,
			"after the sign-in",
		},
		{
			"key gone where all are enabled", refuse(401, "AuthFailure", "not able to validate"), "us-east-1", false,
			record.BadKey, "after the sign-in",
		},
		{
			"no subscription", refuse(401, "OptInRequired", "subscribe"), "eu-west-1", true, record.DisabledRegion,
			"is not enabled",
		},
		{
			"no such API", refuse(400, "InvalidAction", "not valid"), "cn-north-1", true, record.Unsupported,
			"DescribeVolumes does not exist in cn-north-1",
		},
		{"throttled", refuse(503, "RequestLimitExceeded", "slow"), "eu-west-1", true, record.Throttling, "slower schedule"},
		{"throttled in China", refuse(503, "Throttling", "slow"), "cn-north-1", true, record.Throttling, "In China"},
		{"a proxy", html, "eu-west-1", true, record.Network, "502"},
		{"not XML", text("hello"), "eu-west-1", true, record.BadAnswer, "Check that the endpoint is EC2's"},
		{
			"another response", text("<DescribeVpcsResponse></DescribeVpcsResponse>"), "eu-west-1", true, record.BadAnswer,
			"Check that the endpoint is EC2's",
		},
		{
			"without an id", text(strings.Replace(volumes("", "x"), "<volumeId>x</volumeId>", "", 1)), "eu-west-1", true,
			record.BadAnswer, "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newTestLister(t, Options{Attempts: 2}, c.a)
			k := kind(t, "ec2_volume")
			w := h.callOptions(k, c.region)
			w.RegionEnabled = c.known
			_, err := h.l.each(
				context.Background(), w, k, "", func(*record.Page) error { t.Error("a page came"); return nil },
			)
			var f *record.Fault
			if !errors.As(err, &f) || f.Reason != c.reason || !strings.Contains(f.Hint, c.hint) {
				t.Errorf("%s, %q: %v", record.ReasonOf(err), record.HintOf(err), err)
			}
			if !strings.Contains(err.Error(), "list ec2_volume in "+c.region) {
				t.Errorf("the operation is missing: %v", err)
			}
		})
	}
}

func TestHung(t *testing.T) {
	var many []string
	for i := range 4000 { // more than the lister reads before it takes a page
		many = append(many, fmt.Sprintf("vol-%d", i))
	}
	short, long := volumes("", "vol-1"), volumes("", many...)
	for name, sent := range map[string]string{"head": "", "tail": short[:len(short)-30], "deep": long[:len(long)-30]} {
		t.Run(name, func(t *testing.T) {
			over := make(chan struct{})
			h := newTestLister(
				t,
				Options{Attempts: 2, CallTimeout: 200 * time.Millisecond},
				func(w http.ResponseWriter, _ url.Values) {
					if sent != "" {
						io.WriteString(w, sent)
						w.(http.Flusher).Flush()
					}
					<-over
				},
			)
			_, _, err := h.list(kind(t, "ec2_volume"), "")
			close(over)
			if record.ReasonOf(err) != record.TimedOut || record.StateOf(err, 0) != record.Timeout || record.HintOf(err) == "" {
				t.Errorf("%v", err)
			}
			wantEqual(t, "codes", h.g.codes, []string{"timeout", "timeout"})
		})
	}
}

// A call holds no page while it waits for the beginning of a body or between two attempts: there are few pages and many
// calls.
func TestPagesAreFree(t *testing.T) {
	var many []string
	for i := range 4000 {
		many = append(many, fmt.Sprintf("vol-%d", i))
	}
	whole := volumes("", many...)
	const begins = 16 << 10
	var h *testLister
	free := func() bool {
		a, b := h.pages.Take(ended()), h.pages.Take(ended())
		for _, p := range []*record.Page{a, b} {
			if p != nil {
				h.pages.Return(p)
			}
		}
		return a != nil && b != nil
	}
	var atStart, afterCut bool
	h = newTestLister(t, Options{}, func(w http.ResponseWriter, f url.Values) {
		w.Header().Set("Content-Length", strconv.Itoa(len(whole)))
		io.WriteString(w, whole[:begins])
		w.(http.Flusher).Flush()
		time.Sleep(20 * time.Millisecond) // whether or not the client has read it by then, it has no page
		atStart = free()
		io.WriteString(w, whole[begins:len(whole)-10])
	}, func(w http.ResponseWriter, f url.Values) {
		afterCut = free()
		io.WriteString(w, whole)
	})
	if _, st, err := h.list(kind(t, "ec2_volume"), ""); err != nil || st.Records != 4000 {
		t.Fatalf("%+v, %v", st, err)
	}
	if !atStart || !afterCut {
		t.Errorf("all pages free while the body begins: %v, after it was cut: %v", atStart, afterCut)
	}
}

func TestCanceled(t *testing.T) {
	cause := &record.Fault{Reason: record.TimedOut, Err: errors.New("the run's hour is over")}
	ctx, cancel := context.WithCancelCause(context.Background())
	over := make(chan struct{})
	h := newTestLister(
		t, Options{}, text(volumes("a", "vol-1")), func(http.ResponseWriter, url.Values) { cancel(cause); <-over },
	)
	k := kind(t, "ec2_volume")
	_, err := h.l.each(ctx, h.callOptions(k, "eu-west-1"), k, "", func(*record.Page) error { return nil })
	close(over)
	if !errors.Is(err, cause) || record.ReasonOf(err) != record.TimedOut {
		t.Errorf("%v", err)
	}
	wantEqual(t, "codes", h.g.codes, []string{"", "interrupted"})
}

// While no page is free, a call that waits for one ends with its context.
func TestNoPage(t *testing.T) {
	h := newTestLister(t, Options{}, text(volumes("", "vol-1")))
	a, b := h.pages.Take(t.Context()), h.pages.Take(t.Context())
	defer func() { h.pages.Return(a); h.pages.Return(b) }()
	ctx, cancel := context.WithTimeoutCause(context.Background(), 50*time.Millisecond, errors.New("enough"))
	defer cancel()
	k := kind(t, "ec2_volume")
	if _, err := h.l.each(ctx, h.callOptions(k, "eu-west-1"), k, "", nil); err == nil ||
		!strings.Contains(err.Error(), "enough") {
		t.Errorf("%v", err)
	}
}

// However the loop over the pages ends, its page is free again, and no further call is made.
func TestLoopEnds(t *testing.T) {
	k := kind(t, "ec2_volume")
	for name, loop := range map[string]func(pages iter.Seq2[*record.Page, error]){
		"break": func(pages iter.Seq2[*record.Page, error]) {
			for _, err := range pages {
				if err != nil {
					t.Error(err)
				}
				break
			}
		},
		"panic": func(pages iter.Seq2[*record.Page, error]) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			for range pages {
				panic("a bug")
			}
		},
		"goexit": func(pages iter.Seq2[*record.Page, error]) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range pages {
					runtime.Goexit()
				}
			}()
			<-done
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTestLister(t, Options{}, text(volumes("a", "vol-1")))
			var st record.ListStats
			loop(h.l.Pages(t.Context(), h.callOptions(k, "eu-west-1"), k, "", &st))
			if len(h.forms) != 1 || st.Records != 0 || st.Pages != 1 {
				t.Errorf("%d calls, %+v", len(h.forms), st)
			}
			for range 2 {
				if p := h.pages.Take(ended()); p == nil {
					t.Error("a page leaked")
				} else {
					defer h.pages.Return(p)
				}
			}
		})
	}
}

func TestNone(t *testing.T) {
	h := newTestLister(t, Options{}, refuse(400, "InvalidSpotDatafeed.NotFound", "none"))
	if pages, _, err := h.list(kind(t, "ec2_spot_datafeed_subscription"), ""); err != nil || pages != nil {
		t.Errorf("%v, %v", pages, err)
	}
	h = newTestLister(t, Options{}, refuse(400, "InvalidLaunchTemplateId.NotFound", "gone"))
	_, _, err := h.list(kind(t, "ec2_launch_template_version"), "lt-1")
	if !record.IsNotFoundCode(record.CodeOf(err)) || len(h.forms) != 1 {
		t.Errorf("a deleted parent, which the runner looks for: %v after %d calls", err, len(h.forms))
	}
	h = newTestLister(t, Options{}, refuse(400, "InvalidVolume.NotFound", "what?"))
	if _, _, err := h.list(kind(t, "ec2_volume"), ""); err == nil || record.HintOf(err) == "" || len(h.forms) != 2 {
		t.Errorf("an error was treated as an empty listing: %v after %d calls", err, len(h.forms))
	}
}

func TestParent(t *testing.T) {
	h := newTestLister(t, Options{}, text(volumes("")))
	for _, c := range [][2]string{{"ec2_volume", "vol-1"}, {"ec2_launch_template_version", ""}} {
		if _, _, err := h.list(kind(t, c[0]), c[1]); err == nil {
			t.Errorf("%v was listed", c)
		}
	}
}

func TestSignInFails(t *testing.T) {
	h := newTestLister(t, Options{}, text(volumes("")))
	h.s.fails = &record.Fault{
		Reason: record.AssumeDenied,
		Hint:   "look at the trust policy",
		Err:    errors.New("assume role: denied"),
	}
	_, _, err := h.list(kind(t, "ec2_volume"), "")
	if record.ReasonOf(err) != record.AssumeDenied || record.HintOf(err) != "look at the trust policy" ||
		len(h.forms) > 0 {
		t.Errorf("%v", err)
	}
}

func TestGolden(t *testing.T) {
	files, err := os.ReadDir("testdata/golden")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		name, xml := strings.CutSuffix(f.Name(), ".xml")
		if !xml {
			continue
		}
		n++
		t.Run(name, func(t *testing.T) {
			body, err := os.ReadFile("testdata/golden/" + f.Name())
			if err != nil {
				t.Fatal(err)
			}
			for _, gzip := range []bool{false, true} {
				h := newTestLister(t, Options{GZIP: gzip}, text(string(body)))
				k := kind(t, name)
				var got bytes.Buffer
				_, err = h.l.each(
					context.Background(),
					h.callOptions(k, "us-east-1"),
					k,
					"",
					func(p *record.Page) error {
						got.Write(p.Lines())
						for v := range p.Views() {
							data, err := jsonschema.UnmarshalJSON(bytes.NewReader(v.Data()))
							if err == nil {
								err = compiledSchema(t, k, false).Validate(data)
							}
							if err != nil {
								t.Errorf("%s: %v", v.ID(), err)
							}
						}
						return nil
					},
				)
				if err != nil {
					t.Fatal(err)
				}
				golden := "testdata/golden/" + name + ".jsonl"
				if *update {
					if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got.Bytes(), want) {
					t.Errorf("got\n%swant\n%s", got.Bytes(), want)
				}
			}
		})
	}
	if n == 0 {
		t.Error("no golden records")
	}
}
