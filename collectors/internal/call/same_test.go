package call

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmw "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go"

	"github.com/aws-collector/collector/record"
)

// once is a scenario whose first attempt fails; the second succeeds. In always, all fail alike.
func once(r func(*http.Request) (*http.Response, error)) scenario {
	return scenario{script: script{r, reply(200, whole)}}
}

func always(r func(*http.Request) (*http.Response, error)) scenario {
	return scenario{script: script{r}}
}

// Settings decide where a request goes and what its headers say.
func TestSameRequest(t *testing.T) {
	const services = "[default]\nservices = here\n[services here]\nec2 =\n  endpoint_url = http://127.0.0.1:1/ec2\n"
	for name, c := range map[string]struct {
		scenario
		want string // in the request, or in the error
	}{
		"nothing set":    {scenario{}, "POST https://ec2.us-east-1.amazonaws.com/"},
		"China":          {scenario{region: "cn-north-1"}, "POST https://ec2.cn-north-1.amazonaws.com.cn/"},
		"a new region":   {scenario{region: "ap-next-9"}, "/ap-next-9/ec2/aws4_request"},
		"a wrong region": {scenario{region: "us east 1"}, "invalid input region us east 1"},
		"FIPS": {scenario{env: map[string]string{"AWS_USE_FIPS_ENDPOINT": "true"}},
			"POST https://ec2-fips.us-east-1.amazonaws.com/"},
		"FIPS, GovCloud": {scenario{region: "us-gov-west-1", env: map[string]string{"AWS_USE_FIPS_ENDPOINT": "true"}},
			"POST https://ec2.us-gov-west-1.amazonaws.com/"},
		"FIPS, by region": {scenario{region: "fips-us-east-1"}, "POST https://ec2-fips.us-east-1.amazonaws.com/"},
		"dual stack": {scenario{env: map[string]string{"AWS_USE_DUALSTACK_ENDPOINT": "true"}},
			"POST https://ec2.us-east-1.api.aws/"},
		"FIPS and dual stack": {scenario{config: "[default]\nuse_fips_endpoint = true\nuse_dualstack_endpoint = true\n"},
			"POST https://ec2-fips.us-east-1.api.aws/"},
		"dual stack, isolated": {scenario{region: "us-iso-east-1",
			env: map[string]string{"AWS_USE_DUALSTACK_ENDPOINT": "true"}}, "POST https://ec2.us-iso-east-1.api.aws.ic.gov/"},
		"endpoint": {scenario{env: map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}},
			"POST http://127.0.0.1:1/\n"},
		"endpoint with a path": {scenario{env: map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:1/a/b?c=d"}},
			"POST http://127.0.0.1:1/a/b\n"},
		"endpoint of EC2": {scenario{env: map[string]string{
			"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_EC2": "http://127.0.0.1:2"}},
			"POST http://127.0.0.1:2/"},
		"endpoint of the file": {scenario{config: services}, "POST http://127.0.0.1:1/ec2\n"},
		"endpoint of file, variable": {scenario{config: services, env: map[string]string{
			"AWS_ENDPOINT_URL": "http://127.0.0.1:3"}}, "POST http://127.0.0.1:3/"},
		"endpoint of all in the file": {scenario{config: "[default]\nendpoint_url = http://127.0.0.1:4\n"},
			"POST http://127.0.0.1:4/"},
		"endpoints ignored": {scenario{config: services, env: map[string]string{
			"AWS_ENDPOINT_URL": "http://127.0.0.1:3", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}},
			"POST https://ec2.us-east-1.amazonaws.com/"},
		"endpoints ignored by the file": {scenario{
			config: "[default]\nignore_configured_endpoint_urls = true\nendpoint_url = http://127.0.0.1:4\n"},
			"POST https://ec2.us-east-1.amazonaws.com/"},
		"endpoint and FIPS": {scenario{env: map[string]string{
			"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_USE_FIPS_ENDPOINT": "true"}},
			"FIPS and custom endpoint are not supported"},
		"endpoint that is no URL": {scenario{env: map[string]string{"AWS_ENDPOINT_URL": "http://a b:1"}}, "parse"},
		"host that is no host": {scenario{adapt: func(c *aws.Config) { c.BaseEndpoint = aws.String("http://a_b.example:1") }},
			"a_b"},
		"app id":        {scenario{env: map[string]string{"AWS_SDK_UA_APP_ID": "inventory"}}, " app/inventory"},
		"app, file":     {scenario{config: "[default]\nsdk_ua_app_id = inventory\n"}, " app/inventory"},
		"execution env": {scenario{env: map[string]string{"AWS_EXECUTION_ENV": "AWS_ECS"}}, "exec-env/AWS_ECS"},
		"our name": {scenario{adapt: func(c *aws.Config) {
			c.APIOptions = append(c.APIOptions, awsmw.AddUserAgentKeyValue("collector", "1.2"))
		}}, " collector/1.2"},
		"retry mode": {scenario{env: map[string]string{"AWS_RETRY_MODE": "adaptive", "AWS_MAX_ATTEMPTS": "9"}},
			"attempt=1; max=5"},
		"trace of Lambda": {scenario{env: map[string]string{
			"AWS_LAMBDA_FUNCTION_NAME": "f", "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe;Parent= ä"}},
			"X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe;Parent=%20%C3%A4"},
		"trace without Lambda": {scenario{env: map[string]string{"_X_AMZN_TRACE_ID": "Root=1"}}, "POST"},
		"session token": {scenario{creds: func(int) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "ASIAIOSFODNN7EXAMPLE", SecretAccessKey: "x", SessionToken: "tok"}, nil
		}}, "X-Amz-Security-Token: tok"},
		"unsigned": {scenario{adapt: func(c *aws.Config) { c.AuthSchemePreference = []string{"noAuth"} }}, "POST"},
		"gzip":     {scenario{options: Options{GZIP: true}}, "Accept-Encoding: gzip"},
		"no gzip":  {scenario{}, "Accept-Encoding: identity"},
		"payload hash": {scenario{},
			"Action=DescribeVolumes&MaxResults=500&NextToken=t%2B%2F%3D&Owner.1=self&Version=2016-11-15"},
	} {
		t.Run(name, func(t *testing.T) {
			x := compare(t, c.scenario)
			if all := strings.Join(append(x.Requests, x.Errors...), "\n"); !strings.Contains(all, c.want) {
				t.Errorf("want %q in\n%s", c.want, all)
			}
		})
	}
}

// What AWS or the network responds decides about retries, waits, errors, and what the gate is told.
func TestSameOutcome(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	reset := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	for name, c := range map[string]struct {
		scenario
		attempts int
	}{
		"success": {scenario{}, 1},
		"denied":  {always(refusal(403, "UnauthorizedOperation")), 1},
		"two calls": {scenario{script: script{refusal(403, "UnauthorizedOperation"), reply(200, whole)}, calls: 2},
			2},
		"throttled":         {once(refusal(503, "RequestLimitExceeded")), 2},
		"throttled, 400":    {once(refusal(400, "Throttling")), 2},
		"throttled by ours": {once(refusal(400, "Client.RequestLimitExceeded")), 2},
		"throttled forever": {always(refusal(503, "RequestLimitExceeded")), 5},
		"three attempts":    {scenario{options: Options{Attempts: 3}, script: script{refusal(500, "InternalError")}}, 3},
		"one attempt":       {scenario{options: Options{Attempts: 1}, script: script{refusal(500, "InternalError")}}, 1},
		"timeout of AWS":    {once(refusal(400, "RequestTimeout")), 2},
		"expired":           {always(refusal(400, "RequestExpired")), 1},
		"status 502":        {once(reply(502, "<html>Bad  gateway")), 2},
		"status 429":        {always(reply(429, "slow down")), 1},
		"status 404, empty": {always(reply(404, "")), 1},
		"status 500, empty": {always(reply(500, "")), 5},
		"status 204":        {always(reply(204, "")), 1},
		"status 304":        {always(reply(304, "")), 1},
		"no code": {scenario{script: script{reply(400,
			"<Response><Errors><Error><Message>m</Message></Error></Errors></Response>")}}, 1},
		"document of STS": {always(reply(400, "<ErrorResponse><Error><Code>X</Code></Error></ErrorResponse>")), 1},
		"JSON":            {always(reply(400, `{"__type":"X","message":"m"}`)), 1},
		"document cut":    {always(reply(400, "<Response><Errors><Error><Code>X</Code>")), 1},
		"long document":   {always(refusal(400, strings.Repeat("x", 70<<10))), 1},
		"two errors": {always(reply(400, "<Response><Errors><Error><Code>A</Code></Error><Error><Code>B</Code></Error>"+
			"</Errors></Response>")), 1},
		"id in the header":       {always(refusal(400, "X", "X-Amzn-Requestid", "h-1")), 1},
		"other id in the header": {always(refusal(400, "X", "X-Amz-RequestId", "h-2")), 1},
		"id without document":    {always(reply(400, "no", "X-Amzn-Requestid", "h-3")), 1},
		"gzip":                   {always(reply(200, zipped(whole), "Content-Encoding", "gzip")), 1},
		"gzip, its name":         {always(reply(200, zipped(whole), "Content-Encoding", "GZIP")), 1},
		"gzip, truncated":        {once(reply(200, zipped(whole)[:60], "Content-Encoding", "gzip")), 2},
		"gzip, refusal":          {always(reply(400, zipped(fmt.Sprintf(errXML, "X", "m")), "Content-Encoding", "gzip")), 1},
		"redirect 301":           {always(reply(301, "", "Location", "http://127.0.0.1:9/")), 1},
		"redirect 307":           {once(reply(307, "", "Location", "http://127.0.0.1:9/")), 1},
		"redirect 308":           {once(reply(308, "", "Location", "http://127.0.0.1:9/")), 1},
		"redirect to nowhere":    {once(reply(302, "")), 1},
		"refused":                {once(fails(refused)), 2},
		"reset":                  {once(fails(reset)), 2},
		"reset forever":          {always(fails(reset)), 5},
		"EOF":                    {once(fails(io.EOF)), 2},
		"no such host":           {always(fails(&net.DNSError{Err: "no such host", Name: "x", IsNotFound: true})), 1},
		"name server busy":       {once(fails(&net.DNSError{Err: "busy", Name: "x", IsTemporary: true})), 2},
		"body truncated":         {once(truncatedBody(200, io.ErrUnexpectedEOF)), 2},
		"body reset":             {once(truncatedBody(200, reset)), 2},
		"body reset forever":     {always(truncatedBody(200, reset)), 5},
		"refusal truncated":      {once(truncatedBody(400, io.ErrUnexpectedEOF)), 2},
		"data after the end": {scenario{
			script: script{reply(200, whole+strings.Repeat("x", 3*maxAfterRoot))}, body: readRoot}, 1},
		"body refused":        {scenario{body: func(io.Reader) error { return errors.New("not for me") }}, 1},
		"no first byte":       {once(hangs(false)), 2},
		"no first byte twice": {always(hangs(false)), 2},
		"no body":             {once(hangs(true)), 2},
		"canceled before":     {scenario{script: script{hangs(false)}, cancelIn: 1}, 1},
		"canceled in header":  {scenario{script: script{hangs(false)}, cancelIn: time.Second}, 1},
		"canceled in body":    {scenario{script: script{hangs(true)}, cancelIn: time.Second}, 1},
		"canceled in sleep": {scenario{options: Options{MaxBackoff: time.Hour, Attempts: 50},
			script: script{refusal(503, "SlowDown")}, cancelIn: 1}, 1},
		"deadline": {scenario{script: script{hangs(false)}, deadline: 3 * time.Second}, 1},
		"no session token any more": {scenario{creds: func(n int) (aws.Credentials, error) {
			c := aws.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "x"}
			if n <= 2 { // the first attempt asks before and after the gate
				c.SessionToken = "tok"
			}
			return c, nil
		}, script: script{refusal(503, "SlowDown"), reply(200, whole)}}, 2},
		"deadline far away": {scenario{script: script{refusal(503, "SlowDown"), reply(200, whole)}, deadline: time.Hour},
			2},
	} {
		t.Run(name, func(t *testing.T) {
			if x := compare(t, c.scenario); len(x.Requests) != c.attempts {
				t.Errorf("%d attempts, want %d: %q", len(x.Requests), c.attempts, x.Errors)
			}
		})
	}
}

func readRoot(r io.Reader) error {
	_, err := io.CopyN(io.Discard, r, int64(len(whole)))
	return err
}

// The service's clock decides about the date of the signature.
func TestSameClock(t *testing.T) {
	const ahead, behind = 10 * time.Minute, -10 * time.Minute
	ok := func(d time.Duration) func(*http.Request) (*http.Response, error) { return clockAhead(d, 200, "") }
	refused := func(d time.Duration, code string, headers ...string) func(*http.Request) (*http.Response, error) {
		return clockAhead(d, 401, code, headers...)
	}
	twice := func(s ...func(*http.Request) (*http.Response, error)) scenario { return scenario{script: s, calls: 2} }
	for name, c := range map[string]struct {
		scenario
		dates string // of the requests, minutes from now
	}{
		"right":                 {twice(ok(0)), "0s 0s"},
		"ahead":                 {twice(refused(ahead, "AuthFailure"), ok(ahead)), "0s 10m0s 10m0s"},
		"behind":                {twice(refused(behind, "SignatureDoesNotMatch"), ok(behind)), "0s -10m0s -10m0s"},
		"too late":              {twice(refused(ahead, "RequestTimeTooSkewed"), ok(ahead)), "0s 10m0s 10m0s"},
		"denied":                {twice(refused(ahead, "AccessDeniedException"), ok(ahead)), "0s 10m0s 10m0s"},
		"expired":               {twice(refused(ahead, "RequestExpired"), ok(ahead)), "0s 10m0s"},
		"a little":              {twice(refused(3*time.Minute, "AuthFailure"), ok(0)), "0s 3m0s"},
		"learnt from a success": {scenario{script: script{ok(ahead)}, calls: 2, deadline: time.Hour}, "0s 10m0s"},
		"healed": {scenario{script: script{ok(ahead), refused(0, "AuthFailure"), ok(0)}, calls: 3},
			"0s 10m0s 0s 0s"},
		"for ever":     {twice(refused(ahead, "AuthFailure")), "0s 10m0s 10m0s"},
		"from a cache": {twice(refused(ahead, "AuthFailure", "Age", "7"), ok(0)), "0s 0s"},
		"no date":      {scenario{script: script{refusal(401, "AuthFailure", "Date", "today")}}, "0s"},
		"disabled": {scenario{script: script{clockAhead(ahead, 401, "AuthFailure")}, calls: 2,
			adapt: func(c *aws.Config) { c.DisableClockSkewCorrection = true }}, "0s 0s"},
		"a retry in between": {scenario{script: script{clockAhead(ahead, 503, "SlowDown"), ok(ahead)}, deadline: time.Hour},
			"0s 10m0s"},
		"a reset in between": {scenario{script: script{ok(ahead), fails(io.EOF), ok(ahead)}, calls: 3},
			"0s 10m0s 0s 10m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			var dates []string
			for _, r := range compare(t, c.scenario).Requests {
				dates = append(dates, regexp.MustCompile(`X-Amz-Date: (\S+)`).FindStringSubmatch(r)[1])
			}
			if got := strings.Join(dates, " "); got != c.dates {
				t.Errorf("signed at %s, want %s", got, c.dates)
			}
		})
	}
}

// Credentials and the gate are asked once before each attempt; the credentials again after the gate.
func TestSameCredentials(t *testing.T) {
	fail := func(at ...int) func(int) (aws.Credentials, error) {
		return func(n int) (aws.Credentials, error) {
			v, _ := keys{}.Retrieve(context.Background())
			if slices.Contains(at, n) {
				return v, &smithy.GenericAPIError{Code: "Throttling", Message: "STS is busy"}
			}
			return v, nil
		}
	}
	anonymous := func(int) (aws.Credentials, error) {
		return aws.AnonymousCredentials{}.Retrieve(context.Background())
	}
	shut := func(at int, err error) func(int) error {
		return func(n int) error {
			if n == at {
				return err
			}
			return nil
		}
	}
	busy := &record.Fault{Reason: record.Throttling, Err: errors.New("no budget")}
	for name, c := range map[string]struct {
		scenario
		attempts, told int
	}{
		"first":            {scenario{creds: fail(1)}, 0, 0},
		"after the gate":   {scenario{creds: fail(2)}, 0, 1},
		"second attempt":   {scenario{creds: fail(3), script: script{refusal(503, "SlowDown")}}, 1, 1},
		"second, gate":     {scenario{creds: fail(4), script: script{refusal(503, "SlowDown")}}, 1, 2},
		"none":             {scenario{creds: anonymous}, 0, 0},
		"empty":            {scenario{creds: func(int) (aws.Credentials, error) { return aws.Credentials{}, nil }}, 1, 1},
		"gate":             {scenario{gate: shut(1, errors.New("closed"))}, 0, 0},
		"gate, second":     {scenario{gate: shut(2, errors.New("closed")), script: script{refusal(503, "SlowDown")}}, 1, 1},
		"gate, its reason": {scenario{gate: shut(1, busy)}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			x := compare(t, c.scenario)
			if len(x.Requests) != c.attempts || len(x.Gate) != c.told {
				t.Errorf("%d attempts, want %d; the gate was told %q, want %d: %q",
					len(x.Requests), c.attempts, x.Gate, c.told, x.Errors)
			}
		})
	}
}

// The SDK's next rules for retries let AWS say how long to wait.
func TestSameRetryAfter(t *testing.T) {
	after := func(value string) script {
		return script{refusal(503, "InternalError", "X-Amz-Retry-After", value, "Retry-After", "9"), reply(200, whole)}
	}
	on := map[string]string{"AWS_NEW_RETRIES_2026": "true"}
	for name, c := range map[string]struct {
		scenario
		wait time.Duration
	}{
		"today's rules": {scenario{script: after("3000")}, 0},
		"3 s":           {scenario{script: after("3000"), env: on}, 3 * time.Second},
		"too long":      {scenario{script: after("60000"), env: on}, 5 * time.Second},
		"no number":     {scenario{script: after("soon"), env: on}, 0},
		"negative":      {scenario{script: after("-1"), env: on}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if x := compare(t, c.scenario); len(x.Waits) != 2 || x.Waits[1] != c.wait {
				t.Errorf("waited %v, want %v", x.Waits, c.wait)
			}
		})
	}
}

// The bytes on the wire are the same, the order of headers included.
func TestSameBytes(t *testing.T) {
	own := regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{8}T\d{6}Z|Signature=[0-9a-f]{64}`)
	sent := map[bool]string{}
	for _, sdkStack := range []bool{false, true} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		wire := make(chan string, 1)
		go func() {
			defer close(wire)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			var b bytes.Buffer
			r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(conn, &b)))
			if err == nil {
				_, err = io.Copy(io.Discard, r.Body)
			}
			if err == nil {
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(whole), whole)
				wire <- strings.ReplaceAll(b.String(), l.Addr().String(), "host")
			}
		}()
		url := "http://" + l.Addr().String() + "/path/"
		c := New(Options{SDKStack: sdkStack, AWS: aws.Config{BaseEndpoint: &url}})
		if err := c.Call(t.Context(), request(keys{}, new(codes)), discard); err != nil {
			t.Error(err)
		}
		l.Close()
		sent[sdkStack] = own.ReplaceAllString(<-wire, "…")
	}
	if sent[false] != sent[true] || !strings.HasPrefix(sent[false], "POST /path/ HTTP/1.1\r\n") {
		t.Errorf("the loop sent\n%s\nthe SDK's stack\n%s", sent[false], sent[true])
	}
}
