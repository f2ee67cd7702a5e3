package collectors

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/record"
)

// An ec2 is a server with a list of responses, functions of the form. It responds to each call with the next one and
// repeats the last one.
type ec2 struct {
	t         *testing.T
	srv       *httptest.Server
	mu        sync.Mutex
	responses []response
	forms     []url.Values
	keys      []string // access keys of the calls
	asked     []string // regions of the calls
}

type response func(w http.ResponseWriter, form url.Values)

func (e *ec2) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.ParseForm()
	e.mu.Lock()
	a := e.responses[min(len(e.forms), len(e.responses)-1)]
	e.forms = append(e.forms, r.PostForm)
	_, cred, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	scope := append(strings.Split(cred, "/"), "", "", "") // key, day, region
	e.keys, e.asked = append(e.keys, scope[0]), append(e.asked, scope[2])
	e.mu.Unlock()
	a(w, r.PostForm)
}

func (e *ec2) tokens() (ts []string) {
	for _, f := range e.forms {
		ts = append(ts, f.Get("NextToken"))
	}
	return ts
}

// session returns the same key until it is invalidated, then the next one.
type session struct {
	mu    sync.Mutex
	n     int // how often it was invalidated
	fails error
}

func (s *session) Retrieve(context.Context) (aws.Credentials, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return aws.Credentials{
		AccessKeyID:     fmt.Sprintf("ASIAIOSFODNN%dEXAMPLE", s.n),
		SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		SessionToken:    "t",
	}, s.fails
}

func (s *session) RejectCurrent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
}

type gate struct {
	mu    sync.Mutex
	in    int
	codes []string
}

func (g *gate) Enter(context.Context, string, string) (func(string), error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.in++
	return func(code string) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.in--
		g.codes = append(g.codes, code)
	}, nil
}

// testLister is a lister for a fake EC2, with two pages that must be free at the end of the test.
type testLister struct {
	*ec2
	l     *Lister
	pages *record.PagePool
	s     *session
	g     *gate
}

func newTestLister(t *testing.T, o Options, responses ...response) *testLister {
	t.Helper()
	h := &testLister{
		ec2:   &ec2{t: t, responses: responses},
		s:     new(session),
		g:     new(gate),
		pages: record.NewPagePool(2, 64<<20),
	}
	h.srv = httptest.NewServer(h.ec2)
	tr := &http.Transport{}
	o.AWS.HTTPClient, o.AWS.BaseEndpoint = &http.Client{Transport: tr}, &h.srv.URL
	o.Pages, o.DigestKey = h.pages, []byte("k")
	if o.MaxBackoff == 0 {
		o.MaxBackoff = time.Millisecond
	}
	var err error
	if h.l, err = New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		h.srv.Close()
		for range 2 {
			if h.pages.Take(ended()) == nil {
				t.Error("a page leaked")
			}
		}
		if h.g.in != 0 {
			t.Errorf("%d attempts did not leave the gate", h.g.in)
		}
	})
	return h
}

// ended returns a context that has ended: with it, Take does not wait.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func (h *testLister) callOptions(k *Kind, region string) CallOptions {
	return CallOptions{Session: h.s, Region: region, Gate: h.g, Envelope: record.NewEnvelope(
		record.Target{Account: "prod", Region: region, Kind: k.Name},
		record.Identity{
			AccountID: "222222222222",
			Partition: "aws",
		},
		[]byte(`{"account_name":"prod"}`),
		"01JD",
		"2026-11-21T22:15:03Z",
	)}
}

func kind(t *testing.T, name string) *Kind {
	t.Helper()
	k, ok := KindNamed(name)
	if !ok {
		t.Fatalf("no kind %s", name)
	}
	return k
}

// list lists a kind and returns the ids of each page.
func (h *testLister) list(k *Kind, parent string) (pages [][]string, st record.ListStats, err error) {
	st, err = h.l.each(context.Background(), h.callOptions(k, "eu-west-1"), k, parent, func(p *record.Page) error {
		var ids []string
		for v := range p.Views() {
			ids = append(ids, strings.Trim(string(v.ID()), `"`))
		}
		pages = append(pages, ids)
		p.Poison()
		return nil
	})
	return pages, st, err
}

func volumes(next string, ids ...string) string {
	var b strings.Builder
	b.WriteString(
		`<?xml version="1.0" encoding="UTF-8"?>` +
			`<DescribeVolumesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId><volumeSet>`,
	)
	for _, id := range ids {
		fmt.Fprintf(
			&b,
			`<item><volumeId>%s</volumeId><size>8</size><tagSet><item><key>Name</key><value>data</value></item></tagSet></item>`,
			id,
		)
	}
	b.WriteString(`</volumeSet>`)
	if next != "" {
		fmt.Fprintf(&b, `<nextToken>%s</nextToken>`, next)
	}
	b.WriteString(`</DescribeVolumesResponse>`)
	return b.String()
}

func text(s string) response {
	return func(w http.ResponseWriter, _ url.Values) { io.WriteString(w, s) }
}

func truncated(s string) response {
	return func(w http.ResponseWriter, _ url.Values) {
		w.Header().Set("Content-Length", strconv.Itoa(len(s)))
		io.WriteString(w, s[:len(s)/2])
	}
}

func refuse(status int, code, message string) response {
	return func(w http.ResponseWriter, _ url.Values) {
		w.WriteHeader(status)
		fmt.Fprintf(
			w,
			`<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>q</RequestID></Response>`,
			code,
			message,
		)
	}
}

func wantEqual(t *testing.T, what string, got, want any) {
	t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if !bytes.Equal(g, w) {
		t.Errorf("%s: %s, want %s", what, g, w)
	}
}

// The SDK's ways to override the endpoint apply to every call.
func TestEndpointOverride(t *testing.T) {
	h := newTestLister(t, Options{}, text(volumes("", "vol-1")))
	o := h.l.options
	o.AWS.BaseEndpoint, o.AWS.ConfigSources = nil, []any{endpoint{h.srv.URL}}
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	k := kind(t, "ec2_volume")
	discard := func(*record.Page) error { return nil }
	if _, err := l.each(context.Background(), h.callOptions(k, "cn-north-1"), k, "", discard); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(h.tokens(), []string{""}) {
		t.Error("the call went to another endpoint")
	}
}

// endpoint is a config source like AWS_ENDPOINT_URL_EC2.
type endpoint struct{ url string }

func (e endpoint) GetServiceBaseEndpoint(_ context.Context, sdkID string) (string, bool, error) {
	return e.url, sdkID == "EC2", nil
}
