package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyauth "github.com/aws/smithy-go/auth"
	"github.com/aws/smithy-go/encoding/httpbinding"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/aws-collector/collector/outputs/internal/httpclient"
)

// A putter uploads objects to a bucket. The endpoint and the signature come from the SDK. The request is our own: the
// SDK's client would link all of its hundred operations, which are five megabytes.
type putter struct {
	bucketURL       *url.URL // the bucket's
	region, service string   // of the signature
	header          http.Header
	credentials     aws.CredentialsProvider
	client          aws.HTTPClient
	signer          *v4.Signer
	skew            atomic.Int64 // how far the store's clock is ahead, after a RequestTimeTooSkewed
}

// newPutter resolves the bucket's endpoint with the SDK's rules. It does not connect.
func newPutter(ctx context.Context, o *Options, cfg aws.Config) (*putter, error) {
	fips, dual, base, err := endpointSettings(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("the AWS configuration: %w", err)
	}
	if o.Endpoint != "" {
		base = &o.Endpoint
	}
	pathStyle := o.Endpoint != ""
	if o.PathStyle != nil {
		pathStyle = *o.PathStyle
	}
	at, err := s3.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, s3.EndpointParameters{
		Bucket: &o.Bucket, Region: &cfg.Region, Endpoint: base,
		UseFIPS: &fips, UseDualStack: &dual, ForcePathStyle: &pathStyle,
	}.WithDefaults())
	if err != nil {
		return nil, fmt.Errorf("bucket %s in %s: %w", o.Bucket, cfg.Region, err)
	}
	ways, _ := smithyauth.GetAuthOptions(&at.Properties)
	if len(ways) == 0 || ways[0].SchemeID != "sigv4" {
		return nil, fmt.Errorf("bucket: %s is not supported: directory buckets and multi-region access points need "+
			"another signature", o.Bucket)
	}
	p := &putter{
		bucketURL:   &at.URI,
		region:      cfg.Region,
		service:     "s3",
		header:      http.Header{"User-Agent": {"aws-collector"}},
		credentials: cfg.Credentials,
		client:      cfg.HTTPClient,
	}
	if r, ok := smithyhttp.GetSigV4SigningRegion(&ways[0].SignerProperties); ok {
		p.region = r
	}
	if n, ok := smithyhttp.GetSigV4SigningName(&ways[0].SignerProperties); ok {
		p.service = n
	}
	maps.Copy(p.header, at.Headers)
	for name, value := range map[string]string{
		"X-Amz-Server-Side-Encryption":                o.SSE,
		"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": o.KMSKeyID,
		"X-Amz-Storage-Class":                         o.StorageClass,
	} {
		if value != "" {
			p.header.Set(name, value)
		}
	}
	// S3 signs the path as it is sent.
	p.signer = v4.NewSigner(func(so *v4.SignerOptions) { so.DisableURIPathEscaping = true })
	return p, nil
}

// endpointSettings reads the endpoint settings of the environment and the shared files, through the SDK's interfaces.
func endpointSettings(ctx context.Context, cfg aws.Config) (fips, dual bool, base *string, err error) {
	var errs []error
	var haveFIPS, haveDual bool
	base = cfg.BaseEndpoint
	for _, source := range cfg.ConfigSources {
		if s, ok := source.(interface {
			GetUseFIPSEndpoint(context.Context) (aws.FIPSEndpointState, bool, error)
		}); ok && !haveFIPS {
			var state aws.FIPSEndpointState
			state, haveFIPS, err = s.GetUseFIPSEndpoint(ctx)
			fips, errs = state == aws.FIPSEndpointStateEnabled, append(errs, err)
		}
		if s, ok := source.(interface {
			GetUseDualStackEndpoint(context.Context) (aws.DualStackEndpointState, bool, error)
		}); ok && !haveDual {
			var state aws.DualStackEndpointState
			state, haveDual, err = s.GetUseDualStackEndpoint(ctx)
			dual, errs = state == aws.DualStackEndpointStateEnabled, append(errs, err)
		}
	}
	for _, source := range cfg.ConfigSources {
		s, ok := source.(interface {
			GetServiceBaseEndpoint(context.Context, string) (string, bool, error)
		})
		if !ok {
			continue
		}
		own, found, err := s.GetServiceBaseEndpoint(ctx, s3.ServiceID) // AWS_ENDPOINT_URL_S3
		if errs = append(errs, err); found {
			base = &own
			break
		}
	}
	return fips, dual, base, errors.Join(errs...)
}

// put uploads an object. If the store answered, the error is an [*s3Error].
func (p *putter) put(ctx context.Context, key, contentType string, body []byte) error {
	to := *p.bucketURL
	to.Path = strings.TrimSuffix(to.Path, "/") + "/" + key
	to.RawPath = strings.TrimSuffix(p.bucketURL.EscapedPath(), "/") + "/" + httpbinding.EscapePath(key, false)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, to.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	maps.Copy(req.Header, p.header)
	sum, hash := md5.Sum(body), sha256.Sum256(body)
	payload := hex.EncodeToString(hash[:])
	req.Header.Set("Content-Type", contentType)
	// Not every store supports newer checksums.
	req.Header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	req.Header.Set("X-Amz-Content-Sha256", payload)
	c, err := p.credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	now := time.Now().Add(time.Duration(p.skew.Load()))
	if err := p.signer.SignHTTP(ctx, c, req, payload, p.service, p.region, now); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	// net/http may repeat the request on a new connection. The header is neither signed nor sent.
	req.Header["Idempotency-Key"] = []string{}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	answer, err := httpclient.ReadResponse(resp)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 == 2 {
		return nil
	}
	e := &apiError{Status: resp.StatusCode, Response: resp}
	_ = xml.Unmarshal(answer, e) // without XML there is only the status
	if t, derr := http.ParseTime(resp.Header.Get("Date")); derr == nil && e.Code == "RequestTimeTooSkewed" {
		p.skew.Store(int64(time.Until(t)))
	}
	return e
}

// An apiError is an error response of a store. https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
type apiError struct {
	XMLName   xml.Name       `xml:"Error"`
	Code      string         `xml:"Code"`
	Message   string         `xml:"Message"`
	RequestID string         `xml:"RequestId"`
	Region    string         `xml:"Region"` // of the bucket
	Status    int            `xml:"-"`
	Response  *http.Response `xml:"-"` // without the body
}

// These are the methods of the SDK's errors, for record.CodeOf and record.ErrorSummary.
func (e *apiError) Error() string            { return e.ErrorCode() + ": " + e.Message }
func (e *apiError) ErrorMessage() string     { return strings.TrimSpace(e.Message) }
func (e *apiError) ServiceRequestID() string { return e.RequestID }

// ErrorCode returns the store's code, or the status if a proxy answered.
func (e *apiError) ErrorCode() string {
	if e.Code == "" {
		return e.Response.Status
	}
	return e.Code
}
