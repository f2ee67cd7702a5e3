package awsfake

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// eachTransport runs a test over loopback and in memory: a fault must have the same effect on both.
func eachTransport(t *testing.T, f func(t *testing.T, x *testClient)) {
	t.Run("memory", func(t *testing.T) { f(t, newTestClient(t, Options{NoGzip: true})) })
	t.Run("loopback", func(t *testing.T) {
		x := newTestClient(t, Options{NoGzip: true})
		s, err := x.aws.Start()
		if err != nil {
			t.Fatal(err)
		}
		h := s.HTTPClient()
		t.Cleanup(func() { h.CloseIdleConnections(); s.Close() })
		x.srv.Close()
		x.srv, x.http = s, h
		f(t, x)
	})
}

func TestFaults(t *testing.T) {
	eachTransport(t, func(t *testing.T, x *testClient) {
		x.acct.AddInstances("us-east-1", 30)
		call := func(params ...string) (*reply, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			return x.ec2At(ctx, time.Now(), "us-east-1", longTerm(x.key), "DescribeInstances", params...)
		}
		good, err := call()
		if err != nil {
			t.Fatal(err)
		}
		size := len(good.body)
		for _, c := range []struct {
			kind  FaultKind
			check func(*reply, error) bool
		}{
			{Hang, func(_ *reply, err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
			{Reset, func(_ *reply, err error) bool { return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) }},
			{TruncatedBody, func(r *reply, err error) bool {
				cut := errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
				return cut && r.status == 200 && len(r.body) <= size/2+1
			}},
			{ServerError, func(r *reply, err error) bool { return err == nil && r.status == 500 && r.code == "InternalError" }},
			{Unavailable, func(r *reply, err error) bool { return err == nil && r.status == 503 && r.code == "Unavailable" }},
			{ProxyPage, func(r *reply, err error) bool {
				return err == nil && r.status == 503 && r.code == "" && strings.Contains(r.body, "<h1>") &&
					r.header.Get("Content-Type") == "text/html"
			}},
			{Throttling, func(r *reply, err error) bool {
				return err == nil && r.status == 503 && r.code == "RequestLimitExceeded"
			}},
			{Expire, func(r *reply, err error) bool { return err == nil && r.status == 400 && r.code == "RequestExpired" }},
			{SlowBody, func(_ *reply, err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
			{Delay, func(_ *reply, err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		} {
			remove := x.aws.Inject(Fault{Kind: c.kind, Delay: 300 * time.Millisecond})
			r, err := call()
			if !c.check(r, err) {
				t.Errorf("fault %d: %+v, %v", c.kind, r, err)
			}
			remove()
			remove()
			if r, err := call(); err != nil || r.status != 200 || len(r.body) != size {
				t.Errorf("after fault %d: %v", c.kind, err)
			}
		}
	})
}

// A fault applies to the calls that it matches, after the calls that it skips, and as often as configured.
func TestFaultsMatch(t *testing.T) {
	x := newTestClient(t, Options{})
	x.acct.AddInstances("us-east-1", 30)
	china := x.aws.AddAccount("222222222222", "aws-cn")
	c := longTerm(china.AddUser("c").NewKey())
	ok := func(region string, who Credential, action string, params ...string) bool {
		return x.ec2(region, who, action, params...).status == 200
	}
	remove := x.aws.Inject(Fault{Kind: ServerError, Account: "2222*", Action: "DescribeV*"})
	if !ok("us-east-1", longTerm(x.key), "DescribeVpcs") || !ok("cn-north-1", c, "DescribeSubnets") ||
		ok("cn-north-1", c, "DescribeVolumes") {
		t.Error("account and action are ignored")
	}
	remove()
	remove = x.aws.Inject(Fault{Kind: ServerError, Region: "us-*", After: 1, Count: 2})
	var got []bool
	for range 4 {
		got = append(got, ok("us-east-1", longTerm(x.key), "DescribeVpcs"))
	}
	if want := []bool{true, false, false, true}; !slices.Equal(got, want) || !ok("cn-north-1", c, "DescribeVpcs") {
		t.Errorf("after 1, 2 times: %v", got)
	}
	remove()
	remove = x.aws.Inject(Fault{Kind: Expire, Service: "ec2", Pages: true, Count: 1})
	first := x.ec2("us-east-1", longTerm(x.key), "DescribeInstances", "MaxResults", "5")
	next := element(first.body, "nextToken")
	r := x.ec2("us-east-1", longTerm(x.key), "DescribeInstances", "MaxResults", "5", "NextToken", next)
	if first.status != 200 || r.code != "RequestExpired" {
		t.Errorf("expired in the middle of a listing: %+v", r)
	}
	if _, err := x.callerARN("us-east-1", longTerm(x.key)); err != nil {
		t.Error(err)
	}
	remove()
	remove = x.aws.Inject(Fault{Kind: RepeatToken})
	for range 3 {
		r := x.ec2("us-east-1", longTerm(x.key), "DescribeInstances", "MaxResults", "5", "NextToken", next)
		if r.status != 200 || element(r.body, "nextToken") != next {
			t.Errorf("the token is not the one sent: %+v", r)
		}
	}
	remove()
	x.aws.Inject(Fault{Kind: Throttling, Service: "sts"})
	_, err := x.callerARN("us-east-1", longTerm(x.key))
	wantCode(t, err, "Throttling", "Rate exceeded")
}

// The standard library reads the same content from the unusual markup as from the plain markup.
func TestUnusualMarkup(t *testing.T) {
	x := newTestClient(t, Options{})
	x.acct.AddInstances("us-east-1", 40)
	type node struct {
		XMLName xml.Name
		Nodes   []node `xml:",any"`
		Text    string `xml:",chardata"`
	}
	var flat func(n node, path string, skip string) []string
	flat = func(n node, path, skip string) (all []string) {
		path += "/" + n.XMLName.Local
		if n.XMLName.Local == "requestId" || skip != "" && strings.HasSuffix(n.XMLName.Local, skip) {
			return nil
		}
		if len(n.Nodes) == 0 {
			return []string{path + "=" + n.Text}
		}
		for _, c := range n.Nodes {
			all = append(all, flat(c, path, skip)...)
		}
		return all
	}
	read := func(skip string) (string, []string) {
		r := x.ec2("us-east-1", longTerm(x.key), "DescribeInstances")
		var n node
		if err := xml.Unmarshal([]byte(r.body), &n); err != nil {
			t.Fatal(err)
		}
		return r.body, flat(n, "", skip)
	}
	_, want := read("")
	if !slices.ContainsFunc(want, func(s string) bool { return strings.Contains(s, "&") || strings.Contains(s, "<") }) {
		t.Fatal("no tag needs escaping: the test proves nothing")
	}
	remove := x.aws.Inject(Fault{Kind: UnusualMarkup})
	body, got := read("")
	if !slices.Equal(got, want) {
		t.Error("the unusual markup has another content")
	}
	for _, mark := range []string{"<![CDATA[", "<!-- in the middle -->", "&#x", "kind='"} {
		if !strings.Contains(body, mark) {
			t.Errorf("no %s", mark)
		}
	}
	remove()
	x.aws.Inject(Fault{Kind: UnknownMembers})
	if body, got := read("Of2031"); !slices.Equal(got, want) ||
		!strings.Contains(body, "<memberOf2031><deep>new &amp; nested</deep>") {
		t.Error("unknown members: known ones changed, or no unknown one was added")
	}
}

// Each form of a text is read as the text.
func TestUnusualText(t *testing.T) {
	for _, text := range append([]string{"a", "]]>", "x]]>y]]>"}, notes...) {
		for form := range 4 {
			var b bytes.Buffer
			b.WriteString("<a>")
			writeUnusualText(&b, []byte(text), form)
			b.WriteString("</a>")
			var got string
			if err := xml.Unmarshal(b.Bytes(), &got); err != nil || got != text {
				t.Errorf("%q in form %d is %s, read as %q, %v", text, form, &b, got, err)
			}
		}
	}
}

// Close ends calls that hang, and can be called again.
func TestCloseEndsHangingCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTestClient(t, Options{})
		x.aws.Inject(Fault{Kind: Hang})
		failed := make(chan error)
		go func() {
			_, err := x.ec2At(context.Background(), time.Now(), "us-east-1", longTerm(x.key), "DescribeVpcs")
			failed <- err
		}()
		synctest.Wait()
		if s := x.aws.Stats(); s.InFlight != 1 {
			t.Errorf("%+v", s)
		}
		x.srv.Close()
		if s := x.aws.Stats(); s.InFlight != 0 || s.OpenConnections != 0 { // Close has waited for them
			t.Errorf("after Close: %+v", s)
		}
		if err := <-failed; err == nil {
			t.Error("a response came")
		}
		x.srv.Close()
		if _, err := x.srv.DialContext(t.Context(), "tcp", "aws.invalid:80"); err == nil {
			t.Error("a closed server accepts calls")
		}
	})
}

func TestSlowBodyArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTestClient(t, Options{})
		x.aws.Inject(Fault{Kind: SlowBody, Delay: 10 * time.Millisecond, Count: 1})
		begun := time.Now()
		slow := x.ec2("us-east-1", longTerm(x.key), "DescribeHosts")
		if want := time.Duration(len(slow.body)) * 10 * time.Millisecond; slow.status != http.StatusOK ||
			time.Since(begun) != want {
			t.Errorf("%d bytes took %v", len(slow.body), time.Since(begun))
		}
	})
}
