package s3

import (
	"bytes"
	"context"
	"crypto/md5" // Content-MD5 detects damage in transit, not attacks
	"encoding/base64"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyauth "github.com/aws/smithy-go/auth"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/aws-collector/collector/outputs/internal/httpclient"
)

// A putter uploads objects to a bucket with the SDK's client.
type putter struct {
	client *sdk.Client
	object sdk.PutObjectInput // what all objects have
}

// newPutter checks that the SDK can locate the bucket. It does not connect.
func newPutter(ctx context.Context, o *Options, cfg aws.Config) (*putter, error) {
	client := sdk.NewFromConfig(cfg, func(so *sdk.Options) {
		if o.Endpoint != "" {
			so.BaseEndpoint = &o.Endpoint
		}
		so.UsePathStyle = o.Endpoint != ""
		if o.PathStyle != nil {
			so.UsePathStyle = *o.PathStyle
		}
		so.UseARNRegion = true        // an access point may be in another region than the client
		so.Retryer = aws.NopRetryer{} // retries belong to the spool
		// Not every store supports newer checksums, or the status 100.
		so.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		so.ContinueHeaderThresholdBytes = -1
		so.APIOptions = append(so.APIOptions, awsmiddleware.AddUserAgentKey("aws-collector"), allowResend, signPortably)
	})
	p := &putter{client: client, object: sdk.PutObjectInput{
		Bucket: &o.Bucket, StorageClass: types.StorageClass(o.StorageClass),
		ServerSideEncryption: types.ServerSideEncryption(o.SSE),
	}}
	if o.KMSKeyID != "" {
		p.object.SSEKMSKeyId = &o.KMSKeyID
	}
	return p, checkBucket(ctx, o.Bucket, client.Options())
}

// checkBucket resolves the bucket's endpoint, so that a mistake rejects the configuration.
func checkBucket(ctx context.Context, bucket string, so sdk.Options) error {
	at, err := so.EndpointResolverV2.ResolveEndpoint(ctx, sdk.EndpointParameters{
		Bucket: &bucket, Region: &so.Region, Endpoint: so.BaseEndpoint, ForcePathStyle: &so.UsePathStyle,
		UseFIPS:      aws.Bool(so.EndpointOptions.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled),
		UseDualStack: aws.Bool(so.EndpointOptions.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled),
	}.WithDefaults())
	if err != nil {
		return fmt.Errorf("bucket %s in %s: %w", bucket, so.Region, err)
	}
	ways, _ := smithyauth.GetAuthOptions(&at.Properties)
	if len(ways) == 0 || ways[0].SchemeID != "sigv4" {
		return fmt.Errorf("bucket: %s is not supported: directory buckets and multi-region access points need "+
			"another signature", bucket)
	}
	return nil
}

// put uploads an object.
func (p *putter) put(ctx context.Context, key, contentType string, body []byte) error {
	sum := md5.Sum(body)
	in := p.object
	in.Key, in.ContentType, in.Body = &key, &contentType, bytes.NewReader(body)
	in.ContentMD5 = aws.String(base64.StdEncoding.EncodeToString(sum[:]))
	_, err := p.client.PutObject(ctx, &in)
	return err
}

// allowResend gives a request a copy of its body, so that it can be sent again when the store has closed the
// connection.
func allowResend(stack *middleware.Stack) error {
	return stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("allowResend", func(
		ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler,
	) (middleware.FinalizeOutput, middleware.Metadata, error) {
		if req, ok := in.Request.(*smithyhttp.Request); ok {
			if body, ok := req.GetStream().(*bytes.Reader); ok {
				req.GetBody = func() (io.ReadCloser, error) {
					again := *body
					_, err := again.Seek(0, io.SeekStart)
					return io.NopCloser(&again), err
				}
			}
		}
		return next.HandleFinalize(ctx, in)
	}), middleware.After)
}

// signPortably changes what the SDK signs. It would sign Accept-Encoding, which Google Cloud Storage and some proxies
// rewrite; and over TLS it would not sign the body, which some stores and bucket policies require.
func signPortably(stack *middleware.Stack) error {
	if _, err := stack.Finalize.Remove("DisableAcceptEncodingGzip"); err != nil {
		return err
	}
	body := new(v4.ComputePayloadSHA256)
	_, err := stack.Finalize.Swap(body.ID(), body)
	return err
}

// noRedirects returns a client that returns the answer of a redirect.
func noRedirects(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// resending returns a client that repeats a request when the store has closed the connection.
func resending(c aws.HTTPClient) aws.HTTPClient {
	return smithyhttp.ClientDoFunc(func(req *http.Request) (*http.Response, error) { return httpclient.Resend(c.Do, req) })
}
