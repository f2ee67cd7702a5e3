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

// tokens asks STS. There is one client for the process; each call says its region and whose credentials sign it.
type tokens struct {
	client *sts.Client
}

func newTokens(cfg aws.Config) tokens {
	return tokens{sts.NewFromConfig(impatient(cfg), func(o *sts.Options) { o.HTTPSignerV4 = forgetful{} })}
}

// impatient is cfg for calls that each say their region, and whose attempts are cut off.
func impatient(cfg aws.Config) aws.Config {
	cfg.HTTPClient = hasty(cfg.HTTPClient)
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	return cfg
}

// forgetful signs each call with a key that it derives anew. The SDK's signer keeps the last derived key and asks only
// for which key id it was: after a wrong secret the right one fails too, until midnight, and so a corrected
// configuration, or another block with the same key, would.
type forgetful struct{}

func (forgetful) SignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, hash, service, region string, at time.Time, opts ...func(*v4.SignerOptions)) error {
	return v4.NewSigner().SignHTTP(ctx, c, r, hash, service, region, at, opts...)
}

// hasty is a client over the same connections whose attempts are cut off. Not by http.Client's own time-out, for which it copies
// the request's header and has two goroutines wait.
func hasty(c aws.HTTPClient) aws.HTTPClient {
	return over(c, func(t http.RoundTripper) http.RoundTripper { return cutOff{t} })
}

type cutOff struct{ http.RoundTripper }

func (t cutOff) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := within(r.Context(), attemptTimeout, "an attempt")
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

func as(region string, c aws.Credentials) func(*sts.Options) {
	return func(o *sts.Options) {
		o.Region, o.Credentials = region, static(c)
	}
}

func static(c aws.Credentials) aws.CredentialsProvider {
	return credentials.StaticCredentialsProvider{Value: c}
}

// ask makes a call with p's credentials. Where AWS takes them no longer, though their time is not over (a session that was
// ended, a key that was rotated), it is made again with others, if others can be had. It returns the credentials used last.
func ask(ctx context.Context, p Provider, call func(aws.Credentials) error) (aws.Credentials, error) {
	c, err := p.Retrieve(ctx)
	if err != nil {
		return c, err
	}
	if err = call(c); err == nil || !dead(err) {
		return c, err
	}
	p.Drop(c)
	other, oerr := p.Retrieve(ctx)
	switch {
	case oerr != nil:
		return c, oerr
	case same(other, c):
		return c, err
	}
	return other, call(other)
}

// identity asks who c is. No policy can forbid it.
func (t tokens) identity(ctx context.Context, region string, c aws.Credentials) (*sts.GetCallerIdentityOutput, error) {
	ctx, cancel := within(ctx, callTimeout, "sts:GetCallerIdentity in "+region)
	defer cancel()
	out, err := t.client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}, as(region, c))
	if err == nil && (aws.ToString(out.Account) == "" || record.PartitionOfARN(aws.ToString(out.Arn)) == "") {
		err = errHollow // else it would be taken for an account without an id
	}
	return out, timedOut(ctx, err)
}

// errHollow is an answer of 200 without what was asked for: some proxies and gateways answer so.
var errHollow = errors.New("the answer is empty of what was asked for")

// ahead sees that c works, and how far AWS's clock is before this machine's.
func (t tokens) ahead(ctx context.Context, region string, c aws.Credentials) (time.Duration, error) {
	out, err := t.identity(ctx, region, c)
	if err != nil {
		return 0, err
	}
	server, ok1 := awsmiddleware.GetServerTime(out.ResultMetadata)
	here, ok2 := awsmiddleware.GetResponseAt(out.ResultMetadata)
	if !ok1 || !ok2 {
		return 0, nil
	}
	return clockAhead(server, here), nil
}

// clockAhead is how far AWS's clock is before ours. The Date header is in whole seconds and was on its way: what is about as
// large as that is no difference.
func clockAhead(server, here time.Time) time.Duration {
	if d := server.Sub(here); d.Abs() >= 5*time.Second {
		return d
	}
	return 0
}

// assume enters a role, and notes in which account that is.
func (t tokens) assume(ctx context.Context, region string, c aws.Credentials, in *sts.AssumeRoleInput, to *issued) (aws.Credentials, error) {
	ctx, cancel := within(ctx, callTimeout, "sts:AssumeRole in "+region)
	defer cancel()
	out, err := t.client.AssumeRole(ctx, in, as(region, c))
	if err == nil && !whole(out.Credentials) {
		err = errHollow
	}
	if err != nil {
		return aws.Credentials{}, timedOut(ctx, err)
	}
	k := out.Credentials
	to.note(k, out.AssumedRoleUser)
	return temporary(k.AccessKeyId, k.SecretAccessKey, k.SessionToken, k.Expiration, "AssumeRole"), nil
}

// session begins an MFA session. It is tried once: a code that was sent is not sent again.
func (t tokens) session(ctx context.Context, region string, c aws.Credentials, in *sts.GetSessionTokenInput) (aws.Credentials, error) {
	ctx, cancel := within(ctx, callTimeout, "sts:GetSessionToken in "+region)
	defer cancel()
	out, err := t.client.GetSessionToken(ctx, in, as(region, c), func(o *sts.Options) { o.RetryMaxAttempts = 1 })
	if err == nil && !whole(out.Credentials) {
		err = errHollow
	}
	if err != nil {
		return aws.Credentials{}, timedOut(ctx, err)
	}
	k := out.Credentials
	return temporary(k.AccessKeyId, k.SecretAccessKey, k.SessionToken, k.Expiration, "GetSessionToken"), nil
}

// whole reports whether STS's answer has all of a session.
func whole(c *types.Credentials) bool {
	return c != nil && aws.ToString(c.AccessKeyId) != "" && aws.ToString(c.SecretAccessKey) != "" && aws.ToString(c.SessionToken) != "" && c.Expiration != nil
}

func temporary(id, secret, token *string, until *time.Time, source string) aws.Credentials {
	return aws.Credentials{
		AccessKeyID: aws.ToString(id), SecretAccessKey: aws.ToString(secret), SessionToken: aws.ToString(token),
		Source: source, CanExpire: true, Expires: aws.ToTime(until),
	}
}

// timedOut puts the name of our own time-out in the place of "context deadline exceeded".
func timedOut(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}
