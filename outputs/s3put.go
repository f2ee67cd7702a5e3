package outputs

import (
	"bytes"
	"context"
	"crypto/md5" // Content-MD5 guards against a body that is torn on its way, not against people
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
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyauth "github.com/aws/smithy-go/auth"
	"github.com/aws/smithy-go/encoding/httpbinding"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// A putter puts objects into a bucket. Where to and how it is signed are the SDK's; the request is one of our own, because the
// SDK's client links all of its hundred operations, five megabytes, wherever one is used.
type putter struct {
	bucketURL       *url.URL // the bucket
	region, service string   // that requests are signed for
	header          http.Header
	credentials     aws.CredentialsProvider
	client          aws.HTTPClient
	signer          *v4.Signer
	skew            atomic.Int64 // how far the store's clock is ahead of ours, once it complained
}

// newPutter asks the SDK's rules where the bucket is; it calls nobody.
func newPutter(ctx context.Context, o *S3, cfg aws.Config) (*putter, error) {
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
		Bucket: &o.Bucket, Region: &cfg.Region, Endpoint: base, UseFIPS: &fips, UseDualStack: &dual, ForcePathStyle: &pathStyle,
	}.WithDefaults())
	if err != nil {
		return nil, fmt.Errorf("bucket %s in %s: %w", o.Bucket, cfg.Region, err)
	}
	ways, _ := smithyauth.GetAuthOptions(&at.Properties)
	if len(ways) == 0 || ways[0].SchemeID != "sigv4" {
		return nil, fmt.Errorf(
			"bucket: %s is signed for in a way that this output does not know: directory buckets and multi-region access points are not supported",
			o.Bucket,
		)
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
		"X-Amz-Server-Side-Encryption": o.SSE, "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": o.KMSKeyID, "X-Amz-Storage-Class": o.StorageClass,
	} {
		if value != "" {
			p.header.Set(name, value)
		}
	}
	p.signer = v4.NewSigner(
		func(so *v4.SignerOptions) { so.DisableURIPathEscaping = true },
	) // S3's way: the path is signed as it is sent
	return p, nil
}

// endpointSettings is what the environment and the shared files say of endpoints. The SDK's sources answer by these methods.
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

// put sends an object. Its error is an [*s3Error] where the store answered.
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
	req.Header.Set(
		"Content-Md5",
		base64.StdEncoding.EncodeToString(sum[:]),
	) // newer checksums are not known to every store
	req.Header.Set("X-Amz-Content-Sha256", payload)
	c, err := p.credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	now := time.Now().Add(time.Duration(p.skew.Load()))
	if err := p.signer.SignHTTP(ctx, c, req, payload, p.service, p.region, now); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	req.Header["Idempotency-Key"] = []string{} // net/http may try it again on a new connection; it is neither signed nor sent
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	answer, err := readResponse(resp)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 == 2 {
		return nil
	}
	e := &s3Error{Status: resp.StatusCode, Response: resp}
	_ = xml.Unmarshal(answer, e) // what is no XML has no code: then the status says all
	if t, derr := http.ParseTime(resp.Header.Get("Date")); derr == nil && e.Code == "RequestTimeTooSkewed" {
		p.skew.Store(int64(time.Until(t)))
	}
	return e
}

// An s3Error is a store's answer. https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
type s3Error struct {
	XMLName   xml.Name       `xml:"Error"`
	Code      string         `xml:"Code"`
	Message   string         `xml:"Message"`
	RequestID string         `xml:"RequestId"`
	Region    string         `xml:"Region"` // where the bucket is
	Status    int            `xml:"-"`
	Response  *http.Response `xml:"-"` // its head
}

// The methods are those of the SDK's errors: record.CodeOf and record.Brief know them.
func (e *s3Error) Error() string            { return e.ErrorCode() + ": " + e.Message }
func (e *s3Error) ErrorMessage() string     { return strings.TrimSpace(e.Message) }
func (e *s3Error) ServiceRequestID() string { return e.RequestID }

// ErrorCode is the store's code, or the status where a proxy answered in its place.
func (e *s3Error) ErrorCode() string {
	if e.Code == "" {
		return e.Response.Status
	}
	return e.Code
}
