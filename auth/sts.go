package auth

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/aws-collector/collector/record"
)

// stsClient asks STS. There is one client for the process; each call says its region and whose credentials sign it.
type stsClient struct {
	client *sts.Client
}

func newSTSClient(cfg aws.Config) stsClient {
	return stsClient{sts.NewFromConfig(clientConfig(cfg), func(o *sts.Options) { o.HTTPSignerV4 = uncachedSigner{} })}
}

// clientConfig is cfg for calls that each say their region, and whose attempts are cut off.
func clientConfig(cfg aws.Config) aws.Config {
	cfg.HTTPClient = withAttemptTimeout(cfg.HTTPClient)
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	return cfg
}

// uncachedSigner signs each call with a key that it derives anew. The SDK's signer keeps the last derived key and asks only
// for which key id it was: after a wrong secret the right one fails too, until midnight, and so a corrected
// configuration, or another block with the same key, would.
type uncachedSigner struct{}

func (uncachedSigner) SignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, hash, service, region string, at time.Time, opts ...func(*v4.SignerOptions)) error {
	return v4.NewSigner().SignHTTP(ctx, c, r, hash, service, region, at, opts...)
}

// withAttemptTimeout is a client over the same connections whose attempts are cut off. Not by http.Client's own time-out, for which it copies
// the request's header and has two goroutines wait.
func withAttemptTimeout(c aws.HTTPClient) aws.HTTPClient {
	return withTransport(c, func(t http.RoundTripper) http.RoundTripper { return attemptTransport{t} })
}

type attemptTransport struct{ http.RoundTripper }

func (t attemptTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := withTimeout(r.Context(), attemptTimeout, "an attempt")
	resp, err := t.RoundTripper.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = timedBody{resp.Body, cancel}
	return resp, nil
}

// timedBody is a body that may be read until the attempt is cut off.
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

// callWithRenewal makes a call with p's credentials. Where AWS takes them no longer, though their time is not over (a session that was
// ended, a key that was rotated), it is made again with others, if others can be had. It returns the credentials used last.
func callWithRenewal(ctx context.Context, p Provider, call func(aws.Credentials) error) (aws.Credentials, error) {
	c, err := p.Retrieve(ctx)
	if err != nil {
		return c, err
	}
	if err = call(c); err == nil || !credentialsRejected(err) {
		return c, err
	}
	p.Drop(c)
	other, oerr := p.Retrieve(ctx)
	switch {
	case oerr != nil:
		return c, oerr
	case sameCredentials(other, c):
		return c, err
	}
	return other, call(other)
}

// callerIdentity asks who c is. No policy can forbid it.
func (t stsClient) callerIdentity(ctx context.Context, region string, c aws.Credentials) (*sts.GetCallerIdentityOutput, error) {
	ctx, cancel := withTimeout(ctx, callTimeout, "sts:GetCallerIdentity in "+region)
	defer cancel()
	out, err := t.client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}, withCredentials(region, c))
	if err == nil && (aws.ToString(out.Account) == "" || record.PartitionOfARN(aws.ToString(out.Arn)) == "") {
		err = errIncomplete // else it would be taken for an account without an id
	}
	return out, timeoutCause(ctx, err)
}

// errIncomplete is an answer of 200 without what was asked for: some proxies and gateways answer so.
var errIncomplete = errors.New("the answer is empty of what was asked for")

// clockOffset sees that c works, and how far AWS's clock is before this machine's.
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

// significantOffset is how far AWS's clock is before ours. The Date header is in whole seconds and was on its way: what is about as
// large as that is no difference.
func significantOffset(server, here time.Time) time.Duration {
	if d := server.Sub(here); d.Abs() >= 5*time.Second {
		return d
	}
	return 0
}

// assumeRole enters a role, and notes in which account that is.
func (t stsClient) assumeRole(ctx context.Context, region string, c aws.Credentials, in *sts.AssumeRoleInput, to *issuedSession) (aws.Credentials, error) {
	ctx, cancel := withTimeout(ctx, callTimeout, "sts:AssumeRole in "+region)
	defer cancel()
	out, err := t.client.AssumeRole(ctx, in, withCredentials(region, c))
	if err == nil && !isComplete(out.Credentials) {
		err = errIncomplete
	}
	if err != nil {
		return aws.Credentials{}, timeoutCause(ctx, err)
	}
	k := out.Credentials
	to.set(k, out.AssumedRoleUser)
	return temporaryCredentials(k.AccessKeyId, k.SecretAccessKey, k.SessionToken, k.Expiration, "AssumeRole"), nil
}

// sessionToken begins an MFA session. It is tried once: a code that was sent is not sent again.
func (t stsClient) sessionToken(ctx context.Context, region string, c aws.Credentials, in *sts.GetSessionTokenInput) (aws.Credentials, error) {
	ctx, cancel := withTimeout(ctx, callTimeout, "sts:GetSessionToken in "+region)
	defer cancel()
	out, err := t.client.GetSessionToken(ctx, in, withCredentials(region, c), func(o *sts.Options) { o.RetryMaxAttempts = 1 })
	if err == nil && !isComplete(out.Credentials) {
		err = errIncomplete
	}
	if err != nil {
		return aws.Credentials{}, timeoutCause(ctx, err)
	}
	k := out.Credentials
	return temporaryCredentials(k.AccessKeyId, k.SecretAccessKey, k.SessionToken, k.Expiration, "GetSessionToken"), nil
}

// isComplete reports whether STS's answer has all of a session.
func isComplete(c *types.Credentials) bool {
	return c != nil && aws.ToString(c.AccessKeyId) != "" && aws.ToString(c.SecretAccessKey) != "" && aws.ToString(c.SessionToken) != "" && c.Expiration != nil
}

func temporaryCredentials(id, secret, token *string, until *time.Time, source string) aws.Credentials {
	return aws.Credentials{
		AccessKeyID: aws.ToString(id), SecretAccessKey: aws.ToString(secret), SessionToken: aws.ToString(token),
		Source: source, CanExpire: true, Expires: aws.ToTime(until),
	}
}

// timeoutCause puts the name of our own time-out in the place of "context deadline exceeded".
func timeoutCause(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}
