package call

import (
	"fmt"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

type endpointKey struct{ service, region string }

// An endpoint is what the SDK decides about the calls to a service in a region, before it knows the call.
type endpoint struct {
	template      *smithyhttp.Request // a request without a body, without the headers of a call
	signer        *v4.Signer          // nil: requests are not signed
	signingName   string
	signingRegion string
	skewDisabled  bool // clock skew is not corrected
	skew          atomic.Int64
	retries       *retry.Attempt
	transport     smithyhttp.ClientHandler
	telemetry     telemetry
}

// endpoint returns the endpoint of a service in a region. It asks the SDK once; an error, which means that the settings
// contradict each other, is not kept.
func (c *Caller) endpoint(s *Service, region string) (*endpoint, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := endpointKey{s.ID, region}
	if e := c.endpoints[key]; e != nil {
		return e, nil
	}
	cfg := c.options.AWS
	cfg.Retryer = func() aws.Retryer { return c.retryer } // its type is in the User-Agent
	cfg.RetryMaxAttempts = 0
	var r Recorder
	if err := s.Prepare(cfg, region, &r); err != nil {
		return nil, err
	}
	if r.request == nil {
		return nil, fmt.Errorf("the SDK's client of %s prepared no request", s.ID)
	}
	e := &endpoint{
		template:    r.template(),
		signingName: r.signingName, signingRegion: r.signingRegion,
		skewDisabled: r.SkewDisabled,
		telemetry:    newTelemetry(s.ID, r.Tracers, r.Meters),
	}
	if r.signed {
		e.signer = v4.NewSigner(func(o *v4.SignerOptions) { *o = r.signerOptions })
	}
	meter := r.Meters.Meter(scope(s.ID))
	e.transport = smithyhttp.NewClientHandlerWithOptions(r.Client, func(h *smithyhttp.ClientHandler) { h.Meter = meter })
	e.retries = retry.NewAttemptMiddleware(c.retryer, sameRequest, func(m *retry.Attempt) {
		m.ClientSkew, m.DisableClockSkewCorrection, m.OperationMeter = &e.skew, e.skewDisabled, meter
	})
	c.endpoints[key] = e
	return e, nil
}

// sameRequest is for attempts that share a request: the transport sends a copy, and sign replaces what the attempt
// before has added.
func sameRequest(request any) any { return request }
