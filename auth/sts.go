package auth

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/record"
)

// stsClient calls STS. The process has one client; each call sets its region and its credentials.
type stsClient struct {
	client *sts.Client
}

func newSTSClient(cfg aws.Config) stsClient {
	return stsClient{sts.NewFromConfig(clientConfig(cfg), func(o *sts.Options) { o.HTTPSignerV4 = uncachedSigner{} })}
}

// clientConfig is cfg for clients whose calls set their own region, with a time-out for each attempt.
func clientConfig(cfg aws.Config) aws.Config {
	cfg.HTTPClient = withAttemptTimeout(cfg.HTTPClient)
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	return cfg
}

// uncachedSigner derives the signing key for each call. The SDK's signer caches the last derived key by access key id
// alone: after a wrong secret, the right one would fail too until midnight, after the configuration is corrected or for
// another block with the same key.
type uncachedSigner struct{}

func (uncachedSigner) SignHTTP(
	ctx context.Context,
	c aws.Credentials,
	r *http.Request,
	hash, service, region string,
	at time.Time,
	opts ...func(*v4.SignerOptions),
) error {
	return v4.NewSigner().SignHTTP(ctx, c, r, hash, service, region, at, opts...)
}

// withAttemptTimeout is a client over the same connections, with a time-out for each attempt. http.Client's own
// time-out would copy the request's header and use two more goroutines.
func withAttemptTimeout(c aws.HTTPClient) aws.HTTPClient {
	return withTransport(c, func(t http.RoundTripper) http.RoundTripper { return attemptTransport{t} })
}

type attemptTransport struct{ http.RoundTripper }

func (t attemptTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := fault.WithTimeout(r.Context(), attemptTimeout, "an attempt")
	resp, err := t.RoundTripper.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = timedBody{resp.Body, cancel}
	return resp, nil
}

// timedBody is a body that can be read until the attempt times out.
type timedBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b timedBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

func withCredentials(region string, c aws.Credentials) func(*sts.Options) {
	return func(o *sts.Options) {
		o.Region, o.Credentials = region, staticCredentials(c)
	}
}

func staticCredentials(c aws.Credentials) aws.CredentialsProvider {
	return credentials.StaticCredentialsProvider{Value: c}
}

// callWithRenewal makes a call with p's credentials. If AWS no longer accepts them before they expire (a session was
// revoked, a key was rotated), it repeats the call with new ones, if there are any. It returns the last credentials
// used.
func callWithRenewal(ctx context.Context, p Provider, call func(aws.Credentials) error) (aws.Credentials, error) {
	c, err := p.Retrieve(ctx)
	if err != nil {
		return c, err
	}
	if err = call(c); err == nil || !credentialsRejected(err) {
		return c, err
	}
	p.Reject(c)
	other, oerr := p.Retrieve(ctx)
	switch {
	case oerr != nil:
		return c, oerr
	case sameCredentials(other, c):
		return c, err
	}
	return other, call(other)
}

// callerIdentity asks STS for the identity of c. No policy can deny this.
func (t stsClient) callerIdentity(
	ctx context.Context,
	region string,
	c aws.Credentials,
) (*sts.GetCallerIdentityOutput, error) {
	ctx, cancel := fault.WithTimeout(ctx, callTimeout, "sts:GetCallerIdentity in "+region)
	defer cancel()
	out, err := t.client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}, withCredentials(region, c))
	if err == nil && (aws.ToString(out.Account) == "" || record.PartitionOfARN(aws.ToString(out.Arn)) == "") {
		err = fault.ErrIncomplete // otherwise the account would have no id
	}
	return out, fault.TimeoutCause(ctx, err)
}

// clockOffset checks that c works, and returns how far AWS's clock is ahead of this machine's.
func (t stsClient) clockOffset(ctx context.Context, region string, c aws.Credentials) (time.Duration, error) {
	out, err := t.callerIdentity(ctx, region, c)
	if err != nil {
		return 0, err
	}
	server, ok1 := awsmiddleware.GetServerTime(out.ResultMetadata)
	here, ok2 := awsmiddleware.GetResponseAt(out.ResultMetadata)
	if !ok1 || !ok2 {
		return 0, nil
	}
	return significantOffset(server, here), nil
}

// significantOffset is how far AWS's clock is ahead of ours. The Date header is in whole seconds and arrives late, so a
// difference of that size is ignored.
func significantOffset(server, here time.Time) time.Duration {
	if d := server.Sub(here); d.Abs() >= 5*time.Second {
		return d
	}
	return 0
}

// assumeRole assumes a role, and stores its identity in to.
func (t stsClient) assumeRole(
	ctx context.Context,
	region string,
	c aws.Credentials,
	in *sts.AssumeRoleInput,
	to *issuedSession,
) (aws.Credentials, error) {
	ctx, cancel := fault.WithTimeout(ctx, callTimeout, "sts:AssumeRole in "+region)
	defer cancel()
	out, err := t.client.AssumeRole(ctx, in, withCredentials(region, c))
	if err == nil && !isComplete(out.Credentials) {
		err = fault.ErrIncomplete
	}
	if err != nil {
		return aws.Credentials{}, fault.TimeoutCause(ctx, err)
	}
	k := out.Credentials
	to.set(k, out.AssumedRoleUser)
	return temporaryCredentials(k.AccessKeyId, k.SecretAccessKey, k.SessionToken, k.Expiration, "AssumeRole"), nil
}

// sessionToken begins an MFA session. It makes one attempt: a code is never sent twice.
func (t stsClient) sessionToken(
	ctx context.Context,
	region string,
	c aws.Credentials,
	in *sts.GetSessionTokenInput,
) (aws.Credentials, error) {
	ctx, cancel := fault.WithTimeout(ctx, callTimeout, "sts:GetSessionToken in "+region)
	defer cancel()
	once := func(o *sts.Options) { o.RetryMaxAttempts = 1 }
	out, err := t.client.GetSessionToken(ctx, in, withCredentials(region, c), once)
	if err == nil && !isComplete(out.Credentials) {
		err = fault.ErrIncomplete
	}
	if err != nil {
		return aws.Credentials{}, fault.TimeoutCause(ctx, err)
	}
	k := out.Credentials
	return temporaryCredentials(k.AccessKeyId, k.SecretAccessKey, k.SessionToken, k.Expiration, "GetSessionToken"), nil
}

// isComplete reports whether STS's response has all parts of a session.
func isComplete(c *types.Credentials) bool {
	return c != nil && aws.ToString(c.AccessKeyId) != "" && aws.ToString(c.SecretAccessKey) != "" &&
		aws.ToString(c.SessionToken) != "" && c.Expiration != nil
}

func temporaryCredentials(id, secret, token *string, until *time.Time, source string) aws.Credentials {
	return aws.Credentials{
		AccessKeyID:     aws.ToString(id),
		SecretAccessKey: aws.ToString(secret),
		SessionToken:    aws.ToString(token),
		Source:          source,
		CanExpire:       true,
		Expires:         aws.ToTime(until),
	}
}
