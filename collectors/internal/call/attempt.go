package call

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmw "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	mw "github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/aws-collector/collector/record"
)

// An attempt holds the state of a call. One value serves all attempts of the call, one after the other.
type attempt struct {
	caller      *Caller
	request     Request
	form        []byte
	credentials aws.CredentialsProvider
	body        func(io.Reader) error

	endpoint    *endpoint // nil if the SDK's stack makes the call
	payloadHash string
	skew        time.Duration // of the latest response's clock
	number      int           // attempts so far
	slow        int           // attempts that hung
	last        error         // how the latest attempt ended; the SDK forgets it when the context ends a sleep
}

// loop makes a call: it builds the request, and lets the SDK's retry loop make the attempts.
func (c *Caller) loop(ctx context.Context, a *attempt) (err error) {
	if a.endpoint, err = c.endpoint(a.request.Service, a.request.Region); err != nil {
		return err
	}
	ctx, end := a.endpoint.telemetry.start(ctx, a.request.Op)
	defer func() { end(err) }()
	request, err := a.build(ctx)
	if err != nil {
		return err
	}
	_, _, err = a.endpoint.retries.HandleFinalize(ctx, mw.FinalizeInput{Request: request}, a)
	return err
}

// build makes the request, with what the SDK adds to each call: an id, and the trace of a Lambda function.
func (a *attempt) build(ctx context.Context) (*smithyhttp.Request, error) {
	request, err := a.endpoint.template.SetStream(form{bytes.NewReader(a.form)})
	if err != nil {
		return nil, &smithy.SerializationError{Err: err}
	}
	a.payloadHash = payloadHash(a.form)
	in, end := mw.BuildInput{Request: request}, mw.BuildHandlerFunc(endOfBuild)
	if _, _, err = (awsmw.ClientRequestID{}).HandleBuild(ctx, in, end); err != nil {
		return nil, err
	}
	_, _, err = (&awsmw.RecursionDetection{}).HandleBuild(ctx, in, end)
	return request, err
}

func endOfBuild(context.Context, mw.BuildInput) (out mw.BuildOutput, md mw.Metadata, err error) {
	return out, md, nil
}

// HandleFinalize makes one attempt. It is what the SDK's retry loop calls.
func (a *attempt) HandleFinalize(ctx context.Context, in mw.FinalizeInput) (mw.FinalizeOutput, mw.Metadata, error) {
	return a.throughGate(ctx, in, mw.FinalizeHandlerFunc(a.signAndSend))
}

// throughGate makes one attempt when the gate admits it. Credentials are asked for before the gate, so that a slow
// sign-in holds no slot of the calls in flight; they are signed with after it, so that a long wait makes no stale
// signature.
func (a *attempt) throughGate(
	ctx context.Context, in mw.FinalizeInput, next mw.FinalizeHandler,
) (out mw.FinalizeOutput, md mw.Metadata, err error) {
	if _, err := a.credentials.Retrieve(ctx); err != nil {
		return out, md, err
	}
	leave, err := a.request.Gate.Enter(ctx, a.request.Op)
	if err != nil {
		return out, md, &final{err}
	}
	code := string(record.Panicked)
	defer func() { leave(code) }()
	out, md, err = next.HandleFinalize(ctx, in)
	a.last, code = err, codeOf(ctx, err)
	return out, md, err
}

// signAndSend signs with the clock of the latest response, as the SDK does: in the first attempt that is the latest
// response of any call to the endpoint. The SDK's retry loop does not say which clock it assumes. It has read the
// endpoint's before this attempt, so this one is as recent or more.
func (a *attempt) signAndSend(
	ctx context.Context, in mw.FinalizeInput,
) (out mw.FinalizeOutput, md mw.Metadata, err error) {
	if a.number++; a.number == 1 && !a.endpoint.skewDisabled {
		a.skew = time.Duration(a.endpoint.skew.Load())
	}
	request := in.Request.(*smithyhttp.Request)
	if err = a.sign(ctx, request); err != nil {
		return out, md, err
	}
	_, md, err = (&awshttp.ResponseErrorWrapper{}).HandleDeserialize(
		ctx, mw.DeserializeInput{Request: request}, mw.DeserializeHandlerFunc(a.withRequestID),
	)
	a.skew, _ = awsmw.GetAttemptSkew(md)
	return out, md, err
}

func (a *attempt) sign(ctx context.Context, request *smithyhttp.Request) error {
	e := a.endpoint
	delete(request.Header, "Accept-Encoding") // of the attempt before: it is not signed
	delete(request.Header, "X-Amz-Security-Token")
	if e.signer == nil {
		return nil
	}
	timer := e.telemetry.timer(ctx, identityDuration)
	credentials, err := a.credentials.Retrieve(ctx)
	timer()
	if err != nil {
		return fmt.Errorf("get identity: get credentials: %w", err) // the SDK's words
	}
	defer e.telemetry.timer(ctx, signingDuration)()
	now := time.Now().Add(a.skew)
	err = e.signer.SignHTTP(ctx, credentials, request.Request, a.payloadHash, e.signingName, e.signingRegion, now)
	if err != nil {
		return fmt.Errorf("sign request: sign http: %w", err)
	}
	return nil
}

func (a *attempt) withRequestID(
	ctx context.Context, in mw.DeserializeInput,
) (mw.DeserializeOutput, mw.Metadata, error) {
	return (&awsmw.RequestIDRetriever{}).HandleDeserialize(ctx, in, mw.DeserializeHandlerFunc(a.sendAndRead))
}

func (a *attempt) sendAndRead(
	ctx context.Context, in mw.DeserializeInput,
) (mw.DeserializeOutput, mw.Metadata, error) {
	return a.read(ctx, in, mw.DeserializeHandlerFunc(a.endpoint.send))
}

// send sends one request. The SDK learns from the response how far the service's clock is ahead.
func (e *endpoint) send(ctx context.Context, in mw.DeserializeInput) (mw.DeserializeOutput, mw.Metadata, error) {
	timing := awsmw.RecordResponseTiming{DisableClockSkewCorrection: e.skewDisabled}
	return timing.HandleDeserialize(ctx, in, mw.DeserializeHandlerFunc(
		func(ctx context.Context, in mw.DeserializeInput) (out mw.DeserializeOutput, md mw.Metadata, err error) {
			out.RawResponse, md, err = e.transport.Handle(ctx, in.Request)
			return out, md, err
		}))
}

func payloadHash(form []byte) string {
	sum := sha256.Sum256(form)
	return hex.EncodeToString(sum[:])
}

// form is a request's body without bytes.Reader's WriteTo. The SDK closes the body when the response's header is there,
// and its wrapper's WriteTo returns EOF as an error from then on; net/http, if it has not yet looked whether the body
// has more than it should, takes that for a failed write and closes the connection under the response. Read handles EOF
// correctly.
type form struct{ io.ReadSeeker }

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

// finalErrors marks a failed sign-in as final: it has its own retries, and those of the call around them would multiply
// STS's calls.
type finalErrors struct{ aws.CredentialsProvider }

func (p finalErrors) Retrieve(ctx context.Context) (aws.Credentials, error) {
	v, err := p.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return v, &final{err}
	}
	return v, nil
}
