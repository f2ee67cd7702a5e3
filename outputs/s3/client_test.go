package s3_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/s3"
	"github.com/aws-collector/collector/record"
)

// The path is escaped as the SDK's own client does, so that the signature is valid.
func TestS3Paths(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Host+strings.TrimSuffix(r.RequestURI, "?x-id=PutObject"))
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	t.Cleanup(s.Close)
	client := sdk.New(sdk.Options{BaseEndpoint: &s.URL, UsePathStyle: true, Region: "us-east-1", HTTPClient: s.Client(),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: exampleKey, SecretAccessKey: exampleSecret}, nil
		})})
	for _, prefix := range []string{"a", "a b+ü", "100%/~x", "q?x=1&y#z", "*'()!$,;:@[]"} {
		t.Run(prefix, func(t *testing.T) {
			seen = nil
			out := openBucket(t, s.URL, func(o *s3.Options) { o.Prefix, o.Key = prefix, "{account}" })
			must(t, out.Send(t.Context(), outputs.Batch{N: 1, Lines: []byte(strings.Split(mixed, "\n")[2] + "\n")}))
			_, name, _ := strings.Cut(seen[0], "%252Fb%2520%253D%25C3%25BC/")
			_, err := client.PutObject(
				t.Context(),
				&sdk.PutObjectInput{Bucket: aws.String("records"), Body: strings.NewReader("x"),
					Key: aws.String(prefix + "/a%2Fb%20%3D%C3%BC/" + name)},
			)
			must(t, err)
			if len(seen) != 2 || seen[0] != seen[1] {
				t.Errorf("we and the SDK's client asked for\n%s", strings.Join(seen, "\n"))
			}
		})
	}
}

// The SDK's rules locate the bucket: partitions, dual stack and FIPS, access points. What is not supported is an error.
func TestS3Endpoints(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*s3.Options)
		cfg  aws.Config
		want string // host and the beginning of the path; or an error
	}{
		"a region": {func(o *s3.Options) { o.Region = "eu-west-1" }, aws.Config{},
			"records.s3.eu-west-1.amazonaws.com/x/"},
		"the environment's": {nil, aws.Config{Region: "ap-south-1"}, "records.s3.ap-south-1.amazonaws.com/x/"},
		"China": {func(o *s3.Options) { o.Region = "cn-north-1" }, aws.Config{},
			"records.s3.cn-north-1.amazonaws.com.cn/x/"},
		"a dotted bucket": {func(o *s3.Options) { o.Region, o.Bucket = "eu-west-1", "a.b" }, aws.Config{},
			"s3.eu-west-1.amazonaws.com/a.b/x/"},
		"path style": {func(o *s3.Options) { o.Region, o.PathStyle = "eu-west-1", aws.Bool(true) }, aws.Config{},
			"s3.eu-west-1.amazonaws.com/records/x/"},
		"its own endpoint": {func(o *s3.Options) { o.Endpoint = "https://minio.example.com:9000/deep" }, aws.Config{},
			"minio.example.com:9000/deep/records/x/"},
		"a host each": {func(o *s3.Options) { o.Endpoint, o.PathStyle = "https://obs.example.com", aws.Bool(false) },
			aws.Config{}, "records.obs.example.com/x/"},
		"AWS_ENDPOINT_URL": {nil, aws.Config{Region: "us-east-1", BaseEndpoint: aws.String("http://127.0.0.1:4566")},
			"127.0.0.1:4566/records/x/"},
		"FIPS, dual stack": {nil, aws.Config{Region: "us-east-1", ConfigSources: []any{settings{}}},
			"records.s3-fips.dualstack.us-east-1.amazonaws.com/x/"},
		"an access point": {func(o *s3.Options) {
			o.Region, o.Bucket = "eu-west-1", "arn:aws:s3:eu-west-1:111111111111:accesspoint/ap"
		}, aws.Config{},
			"ap-111111111111.s3-accesspoint.eu-west-1.amazonaws.com/x/"},
		"an access point in another region": {func(o *s3.Options) {
			o.Region, o.Bucket = "us-east-1", "arn:aws:s3:eu-west-1:111111111111:accesspoint/ap"
		}, aws.Config{},
			"ap-111111111111.s3-accesspoint.eu-west-1.amazonaws.com/x/"},
		"a directory bucket": {func(o *s3.Options) { o.Region, o.Bucket = "us-east-1", "b--use1-az4--x-s3" }, aws.Config{},
			"not supported"},
		"no region": {nil, aws.Config{}, "region: is needed"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := &recorder{}
			c.cfg.HTTPClient = asked
			c.cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: exampleKey, SecretAccessKey: exampleSecret}, nil
			})
			var lent config.Account
			o := s3Options("", func(o *s3.Options) {
				o.Key = "x"
				if c.set != nil {
					c.set(o)
				}
			})
			must(t, o.Validate())
			out, err := s3.Type.Open(t.Context(), o, outputs.Deps{AWS: func(_ context.Context, a config.Account) (aws.Config,
				error) {
				lent = a
				return c.cfg, nil
			}})
			if err != nil {
				if !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %s", err, c.want)
				}
				return
			}
			must(t, out.Send(t.Context(), mixedBatch()))
			must(t, out.Close(t.Context()))
			if got := asked.url; !strings.HasPrefix(got, c.want) {
				t.Errorf("the request goes to %s, want %s", got, c.want)
			}
			if lent.AKID != exampleKey || lent.AKSecret.Reveal() != exampleSecret {
				t.Errorf("it signs in as %q", lent.AKID)
			}
		})
	}
}

// settings is a configuration source of the SDK.
type settings struct{}

func (settings) GetUseFIPSEndpoint(context.Context) (aws.FIPSEndpointState, bool, error) {
	return aws.FIPSEndpointStateEnabled, true, nil
}
func (settings) GetUseDualStackEndpoint(context.Context) (aws.DualStackEndpointState, bool, error) {
	return aws.DualStackEndpointStateEnabled, true, nil
}

// A recorder is a client that stores the URL and answers 200.
type recorder struct{ url string }

func (r *recorder) Do(req *http.Request) (*http.Response, error) {
	r.url = req.URL.Host + req.URL.Path
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// The signature covers the body, over TLS too, but no header that stores and proxies rewrite.
func TestS3SignedParts(t *testing.T) {
	for name, serve := range map[string]func(http.Handler) *httptest.Server{
		"http": httptest.NewServer, "https": httptest.NewTLSServer,
	} {
		t.Run(name, func(t *testing.T) {
			var header http.Header
			var sum [sha256.Size]byte
			s := serve(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				header, sum = r.Header, sha256.Sum256(body)
			}))
			t.Cleanup(s.Close)
			out, err := s3.Type.Open(t.Context(), s3Options(s.URL, func(o *s3.Options) { o.Key = "x" }),
				outputs.Deps{AWS: func(context.Context, config.Account) (aws.Config, error) {
					return aws.Config{Credentials: new(renewed), HTTPClient: s.Client()}, nil
				}})
			must(t, err)
			must(t, out.Send(t.Context(), mixedBatch()))
			must(t, out.Close(t.Context()))
			if got := header.Get("X-Amz-Content-Sha256"); got != hex.EncodeToString(sum[:]) {
				t.Errorf("the hash of the body is %s, want %x", got, sum)
			}
			signature := header.Get("Authorization")
			if !strings.Contains(signature, "content-md5;") || strings.Contains(signature, "accept-encoding") {
				t.Errorf("the signature is %s", signature)
			}
		})
	}
}

// A wrong clock costs one attempt: the next one uses the store's time.
func TestS3ClockSkew(t *testing.T) {
	ahead := time.Now().Add(time.Hour)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Date", ahead.UTC().Format(http.TimeFormat))
		at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err != nil || ahead.Sub(at).Abs() > 15*time.Minute {
			answerS3(
				w, http.StatusForbidden,
				"RequestTimeTooSkewed", "The difference between the request time and the current time is too large.",
			)
		}
	}))
	t.Cleanup(s.Close)
	out := openBucket(t, s.URL, func(o *s3.Options) { o.Key = "" })
	if err := out.Send(t.Context(), mixedBatch()); record.ReasonOf(err) != record.ClockSkew {
		t.Fatalf("%v", err)
	}
	must(t, out.Send(t.Context(), mixedBatch()))
}

// An expired session is reported as expired, and the next attempt has a new one.
func TestS3Expired(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Header.Get("X-Amz-Security-Token") == "session-0" {
			answerS3(w, http.StatusBadRequest, "ExpiredToken", "The provided token has expired.")
		}
	}))
	t.Cleanup(s.Close)
	out, err := s3.Type.Open(t.Context(), s3Options(s.URL, nil),
		outputs.Deps{AWS: func(context.Context, config.Account) (aws.Config, error) {
			return aws.Config{Credentials: new(renewed)}, nil
		}})
	must(t, err)
	if err := out.Send(t.Context(), mixedBatch()); record.ReasonOf(err) != record.Expired {
		t.Fatalf("%v", err)
	}
	must(t, out.Send(t.Context(), mixedBatch()))
	must(t, out.Close(t.Context()))
}

// renewed returns the same session until RejectCurrent.
type renewed struct{ n atomic.Int32 }

func (r *renewed) RejectCurrent() { r.n.Add(1) }
func (r *renewed) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{
		AccessKeyID:     exampleKey,
		SecretAccessKey: exampleSecret,
		SessionToken:    fmt.Sprint("session-", r.n.Load()),
	}, nil
}

// A failed sign-in is not the store's answer: its reason, hint and text survive, and STS's own text is not shown.
func TestS3SignInFails(t *testing.T) {
	raw := &awshttp.ResponseError{ResponseError: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: http.StatusForbidden, Status: "403 Forbidden"}},
		Err:      &smithy.GenericAPIError{Code: "AccessDenied", Message: "raw text of STS"},
	}}
	out, err := s3.Type.Open(t.Context(), s3Options("http://127.0.0.1:1", nil),
		outputs.Deps{AWS: func(context.Context, config.Account) (aws.Config, error) {
			return aws.Config{Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{}, &record.Fault{
					Reason: record.AssumeDenied, Hint: "Correct the trust policy.", Text: "redacted", Err: raw,
				}
			})}, nil
		}})
	must(t, err)
	err = out.Send(t.Context(), mixedBatch())
	if record.ReasonOf(err) != record.AssumeDenied || record.HintOf(err) != "Correct the trust policy." ||
		!strings.HasSuffix(fmt.Sprint(err), ": redacted") || strings.Contains(fmt.Sprint(err), "raw text") {
		t.Errorf("reason %s, hint %q, error: %v", record.ReasonOf(err), record.HintOf(err), err)
	}
	must(t, out.Close(t.Context()))
}

// A store may close an idle connection just as a request is sent on it. That is not a failure.
func TestS3ClosedConnection(t *testing.T) {
	b := newBucket(t)
	var mu sync.Mutex
	seen := map[string]bool{} // by connection
	closed := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		used := seen[r.RemoteAddr]
		seen[r.RemoteAddr] = true
		mu.Unlock()
		if !used {
			b.ServeHTTP(w, r)
			return
		}
		closed++
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			err = c.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	out := openBucket(t, s.URL, func(o *s3.Options) { o.Key = "x" })
	for i := range 3 {
		line := strings.Replace(strings.SplitAfter(mixed, "\n")[0], `"i-1"`, fmt.Sprintf(`"i-%d"`, i), 1)
		must(t, out.Send(t.Context(), outputs.Batch{ID: "b", N: 1, Lines: []byte(line)}))
	}
	if ids := b.ids(); closed == 0 || len(ids) != 3 {
		t.Errorf("%d connections were closed, %q arrived", closed, ids)
	}
}
