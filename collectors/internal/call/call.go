// Package call calls EC2: it uses the SDK's middleware stack of one operation for every Describe operation.
//
// The SDK handles endpoints, partitions, signing, clock skew, retries and the transport. This package sets the
// operation and its parameters, and reads the answer's bytes. So all operations link as one, and a kind is a row
// without Go types. Begin at [Caller.Call].
package call

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmw "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"
	mw "github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/aws-collector/collector/record"
)

// A Gate admits each attempt, retries included, and is informed of its result.
type Gate interface {
	// Enter waits until op may be called. The caller calls leave once, after it has read or abandoned the answer. code is
	// "" for a success, AWS's error code, "http_503" for a status without an error code, or a [record.Reason].
	Enter(ctx context.Context, op string) (leave func(code string), err error)
}

// A Request is one call.
type Request struct {
	Op     string
	Params map[string]string // in EC2's own spelling: Owner.1=self
	Max    int               // MaxResults; 0 where the operation has none, or where the caller gives ids
	Token  string            // NextToken; "" for the first page
	DryRun bool
}

// Options configure a [Caller].
type Options struct {
	AWS        aws.Config    // loaded once for the process; its credentials and retryer are not used
	Attempts   int           // of one call, the first included; 5 if 0
	MaxBackoff time.Duration // the longest sleep between two attempts; 20 s if 0
	FirstByte  time.Duration // how long an attempt waits for the answer's head; 60 s if 0
	Stall      time.Duration // how long an attempt waits for the body's next bytes; FirstByte if 0
	GZIP       bool          // ask for compressed answers
}

// A Caller calls EC2 in any region for any account. It holds a client a region: what a client knows (endpoint, clock
// skew, the way to the transport) is the same for every account, and credentials come with the call.
type Caller struct {
	opt     Options
	retryer *retry.Standard
	mu      sync.Mutex
	regions map[string]describeRegions
	heads   sync.Pool // of *[]byte, up to prefetch long
	gzips   sync.Pool // of *gunzip
}

// describeRegions is the borrowed operation of one region's client. It is a func, as a *ec2.Client that can be reached
// from an interface value keeps its 700 methods in the binary (20 MB) as soon as a template is executed anywhere.
type describeRegions func(
	context.Context, *ec2.DescribeRegionsInput, ...func(*ec2.Options),
) (*ec2.DescribeRegionsOutput, error)

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
		opt:     o,
		regions: map[string]describeRegions{},
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

func (c *Caller) region(name string) describeRegions {
	c.mu.Lock()
	defer c.mu.Unlock()
	call, ok := c.regions[name]
	if !ok {
		call = ec2.NewFromConfig(c.opt.AWS, func(o *ec2.Options) {
			o.Region, o.Credentials = name, nil
			o.RetryMode, o.RetryMaxAttempts, o.Retryer = aws.RetryModeStandard, 0, c.retryer
		}).DescribeRegions
		c.regions[name] = call
	}
	return call
}

// Call makes one call, retries and all. body is called for 2xx answers only, at most once an attempt, and must be ready
// to start over: keep nothing before Call returns nil. When it is called, the answer's beginning has come, for most
// answers all of it: so what body waits for first, such as a page, is not held by an answer that hangs at once. An
// error of body's own ends the call, unless the bytes that it was given had been cut short.
//
// The error holds the SDK's *smithy.OperationError, or the context's cause where that ended it.
func (c *Caller) Call(
	ctx context.Context, creds aws.CredentialsProvider, region string, g Gate, r Request, body func(io.Reader) error,
) error {
	a := attempt{c: c, op: r.Op, form: r.form(), creds: signIn{creds}, gate: g, body: body}
	_, err := c.region(region)(ctx, nil, a.stack)
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		if a.last != nil && !errors.Is(a.last, cause) && !isCanceled(a.last) {
			return fmt.Errorf("%s in %s: %w (last attempt: %v)", r.Op, region, cause, a.last)
		}
		return fmt.Errorf("%s in %s: %w", r.Op, region, cause)
	}
	var oe *smithy.OperationError
	if errors.As(err, &oe) {
		oe.OperationName = r.Op // created outside the stack, with the borrowed name
	}
	return err
}

// apiVersion is the version that service/ec2 speaks.
const apiVersion = ec2.ServiceAPIVersion

func (r Request) form() []byte {
	f := url.Values{"Action": {r.Op}, "Version": {apiVersion}}
	for k, v := range r.Params {
		f.Set(k, v)
	}
	if r.Max > 0 {
		f.Set("MaxResults", strconv.Itoa(r.Max))
	}
	if r.Token != "" {
		f.Set("NextToken", r.Token)
	}
	if r.DryRun {
		f.Set("DryRun", "true")
	}
	return []byte(f.Encode())
}

// An attempt holds our steps in the borrowed stack. One value serves all attempts of a call, one after the other.
type attempt struct {
	c     *Caller
	op    string
	form  []byte
	creds aws.CredentialsProvider
	gate  Gate
	body  func(io.Reader) error
	slow  int   // attempts that hung
	last  error // how the latest attempt ended; the SDK forgets it when the context ends a sleep
}

// stack swaps the steps that know the operation.
func (a *attempt) stack(o *ec2.Options) {
	o.Credentials = a.creds
	rename(o, a.op)
	o.APIOptions = append(o.APIOptions, func(s *mw.Stack) error {
		_, err1 := s.Serialize.Swap("OperationSerializer", mw.SerializeMiddlewareFunc("OperationSerializer", a.write))
		_, err2 := s.Deserialize.Swap("OperationDeserializer", mw.DeserializeMiddlewareFunc("OperationDeserializer", a.read))
		err3 := s.Initialize.Add(mw.InitializeMiddlewareFunc("OperationName", a.name), mw.Before)
		err4 := s.Finalize.Insert(mw.FinalizeMiddlewareFunc("Gate", a.enter), "Retry", mw.After)
		return errors.Join(err1, err2, err3, err4)
	})
}

// name tells the SDK which operation this is; it keeps the name under two keys.
func (a *attempt) name(
	ctx context.Context,
	in mw.InitializeInput,
	next mw.InitializeHandler,
) (mw.InitializeOutput, mw.Metadata, error) {
	return next.HandleInitialize(awsmw.SetOperationName(mw.WithOperationName(ctx, a.op), a.op), in)
}

func (a *attempt) write(
	ctx context.Context,
	in mw.SerializeInput,
	next mw.SerializeHandler,
) (out mw.SerializeOutput, md mw.Metadata, err error) {
	req, ok := in.Request.(*smithyhttp.Request)
	if !ok {
		return out, md, &smithy.SerializationError{Err: fmt.Errorf("unknown transport %T", in.Request)}
	}
	req.Method, req.URL.Path = "POST", "/"
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if in.Request, err = req.SetStream(form{bytes.NewReader(a.form)}); err != nil {
		return out, md, &smithy.SerializationError{Err: err}
	}
	// The SDK would copy the body through 32 KiB of its own, made anew for each call: a quarter of all that a run
	// allocates.
	sum := sha256.Sum256(a.form)
	return next.HandleSerialize(v4.SetPayloadHash(ctx, hex.EncodeToString(sum[:])), in)
}

// form is a request's body without bytes.Reader's WriteTo. The SDK closes the body when the answer's head is there, and
// its wrapper's WriteTo returns EOF as an error from then on; net/http, if it has not yet looked whether the body has
// more than it should, takes that for a failed write and tears the connection down under the answer. Read handles EOF
// correctly.
type form struct{ io.ReadSeeker }

// enter stands right inside the retry loop: once an attempt. Credentials are asked for before the gate, so that a slow
// sign-in holds no slot of the calls in flight; they are signed with after it, so that a long wait makes no stale
// signature.
func (a *attempt) enter(
	ctx context.Context,
	in mw.FinalizeInput,
	next mw.FinalizeHandler,
) (out mw.FinalizeOutput, md mw.Metadata, err error) {
	if _, err := a.creds.Retrieve(ctx); err != nil {
		return out, md, err
	}
	leave, err := a.gate.Enter(ctx, a.op)
	if err != nil {
		return out, md, &final{err}
	}
	code := string(record.Panicked)
	defer func() { leave(code) }()
	out, md, err = next.HandleFinalize(ctx, in)
	a.last, code = err, codeOf(ctx, err)
	return out, md, err
}

// codeOf returns the result of an attempt for the gate.
func codeOf(ctx context.Context, err error) string {
	if err == nil {
		return ""
	}
	if c := record.CodeOf(err); c != "" {
		return c
	}
	if ctx.Err() != nil {
		return string(record.Interrupted)
	}
	return string(record.ReasonOf(err))
}

// signIn marks a failed sign-in as final: it has its own retries, and EC2's around them would multiply STS's calls.
type signIn struct{ aws.CredentialsProvider }

func (s signIn) Retrieve(ctx context.Context) (aws.Credentials, error) {
	v, err := s.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return v, &final{err}
	}
	return v, nil
}
