package call

import (
	"bytes"
	stdgzip "compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	mw "github.com/aws/smithy-go/middleware"

	"github.com/aws-collector/collector/record"
)

// A script says how AWS responds to one attempt after the other; the last response is repeated.
type script []func(*http.Request) (*http.Response, error)

// A scenario is what both paths go through.
type scenario struct {
	region   string            // us-east-1 if ""
	env      map[string]string // of the process
	config   string            // the shared configuration file
	options  Options
	adapt    func(*aws.Config)
	script   script // success if empty
	creds    func(n int) (aws.Credentials, error)
	gate     func(n int) error
	body     func(io.Reader) error // discard if nil
	deadline time.Duration
	cancelIn time.Duration // after the call's beginning
	calls    int           // 1 if 0
}

// An exchange is what a path did.
type exchange struct {
	Requests []string
	Waits    []time.Duration // before each attempt, to a second
	Gate     []string        // how attempts ended, for the gate
	Bodies   []string        // what the body function read
	Errors   []string        // text, types and facts of each call's error
}

// compare lets this package's loop and the SDK's stack go through a scenario, and wants the same requests, waits,
// errors and results at the gate. It returns what they did.
func compare(t *testing.T, s scenario) exchange {
	t.Helper()
	for k, v := range s.env {
		t.Setenv(k, v)
	}
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(s.config), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := awsconfig.LoadDefaultConfig(t.Context(), awsconfig.WithSharedConfigFiles([]string{file}),
		awsconfig.WithSharedCredentialsFiles([]string{}), awsconfig.WithCredentialsProvider(keys{}))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger = logging.Nop{} // as auth has it
	if s.adapt != nil {
		s.adapt(&cfg)
	}
	var loop, stack exchange
	synctest.Test(t, func(t *testing.T) { loop = s.run(t, cfg, false) })
	synctest.Test(t, func(t *testing.T) { stack = s.run(t, cfg, true) })
	if len(loop.Requests) == 0 && len(loop.Gate) == 0 && slices.Equal(stack.Gate, []string{"DescribeVolumes error"}) {
		stack.Gate = nil // the loop finds out before the gate that settings contradict each other
	}
	a, b := reflect.ValueOf(loop), reflect.ValueOf(stack)
	for i := range a.NumField() {
		x, y := fmt.Sprintf("%+q", a.Field(i)), fmt.Sprintf("%+q", b.Field(i))
		if x != y {
			t.Errorf("%s\n of the loop:        %s\n of the SDK's stack: %s", a.Type().Field(i).Name, x, y)
		}
	}
	if len(loop.Requests)+len(loop.Errors) == 0 {
		t.Error("nothing happened")
	}
	return loop
}

func (s scenario) run(t *testing.T, cfg aws.Config, sdkStack bool) (x exchange) {
	last := time.Now()
	client := awshttp.NewBuildableClient().Freeze().(*http.Client) // for its rule about redirects
	own := *client
	n := 0
	own.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		x.Requests = append(x.Requests, wireText(t, r))
		x.Waits = append(x.Waits, time.Since(last).Round(time.Second))
		last = time.Now()
		if len(s.script) == 0 {
			return reply(200, whole)(r)
		}
		n++
		return s.script[min(n, len(s.script))-1](r)
	})
	cfg.HTTPClient = &own
	o := s.options
	o.AWS, o.SDKStack = cfg, sdkStack
	if o.MaxBackoff == 0 {
		o.MaxBackoff = time.Millisecond
	}
	c := New(o)
	g := &scriptedGate{refuse: s.gate, ended: &x.Gate}
	creds := &scriptedKeys{script: s.creds}
	for range max(s.calls, 1) {
		ctx, cancel := context.WithCancel(t.Context())
		if s.deadline > 0 {
			ctx, cancel = context.WithTimeout(ctx, s.deadline)
		}
		if s.cancelIn > 0 {
			time.AfterFunc(s.cancelIn, cancel)
		}
		r := request(creds, g)
		r.Max, r.Token, r.Params = 500, "t+/=", map[string]string{"Owner.1": "self"}
		if s.region != "" {
			r.Region = s.region
		}
		err := c.Call(ctx, r, func(body io.Reader) error {
			if s.body != nil {
				return s.body(body)
			}
			b, err := io.ReadAll(body)
			x.Bodies = append(x.Bodies, string(b))
			return err
		})
		x.Errors = append(x.Errors, describe(err))
		cancel()
		synctest.Wait()
	}
	return x
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// wireText is a request as it is sent, without what differs from call to call: the signature, the id of the call, the
// date but for its distance from now in minutes.
func wireText(t *testing.T, r *http.Request) string {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	if r.GetBody != nil {
		t.Error("net/http could send the body again by itself")
	}
	h := r.Header.Clone()
	if at, err := time.Parse("20060102T150405Z", h.Get("X-Amz-Date")); err == nil {
		h.Set("X-Amz-Date", time.Until(at).Round(time.Minute).String())
	}
	id := h.Get("Amz-Sdk-Invocation-Id")
	h.Set(
		"Amz-Sdk-Invocation-Id",
		regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).ReplaceAllString(id, "uuid"),
	)
	h.Set("Amz-Sdk-Request", regexp.MustCompile(`ttl=\d{8}T\d{6}Z`).ReplaceAllString(h.Get("Amz-Sdk-Request"), "ttl"))
	h.Set(
		"Authorization",
		regexp.MustCompile(`\d{8}/|Signature=[0-9a-f]{64}`).ReplaceAllString(h.Get("Authorization"), ""),
	)
	var head bytes.Buffer
	h.Write(&head)
	return fmt.Sprintf("%s %s\nHost: %s\nContent-Length: %d\n%s\n%s", r.Method, r.URL, r.Host, r.ContentLength, &head, b)
}

// describe is all of an error that a caller can find out.
func describe(err error) string {
	if err == nil {
		return "nil"
	}
	var chain []string
	for e := err; e != nil; e = errors.Unwrap(e) {
		chain = append(chain, fmt.Sprintf("%T", e))
	}
	chain = slices.Compact(chain) // one of ours adds the words of two of the SDK's
	text := fmt.Sprintf(
		"%v; types %v; code %q; reason %q; summary %q",
		err,
		chain,
		record.CodeOf(err),
		record.ReasonOf(err),
		record.ErrorSummary(err),
	)
	var re *awshttp.ResponseError
	if errors.As(err, &re) {
		text += fmt.Sprintf("; status %d; request %q", re.HTTPStatusCode(), re.ServiceRequestID())
	}
	var oe *smithy.OperationError
	if errors.As(err, &oe) {
		text += fmt.Sprintf("; operation %s %s", oe.Service(), oe.Operation())
	}
	return text
}

// scriptedGate lets everyone in but those that refuse names, and takes a second to do so.
type scriptedGate struct {
	n      int
	refuse func(n int) error
	ended  *[]string
}

func (g *scriptedGate) Enter(ctx context.Context, op string) (func(string), error) {
	g.n++
	if g.refuse != nil {
		if err := g.refuse(g.n); err != nil {
			return nil, err
		}
	}
	return func(code string) { *g.ended = append(*g.ended, op+" "+code) }, nil
}

type scriptedKeys struct {
	n      int
	script func(n int) (aws.Credentials, error)
}

func (k *scriptedKeys) Retrieve(ctx context.Context) (aws.Credentials, error) {
	k.n++
	if k.script != nil {
		return k.script(k.n)
	}
	return keys{}.Retrieve(ctx)
}

// reply is a response with a body and headers: name, value, name, value….
func reply(status int, body string, headers ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return &http.Response{
			StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), Header: h, Request: r,
			ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
		}, nil
	}
}

// refusal is an error document of EC2.
func refusal(status int, code string, headers ...string) func(*http.Request) (*http.Response, error) {
	return reply(status, fmt.Sprintf(errXML, code, "because"), headers...)
}

// clockAhead is a refusal by a service whose clock is ahead.
func clockAhead(
	d time.Duration,
	status int,
	code string,
	headers ...string,
) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		date := time.Now().Add(d).UTC().Format(http.TimeFormat)
		document := fmt.Sprintf(errXML, code, "because")
		if code == "" {
			document = whole
		}
		return reply(status, document, append([]string{"Date", date}, headers...)...)(r)
	}
}

func fails(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// truncatedBody is a response whose body ends early.
func truncatedBody(status int, err error) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		resp, _ := reply(status, "")(r)
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(whole[:40]), errReader{err}))
		return resp, nil
	}
}

// hangs is a response that ends with the request's context: after its header if header is true.
func hangs(header bool) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		if !header {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		resp, _ := reply(200, "")(r)
		resp.Body = io.NopCloser(hangingBody{r.Context()})
		return resp, nil
	}
}

type hangingBody struct{ ctx context.Context }

func (b hangingBody) Read([]byte) (int, error) { <-b.ctx.Done(); return 0, b.ctx.Err() }

func zipped(body string) string {
	var b bytes.Buffer
	z := stdgzip.NewWriter(&b)
	io.WriteString(z, body)
	z.Close()
	return b.String()
}

// Each step of the SDK's stack has a place in this package, or no effect. A version of the SDK with another step fails
// here.
func TestEachStepOfTheSDKHasAPlace(t *testing.T) {
	places := map[string]string{
		"OperationName":                  "SDKStack only: the SDK is told the name of the operation",
		"setOperationInput":              "no effect: for endpoint rules that read the input; EC2 has none",
		"ResolveEndpoint":                "Recorder: once for each endpoint",
		"OperationSerializer":            "Request.form, Recorder.template, attempt.build",
		"ClientRequestID":                "attempt.build",
		"UserAgent":                      "Recorder: once for each endpoint",
		"RecursionDetection":             "attempt.build",
		"InterceptBeforeRetryLoop":       "no effect: aws.Config.Interceptors are not set",
		"Retry":                          "endpoint.retries: the SDK's own",
		"Gate":                           "attempt.throughGate",
		"InterceptAttempt":               "no effect: aws.Config.Interceptors are not set",
		"ResolveAuthScheme":              "Recorder: once for each endpoint",
		"GetIdentity":                    "attempt.sign",
		"ResolveEndpointV2":              "Recorder: once for each endpoint",
		"disableHTTPS":                   "Recorder: once for each endpoint",
		"ComputePayloadHash":             "attempt.build",
		"setLegacyContextSigningOptions": "Recorder: once for each endpoint",
		"Signing":                        "attempt.sign",
		"AddRawResponseToMetadata":       "no effect: nothing reads the metadata",
		"ResponseErrorWrapper":           "attempt.signAndSend: the SDK's own",
		"RequestIDRetriever":             "attempt.withRequestID: the SDK's own",
		"OperationDeserializer":          "attempt.read, Service.ReadError",
		"RecordResponseTiming":           "endpoint.send: the SDK's own",
		"RequestResponseLogger":          "no effect: auth sets a logger that discards",
	}
	var steps []string
	list := func(s *mw.Stack) error {
		steps = slices.Concat(s.Initialize.List(), s.Serialize.List(), s.Build.List(), s.Finalize.List(),
			s.Deserialize.List())
		return nil
	}
	var w where
	c := New(Options{SDKStack: true, AWS: aws.Config{HTTPClient: &w}})
	a := attempt{caller: c, request: request(keys{}, new(codes)), credentials: keys{}, body: discard}
	a.form = a.request.form()
	_, err := c.sdkStack("us-east-1")(context.Background(), nil, a.stack, withAPIOption(list))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if places[s] == "" {
			t.Errorf("step %s has no place", s)
		}
		delete(places, s)
	}
	if len(places) > 0 {
		t.Errorf("the SDK has no such steps: %v", places)
	}
}

func withAPIOption(f func(*mw.Stack) error) func(*ec2.Options) {
	return func(o *ec2.Options) { o.APIOptions = append(o.APIOptions, f) }
}
