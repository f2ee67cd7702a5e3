package call

import (
	"context"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go/metrics"
	"github.com/aws/smithy-go/tracing"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// A Recorder takes the place of the credentials, the signer and the transport of an SDK client, and records the request
// that the client prepares: address, headers, and how it is to be signed. So settings, variables and rules of endpoints
// have the same effect as in the SDK.
type Recorder struct {
	// What the client would have used. Prepare fills these in.
	Client       smithyhttp.ClientDo
	Tracers      tracing.TracerProvider
	Meters       metrics.MeterProvider
	SkewDisabled bool

	request       *http.Request
	signed        bool
	signingName   string
	signingRegion string
	signerOptions v4.SignerOptions
}

// Retrieve is part of aws.CredentialsProvider. The credentials are not used.
func (*Recorder) Retrieve(context.Context) (aws.Credentials, error) { return aws.Credentials{}, nil }

// SignHTTP records how a request is to be signed. It is part of the SDK's HTTPSignerV4.
func (r *Recorder) SignHTTP(
	_ context.Context, _ aws.Credentials, _ *http.Request, _, service, region string, _ time.Time,
	options ...func(*v4.SignerOptions),
) error {
	r.signed, r.signingName, r.signingRegion = true, service, region
	for _, set := range options {
		set(&r.signerOptions)
	}
	return nil
}

// Do records a request, and responds with nothing.
func (r *Recorder) Do(request *http.Request) (*http.Response, error) {
	r.request = request
	return smithyhttp.NopClient{}.Do(request)
}

// template returns the recorded request without its body and without the headers that each call has of its own.
func (r *Recorder) template() *smithyhttp.Request {
	t := smithyhttp.NewStackRequest().(*smithyhttp.Request)
	t.Method, t.URL, t.Host, t.Header = r.request.Method, r.request.URL, r.request.Host, r.request.Header.Clone()
	for _, own := range []string{"Amz-Sdk-Invocation-Id", "Amz-Sdk-Request", "X-Amzn-Trace-Id"} {
		t.Header.Del(own)
	}
	return t
}

// EC2Version is the version of EC2's API that service/ec2 knows.
const EC2Version = ec2.ServiceAPIVersion

// PrepareEC2 makes service/ec2 prepare a call of DescribeRegions: all operations of EC2 have the same address, and an
// operation that is not called is not linked.
func PrepareEC2(cfg aws.Config, region string, r *Recorder) error {
	return prepare(cfg, region, r, func(*ec2.Options) {})
}

func prepare(cfg aws.Config, region string, r *Recorder, set func(*ec2.Options)) error {
	_, err := ec2.NewFromConfig(cfg, func(o *ec2.Options) {
		set(o)
		r.Client, r.Tracers, r.Meters, r.SkewDisabled =
			o.HTTPClient, o.TracerProvider, o.MeterProvider, o.DisableClockSkewCorrection
		o.Region, o.Credentials, o.HTTPSignerV4, o.HTTPClient = region, r, r, r
		o.TracerProvider, o.MeterProvider = new(tracing.NopTracerProvider), metrics.NopMeterProvider{} // nothing is called
	}).DescribeRegions(context.Background(), nil)
	return unwrapOperation(err)
}
