// Package call calls operations of AWS services: it builds a request, and for each attempt waits for the gate, signs,
// sends, and reads the response or classifies the error.
//
// It is a loop of the SDK's public parts: the service's client of the SDK decides where calls to a region go, once;
// aws/retry decides about retries and clock skew; aws/signer/v4 signs. What differs between services is a [Service].
// Other packages decide what to call (collectors) and when (the [Gate]). Begin at [Caller.Call].
package call

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"

	"github.com/aws-collector/collector/record"
)

// A Service is what the calls to a service have in common and other services do differently.
type Service struct {
	ID      string // the SDK's ServiceID, for errors: "EC2"
	Version string // of the API: "2016-11-15"

	PageSize  string // parameter with the size of a page: "MaxResults"
	PageToken string // parameter with the token of a page: "NextToken"
	DryRun    string // parameter that only checks the permission: "DryRun"

	// Prepare makes an SDK client prepare a call in a region, for the recorder: see [PrepareEC2] and [PrepareAWSQuery].
	Prepare func(cfg aws.Config, region string, r *Recorder) error
	// ReadError reads an error document. It returns a zero Code for a document that is not the service's.
	ReadError func(document []byte) ServiceError
}

// A ServiceError is what the error document of a service says.
type ServiceError struct{ Code, Message, RequestID string }

// A Gate admits each attempt, retries included, and is informed of its result.
type Gate interface {
	// Enter waits until op may be called. The caller calls leave once, after it has read or abandoned the response. code
	// is "" for a success, AWS's error code, "http_503" for a status without an error code, or a [record.Reason].
	Enter(ctx context.Context, op string) (leave func(code string), err error)
}

// A Request is one call.
type Request struct {
	Service     *Service
	Region      string
	Credentials aws.CredentialsProvider
	Gate        Gate

	Op     string
	Params map[string]string // in the service's own spelling: Owner.1=self
	Max    int               // page size; 0 where the operation has none, or where the caller gives ids
	Token  string            // page token; "" for the first page
	DryRun bool
}

// Options configure a [Caller].
type Options struct {
	// AWS is loaded once for the process. Its credentials and retryer are not used. Its APIOptions may add headers in the
	// Build step: they are recorded once a region.
	AWS        aws.Config
	Attempts   int           // of one call, the first included; 5 if 0
	MaxBackoff time.Duration // the longest sleep between two attempts; 20 s if 0
	FirstByte  time.Duration // how long an attempt waits for the response's header; 60 s if 0
	Stall      time.Duration // how long an attempt waits for the body's next bytes; FirstByte if 0
	GZIP       bool          // ask for compressed responses

	// SDKStack calls EC2 through the SDK's middleware stack of DescribeRegions instead of this package's loop. It exists
	// for one release, to find out whether a problem comes from the loop.
	SDKStack bool
}

// A Caller calls services in any region for any account. It holds an endpoint for each service and region: what an
// endpoint knows (address, clock skew, transport) is the same for every account, and credentials come with the call.
type Caller struct {
	options   Options
	retryer   *retry.Standard
	mu        sync.Mutex
	endpoints map[endpointKey]*endpoint
	sdkStacks map[string]describeRegions // by region
	heads     sync.Pool                  // of *[]byte, up to prefetch long
	gzips     sync.Pool                  // of *gunzip
}

// New makes a Caller. It does no I/O.
func New(o Options) *Caller {
	o.Attempts = cmp.Or(o.Attempts, 5)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, 20*time.Second)
	o.FirstByte = cmp.Or(o.FirstByte, time.Minute)
	o.Stall = cmp.Or(o.Stall, o.FirstByte)
	// A buildable client is copied, connections and all, by each service client that is made from it: 17 regions would be
	// 17 transports. Frozen it is one.
	switch b := o.AWS.HTTPClient.(type) {
	case nil:
		o.AWS.HTTPClient = awshttp.NewBuildableClient().Freeze()
	case *awshttp.BuildableClient:
		o.AWS.HTTPClient = b.Freeze()
	}
	return &Caller{
		options:   o,
		endpoints: map[endpointKey]*endpoint{},
		sdkStacks: map[string]describeRegions{},
		retryer: retry.NewStandard(func(s *retry.StandardOptions) {
			s.MaxAttempts, s.MaxBackoff = o.Attempts, o.MaxBackoff
			// All accounts would share a client-side retry quota; each account has its own gate.
			s.RateLimiter = ratelimit.None
			s.Retryables = append(s.Retryables, retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
				if record.IsThrottlingCode(record.CodeOf(err)) {
					return aws.TrueTernary
				}
				return aws.UnknownTernary
			}))
		}),
	}
}

// Call makes one call, with its retries. body is called for 2xx responses only, at most once an attempt, and must be
// ready to start over: keep nothing before Call returns nil. When it is called, the response's beginning has come, for
// most responses all of it: so what body waits for first, such as a page, is not held by a response that hangs at once.
// An error of body's own ends the call, unless the bytes that it was given had been truncated.
//
// The error holds the SDK's *smithy.OperationError, or the context's cause where that ended it.
func (c *Caller) Call(ctx context.Context, r Request, body func(io.Reader) error) error {
	a := attempt{caller: c, request: r, form: r.form(), credentials: finalErrors{r.Credentials}, body: body}
	var err error
	if c.options.SDKStack && r.Service.ID == ec2.ServiceID {
		err = c.callBySDKStack(ctx, &a)
	} else {
		err = c.loop(ctx, &a)
	}
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		if a.last != nil && !errors.Is(a.last, cause) && !isCanceled(a.last) {
			return fmt.Errorf("%s in %s: %w (last attempt: %s)", r.Op, r.Region, cause, record.ErrorSummary(a.last))
		}
		return fmt.Errorf("%s in %s: %w", r.Op, r.Region, cause)
	}
	return &smithy.OperationError{ServiceID: r.Service.ID, OperationName: r.Op, Err: err}
}

// form encodes the request as the query protocol has it.
func (r *Request) form() []byte {
	s := r.Service
	f := url.Values{"Action": {r.Op}, "Version": {s.Version}}
	for k, v := range r.Params {
		f.Set(k, v)
	}
	if r.Max > 0 {
		f.Set(s.PageSize, strconv.Itoa(r.Max))
	}
	if r.Token != "" {
		f.Set(s.PageToken, r.Token)
	}
	if r.DryRun {
		f.Set(s.DryRun, "true")
	}
	return []byte(f.Encode())
}
