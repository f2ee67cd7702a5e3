package call

import (
	"bytes"
	stdgzip "compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/aws-collector/collector/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	whole = `<?xml version="1.0" encoding="UTF-8"?><DescribeVolumesResponse><requestId>r</requestId><volumeSet/>` +
		`</DescribeVolumesResponse>`
	errXML = `<?xml version="1.0" encoding="UTF-8"?><Response><Errors><Error><Code>%s</Code><Message>%s</Message>` +
		`</Error></Errors><RequestID>req-1</RequestID></Response>`
)

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, errXML, code, "because")
}

// onBothPaths runs a test with this package's loop, and with the SDK's stack.
func onBothPaths(t *testing.T, test func(t *testing.T, sdkStack bool)) {
	t.Run("loop", func(t *testing.T) { test(t, false) })
	t.Run("SDK's stack", func(t *testing.T) { test(t, true) })
}

// request is a call of DescribeVolumes in us-east-1.
func request(credentials aws.CredentialsProvider, g Gate) Request {
	return Request{Service: &ec2Service, Region: "us-east-1", Credentials: credentials, Gate: g, Op: "DescribeVolumes"}
}

// ec2Service is like the row of the catalogue, which this package cannot import.
var ec2Service = Service{
	ID: "EC2", Version: EC2Version, PageSize: "MaxResults", PageToken: "NextToken", DryRun: "DryRun",
	Prepare: PrepareEC2, ReadError: ReadEC2Error,
}

// keys is AWS's documented example.
type keys struct {
	err   error
	asked *int
}

func (k keys) Retrieve(context.Context) (aws.Credentials, error) {
	if k.asked != nil {
		*k.asked++
	}
	return aws.Credentials{
		AccessKeyID:     "AKIAIOSFODNN7EXAMPLE",
		SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
	}, k.err
}

// codes is a gate that lets everyone in and remembers how attempts ended.
type codes struct {
	mu    sync.Mutex
	ops   []string
	ended []string

	shut   error
	knocks int
}

func (g *codes) Enter(_ context.Context, op string) (func(string), error) {
	if g.shut != nil {
		g.knocks++
		return nil, g.shut
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ops = append(g.ops, op)
	return func(code string) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.ended = append(g.ended, code)
	}, nil
}

func (g *codes) want(t *testing.T, codes ...string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Equal(g.ended, codes) {
		t.Errorf("attempts ended %q, want %q", g.ended, codes)
	}
	if len(g.ops) != len(g.ended) {
		t.Errorf("%d attempts entered, %d left", len(g.ops), len(g.ended))
	}
}

// fake is an EC2 whose responses are given one after the other; the last is repeated.
func fake(t *testing.T, o Options, responses ...http.HandlerFunc) (*Caller, *httptest.Server) {
	t.Helper()
	var mu sync.Mutex
	n := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		h := responses[min(n, len(responses)-1)]
		n++
		mu.Unlock()
		r.ParseForm() // reads the body: only then does a server see that its client has gone
		h(w, r)
	}))
	tr := &http.Transport{}
	t.Cleanup(func() { tr.CloseIdleConnections(); srv.Close() })
	o.AWS.HTTPClient = &http.Client{Transport: tr}
	o.AWS.BaseEndpoint = &srv.URL
	if o.MaxBackoff == 0 {
		o.MaxBackoff = time.Millisecond
	}
	return New(o), srv
}

func discard(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }

func ok(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
}

func call(c *Caller, g Gate, r Request) (got string, err error) {
	own := request(keys{}, g)
	own.Op, own.Params, own.Max, own.Token = r.Op, r.Params, r.Max, r.Token
	err = c.Call(context.Background(), own, func(body io.Reader) error {
		b, err := io.ReadAll(body)
		if err == nil && !bytes.HasSuffix(b, []byte("Response>")) {
			err = io.ErrUnexpectedEOF
		}
		got = string(b)
		return err
	})
	return got, err
}

func TestRequest(t *testing.T) { onBothPaths(t, testRequest) }

func testRequest(t *testing.T, sdkStack bool) {
	var form url.Values
	var head http.Header
	c, _ := fake(t, Options{SDKStack: sdkStack}, func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		form, head = r.PostForm, r.Header
		io.WriteString(w, whole)
	})
	g := new(codes)
	got, err := call(
		c,
		g,
		Request{Op: "DescribeVolumes", Max: 500, Token: "t+/=", Params: map[string]string{"Owner.1": "self"}},
	)
	if err != nil || got != whole {
		t.Fatalf("%q, %v", got, err)
	}
	want := url.Values{
		"Action":     {"DescribeVolumes"},
		"Version":    {"2016-11-15"},
		"MaxResults": {"500"},
		"NextToken":  {"t+/="},
		"Owner.1":    {"self"},
	}
	if form.Encode() != want.Encode() {
		t.Errorf("sent %v, want %v", form, want)
	}
	if a := head.Get("Authorization"); !strings.Contains(a, "AKIAIOSFODNN7EXAMPLE/") ||
		!strings.Contains(a, "/us-east-1/ec2/aws4_request") ||
		strings.Contains(a, "accept-encoding") {
		t.Errorf("signed %q", a)
	}
	if head.Get("Accept-Encoding") != "identity" {
		t.Errorf("asked for encoding %q", head.Get("Accept-Encoding"))
	}
	g.want(t, "")
	if g.ops[0] != "DescribeVolumes" {
		t.Errorf("the gate was told %q", g.ops)
	}
}

func TestErrorsKeepTheirNames(t *testing.T) { onBothPaths(t, testErrorsKeepTheirNames) }

func testErrorsKeepTheirNames(t *testing.T, sdkStack bool) {
	c, _ := fake(t, Options{SDKStack: sdkStack}, func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, 403, "UnauthorizedOperation")
	})
	g := new(codes)
	_, err := call(c, g, Request{Op: "DescribeVolumes"})
	var oe *smithy.OperationError
	if !errors.As(err, &oe) || oe.Operation() != "DescribeVolumes" || record.CodeOf(err) != "UnauthorizedOperation" {
		t.Fatalf("%v", err)
	}
	if !strings.Contains(err.Error(), "req-1") {
		t.Errorf("the request id is lost: %v", err)
	}
	if strings.Contains(err.Error(), "DescribeRegions") {
		t.Errorf("the lent name shows: %v", err)
	}
	g.want(t, "UnauthorizedOperation")
}

func TestRetry(t *testing.T) { onBothPaths(t, testRetry) }

func testRetry(t *testing.T, sdkStack bool) {
	page := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(503)
		io.WriteString(w, "<html><body>Bad  day")
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
		io.WriteString(w, whole[:40])
	}
	reset := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	throttle := func(w http.ResponseWriter, _ *http.Request) { refuse(w, 503, "RequestLimitExceeded") }
	client := func(w http.ResponseWriter, _ *http.Request) { refuse(w, 400, "Client.RequestLimitExceeded") }
	cutError := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "500")
		w.WriteHeader(400)
		io.WriteString(w, "<Response><Errors>")
	}
	for name, c := range map[string]struct {
		response http.HandlerFunc
		code     string
	}{
		"a proxy's page":      {page, "http_503"},
		"half a body":         {cut, "network"},
		"a reset":             {reset, "network"},
		"a throttle":          {throttle, "RequestLimitExceeded"},
		"a client's throttle": {client, "Client.RequestLimitExceeded"},
		"half a refusal":      {cutError, "network"},
	} {
		t.Run(name, func(t *testing.T) {
			g := new(codes)
			caller, _ := fake(t, Options{SDKStack: sdkStack}, c.response, c.response, ok(whole))
			if got, err := call(caller, g, Request{Op: "DescribeVolumes"}); err != nil || got != whole {
				t.Fatalf("%q, %v", got, err)
			}
			g.want(t, c.code, c.code, "")
		})
		t.Run(name+" for ever", func(t *testing.T) {
			g := new(codes)
			caller, _ := fake(t, Options{SDKStack: sdkStack, Attempts: 3}, c.response)
			_, err := call(caller, g, Request{Op: "DescribeVolumes"})
			var most *retry.MaxAttemptsError
			if !errors.As(err, &most) || most.Attempt != 3 {
				t.Fatalf("%v", err)
			}
			g.want(t, c.code, c.code, c.code)
		})
	}
}

// A quota of retries in the client would be one for all accounts: one that is throttled would leave the others none.
func TestRetriesAreNotRationed(t *testing.T) { onBothPaths(t, testRetriesAreNotRationed) }

func testRetriesAreNotRationed(t *testing.T, sdkStack bool) {
	c, _ := fake(
		t,
		Options{SDKStack: sdkStack, Attempts: 3},
		func(w http.ResponseWriter, _ *http.Request) { refuse(w, 503, "RequestLimitExceeded") },
	)
	g := new(codes)
	for range 80 {
		call(c, g, Request{Op: "DescribeVolumes"})
	}
	if len(g.ended) != 240 {
		t.Errorf("%d attempts for 80 calls of three", len(g.ended))
	}
}

func TestNoRetry(t *testing.T) { onBothPaths(t, testNoRetry) }

func testNoRetry(t *testing.T, sdkStack bool) {
	c, _ := fake(t, Options{SDKStack: sdkStack}, ok(whole))
	wrong := errors.New("markup")
	g := new(codes)
	n := 0
	err := c.Call(context.Background(), request(keys{}, g),
		func(r io.Reader) error { n++; return wrong },
	)
	if !errors.Is(err, wrong) || n != 1 {
		t.Errorf("a body that cannot be taken: %v after %d", err, n)
	}
	g.want(t, "error")

	g = new(codes)
	denied := &smithy.GenericAPIError{Code: "Throttling", Message: "STS is busy"}
	asked := 0
	err = c.Call(context.Background(), request(keys{denied, &asked}, g), nil)
	if !errors.Is(err, denied) || asked != 1 {
		t.Errorf("a sign-in that failed: %v, after %d", err, asked)
	}
	g.want(t)

	shut := &smithy.GenericAPIError{Code: "Throttling", Message: "no budget"}
	gate := &codes{shut: shut}
	err = c.Call(context.Background(), request(keys{}, gate), nil)
	if !errors.Is(err, shut) || gate.knocks != 1 {
		t.Errorf("a gate that is shut: %v, after %d", err, gate.knocks)
	}
}

func TestBodyGoesOn(t *testing.T) { onBothPaths(t, testBodyGoesOn) }

func testBodyGoesOn(t *testing.T, sdkStack bool) {
	c, _ := fake(t, Options{SDKStack: sdkStack}, ok(whole+strings.Repeat("x", 2*maxAfterRoot)))
	err := c.Call(context.Background(), request(keys{}, new(codes)),
		func(r io.Reader) error {
			_, err := io.CopyN(io.Discard, r, int64(len(whole)))
			return err
		},
	)
	if record.ReasonOf(err) != record.BadAnswer {
		t.Errorf("%v", err)
	}
}

// The head comes at once and the body later, so that the SDK closes the request's body while net/http may still look at
// its end: see form.
func TestConnectionIsKept(t *testing.T) { onBothPaths(t, testConnectionIsKept) }

func testConnectionIsKept(t *testing.T, sdkStack bool) {
	seen := map[string]bool{}
	var mu sync.Mutex
	c, _ := fake(t, Options{SDKStack: sdkStack}, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen[r.RemoteAddr] = true
		mu.Unlock()
		w.(http.Flusher).Flush() // chunked, so that the end is a chunk of its own
		time.Sleep(100 * time.Microsecond)
		io.WriteString(w, whole+"\n")
	})
	g := new(codes)
	for range 300 {
		err := c.Call(context.Background(), request(keys{}, g), func(r io.Reader) error {
			_, err := io.CopyN(io.Discard, r, int64(len(whole)))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != 1 || len(g.ended) != 300 {
		t.Errorf("%d connections and %d attempts for 300 calls", len(seen), len(g.ended))
	}
}

func TestGzip(t *testing.T) { onBothPaths(t, testGzip) }

func testGzip(t *testing.T, sdkStack bool) {
	for _, on := range []bool{true, false} {
		t.Run(fmt.Sprint(on), func(t *testing.T) {
			bad := 0
			c, _ := fake(t, Options{SDKStack: sdkStack, GZIP: on}, func(w http.ResponseWriter, r *http.Request) {
				if (r.Header.Get("Accept-Encoding") == "gzip") != on {
					t.Errorf("asked for %q", r.Header.Get("Accept-Encoding"))
				}
				if !on {
					io.WriteString(w, whole)
					return
				}
				var b bytes.Buffer
				z := stdgzip.NewWriter(&b)
				io.WriteString(z, whole)
				z.Close()
				w.Header().Set("Content-Encoding", "gzip")
				switch bad++; bad {
				case 1: // cut inside
					b.Truncate(b.Len() - 9)
				case 2: // its checksum is another
					b.Bytes()[b.Len()-5]++
				case 3: // not gzip at all
					b.Bytes()[0] = 'x'
				}
				w.Write(b.Bytes())
			})
			g := new(codes)
			for range 3 { // the reader is used again
				if got, err := call(c, g, Request{Op: "DescribeVolumes"}); err != nil || got != whole {
					t.Fatalf("%q, %v", got, err)
				}
			}
			if on {
				g.want(t, "network", "network", "network", "", "", "")
			} else {
				g.want(t, "", "", "")
			}
		})
	}
}

// The clocks are short here because sockets cannot stand in a synctest bubble; no assertion depends on how short.
func TestSlow(t *testing.T) { onBothPaths(t, testSlow) }

func testSlow(t *testing.T, sdkStack bool) {
	hung := make(chan struct{})
	defer close(hung)
	head := func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hung:
		case <-r.Context().Done():
		}
	}
	body := func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, whole[:50])
		w.(http.Flusher).Flush()
		head(w, r)
	}
	for name, c := range map[string]struct {
		response http.HandlerFunc
		says     string
	}{"no head": {head, "the response's first byte"}, "no end": {body, "the rest of the response's body"}} {
		t.Run(name, func(t *testing.T) {
			g := new(codes)
			caller, _ := fake(t, Options{SDKStack: sdkStack, FirstByte: 50 * time.Millisecond}, c.response, ok(whole))
			if got, err := call(caller, g, Request{Op: "DescribeVolumes"}); err != nil || got != whole {
				t.Fatalf("%q, %v", got, err)
			}
			g.want(t, "timeout", "")
			caller, _ = fake(t, Options{SDKStack: sdkStack, Attempts: 2, FirstByte: 50 * time.Millisecond}, c.response)
			_, err := call(caller, new(codes), Request{Op: "DescribeVolumes"})
			var slow *Slow
			if !errors.As(err, &slow) || slow.What != c.says || record.ReasonOf(err) != record.TimedOut {
				t.Errorf("%v is %s", err, record.ReasonOf(err))
			}
		})
	}
}

// A reader that dawdles over a page is not the wire's fault.
func TestClockStopsOutsideReads(t *testing.T) { onBothPaths(t, testClockStopsOutsideReads) }

func testClockStopsOutsideReads(t *testing.T, sdkStack bool) {
	long := strings.Repeat(" ", 4<<20) // longer than what buffers on the way would hold
	o := Options{SDKStack: sdkStack, Attempts: 1, Stall: 100 * time.Millisecond, FirstByte: time.Minute}
	c, _ := fake(t, o, ok(long))
	err := c.Call(context.Background(), request(keys{}, new(codes)),
		func(r io.Reader) error {
			one := make([]byte, 1)
			if _, err := r.Read(one); err != nil {
				return err
			}
			time.Sleep(300 * time.Millisecond)
			_, err := io.ReadAll(r)
			return err
		},
	)
	if err != nil {
		t.Error(err)
	}
}

func TestContextsCauseIsKept(t *testing.T) { onBothPaths(t, testContextsCauseIsKept) }

func testContextsCauseIsKept(t *testing.T, sdkStack bool) {
	over := &record.Fault{Reason: record.TimedOut, Err: errors.New("the run's hour is over")}
	ctx, cancel := context.WithCancelCause(context.Background())
	o := Options{SDKStack: sdkStack, Attempts: 100, MaxBackoff: time.Hour}
	c, _ := fake(t, o, func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, 503, "RequestLimitExceeded")
		time.AfterFunc(20*time.Millisecond, func() { cancel(over) }) // the SDK sleeps by then
	})
	err := c.Call(ctx, request(keys{}, new(codes)), nil)
	if !errors.Is(err, over) || !strings.Contains(err.Error(), "RequestLimitExceeded") {
		t.Errorf("%v", err)
	}
}

func TestSkew(t *testing.T) { onBothPaths(t, testSkew) }

func testSkew(t *testing.T, sdkStack bool) {
	c, _ := fake(t, Options{SDKStack: sdkStack}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-20*time.Minute).UTC().Format(http.TimeFormat))
		refuse(w, 400, "RequestExpired")
	})
	_, err := call(c, new(codes), Request{Op: "DescribeVolumes"})
	if d, ok := Skew(err, time.Now()); !ok || d > -19*time.Minute || d < -21*time.Minute {
		t.Errorf("%v, %v", d, ok)
	}
	if _, ok := Skew(errors.New("x"), time.Now()); ok {
		t.Error("a skew out of nothing")
	}
}

// where records to which host a call goes, without a network.
type where struct{ urls []string }

func (w *where) Do(r *http.Request) (*http.Response, error) {
	w.urls = append(w.urls, r.URL.String())
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(whole))}, nil
}

func TestEndpoints(t *testing.T) { onBothPaths(t, testEndpoints) }

func testEndpoints(t *testing.T, sdkStack bool) {
	for region, want := range map[string]string{
		"us-east-1":     "https://ec2.us-east-1.amazonaws.com/",
		"cn-north-1":    "https://ec2.cn-north-1.amazonaws.com.cn/",
		"us-gov-west-1": "https://ec2.us-gov-west-1.amazonaws.com/",
		"ap-next-9":     "https://ec2.ap-next-9.amazonaws.com/",
	} {
		var w where
		r := request(keys{}, new(codes))
		r.Region = region
		o := Options{SDKStack: sdkStack, AWS: aws.Config{HTTPClient: &w}}
		err := New(o).Call(context.Background(), r, discard)
		if err != nil || len(w.urls) != 1 || w.urls[0] != want {
			t.Errorf("%s: %v, %v", region, w.urls, err)
		}
	}
}

func BenchmarkUnzip(b *testing.B) {
	var page, zipped bytes.Buffer
	for i := range 1000 {
		fmt.Fprintf(&page, "<item>\n  <instanceId>i-%017x</instanceId>\n", i*2654435761)
		for j := range 120 {
			fmt.Fprintf(&page, "    <member%d>\n      <item>%d</item>\n"+
				"        <privateIpAddress>10.0.%d.%d</privateIpAddress>\n    </member%[1]d>\n", j, j*7, i%250, j)
		}
		page.WriteString("</item>\n")
	}
	z := stdgzip.NewWriter(&zipped)
	z.Write(page.Bytes())
	z.Close()
	c := New(Options{})
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(int64(page.Len()))
		for b.Loop() {
			u := &unzipped{caller: c, r: bytes.NewReader(zipped.Bytes())}
			if _, err := io.Copy(io.Discard, u); err != nil {
				b.Fatal(err)
			}
			u.close()
		}
	})
	b.Run("net/http's", func(b *testing.B) {
		b.SetBytes(int64(page.Len()))
		for b.Loop() {
			r, err := stdgzip.NewReader(bytes.NewReader(zipped.Bytes()))
			if err != nil {
				b.Fatal(err)
			}
			io.Copy(io.Discard, r)
		}
	})
}

// BenchmarkCall measures a call without the network and without a body to decode.
func BenchmarkCall(b *testing.B) {
	for name, sdkStack := range map[string]bool{"loop": false, "SDK's stack": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			c := New(Options{SDKStack: sdkStack, AWS: aws.Config{HTTPClient: quiet{}}})
			r := request(keys{}, open{})
			r.Max, r.Token = 1000, "token"
			for b.Loop() {
				if err := c.Call(context.Background(), r, discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// quiet is a transport that responds at once.
type quiet struct{}

func (quiet) Do(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(whole))}, nil
}

// open is a gate that lets everyone in.
type open struct{}

func (open) Enter(context.Context, string) (func(string), error) { return func(string) {}, nil }
